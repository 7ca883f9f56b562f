//! Operations that the CPU does faster than Burn's own.
//!
//! Each is one function. On `flex` it runs the kernels of this folder, as an extension of that
//! backend with a backward pass of its own; on every other device it is Burn's operation. The values
//! are the same up to rounding, and on `flex` the same to the bit with any number of threads.

#[cfg(feature = "flex")]
mod convolution;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod gemm;
#[cfg(feature = "flex")]
mod pool;

use burn::tensor::ops::{MaxPoolOptions, ConvOptions};
use burn::tensor::{Tensor, activation, module};

/// How [`conv2d`] moves its kernel, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Pixels from one place of the kernel to the next, down and across.
    pub stride: [usize; 2],
    /// Rows of zeros above and below the image, columns of zeros left and right of it.
    pub padding: [(usize, usize); 2],
    /// Pixels from one weight of the kernel to the next, down and across.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether negative values become 0.
    pub relu: bool,
    /// The side and stride of the max-pooling window that follows, in pixels; 1 for none.
    pub pool: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self {
            stride: [1, 1],
            padding: [(0, 0); 2],
            dilation: [1, 1],
            groups: 1,
            relu: false,
            pool: 1,
        }
    }
}

/// A convolution, with the ReLU and the max-pooling behind it if `options` says so: done together, what
/// lies between them never goes to memory.
///
/// # Shapes
/// - `x`: `[rows, channels, height, width]`
/// - `weight`: `[filters, channels / groups, kernel height, kernel width]`
/// - `bias`: `[filters]`
/// - output: `[rows, filters, height, width]`, the last two as kernel, padding, stride and pooling leave
///   them
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    let (x, weight, bias) = match flex::conv2d(x, weight, bias, options) {
        Ok(found) => return found,
        Err(inputs) => *inputs,
    };
    let plain = ConvOptions::new_with_padding(
        options.stride,
        options.padding,
        options.dilation,
        options.groups,
    );
    let mut out = module::conv2d(x, weight, bias, plain);
    if options.relu {
        out = activation::relu(out);
    }
    match options.pool {
        0 | 1 => out,
        side => max_pool2d(out, side),
    }
}

/// The largest value of each square window of `side` pixels; windows do not overlap, and what is
/// left at the lower and right border belongs to none.
///
/// # Shapes
/// - `x`: `[rows, channels, height, width]`
/// - output: `[rows, channels, height / side, width / side]`
pub fn max_pool2d(x: Tensor<4>, side: usize) -> Tensor<4> {
    #[cfg(feature = "flex")]
    let x = match flex::max_pool2d(x, side) {
        Ok(found) => return found,
        Err(x) => x,
    };
    module::max_pool2d(x, MaxPoolOptions::new([side, side]))
}
