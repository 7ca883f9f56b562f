//! Weights in and out of a network, by module path.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::{Device, Error, Network, Result};

/// Fresh weights as PyTorch draws them, `U(-1/√fan_in, 1/√fan_in)` for a layer's weight and bias
/// (He et al. 2015 with a = √5), from one seeded generator on the host. The vectors of ids are drawn
/// from `U(-1/√dimension, 1/√dimension)`, single numbers of ids and norms start as they are.
pub(crate) fn initialise(network: Network, seed: u64, device: &Device) -> Network {
    network.map(&mut Initialiser {
        rng: ChaCha8Rng::seed_from_u64(seed),
        fan_in: 1,
        device,
        inside: Vec::new(),
    })
}

struct Initialiser<'a> {
    rng: ChaCha8Rng,
    fan_in: usize,
    device: &'a Device,
    /// The modules around a weight, by type.
    inside: Vec<String>,
}

impl ModuleMapper for Initialiser<'_> {
    fn enter_module(&mut self, _: &str, container: &str) {
        self.inside.push(container.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.inside.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims = param.lazy_shape().to_vec();
        match self.inside.last().map(String::as_str) {
            Some("Struct:BatchNorm") => return param,
            Some("Struct:Embedding") if dims[1] == 1 => {
                return param.map(|_| Tensor::zeros(dims, self.device.burn()));
            }
            Some("Struct:Embedding") => self.fan_in = dims[1],
            _ => {}
        }
        let is_table = self.inside.last().is_some_and(|inside| inside == "Struct:Embedding");
        // Linear weights are [in, out], convolutions [out, in, ..kernel]; a layer's bias follows
        // its weight and shares its fan-in.
        match dims[..] {
            [_] => {}
            _ if is_table => {}
            [inputs, _] => self.fan_in = inputs,
            [_, ref rest @ ..] => self.fan_in = rest.iter().product(),
            [] => {}
        }
        let bound = 1.0 / (self.fan_in as f32).sqrt();
        let values: Vec<f32> = (0..dims.iter().product::<usize>())
            .map(|_| self.rng.random_range(-bound..bound))
            .collect();
        let data = TensorData::new(values, dims);
        param.map(|_| Tensor::from_data(data, self.device.burn()))
    }
}

/// All weights in SafeTensors format.
pub(crate) fn save(network: &Network) -> Result<Vec<u8>> {
    let mut collector = Collector::default();
    network.visit(&mut collector);
    if let Some(error) = collector.error {
        return Err(error);
    }
    let views = collector
        .tensors
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes)
                .map(|view| (name.as_str(), view))
                .map_err(|e| Error::Model(format!("the weights cannot be stored: {e}")))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None)
        .map_err(|e| Error::Model(format!("the weights cannot be stored: {e}")))
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    error: Option<Error>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        match tensor.try_into_data_as::<f32>() {
            Ok(data) => {
                let bytes = data.as_bytes().to_vec();
                self.tensors.push((self.path.join("."), shape, bytes));
            }
            Err(e) => {
                let message = format!("the device did not deliver the weights: {e}");
                self.error = Some(Error::Device(message));
            }
        }
    }
}

/// Fills a network with stored weights; every tensor must be there, with the right shape.
pub(crate) fn load(network: Network, stored: &[u8], device: &Device) -> Result<Network> {
    let stored = SafeTensors::deserialize(stored)
        .map_err(|e| Error::Model(format!("the weights are not valid SafeTensors: {e}")))?;
    let mut loader = Loader {
        path: Vec::new(),
        stored,
        used: 0,
        device,
        error: None,
    };
    let network = network.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None if loader.used != loader.stored.len() => Err(Error::Model(format!(
            "the weights hold {} tensors, but the model has {}",
            loader.stored.len(),
            loader.used
        ))),
        None => Ok(network),
    }
}

struct Loader<'a> {
    path: Vec<String>,
    stored: SafeTensors<'a>,
    used: usize,
    device: &'a Device,
    error: Option<Error>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let dims = param.lazy_shape().to_vec();
        let view = match self.stored.tensor(&name) {
            Ok(view) if view.shape() == dims && view.dtype() == Dtype::F32 => view,
            Ok(view) => {
                self.error = Some(Error::Model(format!(
                    "the weight `{name}` is {:?}{:?}, but the model needs F32{dims:?}",
                    view.dtype(),
                    view.shape()
                )));
                return param;
            }
            Err(_) => {
                self.error = Some(Error::Model(format!("the weight `{name}` is missing")));
                return param;
            }
        };
        self.used += 1;
        let values: Vec<f32> = view
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        if !values.iter().all(|value| value.is_finite()) {
            self.error = Some(Error::Model(format!(
                "the weight `{name}` holds a value that is no finite number"
            )));
            return param;
        }
        let data = TensorData::new(values, dims);
        param.map(|_| Tensor::from_data(data, self.device.burn()))
    }
}
