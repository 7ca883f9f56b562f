use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dropout::Dropout;
use super::mlp::{check_dropout, check_widths, stack, weigh};
use crate::ops::{
    Conv2dOptions, NormOptions, batch_norm, batch_norm_train, conv2d, max_pool2d, same_padding,
};
use crate::{Error, Result};

/// A convolutional network: blocks of convolution, ReLU and max-pooling, then linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CnnConfig {
    /// The convolution blocks, in order.
    pub blocks: Vec<Block>,
    /// What the linear layers see of the last block.
    pub pooling: Pooling,
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
            pooling: Pooling::Flatten,
            hidden: vec![128],
            dropout: 0.0,
        }
    }
}

/// What the linear layers see of the last block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Every value.
    #[default]
    Flatten,
    /// The mean of each channel: fewer weights, and less that can be learned by heart.
    Average,
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
    /// Whether the values before ReLU are brought to mean 0 and deviation 1 over a batch (Ioffe &
    /// Szegedy 2015).
    pub batch_norm: bool,
    /// Whether the block has a second convolution and adds its own input before the last ReLU (He et
    /// al. 2016); needs `padding = "same"`.
    pub residual: bool,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            filters: 32,
            kernel: 3,
            padding: Padding::Same,
            pool: 2,
            batch_norm: false,
            residual: false,
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
    norms: Vec<BatchNorm>,
    /// The second halves and the short cuts of residual blocks, in their order.
    residuals: Vec<Residual>,
    #[module(skip)]
    blocks: Vec<Block>,
    #[module(skip)]
    pooling: Pooling,
    layers: Vec<Linear>,
    pub(super) dropout: Dropout,
}

/// The second half of a residual block.
#[derive(Module, Debug)]
struct Residual {
    convolution: Conv2d,
    norm: Option<BatchNorm>,
    /// Brings the input to as many channels as come out, where it has others.
    shortcut: Option<Conv2d>,
}

impl CnnConfig {
    pub(super) fn init(&self, input: [usize; 3], outputs: usize, device: &Device) -> Result<Cnn> {
        let filters: Vec<usize> = self.blocks.iter().map(|b| b.filters).collect();
        check_widths("filters", &filters)?;
        check_widths("hidden", &self.hidden)?;
        check_dropout(self.dropout)?;
        let [mut channels, mut height, mut width] = input;
        let (mut convolutions, mut norms, mut residuals) = (Vec::new(), Vec::new(), Vec::new());
        for (i, block) in self.blocks.iter().enumerate() {
            block.check(i, height, width)?;
            (height, width) = (block.after(height), block.after(width));
            let convolution = |from: usize, kernel: usize| {
                Conv2dConfig::new([from, block.filters], [kernel, kernel])
                    .with_padding(match block.padding {
                        Padding::Same => PaddingConfig2d::Same,
                        Padding::Valid => PaddingConfig2d::Valid,
                    })
                    .init(device)
            };
            let norm = || {
                block
                    .batch_norm
                    .then(|| BatchNormConfig::new(block.filters).init(device))
            };
            convolutions.push(convolution(channels, block.kernel));
            norms.extend(norm());
            if block.residual {
                residuals.push(Residual {
                    convolution: convolution(block.filters, block.kernel),
                    norm: norm(),
                    shortcut: (channels != block.filters).then(|| convolution(channels, 1)),
                });
            }
            channels = block.filters;
        }
        let seen = match self.pooling {
            Pooling::Flatten => channels * height * width,
            Pooling::Average => channels,
        };
        Ok(Cnn {
            convolutions,
            norms,
            residuals,
            blocks: self.blocks.clone(),
            pooling: self.pooling,
            layers: stack(seen, &self.hidden, outputs, device)?,
            dropout: Dropout::new(self.dropout),
        })
    }
}

impl Block {
    /// The side of what comes out of a side of what goes in.
    fn after(&self, side: usize) -> usize {
        match self.padding {
            Padding::Same => side / self.pool,
            Padding::Valid => (side + 1).saturating_sub(self.kernel) / self.pool,
        }
    }

