//! The networks. A configuration says what to build; a [`Network`] holds weights.

mod cnn;
mod custom;
mod dropout;
mod factors;
mod mlp;
mod sequence;
mod text;

use burn::module::Module;
use burn::nn;
use burn::tensor::{Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tesla_data::prepare::FittedTarget;
use tesla_data::{FittedPipeline, Inputs, Task};

use crate::bundle::Coefficients;
use crate::{Device, Error, Result, weights};

pub use cnn::{Block, Cnn, CnnConfig, Padding, Pooling};
pub use custom::{Custom, CustomConfig, CustomNetwork, register};
pub use factors::{BprConfig, Factors, Mf, MfConfig, MfSolver};
pub use mlp::{Activation, Mlp, MlpConfig};
pub use sequence::{Conv1dNet, Conv1dNetConfig, Lstm, LstmConfig};
pub use text::{Bag, BagConfig, TextCnn, TextCnnConfig};

/// `[model]`: which network to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelConfig {
    /// Linear regression: least squares, solved exactly.
    Linear(LinearConfig),
    /// Logistic regression, binary or multinomial, solved to convergence.
    Logistic(LogisticConfig),
    /// A multi-layer perceptron for tables.
    Mlp(MlpConfig),
    /// A convolutional network for images.
    Cnn(CnnConfig),
    /// The mean of word vectors, for texts.
    Bag(BagConfig),
    /// Convolutions over words, for texts.
    #[serde(rename = "textcnn")]
    TextCnn(TextCnnConfig),
    /// Convolutions along sequences.
    Conv1d(Conv1dNetConfig),
    /// A long short-term memory, for sequences.
    Lstm(LstmConfig),
    /// Matrix factorisation: the ratings of users for items.
    Mf(MfConfig),
    /// Bayesian personalised ranking: which items a user should see first.
    Bpr(BprConfig),
    /// A network of the program's own: see [`register`].
    Custom(CustomConfig),
}

/// Linear regression: `y = x W + b`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinearConfig {
    /// The ridge penalty: minimises `|y - xW - b|² + l2 |W|²` over the prepared (standardised)
    /// features, as scikit-learn's `Ridge(alpha)` does. 0 is ordinary least squares.
    pub l2: f64,
    /// The lasso penalty, which makes weights zero: adds `l1 |W|₁`, over prepared features and the
    /// standardised target. scikit-learn's `Lasso(alpha)` on `n` rows is `l1 = 2 n alpha`, and its
    /// `ElasticNet(alpha, l1_ratio)` is `l1 = 2 n alpha l1_ratio` with `l2 = n alpha (1 - l1_ratio)`.
    #[serde(skip_serializing_if = "is_nought")]
    pub l1: f64,
    /// How the weights are found.
    pub solver: Solver,
}

fn is_nought(number: &f64) -> bool {
    *number == 0.0
}

/// Logistic regression: `softmax(x W + b)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticConfig {
    /// The inverse of the penalty's strength, as scikit-learn has it: minimises
    /// `c * sum(log loss) + |W|² / 2`. Smaller is stronger.
    pub c: f64,
    /// How the weights are found.
    pub solver: Solver,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self {
            c: 1.0,
            solver: Solver::Exact,
        }
    }
}

/// How the weights of a linear model are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// To the optimum, in 64-bit floats: least squares in closed form, logistic by L-BFGS.
    #[default]
    Exact,
    /// By mini-batches like every other network, with the settings of `[train]`.
    MiniBatch,
}

/// What goes into a network and what comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The shape of one row: `[width]`, or `[channels, height, width]`.
    pub input: Vec<usize>,
    /// Numbers per row that come out: one per class, or 1.
    pub outputs: usize,
    /// What they mean.
    pub task: Task,
    /// The places of a row that hold ids, each with the number of its ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<(usize, usize)>,
    /// The number of different ids in a sequence of words; 0 where rows are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vocabulary: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Prepared rows as a tensor.
