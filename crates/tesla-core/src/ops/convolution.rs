//! Convolution by matrix products, one image at a time.
//!
//! An image is small enough for a core's own cache together with its patches, so each goes through
//! all steps before the next one begins: padding, patches side by side in a matrix, the product with
//! the weights, ReLU and pooling. The order of channels changes on the way: inside, the channels of a pixel
//! lie together, which makes the patches long pieces to copy and pooling a loop over channels.
//!
//! Threads share the images. The gradient of the weights is a sum over images: the images are cut into
//! a number of runs that depends on the shapes alone, each run is added up in order, and then the
//! runs, so that the sum is the same at any number of threads.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::Conv2dOptions;
use super::gemm::{Matrix, MatrixMut, multiply};
use super::pool::{self, CLOSED, Window};

/// The shapes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shapes {
    pub(super) images: usize,
    pub(super) channels: usize,
    pub(super) size: [usize; 2],
    pub(super) filters: usize,
    pub(super) kernel: [usize; 2],
    pub(super) options: Conv2dOptions,
}

impl Shapes {
    fn padded(&self) -> [usize; 2] {
        [0, 1].map(|d| self.size[d] + self.options.padding[d].0 + self.options.padding[d].1)
    }

    /// Height and width before pooling; `None` where the kernel does not fit.
    pub(super) fn convolved(&self) -> Option<[usize; 2]> {
        let padded = self.padded();
        let Conv2dOptions {
            stride, dilation, ..
        } = self.options;
        let side = |d: usize| {
            let reach = dilation[d].checked_mul(self.kernel[d].checked_sub(1)?)?;
            Some(padded[d].checked_sub(reach + 1)? / stride[d] + 1)
        };
        Some([side(0)?, side(1)?])
    }

    fn work(&self) -> Work {
        let out = self.convolved().unwrap_or([0, 0]);
        let groups = self.options.groups;
        let patch = self.channels / groups * self.kernel[0] * self.kernel[1];
        Work {
            shapes: *self,
            padded: self.padded(),
            out,
            places: out[0] * out[1],
            patch,
            window: Window {
                size: out,
                channels: self.filters,
                side: self.options.pool.max(1),
            },
        }
    }
}

/// The channels of a pixel lie together, or each channel is a plane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Pixels,
    Planes,
}

/// Images, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) values: &'a [f32],
    pub(super) order: Order,
}

/// Shapes with what follows from them.
struct Work {
    shapes: Shapes,
    padded: [usize; 2],
    out: [usize; 2],
    /// Places the kernel comes to.
    places: usize,
    /// Values it sees at one place, of one group.
    patch: usize,
    window: Window,
}

/// What comes out of a convolution and what its way back needs.
pub(super) struct Output {
    pub(super) values: Vec<f32>,
    /// Of each value, where in its window it came from, or [`CLOSED`]; empty without ReLU and pooling.
    pub(super) chosen: Vec<u8>,
    pub(super) order: Order,
    pub(super) size: [usize; 2],
}

/// The order of the values that come out: pooling works pixel by pixel.
fn order_out(options: &Conv2dOptions) -> Order {
    match options.pool > 1 {
        true => Order::Pixels,
        false => Order::Planes,
    }
}

