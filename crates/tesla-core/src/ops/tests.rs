//! The kernels against Burn's own operations, finite differences, and themselves.

use burn::tensor::{DType, Device, Shape, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A convolution with numbers for it.
struct Case {
    x: TensorData,
    weight: TensorData,
    bias: Option<TensorData>,
    options: Conv2dOptions,
    /// Whether the channels of a pixel lie together, as another convolution leaves them.
    as_pixels: bool,
}

/// The same values, the channels of a pixel together.
fn turned(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1]).mul_scalar(1.0).permute([0, 3, 1, 2])
}

fn numbers(rng: &mut ChaCha8Rng, dims: &[usize]) -> TensorData {
    let shape = Shape::from(dims.to_vec());
    let values = (0..shape.num_elements()).map(|_| rng.random_range(-1.0..1.0f64));
    TensorData::new(values.collect::<Vec<_>>(), shape)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_to_vec().unwrap()
}

impl Case {
    fn draw(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut side = |from: usize, to: usize| rng.random_range(from..=to);
        let groups = [1, 1, 2, 3][side(0, 3)];
        // Now and then more than one register and one block of memory hold.
        let most = if seed.is_multiple_of(10) { 70 } else { 20 };
        let (own, filters) = (side(1, most / 4), side(1, most) * groups);
        let (kernel, dilation) = ([side(1, 4), side(1, 4)], [side(1, 2), side(1, 2)]);
        let size = [0, 1].map(|d| (kernel[d] - 1) * dilation[d] + side(1, 9));
        let mut options = Conv2dOptions {
            stride: [side(1, 3), side(1, 3)],
            padding: [(side(0, 2), side(0, 2)), (side(0, 2), side(0, 2))],
            dilation,
            groups,
            relu: side(0, 1) == 1,
            pool: 1,
        };
        let out = [0, 1].map(|d| {
            let all = size[d] + options.padding[d].0 + options.padding[d].1;
            (all - (kernel[d] - 1) * dilation[d] - 1) / options.stride[d] + 1
        });
        options.pool = side(1, out[0].min(out[1]).min(3));
        let images = side(1, 20);
        let (as_pixels, has_bias) = (side(0, 1) == 1, side(0, 3) > 0);
        let mut numbers = |dims: &[usize]| numbers(&mut rng, dims);
        Self {
            x: numbers(&[images, own * groups, size[0], size[1]]),
            weight: numbers(&[filters, own, kernel[0], kernel[1]]),
            bias: has_bias.then(|| numbers(&[filters])),
            options,
            as_pixels,
        }
    }

    /// Output and gradients of the sum of its squares, in numbers of `dtype`: Burn's own operations
    /// where it is 64 bits wide.
    fn run(&self, dtype: DType) -> Vec<Vec<f64>> {
        let device = Device::flex().autodiff();
        let leaf = |data: &TensorData| {
            Tensor::<4>::from_data(data.clone(), (&device, dtype)).require_grad()
        };
        let (x, weight) = (leaf(&self.x), leaf(&self.weight));
        let line = |bias: TensorData| Tensor::<1>::from_data(bias, (&device, dtype));
        let bias = self.bias.clone().map(|bias| line(bias).require_grad());
        let input = match self.as_pixels {
            true => turned(x.clone()),
            false => x.clone(),
        };
        let out = conv2d(input, weight.clone(), bias.clone(), self.options);
        let gradients = (out.clone() * out.clone()).sum().backward();
        let mut found = vec![
            read(out),
            read(x.grad(&gradients).unwrap()),
            read(weight.grad(&gradients).unwrap()),
        ];
        found.extend(bias.map(|bias| read(bias.grad(&gradients).unwrap())));
        found
    }

    /// The gradient of the weights where nobody asks for that of the images.
    fn of_weight(&self) -> Vec<f64> {
        let device = Device::flex().autodiff();
        let tensor =
            |data: &TensorData| Tensor::<4>::from_data(data.clone(), (&device, DType::F32));
        let weight = tensor(&self.weight).require_grad();
        let line = |bias: TensorData| Tensor::<1>::from_data(bias, (&device, DType::F32));
        let bias = self.bias.clone().map(|bias| line(bias).require_grad());
        let out = conv2d(tensor(&self.x), weight.clone(), bias, self.options);
        read(weight.grad(&(out.clone() * out).sum().backward()).unwrap())
    }