#[derive(Clone, Debug)]
pub enum Batch {
    /// `[rows, width]`.
    Dense(Tensor<2>),
    /// `[rows, channels, height, width]`.
    Images(Tensor<4>),
    /// `[rows, length, width]`.
    Sequences(Tensor<3>),
}

/// A network with weights.
#[derive(Module, Debug)]
pub enum Network {
    /// Linear and logistic regression.
    Linear(nn::Linear),
    /// A multi-layer perceptron.
    Mlp(Mlp),
    /// A convolutional network.
    Cnn(Cnn),
    /// The mean of word vectors.
    Bag(Bag),
    /// Convolutions over words.
    TextCnn(TextCnn),
    /// Convolutions along sequences.
    Conv1d(Conv1dNet),
    /// A long short-term memory.
    Lstm(Lstm),
    /// Matrix factorisation, for ratings or for ranks.
    Mf(Mf),
    /// A network of the program's own.
    Custom(Custom),
}

impl ModelConfig {
    /// Every kind with its default configuration.
    fn all() -> [Self; 11] {
        [
            ModelConfig::Linear(Default::default()),
            ModelConfig::Logistic(Default::default()),
            ModelConfig::Mlp(Default::default()),
            ModelConfig::Cnn(Default::default()),
            ModelConfig::Bag(Default::default()),
            ModelConfig::TextCnn(Default::default()),
            ModelConfig::Conv1d(Default::default()),
            ModelConfig::Lstm(Default::default()),
            ModelConfig::Mf(Default::default()),
            ModelConfig::Bpr(Default::default()),
            ModelConfig::Custom(Default::default()),
        ]
    }

