//! The kernels as operations of the backend `flex`, with their way back.

use burn::backend::{Autodiff, DispatchDevice, GradientCheckpointingStrategy};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::{Flex, FlexTensor, Layout};
use rayon::prelude::*;

use super::convolution::{self, Images, Order, Output, Shapes};
use super::pool::{self, CLOSED, Window};
use super::{Conv2dOptions, NormOptions};
use super::{buffers, dense, norm, product};

/// What kind of tensor of this backend it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Recorded,
}

fn kind<const D: usize>(tensor: &Tensor<D>) -> Option<Kind> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    kind_of(&tensor.device())
}

fn kind_of(device: &Device) -> Option<Kind> {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => Some(Kind::Plain),
        DispatchDevice::Autodiff(device)
            if matches!(**device, DispatchDevice::Flex(_))
                && device.gradient_checkpointing_strategy()
                    == GradientCheckpointingStrategy::Disabled =>
        {
            Some(Kind::Recorded)
        }
        _ => None,
    }
}

/// Whether this backend computes on a device.
pub(super) fn is_here(device: &Device) -> bool {
    kind_of(device).is_some()
}

type Recorded = burn_autodiff::ops::NodeGuard;

/// A tensor of this backend; one that is recorded also with its place in the record.
fn open<const D: usize>(tensor: Tensor<D>, kind: Kind) -> (FlexTensor, Option<Recorded>) {
    let known = "the kind of tensor was looked at before";
    match kind {
        Kind::Plain => (tensor.try_into_primitive::<Flex>().expect(known), None),
        Kind::Recorded => {
            let tensor = tensor.try_into_primitive::<Autodiff<Flex>>().expect(known);
            let (values, node) = tensor.into_parts();
            (values, Some(node))
        }
    }
}

type Inputs = (Tensor<4>, Tensor<4>, Option<Tensor<1>>);

/// [`super::conv2d`] on this backend; gives the tensors back where it is not for it.
pub(super) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
) -> Result<Tensor<4>, Box<Inputs>> {
    let found = kind(&x);
    let fits = kind(&weight) == found
        && bias.as_ref().is_none_or(|bias| kind(bias) == found)
        && product::is_fast();
    let (Some(kind), true, Some(shapes)) = (found, fits, shapes(&x, &weight, options)) else {
        return Err(Box::new((x, weight, bias)));
    };
    let (x, x_node) = open(x, kind);
    let (weight, weight_node) = open(weight, kind);
    let (bias, bias_node) = bias.map(|bias| open(bias, kind)).unzip();
    let (x, order) = images(x);
    let weight = contiguous(weight);
    let bias = bias.map(contiguous);
    let output = convolution::forward(
        &shapes,
        Images {
            values: values(&x),
            order,
        },
        values(&weight),
        bias.as_ref().map(values),
    );
    let Output {
        values: out,
        chosen,
        size: [height, width],
    } = output;
    let out = tensor(out, [shapes.images, shapes.filters, height, width], Order::Pixels);
    let state = Convolved {
        x,
        order,
        weight,
        chosen: chosen.into(),
        shapes,
    };
    Ok(match (x_node, weight_node, bias_node.flatten()) {
        (Some(x), Some(weight), Some(bias)) => record(Conv2d, [x, weight, bias], state, out),
        (Some(x), Some(weight), None) => record(Conv2d, [x, weight], state, out),
        _ => Tensor::from_primitive::<Flex>(out),
    })
}

/// The shapes of a convolution that these kernels do; `None` for what Burn's operation shall do or refuse.
fn shapes(x: &Tensor<4>, weight: &Tensor<4>, options: Conv2dOptions) -> Option<Shapes> {
    let [images, channels, height, width] = x.dims();
    let [filters, own, down, across] = weight.dims();
    let groups = options.groups;
    let divides = groups > 0
        && own > 0
        && own.checked_mul(groups) == Some(channels)
        && filters.is_multiple_of(groups);
    let moves = [options.stride, options.dilation]
        .concat()
        .iter()
        .all(|step| *step > 0);
    let shapes = Shapes {
        images,
        channels,
        size: [height, width],
        filters,
        kernel: [down, across],
        options,
    };
    let fits = |out: [usize; 2]| options.pool <= MOST.min(out[0]).min(out[1]);
    (divides && moves && shapes.convolved().is_some_and(fits)).then_some(shapes)
}

/// The side of the largest window whose pixels have a number below [`CLOSED`].
const MOST: usize = 15;
const _: () = assert!(MOST * MOST < CLOSED as usize);