    /// The sum of squares of the output, in 64 bits.
    fn loss(&self) -> f64 {
        let device = Device::flex();
        let tensor =
            |data: &TensorData| Tensor::<4>::from_data(data.clone(), (&device, DType::F64));
        let line = |bias| Tensor::<1>::from_data(bias, (&device, DType::F64));
        let bias = self.bias.clone().map(line);
        let out = conv2d(tensor(&self.x), tensor(&self.weight), bias, self.options);
        (out.clone() * out).sum().into_scalar::<f64>()
    }
}

fn close(found: &[f64], expected: &[f64], what: &str) {
    let scale = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in std::iter::zip(found, expected) {
        assert!((found - expected).abs() <= 1e-4 * scale, "{what}: {found}, not {expected}");
    }
}

#[test]
fn convolutions_and_their_gradients_are_burns_own() {
    for seed in 0..150 {
        let case = Case::draw(seed);
        let (ours, burns) = (case.run(DType::F32), case.run(DType::F64));
        for (i, (ours, burns)) in std::iter::zip(&ours, &burns).enumerate() {
            close(ours, burns, &format!("{:?}, result {i}", case.options));
        }
        close(&case.of_weight(), &burns[2], &format!("{:?}, alone", case.options));
    }
}

#[test]
fn gradients_are_finite_differences() {
    const STEP: f64 = 1e-6;
    for seed in 1000..1020 {
        let mut case = Case::draw(seed);
        let gradients = case.run(DType::F32);
        for at in 0..gradients.len() - 1 {
            for share in [0, 1, 2, 3] {
                let part = |case: &mut Case, change: f64| {
                    let data = match at {
                        0 => &mut case.x,
                        1 => &mut case.weight,
                        _ => case.bias.as_mut().unwrap(),
                    };
                    let values = data.as_mut_slice::<f64>().unwrap();
                    let place = share * (values.len() - 1) / 3;
                    values[place] += change;
                    place
                };
                let place = part(&mut case, STEP);
                let above = case.loss();
                part(&mut case, -2.0 * STEP);
                let below = case.loss();
                part(&mut case, STEP);
                let expected = (above - below) / (2.0 * STEP);
                close(&[gradients[at + 1][place]], &[expected], &format!("{:?}", case.options));
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for seed in 2000..2010 {
        let case = Case::draw(seed);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| case.run(DType::F32))
        };
        assert_eq!(on(1), on(2));
        assert_eq!(on(1), on(5));
    }
}

#[test]
fn normalisations_and_their_gradients_are_burns_own() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for case in 0..60 {
        let mut side = |from: usize, to: usize| rng.random_range(from..=to);
        let dims = [side(2, 40), side(1, 40), side(1, 9), side(1, 9)];
        let options = NormOptions {
            epsilon: 1e-5,
            relu: side(0, 1) == 1,
            pool: side(1, dims[2].min(dims[3]).min(3)),
        };
        let as_pixels = side(0, 1) == 1;
        let mut numbers = |dims: &[usize]| numbers(&mut rng, dims);
        let (image, gamma, beta) = (numbers(&dims), numbers(&dims[1..2]), numbers(&dims[1..2]));
        let run = |dtype: DType| {
            let device = Device::flex().autodiff();
            let line = |data: &TensorData| {
                Tensor::<1>::from_data(data.clone(), (&device, dtype)).require_grad()
            };
            let (gamma, beta) = (line(&gamma), line(&beta));
            let image = Tensor::<4>::from_data(image.clone(), (&device, dtype)).require_grad();
            let x = match as_pixels {
                true => turned(image.clone()),
                false => image.clone(),
            };
            let (out, [mean, variance]) = batch_norm_train(x, gamma.clone(), beta.clone(), options);
            let lines = [&gamma, &beta, &mean, &variance].map(|line| line.clone().inner());
            let known = batch_norm(image.clone().inner(), lines, options);
            let gradients = (out.clone() * out.clone()).sum().backward();
            let found = [
                out.into_data(),
                known.into_data(),
                mean.into_data(),
                variance.into_data(),
                image.grad(&gradients).unwrap().into_data(),
                gamma.grad(&gradients).unwrap().into_data(),
                beta.grad(&gradients).unwrap().into_data(),
            ];
            found.map(|data| data.convert::<f64>().try_to_vec::<f64>().unwrap())
        };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(DType::F32))
        };
        let ours = on(1);
        assert_eq!(ours, on(3), "threads change case {case}");
        for (i, (ours, burns)) in std::iter::zip(&ours, run(DType::F64)).enumerate() {
            close(ours, &burns, &format!("case {case}, {dims:?}, {options:?}, result {i}"));
        }
    }
}

