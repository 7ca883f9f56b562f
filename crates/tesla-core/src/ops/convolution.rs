//! Convolution, one image at a time.
//!
//! An image is small enough for a core's own cache, so each goes through all steps before the next one
//! begins: padding, the product of its patches and the weights, ReLU and pooling. The channels of a pixel lie
//! together inside and in what comes out, so that a patch is a few long pieces of the image, which the product
//! reads where they are, and pooling a loop over channels.
//!
//! Threads share the images. The gradient of the weights is a sum over images: the images are cut into
//! a number of runs that depends on the shapes alone, each run is added up in order, and then the
//! runs, so that the sum is the same at any number of threads.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::Conv2dOptions;
use super::awake::stay_awake;
use super::buffers;
use super::pool::{self, Window};
use super::product::{Input, PARALLEL, Product, least};

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
        let padded = self.padded();
        let Conv2dOptions {
            stride,
            dilation,
            groups,
            ..
        } = self.options;
        // Where the pixels of a grid begin in a padded image.
        let grid = |size: [usize; 2], step: [usize; 2]| -> Vec<usize> {
            let row = |y| {
                (0..size[1]).map(move |x| (y * step[0] * padded[1] + x * step[1]) * self.channels)
            };
            (0..size[0]).flat_map(row).collect()
        };
        let own = self.channels / groups;
        // Neighbours in a row of the kernel are neighbours in the image too.
        let (pieces, length) = match groups == 1 && dilation[1] == 1 {
            true => ([self.kernel[0], 1], self.kernel[1] * own),
            false => (self.kernel, own),
        };
        let pieces = grid(pieces, dilation);
        let patch: Vec<usize> = pieces.iter().flat_map(|from| *from..from + length).collect();
        Work {
            shapes: *self,
            padded,
            places: grid(out, stride),
            inputs: with_lines(&patch, self.filters / groups),
            pieces,
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
    /// Where in a padded image each place of the kernel begins.
    places: Vec<usize>,
    /// How far behind that each piece of a patch begins whose values lie together.
    pieces: Vec<usize>,
    /// How far behind that each value of a patch lies, of one group.
    patch: Vec<usize>,
    /// The same, each with its line of weights.
    inputs: Vec<Input>,
    window: Window,
}

/// Values that lie at `offsets` behind the start of a row, each with a line of `across` weights.
fn with_lines(offsets: &[usize], across: usize) -> Vec<Input> {
    let line = |(at, x): (usize, &usize)| Input {
        x: *x,
        weight: at * across,
    };
    offsets.iter().enumerate().map(line).collect()
}

/// What comes out of a convolution and what its way back needs.
pub(super) struct Output {
    /// Pixel by pixel.
    pub(super) values: Vec<f32>,
    /// Of each value, where in its window it came from, or [`pool::CLOSED`]; empty without ReLU and pooling.
    pub(super) chosen: Vec<u8>,
    pub(super) size: [usize; 2],
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
    let weight = work.by_values(weight);
    let size = work.window.pooled();
    let per_image = work.window.pooled_len();
    let mut values = buffers::take(shapes.images * per_image);
    let keeps = relu || pool > 1;
    let mut chosen = vec![0; if keeps { values.len() } else { 0 }];
    if values.is_empty() {
        return Output {
            values,
            chosen,
            size,
        };
    }
    let no_bias = vec![0.0; if bias.is_some() { 0 } else { shapes.filters }];
    let bias = bias.unwrap_or(&no_bias);
    let one = |(i, out): (usize, &mut [f32]), chosen: &mut [u8]| {
        let buffers = [work.image_len(), if keeps { work.convolved_len() } else { 0 }];
        with_scratch(buffers, |[image, convolved]| {
            let image = work.pad(x, i, image);
            match keeps {
                false => work.convolve(image, &weight, bias, out),
                true => {
                    work.convolve(image, &weight, bias, convolved);
                    pool::forward(&work.window, convolved, relu, out, chosen);
                }
            }
        });
    };
    let images = values
        .par_chunks_mut(per_image)
        .with_min_len(least(work.products_of_image()));
    match keeps {
        true => images
            .zip(chosen.par_chunks_mut(per_image))
            .enumerate()
            .for_each(|(i, (out, chosen))| one((i, out), chosen)),
        false => images.enumerate().for_each(|image| one(image, &mut [])),
    }
    Output {
        values,
        chosen,
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
    let back = wants_x.then(|| work.by_filters(weight));
    let run = shapes.images.div_ceil(work.runs()).max(1);
    let runs = shapes.images.div_ceil(run);
    let per_image = shapes.channels * shapes.size[0] * shapes.size[1];
    let mut x_gradient = match wants_x {
        true => buffers::take(shapes.images * per_image),
        false => Vec::new(),
    };
    // The weights of each run, then its biases.
    let per_run = weight.len() + shapes.filters;
    let mut sums = buffers::take(runs * per_run);
    let one = |(at, sums): (usize, &mut [f32]), x_gradient: &mut [f32]| {
        sums.fill(0.0);
        let sums = sums.split_at_mut(weight.len());
        let images = at * run..shapes.images.min((at + 1) * run);
        work.backward_run(x, images, back.as_deref(), (chosen, gradient), sums, x_gradient);
    };
    if shapes.images * work.products_of_image() > 4 * PARALLEL {
        stay_awake();
    }
    if runs > 0 && !work.window.is_empty() {
        let sums = sums.par_chunks_mut(per_run).enumerate();
        match wants_x && per_image > 0 {
            true => sums
                .zip(x_gradient.par_chunks_mut(run * per_image))
                .for_each(|(sums, x_gradient)| one(sums, x_gradient)),
            false => sums.for_each(|sums| one(sums, &mut [])),
        }
    } else {
        sums.fill(0.0);
        x_gradient.fill(0.0);
    }
    let mut total = vec![0.0; per_run];
    for sum in sums.chunks(per_run.max(1)) {
        add(&mut total, sum);
    }
    buffers::give(sums);
    let bias = total.split_off(weight.len());
    Gradients {
        x: wants_x.then_some(x_gradient),
        weight: work.by_planes(&total),
        bias,
    }
}

/// Values in the partial sums of a weight's gradient.
const SUMS: usize = 1 << 21;
/// Values in the gradients of patches that are added to an image at a time: as many as a core keeps near.
const PATCHES: usize = 1 << 16;

impl Work {
    fn products_of_image(&self) -> usize {
        self.places.len() * self.patch.len() * self.shapes.filters
    }