/// [`super::max_pool2d`] on this backend; gives the tensor back where it is not for it.
pub(super) fn max_pool2d(x: Tensor<4>, side: usize) -> Result<Tensor<4>, Box<Tensor<4>>> {
    let [images, channels, height, width] = x.dims();
    let Some(kind) = kind(&x).filter(|_| (1..=MOST.min(height).min(width)).contains(&side)) else {
        return Err(Box::new(x));
    };
    let window = Window {
        size: [height, width],
        channels: 1,
        side,
    };
    let (x, node) = open(x, kind);
    let (out, chosen) = pool::forward_planes(&window, values(&contiguous(x)));
    let [height, width] = window.pooled();
    let out = tensor(out, [images, channels, height, width], Order::Planes);
    let state = Pooled {
        window,
        planes: [images, channels],
        chosen: chosen.into(),
    };
    Ok(match node {
        Some(x) => record(MaxPool2d, [x], state, out),
        None => Tensor::from_primitive::<Flex>(out),
    })
}

type Normed = (Tensor<4>, [Tensor<1>; 2]);

/// [`super::batch_norm_train`] on this backend; gives the tensors back where it is not for it.
pub(super) fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    options: NormOptions,
) -> Result<Normed, Box<(Tensor<4>, Tensor<1>, Tensor<1>)>> {
    let found = kind(&x);
    let channels = [x.dims()[1]];
    let one_kind = [&gamma, &beta]
        .iter()
        .all(|line| kind(line) == found && line.dims() == channels);
    let (Some(kind), true, Some(shape)) = (found, one_kind, norm_shape(&x, options)) else {
        return Err(Box::new((x, gamma, beta)));
    };
    let dims = x.dims();
    let (x, x_node) = open(x, kind);
    let (gamma, gamma_node) = open(gamma, kind);
    let (beta, beta_node) = open(beta, kind);
    let (x, gamma, beta) = (pixels(x), contiguous(gamma), contiguous(beta));
    let [mean, variance] = norm::statistics(&shape, values(&x));
    let inverse: Vec<f32> = variance.iter().map(|v| inverse(*v, options.epsilon)).collect();
    let (scale, shift) = affine(values(&gamma), values(&beta), &mean, &inverse);
    let (out, chosen) = norm::forward(&shape, values(&x), &scale, &shift);
    let [height, width] = shape.window.pooled();
    let out = tensor(out, [dims[0], dims[1], height, width], Order::Pixels);
    let line = |values: &[f32]| {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        let line = Tensor::from_primitive::<Flex>(FlexTensor::from_data(data));
        match kind {
            Kind::Plain => line,
            Kind::Recorded => Tensor::from_inner(line),
        }
    };
    let lines = [line(&mean), line(&variance)];
    let state = Normalised {
        x,
        gamma,
        mean: mean.into(),
        inverse: inverse.into(),
        chosen: chosen.into(),
        shape,
    };
    let out = match (x_node, gamma_node, beta_node) {
        (Some(x), Some(gamma), Some(beta)) => record(BatchNorm, [x, gamma, beta], state, out),
        _ => Tensor::from_primitive::<Flex>(out),
    };
    Ok((out, lines))
}

type Known = (Tensor<4>, [Tensor<1>; 4]);

/// [`super::batch_norm`] on this backend; gives the tensors back where it is not for it.
pub(super) fn batch_norm(
    x: Tensor<4>,
    lines: [Tensor<1>; 4],
    options: NormOptions,
) -> Result<Tensor<4>, Box<Known>> {
    let channels = [x.dims()[1]];
    let plain = kind(&x) == Some(Kind::Plain)
        && lines
            .iter()
            .all(|line| kind(line) == Some(Kind::Plain) && line.dims() == channels);
    let Some(shape) = norm_shape(&x, options).filter(|_| plain) else {
        return Err(Box::new((x, lines)));
    };
    let dims = x.dims();
    let x = pixels(open(x, Kind::Plain).0);
    let lines = lines.map(|line| contiguous(open(line, Kind::Plain).0));
    let [gamma, beta, mean, variance] = lines.each_ref().map(values);
    let inverse: Vec<f32> = variance.iter().map(|v| inverse(*v, options.epsilon)).collect();
    let (scale, shift) = affine(gamma, beta, mean, &inverse);
    let (out, _) = norm::forward(&shape, values(&x), &scale, &shift);
    let [height, width] = shape.window.pooled();
    let out = tensor(out, [dims[0], dims[1], height, width], Order::Pixels);
    Ok(Tensor::from_primitive::<Flex>(out))
}

