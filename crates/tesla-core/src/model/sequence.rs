use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::{Device, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dropout::Dropout;
use super::mlp::{check_dropout, check_widths, stack, weigh};
use super::text::through;
use crate::ops::{conv1d, same_padding};
use crate::{Error, Result};

/// Convolutions along the steps of a sequence, then linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conv1dNetConfig {
    /// Channels that come out of each convolution, in order.
    pub filters: Vec<usize>,
    /// Steps that a convolution sees at a time.
    pub kernel: usize,
    /// The width of each hidden layer after the convolutions.
    pub hidden: Vec<usize>,
    /// The share of values set to zero before the linear layers while training, in 0..1.
    pub dropout: f64,
}

impl Default for Conv1dNetConfig {
    fn default() -> Self {
        Self {
            filters: vec![32, 32, 32],
            kernel: 5,
            hidden: vec![64],
            dropout: 0.2,
        }
    }
}

/// A long short-term memory (Hochreiter & Schmidhuber 1997) that reads a sequence step by step, then
/// linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LstmConfig {
    /// Numbers that each layer of the memory holds, in order.
    pub units: Vec<usize>,
    /// The width of each hidden layer after the last step.
    pub hidden: Vec<usize>,
    /// The share of values set to zero before the linear layers while training, in 0..1.
    pub dropout: f64,
}

impl Default for LstmConfig {
    fn default() -> Self {
        Self {
            units: vec![64],
            hidden: vec![32],
            dropout: 0.2,
        }
    }
}

/// Convolutions along a sequence with weights.
#[derive(Module, Debug)]
pub struct Conv1dNet {
    convolutions: Vec<Conv1d>,
    layers: Vec<Linear>,
    pub(super) dropout: Dropout,
}

/// A long short-term memory with weights.
#[derive(Module, Debug)]
pub struct Lstm {
    cells: Vec<Cell>,
    layers: Vec<Linear>,
    pub(super) dropout: Dropout,
}

/// One layer of memory: what comes in and what is remembered make the four gates, in the order input,
/// forget, cell, output, as in PyTorch.
#[derive(Module, Debug)]
struct Cell {
    input: Linear,
    memory: Linear,
    #[module(skip)]
    units: usize,
}

impl Conv1dNetConfig {
    pub(super) fn init(
        &self,
        [length, width]: [usize; 2],
        outputs: usize,
        device: &Device,
    ) -> Result<Conv1dNet> {
        check_widths("filters", &self.filters)?;
        check_widths("hidden", &self.hidden)?;
        check_dropout(self.dropout)?;
        if !(1..=length).contains(&self.kernel) {
            return Err(Error::Model(format!(
                "`kernel` is {}: expected 1 to {length}, the length of the sequences",
                self.kernel
            )));
        }
        let channels: Vec<usize> = [&[width], &self.filters[..]].concat();
        let convolution = |pair: &[usize]| {
            Conv1dConfig::new(pair[0], pair[1], self.kernel)
                .with_padding(PaddingConfig1d::Same)
                .init(device)
        };
        Ok(Conv1dNet {
            convolutions: channels.windows(2).map(convolution).collect(),
            layers: stack(channels[channels.len() - 1] * length, &self.hidden, outputs, device)?,
            dropout: Dropout::new(self.dropout),
        })
    }
}

impl LstmConfig {
    pub(super) fn init(
        &self,
        [_, width]: [usize; 2],
        outputs: usize,
        device: &Device,
    ) -> Result<Lstm> {
        check_widths("units", &self.units)?;
        check_widths("hidden", &self.hidden)?;
        check_dropout(self.dropout)?;
        let widths: Vec<usize> = [&[width], &self.units[..]].concat();
        let Some(last) = self.units.last() else {
            return Err(Error::Model("`units` is empty: expected at least one layer".into()));
        };
        let cell = |pair: &[usize]| Cell {
            input: LinearConfig::new(pair[0], 4 * pair[1]).init(device),
            memory: LinearConfig::new(pair[1], 4 * pair[1]).init(device),
            units: pair[1],
        };
        Ok(Lstm {
            cells: widths.windows(2).map(cell).collect(),
            layers: stack(*last, &self.hidden, outputs, device)?,
            dropout: Dropout::new(self.dropout),
        })
    }
}

impl Conv1dNet {
    /// # Shapes
    /// - input: `[rows, length, width]`
    /// - output: `[rows, outputs]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let mut x = x.swap_dims(1, 2);
        for convolution in &self.convolutions {
            x = convolve(convolution, x);
        }
        through(&self.layers, self.dropout.forward(x.flatten(1, 2)))
    }
}

/// A convolution that leaves the length as it is, and ReLU.
pub(super) fn convolve(convolution: &Conv1d, x: Tensor<3>) -> Tensor<3> {
    let bias = convolution.bias.as_ref().map(|bias| bias.val());
    let padding = same_padding(convolution.kernel_size);
    conv1d(x, convolution.weight.val(), bias, padding, true)
}

impl Lstm {
    /// Steps of padding, whose last channel is 0, leave the memory as it is: empty.
    ///
    /// # Shapes
    /// - input: `[rows, length, width]`
    /// - output: `[rows, outputs]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let [rows, length, width] = x.dims();
        let there: Tensor<3> = x.clone().narrow(2, width - 1, 1);
        let mut x = x;
        for cell in &self.cells {
            // What comes in is known for all steps at once.
            let [_, _, width] = x.dims();
            let input = weigh(&cell.input, x.reshape([rows * length, width]), false).reshape([
                rows,
                length,
                4 * cell.units,
            ]);
            let zeros = || Tensor::<2>::zeros([rows, cell.units], &input.device());
            let (mut held, mut shown) = (zeros(), zeros());
            let mut all = Vec::with_capacity(length);
            for step in 0..length {
                let own: Tensor<2> = input.clone().narrow(1, step, 1).squeeze_dim(1);
                let gates = own + weigh(&cell.memory, shown, false);
                let gate = |i: usize| gates.clone().narrow(1, i * cell.units, cell.units);
                let taken = activation::sigmoid(gate(0)) * gate(2).tanh();
                let there: Tensor<2> = there.clone().narrow(1, step, 1).squeeze_dim(1);
                held = (activation::sigmoid(gate(1)) * held + taken) * there.clone();
                shown = activation::sigmoid(gate(3)) * held.clone().tanh() * there;
                all.push(shown.clone());
            }
            x = Tensor::stack(all, 1);
        }
        let last: Tensor<2> = x.narrow(1, length - 1, 1).squeeze_dim(1);
        through(&self.layers, self.dropout.forward(last))
    }
}
