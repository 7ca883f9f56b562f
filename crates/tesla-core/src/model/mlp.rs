use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cnn::normalise;
use super::dropout::Dropout;
use crate::ops::linear;
use crate::{Error, Result};

/// A multi-layer perceptron: hidden layers with an activation and dropout, then a linear layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// The width of each hidden layer.
    pub hidden: Vec<usize>,
    /// The function between layers.
    pub activation: Activation,
    /// Whether the values before each activation are brought to mean 0 and deviation 1 over a batch
    /// (Ioffe & Szegedy 2015).
    pub batch_norm: bool,
    /// The share of hidden values set to zero while training, in 0..1.
    pub dropout: f64,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: vec![128, 64],
            activation: Activation::Relu,
            batch_norm: false,
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
    /// One table for each place of the row that holds an id.
    embeddings: Vec<Embedding>,
    layers: Vec<Linear>,
    norms: Vec<BatchNorm>,
    pub(super) dropout: Dropout,
    #[module(skip)]
    activation: Activation,
    /// The places of the ids, in the order of the tables, and of the other numbers.
    #[module(skip)]
    ids: Vec<usize>,
    #[module(skip)]
    numbers: Vec<i32>,
}

impl MlpConfig {
    /// `ids` are the places of the row that hold ids, each with their number.
    pub(super) fn init(
        &self,
        width: usize,
        ids: &[(usize, usize)],
        outputs: usize,
        device: &Device,
    ) -> Result<Mlp> {
        check_widths("hidden", &self.hidden)?;
        check_dropout(self.dropout)?;
        let table = |(_, ids): &(usize, usize)| EmbeddingConfig::new(*ids, dimension(*ids));
        let tables: Vec<EmbeddingConfig> = ids.iter().map(table).collect();
        let inputs = width - ids.len() + tables.iter().map(|t| t.d_model).sum::<usize>();
        let norm = |width: &usize| BatchNormConfig::new(*width).init(device);
        let is_id = |at: &usize| ids.iter().any(|(id, _)| id == at);
        Ok(Mlp {
            embeddings: tables.iter().map(|table| table.init(device)).collect(),
            layers: stack(inputs, &self.hidden, outputs, device)?,
            norms: self.hidden.iter().filter(|_| self.batch_norm).map(norm).collect(),
            dropout: Dropout::new(self.dropout),
            activation: self.activation,
            ids: ids.iter().map(|(at, _)| *at).collect(),
            numbers: (0..width).filter(|at| !is_id(at)).map(|at| at as i32).collect(),
        })
    }
}

/// Numbers in the vector of each of so many ids: a rule of thumb, `1.6 ids^0.56`, at most 50.
fn dimension(ids: usize) -> usize {
    ((1.6 * (ids as f64).powf(0.56)).round() as usize).clamp(1, 50)
}

impl Mlp {
    /// # Shapes
    /// - input: `[rows, width]`
    /// - output: `[rows, outputs]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut x = self.look_up(x);
        let last = self.layers.len() - 1;
        for (i, layer) in self.layers[..last].iter().enumerate() {
            let norm = self.norms.get(i);
            let relu = norm.is_none() && self.activation == Activation::Relu;
            x = weigh(layer, x, relu);
            if let Some(norm) = norm {
                let [rows, width] = x.dims();
                x = normalise(norm, x.reshape([rows, width, 1, 1]), false, 1)
                    .reshape([rows, width]);
            }
            if !relu {
                x = self.activation.forward(x);
            }
            x = self.dropout.forward(x);
        }
        weigh(&self.layers[last], x, false)
    }

    /// The numbers of each row, then the vectors of its ids.
    fn look_up(&self, x: Tensor<2>) -> Tensor<2> {
        if self.ids.is_empty() {
            return x;
        }
        let mut parts = Vec::with_capacity(self.ids.len() + 1);
        if !self.numbers.is_empty() {
            let at = TensorData::new(self.numbers.clone(), [self.numbers.len()]);
            let at: Tensor<1, Int> = Tensor::from_data(at, &x.device());
            parts.push(x.clone().select(1, at));
        }
        for (at, table) in std::iter::zip(&self.ids, &self.embeddings) {
            let vectors = table.forward(x.clone().narrow(1, *at, 1).int());
            parts.push(vectors.squeeze_dim(1));
        }
        Tensor::cat(parts, 1)
    }
}

/// A linear layer, with the ReLU behind it if `relu` is true.
pub(super) fn weigh(layer: &Linear, x: Tensor<2>, relu: bool) -> Tensor<2> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    linear(x, layer.weight.val(), bias, relu)
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
///
/// # Errors
/// When one of them would not fit into memory, where nothing could be said any more.
pub(super) fn stack(
    width: usize,
    hidden: &[usize],
    outputs: usize,
    device: &Device,
) -> Result<Vec<Linear>> {
    const MOST: usize = 1 << 30;
    let widths: Vec<usize> = [&[width], hidden, &[outputs]].concat();
    let layer = |pair: &[usize]| match pair[0].checked_mul(pair[1]) {
        Some(weights) if weights <= MOST => Ok(LinearConfig::new(pair[0], pair[1]).init(device)),
        _ => Err(Error::Model(format!(
            "a layer from {} to {} numbers has more than {MOST} weights: make `hidden` narrower, or what goes in smaller (`size` of images, `min_count` of texts and categories)",
            pair[0], pair[1]
        ))),
    };
    widths.windows(2).map(layer).collect()
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