    /// Runs of images whose gradients are added up apart.
    fn runs(&self) -> usize {
        (SUMS / (self.patch.len() * self.shapes.filters).max(1)).clamp(4, 16)
    }

    fn image_len(&self) -> usize {
        self.padded[0] * self.padded[1] * self.shapes.channels
    }

    fn convolved_len(&self) -> usize {
        self.places.len() * self.shapes.filters
    }

    /// The filters of a group.
    fn own(&self) -> usize {
        self.shapes.filters / self.shapes.options.groups
    }

    /// For each group, where its channels, its filters and its weights begin.
    fn groups(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let groups = self.shapes.options.groups;
        let (channels, own, patch) = (self.shapes.channels / groups, self.own(), self.patch.len());
        (0..groups).map(move |group| (group * channels, group * own, group * own * patch))
    }

    /// Calls `each` with where a weight stands as a parameter, `[filters, channels, height, width]`, and
    /// where in `[groups, height, width, channels, filters]`, a line for each value of a patch.
    fn each_weight(&self, mut each: impl FnMut(usize, usize)) {
        /// Filters whose weights are read side by side, so that whole lines of memory are written.
        const SIDE: usize = 16;
        let area = self.shapes.kernel[0] * self.shapes.kernel[1];
        let (own, patch) = (self.own(), self.patch.len());
        let channels = self.shapes.channels / self.shapes.options.groups;
        for (_, _, start) in self.groups() {
            for first in (0..own).step_by(SIDE) {
                for at in 0..patch {
                    let line = start + (at % area * channels + at / area) * own;
                    for filter in first..own.min(first + SIDE) {
                        each(start + filter * patch + at, line + filter);
                    }
                }
            }
        }
    }

    /// The weights with a line for each value of a patch.
    fn by_values(&self, weight: &[f32]) -> Vec<f32> {
        let mut found = vec![0.0; weight.len()];
        self.each_weight(|parameter, line| found[line] = weight[parameter]);
        found
    }

    /// The reverse of [`Work::by_values`].
    fn by_planes(&self, weight: &[f32]) -> Vec<f32> {
        let mut found = buffers::take(weight.len());
        self.each_weight(|parameter, line| found[parameter] = weight[line]);
        found
    }

    /// `[filters, channels, height, width]` as `[filters, height, width, channels]`.
    fn by_filters(&self, weight: &[f32]) -> Vec<f32> {
        let area = self.shapes.kernel[0] * self.shapes.kernel[1];
        let mut found = vec![0.0; weight.len()];
        if !weight.is_empty() {
            let filters = found.chunks_exact_mut(self.patch.len());
            for (found, weight) in std::iter::zip(filters, weight.chunks_exact(self.patch.len())) {
                transpose(weight, area, found);
            }
        }
        found
    }