/// A linear layer with numbers for it.
struct Layer {
    x: TensorData,
    weight: TensorData,
    bias: Option<TensorData>,
    relu: bool,
}

impl Layer {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut side = |from: usize, to: usize| rng.random_range(from..=to);
        let (rows, inputs, outputs) = (side(1, 40), side(1, 90), side(1, 300));
        let (relu, sparse, has_bias) = (side(0, 1) == 1, side(0, 1) == 1, side(0, 2) > 0);
        let mut x = numbers(rng, &[rows, inputs]);
        if sparse {
            let values = x.as_mut_slice::<f64>().unwrap();
            values.iter_mut().filter(|v| **v < 0.8).for_each(|v| *v = 0.0);
        }
        Self {
            x,
            weight: numbers(rng, &[inputs, outputs]),
            bias: has_bias.then(|| numbers(rng, &[outputs])),
            relu,
        }
    }

    fn through(&self, x: Tensor<2>, dtype: DType) -> Tensor<2> {
        let device = x.device();
        let weight = Tensor::<2>::from_data(self.weight.clone(), (&device, dtype));
        let line = |bias| Tensor::<1>::from_data(bias, (&device, dtype));
        linear(x, weight, self.bias.clone().map(line), self.relu)
    }

    fn rows(&self, from: usize, to: usize, dtype: DType) -> Vec<f64> {
        let x = Tensor::<2>::from_data(self.x.clone(), (&Device::flex(), dtype));
        read(self.through(x.narrow(0, from, to - from), dtype))
    }

    /// Output and gradients of the sum of its squares.
    fn run(&self, dtype: DType, tracks_x: bool) -> Vec<Vec<f64>> {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::from_data(self.x.clone(), (&device, dtype));
        let x = if tracks_x { x.require_grad() } else { x };
        let weight = Tensor::<2>::from_data(self.weight.clone(), (&device, dtype)).require_grad();
        let line = |bias| Tensor::<1>::from_data(bias, (&device, dtype)).require_grad();
        let bias = self.bias.clone().map(line);
        let out = linear(x.clone(), weight.clone(), bias.clone(), self.relu);
        let gradients = (out.clone() * out.clone()).sum().backward();
        let mut found = vec![read(out), read(weight.grad(&gradients).unwrap())];
        found.extend(bias.map(|bias| read(bias.grad(&gradients).unwrap())));
        if tracks_x {
            found.push(read(x.grad(&gradients).unwrap()));
        }
        found
    }
}

#[test]
fn linear_layers_and_their_gradients_are_burns_own() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for case in 0..80 {
        let layer = Layer::draw(&mut rng);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| layer.run(DType::F32, case % 2 == 0))
        };
        let ours = on(1);
        assert_eq!(ours, on(3), "threads change case {case}");
        let burns = layer.run(DType::F64, case % 2 == 0);
        for (i, (ours, burns)) in std::iter::zip(&ours, &burns).enumerate() {
            close(ours, burns, &format!("case {case}, result {i}"));
        }
    }
}

#[test]
fn a_row_is_the_same_in_any_company() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for case in 0..80 {
        let layer = Layer::draw(&mut rng);
        let rows = layer.x.shape()[0];
        let all = layer.rows(0, rows, DType::F32);
        for few in [1, 2, 3, 5, 7] {
            let starts = (0..rows).step_by(few);
            let parts = starts.map(|at| layer.rows(at, rows.min(at + few), DType::F32));
            assert_eq!(parts.collect::<Vec<_>>().concat(), all, "case {case}, {few} at a time");
        }
    }
}