/// The convolution of all images. `weight` is `[filters, channels / groups, height, width]`.
pub(super) fn forward(
    shapes: &Shapes,
    x: Images<'_>,
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Output {
    let work = shapes.work();
    let Conv2dOptions { relu, pool, .. } = shapes.options;
    let weight = work.by_pixels(weight);
    let order = order_out(&shapes.options);
    let size = [0, 1].map(|d| work.out[d] / pool.max(1));
    let per_image = size[0] * size[1] * shapes.filters;
    let mut values = vec![0.0; shapes.images * per_image];
    let keeps = relu || pool > 1;
    let mut chosen = vec![0; if keeps { values.len() } else { 0 }];
    let no_bias = vec![0.0; if bias.is_some() { 0 } else { shapes.filters }];
    let bias = bias.unwrap_or(&no_bias);
    if values.is_empty() {
        return Output {
            values,
            chosen,
            order,
            size,
        };
    }
    let one = |(i, out): (usize, &mut [f32]), chosen: &mut [u8]| {
        let buffers = [work.image_len(), work.patches_len(), work.pooled_from_len()];
        with_scratch(buffers, |[image, patches, convolved]| {
            work.pad(x, i, image);
            match order {
                Order::Planes => {
                    work.products(image, patches, &weight, out, order);
                    work.finish_planes(out, bias, chosen);
                }
                Order::Pixels => {
                    work.products(image, patches, &weight, convolved, order);
                    pool::forward(&work.window, convolved, bias, relu, out, chosen);
                }
            }
        });
    };
    let parallel = shapes.images > 1 && work.products_of_all() > PARALLEL;
    match (keeps, parallel) {
        (true, true) => values
            .par_chunks_mut(per_image)
            .zip(chosen.par_chunks_mut(per_image))
            .enumerate()
            .for_each(|(i, (out, chosen))| one((i, out), chosen)),
        (false, true) => values
            .par_chunks_mut(per_image)
            .enumerate()
            .for_each(|image| one(image, &mut [])),
        (true, false) => std::iter::zip(values.chunks_mut(per_image), chosen.chunks_mut(per_image))
            .enumerate()
            .for_each(|(i, (out, chosen))| one((i, out), chosen)),
        (false, false) => values
            .chunks_mut(per_image)
            .enumerate()
            .for_each(|image| one(image, &mut [])),
    }
    Output {
        values,
        chosen,
        order,
        size,
    }
}

/// The gradients of a convolution.
pub(super) struct Gradients {
    /// In the order of `x`; `None` where it was not asked for.
    pub(super) x: Option<Vec<f32>>,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// The gradients from `gradient`, that of the output, and from what [`forward`] left in `chosen`.
pub(super) fn backward(
    shapes: &Shapes,
    x: Images<'_>,
    weight: &[f32],
    chosen: &[u8],
    gradient: Images<'_>,
    wants_x: bool,
) -> Gradients {
    let work = shapes.work();
    let by_pixels = work.by_pixels(weight);
    let run = shapes.images.div_ceil(work.runs()).max(1);
    let runs = shapes.images.div_ceil(run);
    let per_image = shapes.channels * shapes.size[0] * shapes.size[1];
    let mut x_gradient = vec![
        0.0;
        if wants_x {
            shapes.images * per_image
        } else {
            0
        }
    ];
    // The weights of each run, then its biases.
    let per_run = weight.len() + shapes.filters;
    let mut sums = vec![0.0; runs * per_run];
    let one = |(at, sums): (usize, &mut [f32]), x_gradient: &mut [f32]| {
        let images = at * run..shapes.images.min((at + 1) * run);
        work.backward_run(x, images, &by_pixels, chosen, gradient, sums, x_gradient);
    };
    if runs > 0 && !work.window.is_empty() {
        let sums = sums.par_chunks_mut(per_run).enumerate();
        match wants_x && per_image > 0 {
            true => sums
                .zip(x_gradient.par_chunks_mut(run * per_image))
                .for_each(|(sums, x_gradient)| one(sums, x_gradient)),
            false => sums.for_each(|sums| one(sums, &mut [])),
        }
    }
    let mut sums = sums.chunks(per_run);
    let mut total = sums.next().map_or_else(|| vec![0.0; per_run], <[f32]>::to_vec);
    for sum in sums {
        add(&mut total, sum);
    }
    let bias = total.split_off(weight.len());
    Gradients {
        x: wants_x.then_some(x_gradient),
        weight: work.by_planes(&total),
        bias,
    }
}

/// Multiplications in a product from which on it is worth waking another thread.
const PARALLEL: usize = 1 << 18;
/// Values in the partial sums of a weight's gradient.
const SUMS: usize = 1 << 21;

impl Work {
    fn products_of_all(&self) -> usize {
        self.shapes.images * self.places * self.patch * self.shapes.filters
    }

    /// Runs of images whose gradients are added up apart.
    fn runs(&self) -> usize {
        (SUMS / (self.patch * self.shapes.filters).max(1)).clamp(4, 16)
    }

    fn image_len(&self) -> usize {
        self.padded[0] * self.padded[1] * self.shapes.channels
    }

    fn patches_len(&self) -> usize {
        self.places * self.patch
    }

    fn pooled_from_len(&self) -> usize {
        match order_out(&self.shapes.options) {
            Order::Pixels => self.places * self.shapes.filters,
            Order::Planes => 0,
        }
    }

    /// `[filters, channels, height, width]` as `[filters, height, width, channels]`.
    fn by_pixels(&self, weight: &[f32]) -> Vec<f32> {
        let area = self.shapes.kernel[0] * self.shapes.kernel[1];
        let mut found = vec![0.0; weight.len()];
        if !weight.is_empty() {
            let filters = found.chunks_exact_mut(self.patch);
            for (found, weight) in std::iter::zip(filters, weight.chunks_exact(self.patch)) {
                transpose(weight, area, found);
            }
        }
        found
    }

    /// The reverse of [`Work::by_pixels`].
    fn by_planes(&self, weight: &[f32]) -> Vec<f32> {
        let area = self.shapes.kernel[0] * self.shapes.kernel[1];
        let mut found = vec![0.0; weight.len()];
        if !weight.is_empty() {
            let filters = found.chunks_exact_mut(self.patch);
            for (found, weight) in std::iter::zip(filters, weight.chunks_exact(self.patch)) {
                transpose(weight, self.patch / area, found);
            }
        }
        found
    }

    /// Image `i` in `padded`, pixel by pixel, with zeros around it.
    fn pad(&self, x: Images<'_>, i: usize, padded: &mut [f32]) {
        let Shapes { channels, size, .. } = self.shapes;
        let [height, width] = size;
        let image = &x.values[i * channels * height * width..][..channels * height * width];
        if image.is_empty() {
            return;
        }
        let [(top, _), (left, _)] = self.shapes.options.padding;
        if self.padded != size {
            padded.fill(0.0);
        }
        let across = self.padded[1] * channels;
        for y in 0..height {
            let row = &mut padded[(y + top) * across + left * channels..][..width * channels];
            if x.order == Order::Pixels || channels == 1 {
                row.copy_from_slice(&image[y * width * channels..][..width * channels]);
                continue;
            }
            for (channel, plane) in image.chunks_exact(height * width).enumerate() {
                let from = &plane[y * width..][..width];
                let to = row[channel..].iter_mut().step_by(channels);
                for (to, from) in std::iter::zip(to, from) {
                    *to = *from;
                }
            }
        }
    }

    /// The reverse of [`Work::pad`], for gradients.
    fn crop(&self, padded: &[f32], image: &mut [f32], order: Order) {
        let Shapes { channels, size, .. } = self.shapes;
        let [height, width] = size;
        let [(top, _), (left, _)] = self.shapes.options.padding;
        let across = self.padded[1] * channels;
        for y in 0..height {
            let row = &padded[(y + top) * across + left * channels..][..width * channels];
            if order == Order::Pixels || channels == 1 {
                image[y * width * channels..][..width * channels].copy_from_slice(row);
                continue;
            }
            for (channel, plane) in image.chunks_exact_mut(height * width).enumerate() {
                let to = &mut plane[y * width..][..width];
                for (to, from) in std::iter::zip(to, row[channel..].iter().step_by(channels)) {
                    *to = *from;
                }
            }
        }
    }

    /// Calls `each` with where in a patch and where in the padded image its pieces lie, and their length.
    #[inline(always)]
    fn pieces(&self, group: usize, mut each: impl FnMut(usize, usize, usize)) {
        let Shapes {
            channels, kernel, ..
        } = self.shapes;
        let Conv2dOptions {
            stride,
            dilation,
            groups,
            ..
        } = self.shapes.options;
        let own = channels / groups;
        // Neighbours in a row of the kernel are neighbours in the image too.
        let (pieces, length) = match groups == 1 && dilation[1] == 1 {
            true => (1, kernel[1] * own),
            false => (kernel[1], own),
        };
        let mut to = 0;
        for y in 0..self.out[0] {
            for x in 0..self.out[1] {
                for down in 0..kernel[0] {
                    let row = (y * stride[0] + down * dilation[0]) * self.padded[1];
                    for piece in 0..pieces {
                        let pixel = row + x * stride[1] + piece * dilation[1];
                        each(to, pixel * channels + group * own, length);
                        to += length;
                    }
                }
            }
        }
    }

    /// The patches of a padded image, one per row.
    fn gather(&self, group: usize, image: &[f32], patches: &mut [f32]) {
        self.pieces(group, |to, from, length| {
            let (to, from) = (&mut patches[to..to + length], &image[from..from + length]);
            match length < 8 {
                true => std::iter::zip(to, from).for_each(|(to, from)| *to = *from),
                false => to.copy_from_slice(from),
            }
        });
    }

    /// The sum of patches where they came from, in the channels of `group`.
    fn scatter(&self, group: usize, patches: &[f32], image: &mut [f32]) {
        let groups = self.shapes.options.groups;
        let own = self.shapes.channels / groups;
        match groups {
            1 => image.fill(0.0),
            _ => image
                .chunks_exact_mut(self.shapes.channels)
                .for_each(|pixel| pixel[group * own..][..own].fill(0.0)),
        }
        self.pieces(group, |from, to, length| {
            add(&mut image[to..to + length], &patches[from..from + length]);
        });
    }

    fn out_strides(&self, order: Order) -> [usize; 2] {
        match order {
            Order::Pixels => [self.shapes.filters, 1],
            Order::Planes => [1, self.places],
        }
    }

    /// Patches times weights, for all groups.
    fn products(
        &self,
        image: &[f32],
        patches: &mut [f32],
        weight: &[f32],
        out: &mut [f32],
        order: Order,
    ) {
        let own = self.shapes.filters / self.shapes.options.groups;
        let [row, column] = self.out_strides(order);
        for group in 0..self.shapes.options.groups {
            self.gather(group, image, patches);
            multiply(
                [self.places, own, self.patch],
                Matrix {
                    values: patches,
                    row: self.patch,
                    column: 1,
                },
                Matrix {
                    values: &weight[group * own * self.patch..],
                    row: 1,
                    column: self.patch,
                },
                MatrixMut {
                    values: &mut out[group * own * column..],
                    row,
                    column,
                },
                false,
            );
        }
    }

    /// Adds the bias to planes and applies ReLU.
    fn finish_planes(&self, out: &mut [f32], bias: &[f32], chosen: &mut [u8]) {
        for (filter, plane) in out.chunks_exact_mut(self.places).enumerate() {
            let bias = bias[filter];
            if !self.shapes.options.relu {
                plane.iter_mut().for_each(|value| *value += bias);
                continue;
            }
            let chosen = &mut chosen[filter * self.places..][..self.places];
            for (value, chosen) in std::iter::zip(plane, chosen) {
                let sum = *value + bias;
                (*value, *chosen) = if sum <= 0.0 { (0.0, CLOSED) } else { (sum, 0) };
            }
        }
    }

    /// The gradients of some images: `sums` holds those of weights and biases, `x_gradient` those of the
    /// images, or nothing where they are not asked for.
    #[allow(clippy::too_many_arguments)]
    fn backward_run(
        &self,
        x: Images<'_>,
        images: Range<usize>,
        weight: &[f32],
        chosen: &[u8],
        gradient: Images<'_>,
        sums: &mut [f32],
        x_gradient: &mut [f32],
    ) {
        let Shapes {
            filters,
            channels,
            size,
            ..
        } = self.shapes;
        let wants_x = !x_gradient.is_empty();
        let per_image = channels * size[0] * size[1];
        let (weight_sum, bias_sum) = sums.split_at_mut(weight.len());
        let own = filters / self.shapes.options.groups;
        let buffers =
            [self.image_len(), self.patches_len(), self.places * filters, self.window.pooled_len()];
        for (at, i) in images.enumerate() {
            with_scratch(buffers, |[image, patches, inner, pooled]| {
                self.pad(x, i, image);
                let (inner, order) =
                    self.inner_gradient(gradient, i, chosen, inner, pooled, bias_sum);
                let [row, column] = self.out_strides(order);
                for group in 0..self.shapes.options.groups {
                    self.gather(group, image, patches);
                    let inner = &inner[group * own * column..];
                    multiply(
                        [own, self.patch, self.places],
                        Matrix {
                            values: inner,
                            row: column,
                            column: row,
                        },
                        Matrix {
                            values: patches,
                            row: self.patch,
                            column: 1,
                        },
                        MatrixMut {
                            values: &mut weight_sum[group * own * self.patch..],
                            row: self.patch,
                            column: 1,
                        },
                        true,
                    );
                    if !wants_x {
                        continue;
                    }
                    multiply(
                        [self.places, self.patch, own],
                        Matrix {
                            values: inner,
                            row,
                            column,
                        },
                        Matrix {
                            values: &weight[group * own * self.patch..],
                            row: self.patch,
                            column: 1,
                        },
                        MatrixMut {
                            values: patches,
                            row: self.patch,
                            column: 1,
                        },
                        false,
                    );
                    self.scatter(group, patches, image);
                }
                if wants_x {
                    let to = &mut x_gradient[at * per_image..][..per_image];
                    self.crop(image, to, x.order);
                }
            });
        }
    }

    /// The gradient before ReLU and pooling, of image `i`; adds that of the biases to `bias`.
    fn inner_gradient<'b>(
        &self,
        gradient: Images<'b>,
        i: usize,
        chosen: &[u8],
        inner: &'b mut [f32],
        pooled: &'b mut [f32],
        bias: &mut [f32],
    ) -> (&'b [f32], Order) {
        let filters = self.shapes.filters;
        let length = self.window.pooled_len();
        let gradient_of = &gradient.values[i * length..][..length];
        let Conv2dOptions { relu, pool, .. } = self.shapes.options;
        if pool > 1 {
            let chosen = &chosen[i * length..][..length];
            let gradient = match gradient.order {
                Order::Pixels => gradient_of,
                Order::Planes => {
                    transpose(gradient_of, length / filters, pooled);
                    &*pooled
                }
            };
            pool::backward(&self.window, gradient, chosen, inner, bias);
            return (inner, Order::Pixels);
        }
        let planes = match gradient.order {
            Order::Planes => gradient_of,
            Order::Pixels => {
                transpose(gradient_of, filters, pooled);
                &*pooled
            }
        };
        let planes = match relu {
            false => planes,
            true => {
                let chosen = &chosen[i * length..][..length];
                for ((to, from), chosen) in inner.iter_mut().zip(planes).zip(chosen) {
                    *to = if *chosen == CLOSED { 0.0 } else { *from };
                }
                &*inner
            }
        };
        for (bias, plane) in std::iter::zip(bias, planes.chunks_exact(self.places)) {
            *bias += sum(plane);
        }
        (planes, Order::Planes)
    }
}

/// The sum of `values`, in eight lanes and then over these.
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = values.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        add(&mut lanes, chunk);
    }
    lanes.iter().sum::<f32>() + rest
}

fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in std::iter::zip(to, from) {
        *to += from;
    }
}

/// A matrix with rows of `columns` values, its columns as rows.
pub(super) fn transpose(from: &[f32], columns: usize, to: &mut [f32]) {
    let rows = from.len() / columns;
    for (row, values) in from.chunks_exact(columns).enumerate() {
        for (value, to) in std::iter::zip(values, to[row..].iter_mut().step_by(rows)) {
            *to = *value;
        }
    }
}

/// Buffers of the calling thread, kept from one call to the next. What they hold is left over.
fn with_scratch<const N: usize, T>(
    lengths: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> T,
) -> T {
    thread_local! {
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let total: usize = lengths.iter().sum();
        if scratch.len() < total {
            scratch.resize(total, 0.0);
        }
        let mut rest = scratch.as_mut_slice();
        work(lengths.map(|length| rest.split_off_mut(..length).unwrap_or_default()))
    })
}
