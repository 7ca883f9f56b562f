use std::sync::{Arc, Mutex};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Dropout (Srivastava et al. 2014): while training, a share of the values becomes zero and the
/// others are scaled by `1 / (1 - share)`.
///
/// The masks are drawn on the host from one seeded generator, so that they are the same on every
/// device; Burn's own dropout draws from the device's generator.
#[derive(Module, Debug)]
pub(super) struct Dropout {
    #[module(skip)]
    share: f64,
    #[module(skip)]
    rng: Arc<Mutex<ChaCha8Rng>>,
}

impl Dropout {
    pub(super) fn new(share: f64) -> Self {
        Self {
            share,
            rng: Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(0))),
        }
    }

    /// Starts the generator again, as a function of `seed` and `step`.
    pub(super) fn seed(&self, seed: u64, step: u64) {
        // Not the generator that draws weights and orders: its seed is another.
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6d61_736b);
        rng.set_stream(step);
        *self.rng.lock().unwrap_or_else(|e| e.into_inner()) = rng;
    }

    /// Any shape in, the same shape out. Without gradients the input comes back as it is.
    pub(super) fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if self.share == 0.0 || !input.device().is_autodiff() {
            return input;
        }
        let zeroed = (self.share * f64::from(u32::MAX)) as u32;
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let shape = input.dims();
        let mut rng = self.rng.lock().unwrap_or_else(|e| e.into_inner());
        let mask: Vec<f32> = (0..shape.iter().product())
            .map(|_| if rng.next_u32() < zeroed { 0.0 } else { kept })
            .collect();
        let mask = Tensor::from_data(TensorData::new(mask, shape), &input.device());
        input * mask
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::{Device, DeviceChoice};

    #[test]
    fn masks_repeat_with_their_seed_and_keep_the_mean() {
        let device = Device::open(DeviceChoice::Flex).unwrap();
        let dropout = Dropout::new(0.25);
        let ones = |device: &burn::tensor::Device| Tensor::<2>::ones([100, 100], device);
        let autodiff = device.burn().clone().autodiff();
        let draw = || {
            dropout.seed(7, 3);
            let out = dropout.forward(ones(&autodiff));
            out.into_data().try_into_vec::<f32>().unwrap()
        };
        let values = draw();
        assert_eq!(values, draw());
        let zeros = values.iter().filter(|v| **v == 0.0).count();
        assert!((2300..2700).contains(&zeros), "{zeros}");
        assert!(values.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
        let plain = dropout.forward(ones(device.burn())).into_data();
        assert!(plain.try_into_vec::<f32>().unwrap().iter().all(|v| *v == 1.0));
    }
}