#[test]
fn what_is_no_number_stays() {
    let device = Device::flex();
    let x = Tensor::<2>::from_floats([[f32::NAN, 1.0], [f32::INFINITY, f32::INFINITY]], &device);
    let weight = Tensor::<2>::from_floats([[1.0], [-1.0]], &device);
    let out = read(linear(x.clone(), weight.clone(), None, true));
    assert!(out.iter().all(|value| value.is_nan()), "{out:?}");
    let image = x.clone().reshape([2, 2, 1, 1]);
    let options = Conv2dOptions {
        relu: true,
        ..Conv2dOptions::default()
    };
    let out = read(conv2d(image, weight.reshape([1, 2, 1, 1]), None, options));
    assert!(out.iter().all(|value| value.is_nan()), "{out:?}");
}

#[test]
fn sequences_and_windows_are_burns_own() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut numbers = |dims: &[usize]| numbers(&mut rng, dims);
    let (x, weight, image) = (numbers(&[5, 3, 11]), numbers(&[4, 3, 4]), numbers(&[4, 3, 7, 9]));
    let run = |dtype: DType| {
        let device = Device::flex().autodiff();
        let tensor = |data: &TensorData| Tensor::<3>::from_data(data.clone(), (&device, dtype));
        let (x, weight) = (tensor(&x).require_grad(), tensor(&weight));
        // Steps with their channels together, as words have them.
        let turned = x.clone().swap_dims(1, 2).mul_scalar(1.0).swap_dims(1, 2);
        let out = conv1d(turned, weight, None, same_padding(4), true);
        let gradients = (out.clone() * out.clone()).sum().backward();
        let image = Tensor::<4>::from_data(image.clone(), (&device, dtype)).require_grad();
        let pooled = max_pool2d(image.clone(), 2);
        let of_image = (pooled.clone() * pooled.clone()).sum().backward();
        let found = [
            out.into_data(),
            x.grad(&gradients).unwrap().into_data(),
            pooled.into_data(),
            image.grad(&of_image).unwrap().into_data(),
        ];
        found.map(|data| data.convert::<f64>().try_to_vec::<f64>().unwrap())
    };
    for (ours, burns) in std::iter::zip(run(DType::F32), run(DType::F64)) {
        close(&ours, &burns, "a sequence or a window");
    }
}

#[test]
fn what_is_left_in_used_memory_changes_no_bit() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let case = Case {
        x: numbers(&mut rng, &[16, 4, 16, 16]),
        weight: numbers(&mut rng, &[32, 2, 3, 3]),
        bias: Some(numbers(&mut rng, &[32])),
        options: Conv2dOptions {
            groups: 2,
            relu: true,
            pool: 2,
            ..Default::default()
        },
        as_pixels: false,
    };
    let layer = Layer {
        x: numbers(&mut rng, &[64, 100]),
        weight: numbers(&mut rng, &[100, 80]),
        bias: None,
        relu: true,
    };
    let run = || (case.run(DType::F32), layer.run(DType::F32, true));
    let fresh = run();
    let _reuse = Reuse::start();
    for _ in 0..3 {
        // Outputs and gradients of both, and the sums of 16 runs.
        let sums = 16 * (32 * 2 * 9 + 32);
        for length in [16 * 32 * 7 * 7, 16 * 4 * 16 * 16, sums, 64 * 80, 64 * 100, 100 * 80] {
            (0..3).for_each(|_| buffers::give(vec![f32::NAN; length]));
        }
        assert!(run() == fresh);
    }
    // A length that no other test asks for.
    let buffer = buffers::take(50_021);
    let place = buffer.as_ptr();
    reuse(Tensor::from_data(TensorData::new(buffer, [50_021]), &Device::flex()));
    let again = buffers::take(50_021);
    assert_eq!(again.as_ptr(), place, "the memory of a tensor is used again");
}
