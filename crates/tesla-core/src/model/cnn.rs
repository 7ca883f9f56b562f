use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dropout::Dropout;
use super::mlp::{check_dropout, check_widths, stack};
use crate::{Error, Result};

/// A convolutional network: blocks of convolution, ReLU and max-pooling, then linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CnnConfig {
    /// The convolution blocks, in order.
    pub blocks: Vec<Block>,
    /// The width of each hidden linear layer after the blocks.
    pub hidden: Vec<usize>,
    /// The share of values set to zero before the last layer while training, in 0..1.
    pub dropout: f64,
}

impl Default for CnnConfig {
    fn default() -> Self {
        let block = |filters| Block {
            filters,
            ..Default::default()
        };
        Self {
            blocks: vec![block(32), block(64)],
            hidden: vec![128],
            dropout: 0.0,
        }
    }
}

/// One block: convolution, ReLU, max-pooling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Block {
    /// Channels that come out.
    pub filters: usize,
    /// The side of the square kernel, in pixels.
    pub kernel: usize,
    /// Whether the border is padded.
    pub padding: Padding,
    /// The side and stride of the max-pooling window, in pixels; 1 for none.
    pub pool: usize,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            filters: 32,
            kernel: 3,
            padding: Padding::Same,
            pool: 2,
        }
    }
}

/// Whether the border of an image is padded before a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// With zeros, so that height and width stay as they are.
    #[default]
    Same,
    /// Not at all: height and width shrink by `kernel - 1`.
    Valid,
}

/// A convolutional network with weights.
#[derive(Module, Debug)]
pub struct Cnn {
    convolutions: Vec<Conv2d>,
    #[module(skip)]
    pools: Vec<usize>,
    layers: Vec<Linear>,
    pub(super) dropout: Dropout,
}

impl CnnConfig {
    pub(super) fn init(&self, input: [usize; 3], outputs: usize, device: &Device) -> Result<Cnn> {
        let filters: Vec<usize> = self.blocks.iter().map(|b| b.filters).collect();
        check_widths("filters", &filters)?;
        check_widths("hidden", &self.hidden)?;
        check_dropout(self.dropout)?;
        let [mut channels, mut height, mut width] = input;
        let mut convolutions = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let (kernel, pool) = (block.kernel, block.pool);
            if kernel == 0 || pool == 0 {
                return Err(Error::Model(format!(
                    "block {} has a `kernel` or `pool` of 0: expected at least 1",
                    i + 1
                )));
            }
            let after = |side: usize| match block.padding {
                Padding::Same => side / pool,
                Padding::Valid => (side + 1).saturating_sub(kernel) / pool,
            };
            if after(height) == 0 || after(width) == 0 {
                return Err(Error::Model(format!(
                    "block {} leaves nothing of an image of {height}x{width} pixels (kernel {kernel}, pool {pool}): use fewer blocks or larger images",
                    i + 1
                )));
            }
            (height, width) = (after(height), after(width));
            let config = Conv2dConfig::new([channels, block.filters], [kernel, kernel])
                .with_padding(match block.padding {
                    Padding::Same => PaddingConfig2d::Same,
                    Padding::Valid => PaddingConfig2d::Valid,
                });
            convolutions.push(config.init(device));
            channels = block.filters;
        }
        Ok(Cnn {
            convolutions,
            pools: self.blocks.iter().map(|b| b.pool).collect(),
            layers: stack(channels * height * width, &self.hidden, outputs, device),
            dropout: Dropout::new(self.dropout),
        })
    }
}

impl Cnn {
    /// # Shapes
    /// - input: `[rows, channels, height, width]`
    /// - output: `[rows, outputs]`
    pub fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        for (convolution, pool) in std::iter::zip(&self.convolutions, &self.pools) {
            x = activation::relu(convolution.forward(x));
            if *pool > 1 {
                x = max_pool2d(x, MaxPoolOptions::new([*pool, *pool]));
            }
        }
        let mut x = x.flatten(1, 3);
        let last = self.layers.len() - 1;
        for layer in &self.layers[..last] {
            x = activation::relu(layer.forward(x));
        }
        self.layers[last].forward(self.dropout.forward(x))
    }
}