/// One over the standard deviation.
fn inverse(variance: f32, epsilon: f64) -> f32 {
    (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32
}

/// What each channel is multiplied by, and what is added then.
fn affine(gamma: &[f32], beta: &[f32], mean: &[f32], inverse: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let scale: Vec<f32> = std::iter::zip(gamma, inverse).map(|(g, i)| g * i).collect();
    let centred = std::iter::zip(mean, &scale).map(|(mean, scale)| mean * scale);
    let shift = std::iter::zip(beta, centred)
        .map(|(beta, mean)| beta - mean)
        .collect();
    (scale, shift)
}

/// The shape of a normalisation that these kernels do; `None` for what Burn's operation shall do or refuse.
fn norm_shape(x: &Tensor<4>, options: NormOptions) -> Option<norm::Shape> {
    let [images, channels, height, width] = x.dims();
    let side = options.pool.max(1);
    let known = channels > 0 && side <= MOST.min(height).min(width);
    known.then_some(norm::Shape {
        images,
        window: Window {
            size: [height, width],
            channels,
            side,
        },
        relu: options.relu,
    })
}

type Weighed = (Tensor<2>, Tensor<2>, Option<Tensor<1>>);

/// [`super::linear`] on this backend; gives the tensors back where it is not for it.
pub(super) fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    relu: bool,
) -> Result<Tensor<2>, Box<Weighed>> {
    let ([rows, inputs], [deep, outputs]) = (x.dims(), weight.dims());
    let size = [inputs, outputs];
    let found = kind(&x);
    let fits = kind(&weight) == found
        && bias
            .as_ref()
            .is_none_or(|bias| kind(bias) == found && bias.dims() == [outputs]);
    let fits = fits && inputs == deep && inputs > 0 && product::is_fast();
    let (Some(kind), true) = (found, fits) else {
        return Err(Box::new((x, weight, bias)));
    };
    let (x, x_node) = open(x, kind);
    let (weight, weight_node) = open(weight, kind);
    let (bias, bias_node) = bias.map(|bias| open(bias, kind)).unzip();
    let (x, weight, bias) = (contiguous(x), contiguous(weight), bias.map(contiguous));
    let out = dense::forward(values(&x), values(&weight), size, bias.as_ref().map(values), relu);
    let out = FlexTensor::from_data(TensorData::new(out, [rows, outputs]));
    let state = Weighing {
        x,
        weight,
        out: relu.then(|| out.clone()),
    };
    Ok(match (x_node, weight_node, bias_node.flatten()) {
        (Some(x), Some(weight), Some(bias)) => record(Linear, [x, weight, bias], state, out),
        (Some(x), Some(weight), None) => record(Linear, [x, weight], state, out),
        _ => Tensor::from_primitive::<Flex>(out),
    })
}

/// Values that a thread takes at a time in [`in_place`].
const PIECE: usize = 1 << 14;

/// [`super::in_place`] on this backend; gives the tensors back where it is not for it.
pub(super) fn in_place<const N: usize>(
    tensors: [Tensor<1>; N],
    gradient: &Tensor<1>,
    each: &(impl Fn([&mut [f32]; N], &[f32]) + Sync),
) -> Result<[Tensor<1>; N], [Tensor<1>; N]> {
    let fits =
        |tensor: &Tensor<1>| kind(tensor) == Some(Kind::Plain) && tensor.dims() == gradient.dims();
    if !(fits(gradient) && tensors.iter().all(fits)) {
        return Err(tensors);
    }
    let gradient = contiguous(open(gradient.clone(), Kind::Plain).0);
    let mut tensors = tensors.map(|tensor| whole(open(tensor, Kind::Plain).0));
    // A tensor that someone else holds too is copied here.
    let mut rest = tensors.each_mut().map(FlexTensor::storage_mut::<f32>);
    let mut pieces = Vec::new();
    for gradient in values(&gradient).chunks(PIECE) {
        let piece = rest
            .each_mut()
            .map(|rest| rest.split_off_mut(..gradient.len()).unwrap_or_default());
        pieces.push((piece, gradient));
    }
    let arch = pulp::Arch::new();
    let one = |(piece, gradient): ([&mut [f32]; N], &[f32])| {
        arch.dispatch(
            #[inline(always)]
            || each(piece, gradient),
        );
    };
    match pieces.len() {
        0 | 1 => pieces.into_iter().for_each(one),
        _ => pieces.into_par_iter().for_each(one),
    }
    Ok(tensors.map(Tensor::from_primitive::<Flex>))
}