    /// One of its convolutions, and what follows it.
    fn convolve(&self, convolution: &Conv2d, x: Tensor<4>, relu: bool, pool: usize) -> Tensor<4> {
        let padding = match self.padding {
            Padding::Same => convolution.kernel_size.map(same_padding),
            Padding::Valid => [(0, 0); 2],
        };
        let options = Conv2dOptions {
            padding,
            relu,
            pool,
            ..Conv2dOptions::default()
        };
        let bias = convolution.bias.as_ref().map(|bias| bias.val());
        conv2d(x, convolution.weight.val(), bias, options)
    }

    fn check(&self, i: usize, height: usize, width: usize) -> Result<()> {
        let (kernel, pool) = (self.kernel, self.pool);
        let wrong = |what: String| Err(Error::Model(format!("block {} {what}", i + 1)));
        if kernel == 0 || pool == 0 {
            return wrong("has a `kernel` or `pool` of 0: expected at least 1".into());
        }
        if self.residual && self.padding == Padding::Valid {
            return wrong("is `residual` and shrinks: expected `padding = \"same\"`".into());
        }
        match self.after(height) == 0 || self.after(width) == 0 {
            true => wrong(format!(
                "leaves nothing of an image of {height}x{width} pixels (kernel {kernel}, pool {pool}): use fewer blocks or larger images"
            )),
            false => Ok(()),
        }
    }
}

impl Cnn {
    /// # Shapes
    /// - input: `[rows, channels, height, width]`
    /// - output: `[rows, outputs]`
    pub fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        let (mut norms, mut residuals) = (self.norms.iter(), self.residuals.iter());
        for (convolution, block) in std::iter::zip(&self.convolutions, &self.blocks) {
            if !block.batch_norm && !block.residual {
                x = block.convolve(convolution, x, true, block.pool);
                continue;
            }
            let input = x.clone();
            let norm = block.batch_norm.then(|| norms.next()).flatten();
            let residual = block.residual.then(|| residuals.next()).flatten();
            let pool = if residual.is_some() { 1 } else { block.pool };
            x = match norm {
                Some(norm) => normalise(norm, block.convolve(convolution, x, false, 1), true, pool),
                None => block.convolve(convolution, x, true, pool),
            };
            if let Some(residual) = residual {
                x = activation::relu(residual.forward(block, x, input));
                if block.pool > 1 {
                    x = max_pool2d(x, block.pool);
                }
            }
        }
        let mut x: Tensor<2> = match self.pooling {
            Pooling::Flatten => x.flatten(1, 3),
            Pooling::Average => x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2),
        };
        let last = self.layers.len() - 1;
        for layer in &self.layers[..last] {
            x = weigh(layer, x, true);
        }
        weigh(&self.layers[last], self.dropout.forward(x), false)
    }
}

/// Batch normalisation as Burn's layer does it, with the ReLU and the max-pooling behind it.
pub(super) fn normalise(norm: &BatchNorm, x: Tensor<4>, relu: bool, pool: usize) -> Tensor<4> {
    let options = NormOptions {
        epsilon: norm.epsilon,
        relu,
        pool,
    };
    let (gamma, beta) = (norm.gamma.val(), norm.beta.val());
    if !(x.device().is_autodiff() && norm.training.is_enabled()) {
        let known = [gamma, beta, norm.running_mean.value(), norm.running_var.value()];
        return batch_norm(x, known, options);
    }
    let (out, found) = batch_norm_train(x, gamma, beta, options);
    for (running, found) in std::iter::zip([&norm.running_mean, &norm.running_var], found) {
        let kept = running.value_sync().mul_scalar(1.0 - norm.momentum);
        running.update((kept + found.detach().mul_scalar(norm.momentum)).detach());
    }
    out
}

impl Residual {
    fn forward(&self, block: &Block, x: Tensor<4>, input: Tensor<4>) -> Tensor<4> {
        let mut x = block.convolve(&self.convolution, x, false, 1);
        if let Some(norm) = &self.norm {
            x = normalise(norm, x, false, 1);
        }
        match &self.shortcut {
            Some(shortcut) => x + block.convolve(shortcut, input, false, 1),
            None => x + input,
        }
    }
}