    /// The name in `tesla.toml`.
    pub fn kind(&self) -> &'static str {
        match self {
            ModelConfig::Linear(_) => "linear",
            ModelConfig::Logistic(_) => "logistic",
            ModelConfig::Mlp(_) => "mlp",
            ModelConfig::Cnn(_) => "cnn",
            ModelConfig::Bag(_) => "bag",
            ModelConfig::TextCnn(_) => "textcnn",
            ModelConfig::Conv1d(_) => "conv1d",
            ModelConfig::Lstm(_) => "lstm",
            ModelConfig::Mf(_) => "mf",
            ModelConfig::Bpr(_) => "bpr",
            ModelConfig::Custom(_) => "custom",
        }
    }

    /// The default configuration of a kind.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn from_kind(kind: &str) -> Result<Self> {
        if let Some(found) = Self::all().into_iter().find(|model| model.kind() == kind) {
            return Ok(found);
        }
        let kinds = Self::all().map(|model| model.kind());
        let near = tesla_data::nearest(kind, &kinds)
            .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        Err(Error::Model(format!(
            "`{kind}` is not a model{near}: expected {}",
            kinds.map(|k| format!("`{k}`")).join(", ")
        )))
    }

    /// Whether the model reads texts as sequences of words.
    pub fn reads_words(&self) -> bool {
        matches!(self, ModelConfig::Bag(_) | ModelConfig::TextCnn(_))
    }

    /// Whether the model reads categories as ids.
    pub fn reads_ids(&self) -> bool {
        matches!(self, ModelConfig::Mf(_) | ModelConfig::Bpr(_))
    }

    /// The penalty of vectors and of single numbers that mini-batches add to the loss, where there is one.
    pub fn penalty(&self) -> Option<[f64; 2]> {
        match self {
            ModelConfig::Mf(config) => Some([config.l2, config.l2_bias]),
            ModelConfig::Bpr(config) => Some([config.l2; 2]),
            _ => None,
        }
    }

    /// Whether a step normalises by the rows it is given.
    pub fn has_batch_norm(&self) -> bool {
        match self {
            ModelConfig::Mlp(config) => config.batch_norm,
            ModelConfig::Cnn(config) => config.blocks.iter().any(|block| block.batch_norm),
            _ => false,
        }
    }

    /// The same model without dropout: gradients of its outputs by its inputs are of this one, which
    /// has the same weights.
    pub fn without_dropout(&self) -> Self {
        let mut model = self.clone();
        match &mut model {
            ModelConfig::Linear(_)
            | ModelConfig::Logistic(_)
            | ModelConfig::Mf(_)
            | ModelConfig::Bpr(_)
            | ModelConfig::Custom(_) => {}
            ModelConfig::Mlp(config) => config.dropout = 0.0,
            ModelConfig::Cnn(config) => config.dropout = 0.0,
            ModelConfig::Bag(config) => config.dropout = 0.0,
            ModelConfig::TextCnn(config) => config.dropout = 0.0,
            ModelConfig::Conv1d(config) => config.dropout = 0.0,
            ModelConfig::Lstm(config) => config.dropout = 0.0,
        }
        model
    }

    /// Builds the network with seeded random weights and seeded dropout. Both are drawn on the host,
    /// so that they are the same on every device.
    ///
    /// # Errors
    /// When the model does not fit the data: a table for images, a number for classes.
    pub fn init(&self, signature: &Signature, seed: u64, device: &Device) -> Result<Network> {
        let network = self.build(signature, device)?;
        let network = weights::initialise(network, seed, device);
        network.reseed(seed, 0);
        Ok(network)
    }

    /// Builds the network and fills it with stored weights.
    ///
    /// # Errors
    /// When the weights are not those of this model.
    pub fn load(&self, signature: &Signature, stored: &[u8], device: &Device) -> Result<Network> {
        weights::load(self.build(signature, device)?, stored, device)
    }

    fn build(&self, signature: &Signature, device: &Device) -> Result<Network> {
        let wrong = |expected: &str| {
            Error::Model(format!(
                "the model `{}` needs {expected}: choose another `kind` or another target",
                self.kind()
            ))
        };
        match (self, signature.task) {
            (ModelConfig::Linear(_), Task::Classification) => {
                return Err(wrong(
                    "a number to predict, but the target is a class (where its whole numbers are quantities, say `task = \"regression\"` in `[data]`)",
                ));
            }
            (ModelConfig::Logistic(_), Task::Regression) => {
                return Err(wrong("classes to predict, but the target is a number"));
            }
            (ModelConfig::Mf(_) | ModelConfig::Bpr(_), Task::Classification) => {
                return Err(wrong("ratings to predict, but the target is a class"));
            }
            (ModelConfig::Custom(config), _) => {
                return Ok(Network::Custom(config.init(signature, device)?));
            }
            _ => {}
        }
        let looks_up = self.reads_ids() || matches!(self, ModelConfig::Mlp(_));
        if !signature.ids.is_empty() && !looks_up {
            return Err(wrong("numbers, but a category has `encode = \"embedding\"`"));
        }
        if (signature.vocabulary > 0) != self.reads_words() {
            return Err(match self.reads_words() {
                true => wrong("one text as a sequence of words"),
                false => wrong(
                    "numbers, but a text is a sequence of words: `bag` and `textcnn` read those",
                ),
            });
        }
        let outputs = signature.outputs;
        Ok(match (self, &signature.input[..]) {
            (ModelConfig::Cnn(config), [channels, height, width]) => {
                let shape = [*channels, *height, *width];
                Network::Cnn(config.init(shape, outputs, device.burn())?)
            }
            (ModelConfig::Cnn(_), _) => return Err(wrong("images, but the features are a table")),
            (ModelConfig::Conv1d(config), [length, width]) => {
                Network::Conv1d(config.init([*length, *width], outputs, device.burn())?)
            }
            (ModelConfig::Lstm(config), [length, width]) => {
                Network::Lstm(config.init([*length, *width], outputs, device.burn())?)
            }
            (ModelConfig::Conv1d(_) | ModelConfig::Lstm(_), _) => {
                return Err(wrong("sequences: say what they are in `[data.sequence]`"));
            }
            (ModelConfig::Bag(config), _) => {
                Network::Bag(config.init(signature.vocabulary, outputs, device.burn())?)
            }
            (ModelConfig::TextCnn(config), _) => {
                Network::TextCnn(config.init(signature.vocabulary, outputs, device.burn())?)
            }
            (ModelConfig::Mf(config), [2]) if signature.ids.len() == 2 => {
                let ids = [signature.ids[0].1, signature.ids[1].1];
                Network::Mf(config.init(ids, device.burn())?)
            }
            (ModelConfig::Bpr(config), [2]) if signature.ids.len() == 2 => {
                let ids = [signature.ids[0].1, signature.ids[1].1];
                Network::Mf(config.init(ids, device.burn())?)
            }
            (ModelConfig::Mf(_) | ModelConfig::Bpr(_), _) => {
                return Err(wrong(
                    "a user and an item: say which columns they are in `[data.interactions]`",
                ));
            }
            (ModelConfig::Mlp(config), input) => {
                let width = input.iter().product();
                Network::Mlp(config.init(width, &signature.ids, outputs, device.burn())?)
            }
            (ModelConfig::Custom(_), _) => unreachable!("built above"),
            (ModelConfig::Linear(_) | ModelConfig::Logistic(_), input) => {
                let width = input.iter().product();
                let config = nn::LinearConfig::new(width, outputs);
                Network::Linear(config.init(device.burn()))
            }
        })
    }
}