/// [`super::reuse`] on this backend.
pub(super) fn reuse(tensor: Tensor<1>) {
    if kind(&tensor) == Some(Kind::Plain) {
        give(open(tensor, Kind::Plain).0);
    }
}

/// The memory of a tensor that is of no use any more, where nobody else holds it.
fn give(tensor: FlexTensor) {
    let length = tensor.bytes().len() / size_of::<f32>();
    if tensor.is_unique() {
        let tensor = tensor.with_layout(Layout::contiguous(Shape::from([length])));
        if let Ok(buffer) = tensor.into_data().try_into_vec() {
            buffers::give(buffer);
        }
    }
}

/// A tensor that takes up all of its memory, in order.
fn whole(x: FlexTensor) -> FlexTensor {
    let found = x.to_contiguous();
    drop(x);
    found
}

/// The output of an operation in the record, with what its way back needs.
fn record<const N: usize, const D: usize, S>(
    operation: impl Backward<Flex, N, State = S>,
    inputs: [Recorded; N],
    state: S,
    out: FlexTensor,
) -> Tensor<D>
where
    S: Clone + Send + std::fmt::Debug + 'static,
{
    let prepared = operation.prepare::<NoCheckpointing>(inputs);
    let out = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(out)
}

#[derive(Debug)]
struct Conv2d;

/// What the way back of a convolution needs.
#[derive(Clone, Debug)]
struct Convolved {
    x: FlexTensor,
    order: Order,
    weight: FlexTensor,
    chosen: std::sync::Arc<Vec<u8>>,
    shapes: Shapes,
}

impl<const N: usize> Backward<Flex, N> for Conv2d {
    type State = Convolved;

    fn backward(self, ops: Ops<Convolved, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (gradient, gradient_order) = images(gradients.consume::<Flex>(&ops.node));
        let Convolved {
            x,
            order,
            weight,
            chosen,
            shapes,
        } = ops.state;
        let found = convolution::backward(
            &shapes,
            Images {
                values: values(&x),
                order,
            },
            values(&weight),
            &chosen,
            Images {
                values: values(&gradient),
                order: gradient_order,
            },
            ops.parents[0].is_some(),
        );
        give(gradient);
        if ops.parents[0].is_some() {
            give(x);
        }
        let [height, width] = shapes.size;
        let mut parents = ops.parents.into_iter();
        if let (Some(node), Some(x)) = (parents.next().flatten(), found.x) {
            let x = tensor(x, [shapes.images, shapes.channels, height, width], order);
            gradients.register::<Flex>(node.id, x);
        }
        if let Some(node) = parents.next().flatten() {
            let data = TensorData::new(found.weight, weight.layout().shape().clone());
            gradients.register::<Flex>(node.id, FlexTensor::from_data(data));
        }
        if let Some(node) = parents.next().flatten() {
            let data = TensorData::new(found.bias, [shapes.filters]);
            gradients.register::<Flex>(node.id, FlexTensor::from_data(data));
        }
    }
}

#[derive(Debug)]
struct Linear;

/// What the way back of a linear layer needs.
#[derive(Clone, Debug)]
struct Weighing {
    x: FlexTensor,
    weight: FlexTensor,
    /// What came out, where a ReLU was behind it.
    out: Option<FlexTensor>,
}

impl<const N: usize> Backward<Flex, N> for Linear {
    type State = Weighing;

    fn backward(self, ops: Ops<Weighing, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let Weighing { x, weight, out } = ops.state;
        let [x_shape, weight_shape] = [&x, &weight].map(|tensor| tensor.layout().shape().clone());
        let size = [weight_shape[0], weight_shape[1]];
        let wants_x = ops.parents[0].is_some();
        let behind = (values(&gradient), out.as_ref().map(values));
        let found = dense::backward(values(&x), values(&weight), size, behind, wants_x);
        give(gradient);
        out.into_iter().for_each(give);
        // What is no output of another layer, such as a batch, is of a length that nobody asks for.
        if wants_x {
            give(x);
        }
        let found = [
            found.x.map(|x| TensorData::new(x, x_shape)),
            Some(TensorData::new(found.weight, weight_shape)),
            Some(TensorData::new(found.bias, [size[1]])),
        ];
        for (node, found) in std::iter::zip(ops.parents, found) {
            if let (Some(node), Some(found)) = (node, found) {
                gradients.register::<Flex>(node.id, FlexTensor::from_data(found));
            }
        }
    }
}

#[derive(Debug)]
struct BatchNorm;