    /// Image `i` pixel by pixel, with zeros around it; in `buffer`, unless it lies so already.
    fn pad<'a>(&self, x: Images<'a>, i: usize, buffer: &'a mut [f32]) -> &'a [f32] {
        let Shapes { channels, size, .. } = self.shapes;
        let [height, width] = size;
        let image = &x.values[i * channels * height * width..][..channels * height * width];
        let by_pixels = x.order == Order::Pixels || channels == 1;
        if self.padded == size && by_pixels {
            return image;
        }
        let [(top, _), (left, _)] = self.shapes.options.padding;
        if self.padded != size {
            buffer.fill(0.0);
        }
        if image.is_empty() {
            return buffer;
        }
        let across = self.padded[1] * channels;
        for y in 0..height {
            let row = &mut buffer[(y + top) * across + left * channels..][..width * channels];
            if by_pixels {
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
        buffer
    }

    /// The reverse of [`Work::pad`], for gradients.
    fn crop(&self, padded: &[f32], image: &mut [f32], order: Order) {
        let Shapes { channels, size, .. } = self.shapes;
        let [height, width] = size;
        if image.is_empty() {
            return;
        }
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

    /// Patches times weights plus bias, for all places and filters, pixel by pixel.
    fn convolve(&self, image: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
        let filters = self.shapes.filters;
        for pixel in out.chunks_exact_mut(filters) {
            pixel.copy_from_slice(bias);
        }
        for (channel, filter, start) in self.groups() {
            Product {
                x: &image[channel..],
                starts: &self.places,
                inputs: &self.inputs,
                weight: &weight[start..],
                out: &mut out[filter..],
                across: filters,
                outputs: self.own(),
            }
            .add();
        }
    }

    /// The gradients of some images. Those of weights and biases are added to `sums`, those of the images
    /// go to `x_gradient`, by weights that stand by filters, where there are some.
    fn backward_run(
        &self,
        x: Images<'_>,
        images: Range<usize>,
        back: Option<&[f32]>,
        (chosen, gradient): (&[u8], Images<'_>),
        (weight_sum, bias_sum): (&mut [f32], &mut [f32]),
        x_gradient: &mut [f32],
    ) {
        let (filters, own, patch) = (self.shapes.filters, self.own(), self.patch.len());
        let [height, width] = self.shapes.size;
        let per_image = self.shapes.channels * height * width;
        let each_place = with_lines(&self.places, filters);
        let starts: Vec<usize> = (0..self.convolved_len()).step_by(filters).collect();
        let each_filter = with_lines(&Vec::from_iter(0..own), patch);
        let together = (PATCHES / patch.max(1)).clamp(1, self.places.len().max(1));
        let patches = back.map_or(0, |_| together * patch);
        let buffers = [self.image_len(), self.convolved_len(), self.window.pooled_len(), patches];
        for (at, i) in images.enumerate() {
            with_scratch(buffers, |[buffer, inner, pooled, patches]| {
                let inner = self.inner_gradient(gradient, i, chosen, inner, pooled, bias_sum);
                let image = self.pad(x, i, buffer);
                for (channel, filter, start) in self.groups() {
                    Product {
                        x: &image[channel..],
                        starts: &self.patch,
                        inputs: &each_place,
                        weight: &inner[filter..],
                        out: &mut weight_sum[start..],
                        across: own,
                        outputs: own,
                    }
                    .add();
                }
                let Some(weight) = back else { return };
                buffer.fill(0.0);
                for (channel, filter, start) in self.groups() {
                    let places = self.places.chunks(together);
                    for (places, starts) in places.zip(starts.chunks(together)) {
                        let patches = &mut patches[..places.len() * patch];
                        patches.fill(0.0);
                        Product {
                            x: &inner[filter..],
                            starts,
                            inputs: &each_filter,
                            weight: &weight[start..],
                            out: patches,
                            across: patch,
                            outputs: patch,
                        }
                        .add();
                        self.scatter(places, patches, &mut buffer[channel..]);
                    }
                }
                let to = &mut x_gradient[at * per_image..][..per_image];
                self.crop(buffer, to, x.order);
            });
        }
    }

    /// Adds the patches of some places where they came from.
    fn scatter(&self, places: &[usize], patches: &[f32], image: &mut [f32]) {
        let length = self.patch.len() / self.pieces.len();
        let mut patches = patches.chunks_exact(length);
        for place in places {
            for (piece, patch) in std::iter::zip(&self.pieces, &mut patches) {
                add(&mut image[place + piece..][..length], patch);
            }
        }
    }

    /// The gradient before ReLU and pooling, of image `i`, pixel by pixel; adds that of the biases to `bias`.
    fn inner_gradient<'b>(
        &self,
        gradient: Images<'b>,
        i: usize,
        chosen: &[u8],
        inner: &'b mut [f32],
        pooled: &'b mut [f32],
        bias: &mut [f32],
    ) -> &'b [f32] {
        let filters = self.shapes.filters;
        let length = self.window.pooled_len();
        let gradient_of = &gradient.values[i * length..][..length];
        let gradient = match gradient.order {
            Order::Pixels => gradient_of,
            Order::Planes => {
                transpose(gradient_of, length / filters, pooled);
                pooled
            }
        };
        match chosen.is_empty() {
            true => {
                gradient.chunks_exact(filters).for_each(|pixel| add(bias, pixel));
                gradient
            }
            false => {
                let chosen = &chosen[i * length..][..length];
                pool::backward(&self.window, gradient, chosen, inner, bias);
                inner
            }
        }
    }
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

/// Buffers of the calling thread, kept from one call to the next, as large as its largest image needed. What they
/// hold is left over.
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
