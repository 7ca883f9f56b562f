use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dropout::Dropout;
use crate::{Error, Result};

/// A multi-layer perceptron: hidden layers with an activation and dropout, then a linear layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// The width of each hidden layer.
    pub hidden: Vec<usize>,
    /// The function between layers.
    pub activation: Activation,
    /// The share of hidden values set to zero while training, in 0..1.
    pub dropout: f64,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: vec![128, 64],
            activation: Activation::Relu,
            dropout: 0.0,
        }
    }
}

/// The function between layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(0, x)`.
    #[default]
    Relu,
    /// `x Φ(x)` with the normal distribution function.
    Gelu,
    /// `tanh(x)`.
    Tanh,
}

/// A multi-layer perceptron with weights.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    pub(super) dropout: Dropout,
    #[module(skip)]
    activation: Activation,
}

impl MlpConfig {
    pub(super) fn init(&self, width: usize, outputs: usize, device: &Device) -> Result<Mlp> {
        check_widths("hidden", &self.hidden)?;
        check_dropout(self.dropout)?;
        Ok(Mlp {
            layers: stack(width, &self.hidden, outputs, device),
            dropout: Dropout::new(self.dropout),
            activation: self.activation,
        })
    }
}

impl Mlp {
    /// # Shapes
    /// - input: `[rows, width]`
    /// - output: `[rows, outputs]`
    pub fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        for layer in &self.layers[..last] {
            x = self.dropout.forward(self.activation.forward(layer.forward(x)));
        }
        self.layers[last].forward(x)
    }
}

impl Activation {
    fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Activation::Relu => activation::relu(x),
            Activation::Gelu => activation::gelu(x),
            Activation::Tanh => activation::tanh(x),
        }
    }
}

/// Linear layers from `width` through `hidden` to `outputs`.
pub(super) fn stack(
    width: usize,
    hidden: &[usize],
    outputs: usize,
    device: &Device,
) -> Vec<Linear> {
    let widths: Vec<usize> = [&[width], hidden, &[outputs]].concat();
    widths
        .windows(2)
        .map(|pair| LinearConfig::new(pair[0], pair[1]).init(device))
        .collect()
}

pub(super) fn check_widths(key: &str, widths: &[usize]) -> Result<()> {
    const MAX: usize = 1 << 16;
    match widths.iter().find(|w| !(1..=MAX).contains(*w)) {
        Some(width) => {
            Err(Error::Model(format!("`{key}` has a layer of width {width}: expected 1 to {MAX}")))
        }
        None => Ok(()),
    }
}

pub(super) fn check_dropout(dropout: f64) -> Result<()> {
    match (0.0..1.0).contains(&dropout) {
        true => Ok(()),
        false => Err(Error::Model(format!("`dropout` is {dropout}: expected 0 to below 1"))),
    }
}