impl Network {
    /// One pass: class scores before softmax, or the number in the target's standardised unit.
    ///
    /// # Shapes
    /// - input: `[rows, width]` or `[rows, channels, height, width]`
    /// - output: `[rows, outputs]`
    pub fn forward(&self, batch: Batch) -> Tensor<2> {
        match self {
            Network::Linear(layer) => mlp::weigh(layer, batch.flat(), false),
            Network::Mlp(mlp) => mlp.forward(batch.flat()),
            Network::Cnn(cnn) => match batch {
                Batch::Images(images) => cnn.forward(images),
                _ => unreachable!("`ModelConfig::build` gives images to a cnn"),
            },
            Network::Bag(bag) => bag.forward(batch.flat()),
            Network::TextCnn(cnn) => cnn.forward(batch.flat()),
            Network::Conv1d(network) => network.forward(batch.sequences()),
            Network::Lstm(network) => network.forward(batch.sequences()),
            Network::Mf(mf) => mf.forward(batch.flat()),
            Network::Custom(network) => network.forward(batch),
        }
    }

    /// Like [`Network::forward`], and for each row the penalty of the weights it looks up, where the model
    /// has one.
    pub fn forward_with_penalty(
        &self,
        batch: Batch,
        penalty: Option<[f64; 2]>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        match (self, penalty) {
            (Network::Mf(mf), Some(penalty)) => {
                let (scores, penalty) = mf.forward_with_penalty(batch.flat(), penalty);
                (scores, Some(penalty))
            }
            _ => (self.forward(batch), None),
        }
    }

    /// A linear model with the given weights: `weight` is `[inputs, outputs]` row-major.
    pub fn linear(weight: Vec<f32>, bias: Vec<f32>, device: &Device) -> Self {
        let outputs = bias.len();
        let config = nn::LinearConfig::new(weight.len() / outputs, outputs);
        let mut linear = config.init(device.burn());
        let shape = [weight.len() / outputs, outputs];
        let weight = TensorData::new(weight, shape);
        linear.weight = linear.weight.map(|_| Tensor::from_data(weight, device.burn()));
        let bias = TensorData::new(bias, [outputs]);
        linear.bias = linear.bias.map(|b| b.map(|_| Tensor::from_data(bias, device.burn())));
        Network::Linear(linear)
    }

