use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Linear, PaddingConfig1d};
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dropout::Dropout;
use super::mlp::{check_dropout, check_widths, stack, weigh};
use super::sequence::convolve;
use crate::Result;

/// The mean of the vectors of a text's words, then linear layers: fastText (Joulin et al. 2017).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BagConfig {
    /// Numbers in the vector of a word.
    pub dimension: usize,
    /// The width of each hidden layer after the mean.
    pub hidden: Vec<usize>,
    /// The share of the mean's numbers set to zero while training, in 0..1.
    pub dropout: f64,
}

impl Default for BagConfig {
    fn default() -> Self {
        Self {
            dimension: 128,
            hidden: Vec::new(),
            dropout: 0.2,
        }
    }
}

/// Convolutions over the words of a text, the maximum of each over the text, a linear layer (Kim
/// 2014).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextCnnConfig {
    /// Numbers in the vector of a word.
    pub dimension: usize,
    /// Words that a convolution sees at a time, one entry for each kind of convolution.
    pub kernels: Vec<usize>,
    /// Convolutions of each kind.
    pub filters: usize,
    /// The share of maxima set to zero while training, in 0..1.
    pub dropout: f64,
}

impl Default for TextCnnConfig {
    fn default() -> Self {
        Self {
            dimension: 128,
            kernels: vec![2, 3, 4],
            filters: 128,
            dropout: 0.5,
        }
    }
}

/// A bag of word vectors with weights.
#[derive(Module, Debug)]
pub struct Bag {
    embedding: Embedding,
    layers: Vec<Linear>,
    pub(super) dropout: Dropout,
}

/// Convolutions over words with weights.
#[derive(Module, Debug)]
pub struct TextCnn {
    embedding: Embedding,
    convolutions: Vec<Conv1d>,
    layers: Vec<Linear>,
    pub(super) dropout: Dropout,
}

impl BagConfig {
    pub(super) fn init(&self, vocabulary: usize, outputs: usize, device: &Device) -> Result<Bag> {
        check_widths("dimension", &[self.dimension])?;
        check_widths("hidden", &self.hidden)?;
        check_dropout(self.dropout)?;
        Ok(Bag {
            embedding: EmbeddingConfig::new(vocabulary, self.dimension).init(device),
            layers: stack(self.dimension, &self.hidden, outputs, device)?,
            dropout: Dropout::new(self.dropout),
        })
    }
}

impl TextCnnConfig {
    pub(super) fn init(
        &self,
        vocabulary: usize,
        outputs: usize,
        device: &Device,
    ) -> Result<TextCnn> {
        check_widths("dimension", &[self.dimension])?;
        check_widths("filters", &[self.filters])?;
        check_widths("kernels", &self.kernels)?;
        check_dropout(self.dropout)?;
        let convolution = |kernel: &usize| {
            Conv1dConfig::new(self.dimension, self.filters, *kernel)
                .with_padding(PaddingConfig1d::Same)
                .init(device)
        };
        Ok(TextCnn {
            embedding: EmbeddingConfig::new(vocabulary, self.dimension).init(device),
            convolutions: self.kernels.iter().map(convolution).collect(),
            layers: stack(self.filters * self.kernels.len(), &[], outputs, device)?,
            dropout: Dropout::new(self.dropout),
        })
    }
}

/// The vectors of ids, `[rows, length, dimension]`, zero where there is padding, and 1 for each word,
/// 0 for padding, `[rows, length, 1]`.
fn embed(embedding: &Embedding, ids: Tensor<2>) -> (Tensor<3>, Tensor<3>) {
    let is_word: Tensor<3> = ids.clone().greater_elem(0.5).float().unsqueeze_dim(2);
    (embedding.forward(ids.int()) * is_word.clone(), is_word)
}

impl Bag {
    /// # Shapes
    /// - input: `[rows, length]` ids, 0 for padding
    /// - output: `[rows, outputs]`
    pub fn forward(&self, ids: Tensor<2>) -> Tensor<2> {
        let (vectors, is_word) = embed(&self.embedding, ids);
        let words: Tensor<2> = is_word.sum_dim(1).squeeze_dim(1);
        let sum: Tensor<2> = vectors.sum_dim(1).squeeze_dim(1);
        let mean = self.dropout.forward(sum / words.clamp_min(1.0));
        through(&self.layers, mean)
    }
}

impl TextCnn {
    /// # Shapes
    /// - input: `[rows, length]` ids, 0 for padding
    /// - output: `[rows, outputs]`
    pub fn forward(&self, ids: Tensor<2>) -> Tensor<2> {
        let (vectors, _) = embed(&self.embedding, ids);
        let vectors = vectors.swap_dims(1, 2);
        let most = |convolution: &Conv1d| -> Tensor<2> {
            convolve(convolution, vectors.clone()).max_dim(2).squeeze_dim(2)
        };
        let found = Tensor::cat(self.convolutions.iter().map(most).collect(), 1);
        through(&self.layers, self.dropout.forward(found))
    }
}

/// Linear layers with ReLU between them.
pub(super) fn through(layers: &[Linear], mut x: Tensor<2>) -> Tensor<2> {
    let last = layers.len() - 1;
    for layer in &layers[..last] {
        x = weigh(layer, x, true);
    }
    weigh(&layers[last], x, false)
}
