//! Operations that the CPU does faster than Burn's own.
//!
//! Each is one function. On `flex` it runs the kernels of this folder, as an extension of that
//! backend with a backward pass of its own; on every other device it is Burn's operation. The values
//! are the same up to rounding, and on `flex` the same to the bit with any number of threads.

#[cfg(feature = "flex")]
mod awake;
#[cfg_attr(not(feature = "flex"), allow(dead_code))]
mod buffers;
#[cfg(feature = "flex")]
mod convolution;
#[cfg(feature = "flex")]
mod dense;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod norm;
#[cfg(feature = "flex")]
mod pool;
#[cfg(feature = "flex")]
mod product;

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, activation, module};

pub use buffers::Reuse;

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

/// What follows a normalisation, and what keeps it from dividing by 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOptions {
    /// What is added to the variance.
    pub epsilon: f64,
    /// Whether negative values become 0.
    pub relu: bool,
    /// The side and stride of the max-pooling window that follows, in pixels; 1 for none.
    pub pool: usize,
}

/// Batch normalisation (Ioffe & Szegedy 2015) by the mean and the variance of these rows, with the ReLU and
/// the max-pooling behind it. Gives the output, and the mean and the biased variance of each channel.
///
/// # Shapes
/// - `x`: `[rows, channels, height, width]`
/// - `gamma`, `beta`, mean, variance: `[channels]`
/// - output: `[rows, channels, height / pool, width / pool]`
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    options: NormOptions,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    #[cfg(feature = "flex")]
    let (x, gamma, beta) = match flex::batch_norm_train(x, gamma, beta, options) {
        Ok(found) => return found,
        Err(inputs) => *inputs,
    };
    let found = module::batch_norm_train(x, gamma, beta, options.epsilon);
    (behind_norm(found.output, options), [found.mean, found.variance])
}

/// [`batch_norm_train`] by a mean and a variance that are known.
pub fn batch_norm(
    x: Tensor<4>,
    [gamma, beta, mean, variance]: [Tensor<1>; 4],
    options: NormOptions,
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    let (x, [gamma, beta, mean, variance]) =
        match flex::batch_norm(x, [gamma, beta, mean, variance], options) {
            Ok(found) => return found,
            Err(inputs) => *inputs,
        };
    behind_norm(module::batch_norm(x, gamma, beta, mean, variance, options.epsilon), options)
}

fn behind_norm(mut x: Tensor<4>, options: NormOptions) -> Tensor<4> {
    if options.relu {
        x = activation::relu(x);
    }
    match options.pool {
        0 | 1 => x,
        side => max_pool2d(x, side),
    }
}

/// A convolution along a sequence, one step at a time, with the ReLU behind it if `relu` is true.
///
/// # Shapes
/// - `x`: `[rows, channels, length]`
/// - `weight`: `[filters, channels, kernel]`
/// - `bias`: `[filters]`
/// - `padding`: steps of zeros before and behind the sequence
/// - output: `[rows, filters, length]`, the last as kernel and padding leave it
pub fn conv1d(
    x: Tensor<3>,
    weight: Tensor<3>,
    bias: Option<Tensor<1>>,
    padding: (usize, usize),
    relu: bool,
) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if flex::is_here(&x.device()) {
        // A sequence is an image of height 1.
        let options = Conv2dOptions {
            padding: [(0, 0), padding],
            relu,
            ..Conv2dOptions::default()
        };
        let (x, weight) = (x.unsqueeze_dim(2), weight.unsqueeze_dim(2));
        return conv2d(x, weight, bias, options).squeeze_dim(2);
    }
    let options = ConvOptions::new_with_padding([1], [padding], [1], 1);
    let out = module::conv1d(x, weight, bias, options);
    match relu {
        true => activation::relu(out),
        false => out,
    }
}

/// The zeros before and behind a row so that a kernel with steps of 1 leaves its length as it is.
pub fn same_padding(kernel: usize) -> (usize, usize) {
    let all = kernel.saturating_sub(1);
    (all / 2, all - all / 2)
}

/// Changes tensors by what lies at the same place of all of them and of `gradient`: one pass through
/// memory. `each` is called with pieces that belong together, at any number of threads with the same.
///
/// # Errors
/// The tensors as they were, where they do not lie in the memory of the host as `f32`.
pub fn in_place<const N: usize>(
    tensors: [Tensor<1>; N],
    gradient: &Tensor<1>,
    each: impl Fn([&mut [f32]; N], &[f32]) + Sync,
) -> Result<[Tensor<1>; N], [Tensor<1>; N]> {
    #[cfg(feature = "flex")]
    let tensors = match flex::in_place(tensors, gradient, &each) {
        Ok(found) => return Ok(found),
        Err(tensors) => tensors,
    };
    let _ = (gradient, each);
    Err(tensors)
}

/// Gives the memory of a tensor that is of no use any more to the next that is as long, while there is a
/// [`Reuse`].
pub fn reuse(tensor: Tensor<1>) {
    #[cfg(feature = "flex")]
    flex::reuse(tensor);
    #[cfg(not(feature = "flex"))]
    drop(tensor);
}

/// The rows through a linear layer, with the ReLU behind it if `relu` is true. On `flex`, a row gets the
/// same bits in any company.
///
/// # Shapes
/// - `x`: `[rows, inputs]`, `weight`: `[inputs, outputs]`, `bias`: `[outputs]`
/// - output: `[rows, outputs]`
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, relu: bool) -> Tensor<2> {
    #[cfg(feature = "flex")]
    let (x, weight, bias) = match flex::linear(x, weight, bias, relu) {
        Ok(found) => return found,
        Err(inputs) => *inputs,
    };
    let out = module::linear(x, weight, bias);
    match relu {
        true => activation::relu(out),
        false => out,
    }
}

/// Whether what a row gets on `flex` depends on the rows beside it by no bit. It does where the processor does not
/// multiply and add in one instruction: there Burn's operations are at work.
pub(crate) fn rows_stand_alone() -> bool {
    #[cfg(feature = "flex")]
    return product::is_fast();
    #[cfg(not(feature = "flex"))]
    return false;
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
        Err(x) => *x,
    };
    module::max_pool2d(x, MaxPoolOptions::new([side, side]))
}

#[cfg(all(test, feature = "flex"))]
mod tests;