    /// Starts the generator of dropout masks anew, as a function of `seed` and of the `step` that comes
    /// next: what is drawn does not depend on what was drawn before.
    pub fn reseed(&self, seed: u64, step: u64) {
        match self {
            Network::Linear(_) | Network::Mf(_) => {}
            Network::Mlp(mlp) => mlp.dropout.seed(seed, step),
            Network::Cnn(cnn) => cnn.dropout.seed(seed, step),
            Network::Bag(bag) => bag.dropout.seed(seed, step),
            Network::TextCnn(cnn) => cnn.dropout.seed(seed, step),
            Network::Conv1d(network) => network.dropout.seed(seed, step),
            Network::Lstm(network) => network.dropout.seed(seed, step),
            Network::Custom(network) => network.reseed(seed, step),
        }
    }

    /// The number of weights.
    pub fn parameters(&self) -> usize {
        self.num_params()
    }

    /// The weights in SafeTensors format, 32-bit floats under their module paths.
    ///
    /// # Errors
    /// When the device cannot deliver them.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        weights::save(self)
    }
}

impl Batch {
    /// The given rows of `inputs` on `device`.
    ///
    /// # Errors
    /// When they stand in a temporary file that cannot be read.
    pub fn gather(inputs: &Inputs, rows: &[usize], device: &burn::tensor::Device) -> Result<Self> {
        Ok(Self::new(inputs.gather(rows)?, rows.len(), &inputs.row_shape(), device))
    }

    /// What [`Inputs::gather`] gives for `rows` rows of the shape `row_shape`, on `device`.
    pub fn new(
        values: Vec<f32>,
        rows: usize,
        row_shape: &[usize],
        device: &burn::tensor::Device,
    ) -> Self {
        match *row_shape {
            [c, h, w] => {
                let data = TensorData::new(values, [rows, c, h, w]);
                Batch::Images(Tensor::from_data(data, device))
            }
            [length, width] => {
                let data = TensorData::new(values, [rows, length, width]);
                Batch::Sequences(Tensor::from_data(data, device))
            }
            _ => {
                let width: usize = row_shape.iter().product();
                let data = TensorData::new(values, [rows, width]);
                Batch::Dense(Tensor::from_data(data, device))
            }
        }
    }

    /// One row of numbers for each: images and sequences are laid out flat.
    pub fn flat(self) -> Tensor<2> {
        match self {
            Batch::Dense(table) => table,
            Batch::Images(images) => images.flatten(1, 3),
            Batch::Sequences(sequences) => sequences.flatten(1, 2),
        }
    }

    fn sequences(self) -> Tensor<3> {
        match self {
            Batch::Sequences(sequences) => sequences,
            _ => unreachable!("`ModelConfig::build` gives sequences to these models"),
        }
    }
}

/// The weights of a linear model, `[inputs, outputs]` row-major on prepared features, in the units
/// of the columns: with `x' = (x - m) / s`, `w' x' + b = (w'/s) x + b - Σ w' m / s`.
pub(crate) fn in_column_units(
    pipeline: &FittedPipeline,
    weight: &[f64],
    bias: &[f64],
) -> Vec<Coefficients> {
    let names = pipeline.feature_names();
    let scales = pipeline.units();
    let (target, unit) = match &pipeline.target {
        FittedTarget::Classes { labels, .. } => (labels.clone(), (0.0, 1.0)),
        FittedTarget::Value {
            name, mean, scale, ..
        } => (vec![name.clone()], (*mean, *scale)),
    };
    let outputs = bias.len();
    std::iter::zip(target, bias)
        .enumerate()
        .map(|(output, (label, bias))| {
            let own = weight.iter().skip(output).step_by(outputs);
            let own: Vec<f64> = own.map(|w| w * unit.1).collect();
            let shift: f64 = std::iter::zip(&own, &scales).map(|(w, (m, s))| w * m / s).sum();
            let scaled = std::iter::zip(&own, &scales).map(|(w, (_, s))| w / s);
            Coefficients {
                output: label,
                intercept: bias * unit.1 + unit.0 - shift,
                features: names.iter().cloned().zip(scaled).collect(),
            }
        })
        .collect()
}