/// What the way back of a normalisation needs.
#[derive(Clone, Debug)]
struct Normalised {
    x: FlexTensor,
    gamma: FlexTensor,
    mean: std::sync::Arc<[f32]>,
    /// One over the standard deviations.
    inverse: std::sync::Arc<[f32]>,
    chosen: std::sync::Arc<Vec<u8>>,
    shape: norm::Shape,
}

impl Backward<Flex, 3> for BatchNorm {
    type State = Normalised;

    fn backward(self, ops: Ops<Normalised, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = pixels(gradients.consume::<Flex>(&ops.node));
        let state = ops.state;
        let [x, gamma, beta] = norm::backward(
            &state.shape,
            values(&state.x),
            [values(&state.gamma), &state.mean, &state.inverse],
            values(&gradient),
            &state.chosen,
        );
        let Window {
            size: [height, width],
            channels,
            ..
        } = state.shape.window;
        let line = |values: Vec<f32>| FlexTensor::from_data(TensorData::new(values, [channels]));
        let [of_x, of_gamma, of_beta] = ops.parents;
        if let Some(node) = of_x {
            let dims = [state.shape.images, channels, height, width];
            gradients.register::<Flex>(node.id, tensor(x, dims, Order::Pixels));
        }
        if let Some(node) = of_gamma {
            gradients.register::<Flex>(node.id, line(gamma));
        }
        if let Some(node) = of_beta {
            gradients.register::<Flex>(node.id, line(beta));
        }
    }
}

#[derive(Debug)]
struct MaxPool2d;

/// What the way back of max-pooling needs.
#[derive(Clone, Debug)]
struct Pooled {
    window: Window,
    planes: [usize; 2],
    chosen: std::sync::Arc<Vec<u8>>,
}

impl Backward<Flex, 1> for MaxPool2d {
    type State = Pooled;

    fn backward(self, ops: Ops<Pooled, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let Pooled {
            window,
            planes: [images, channels],
            chosen,
        } = ops.state;
        let [Some(node)] = ops.parents else { return };
        let found = pool::backward_planes(&window, images * channels, values(&gradient), &chosen);
        let [height, width] = window.size;
        let found = tensor(found, [images, channels, height, width], Order::Planes);
        gradients.register::<Flex>(node.id, found);
    }
}

/// A tensor `[rows, channels, height, width]` of values in an order.
fn tensor(values: Vec<f32>, dims: [usize; 4], order: Order) -> FlexTensor {
    let shape = Shape::from(dims);
    let found = FlexTensor::from_data(TensorData::new(values, shape.clone()));
    match order {
        Order::Planes => found,
        Order::Pixels => found.with_layout(Layout::new(shape, by_pixels(dims), 0)),
    }
}

/// The strides of `[rows, channels, height, width]` when the channels of a pixel lie together.
fn by_pixels([_, channels, height, width]: [usize; 4]) -> Vec<isize> {
    [height * width * channels, 1, width * channels, channels]
        .map(|stride| stride as isize)
        .to_vec()
}

/// Images in one of the two orders, copied only if they are in neither.
fn images(x: FlexTensor) -> (FlexTensor, Order) {
    let layout = x.layout();
    let shape = layout.shape();
    let whole =
        layout.start_offset() == 0 && x.bytes().len() == shape.num_elements() * size_of::<f32>();
    let dims = [shape[0], shape[1], shape[2], shape[3]];
    // A side of one pixel may have any stride.
    let by_pixels = || {
        let strides = std::iter::zip(layout.strides(), by_pixels(dims));
        std::iter::zip(strides, dims).all(|((is, shall), side)| *is == shall || side == 1)
    };
    match whole && !layout.is_contiguous() && by_pixels() {
        true => (x, Order::Pixels),
        false => (contiguous(x), Order::Planes),
    }
}

/// Images whose pixels hold their channels side by side.
fn pixels(x: FlexTensor) -> FlexTensor {
    let shape = x.layout().shape();
    let dims = [shape[0], shape[1], shape[2], shape[3]];
    match images(x) {
        (x, Order::Pixels) => x,
        (x, Order::Planes) if dims[2] * dims[3] == 1 => x,
        (x, Order::Planes) => {
            let turned = norm::by_pixels(values(&x), dims[1], dims[2] * dims[3]);
            tensor(turned, dims, Order::Pixels)
        }
    }
}

fn contiguous(x: FlexTensor) -> FlexTensor {
    match x.is_contiguous() {
        true => x,
        false => x.to_contiguous(),
    }
}

/// The values of a tensor that [`contiguous`] or [`images`] gave, in the order of its memory.
fn values(x: &FlexTensor) -> &[f32] {
    match x.as_slice() {
        Some(values) => values,
        None => x.storage(),
    }
}
