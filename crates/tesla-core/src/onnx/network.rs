//! The networks, as [`crate::model`] computes them. Dropout does nothing in a prediction.

use safetensors::SafeTensors;

use super::graph::{Graph, Name, float, int, ints};
use super::proto::element::INT64;
use super::refuse;
use crate::model::{Activation, CnnConfig, MlpConfig, ModelConfig, Padding, Pooling};
use crate::{Bundle, Error, Result};

/// What is added to a variance before its root is taken, as Burn has it.
const EPSILON: f32 = 1e-5;

/// The scores before softmax, or the number in the target's standardised unit: `[rows, outputs]`.
pub(super) fn scores(graph: &mut Graph, bundle: &Bundle, features: &str) -> Result<Name> {
    let stored = SafeTensors::deserialize(bundle.weights())
        .map_err(|e| Error::Model(format!("the weights are not valid SafeTensors: {e}")))?;
    let mut net = Net {
        graph,
        stored: &stored,
    };
    let flat = |net: &mut Net<'_>| match bundle.signature.input.len() {
        1 => features.to_string(),
        _ => net.graph.node("Flatten", &[features]),
    };
    match &bundle.model {
        ModelConfig::Linear(_) | ModelConfig::Logistic(_) => {
            let x = flat(&mut net);
            net.linear("Linear", &x)
        }
        ModelConfig::Mlp(config) => {
            let x = flat(&mut net);
            net.mlp(config, &bundle.signature.ids, bundle.signature.input.iter().product(), &x)
        }
        ModelConfig::Cnn(config) => net.cnn(config, features),
        other => Err(refuse(format!(
            "the model `{}` yet: expected `linear`, `logistic`, `mlp` or `cnn`",
            other.kind()
        ))),
    }
}

struct Net<'a> {
    graph: &'a mut Graph,
    stored: &'a SafeTensors<'a>,
}

impl Net<'_> {
    /// A stored weight and its shape.
    fn weight(&mut self, name: &str) -> Result<Name> {
        let view = self
            .stored
            .tensor(name)
            .map_err(|_| Error::Model(format!("the weight `{name}` is missing")))?;
        let (values, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(self.graph.floats(view.shape(), &values))
    }

    fn linear(&mut self, name: &str, x: &str) -> Result<Name> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = self.weight(&format!("{name}.bias"))?;
        Ok(self.graph.node("Gemm", &[x, &weight, &bias]))
    }

    fn norm(&mut self, name: &str, x: &str) -> Result<Name> {
        let mut inputs = vec![x.to_string()];
        for part in ["gamma", "beta", "running_mean", "running_var"] {
            inputs.push(self.weight(&format!("{name}.{part}"))?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(self
            .graph
            .node_with("BatchNormalization", &inputs, vec![float("epsilon", EPSILON)]))
    }

    fn mlp(
        &mut self,
        config: &MlpConfig,
        ids: &[(usize, usize)],
        width: usize,
        x: &str,
    ) -> Result<Name> {
        let mut x = self.look_up(ids, width, x)?;
        for i in 0..config.hidden.len() {
            x = self.linear(&format!("Mlp.layers.{i}"), &x)?;
            if config.batch_norm {
                x = self.norm(&format!("Mlp.norms.{i}"), &x)?;
            }
            x = self.activation(config.activation, &x);
        }
        self.linear(&format!("Mlp.layers.{}", config.hidden.len()), &x)
    }

    /// The numbers of each row, then the vectors of its ids.
    fn look_up(&mut self, ids: &[(usize, usize)], width: usize, x: &str) -> Result<Name> {
        if ids.is_empty() {
            return Ok(x.into());
        }
        let is_id = |at: &usize| ids.iter().any(|(id, _)| id == at);
        let numbers: Vec<usize> = (0..width).filter(|at| !is_id(at)).collect();
        let mut parts = Vec::new();
        if !numbers.is_empty() {
            parts.push(self.graph.columns(x, &numbers));
        }
        for (i, (at, _)) in ids.iter().enumerate() {
            let table = self.weight(&format!("Mlp.embeddings.{i}.weight"))?;
            let id = self.graph.columns(x, &[*at]);
            let id = self.graph.cast(&id, INT64);
            let vectors = self.graph.node("Gather", &[&table, &id]);
            parts.push(self.graph.squeeze(&vectors));
        }
        Ok(self.graph.beside(&parts))
    }

    fn activation(&mut self, activation: Activation, x: &str) -> Name {
        let graph = &mut *self.graph;
        match activation {
            Activation::Relu => graph.node("Relu", &[x]),
            Activation::Tanh => graph.node("Tanh", &[x]),
            // x (1 + erf(x / √2)) / 2
            Activation::Gelu => {
                let root = graph.floats(&[], &[std::f32::consts::SQRT_2]);
                let part = graph.node("Div", &[x, &root]);
                let part = graph.node("Erf", &[&part]);
                let one = graph.floats(&[], &[1.0]);
                let part = graph.node("Add", &[&part, &one]);
                let part = graph.node("Mul", &[x, &part]);
                let half = graph.floats(&[], &[0.5]);
                graph.node("Mul", &[&part, &half])
            }
        }
    }

    fn cnn(&mut self, config: &CnnConfig, x: &str) -> Result<Name> {
        let mut x = x.to_string();
        let (mut norms, mut residuals) = (0.., 0..);
        for (i, block) in config.blocks.iter().enumerate() {
            let input = x.clone();
            x = self.convolution(&format!("Cnn.convolutions.{i}"), block.padding, &x)?;
            if let Some(at) = block.batch_norm.then(|| norms.next()).flatten() {
                x = self.norm(&format!("Cnn.norms.{at}"), &x)?;
            }
            x = self.graph.node("Relu", &[&x]);
            if let Some(at) = block.residual.then(|| residuals.next()).flatten() {
                let name = format!("Cnn.residuals.{at}");
                let mut inner =
                    self.convolution(&format!("{name}.convolution"), block.padding, &x)?;
                if block.batch_norm {
                    inner = self.norm(&format!("{name}.norm"), &inner)?;
                }
                let short = format!("{name}.shortcut");
                let short = match self.stored.tensor(&format!("{short}.weight")) {
                    Ok(_) => self.convolution(&short, block.padding, &input)?,
                    Err(_) => input,
                };
                x = self.graph.node("Add", &[&inner, &short]);
                x = self.graph.node("Relu", &[&x]);
            }
            if block.pool > 1 {
                let side = block.pool as i64;
                let window =
                    vec![ints("kernel_shape", vec![side; 2]), ints("strides", vec![side; 2])];
                x = self.graph.node_with("MaxPool", &[&x], window);
            }
        }
        if config.pooling == Pooling::Average {
            x = self.graph.node("GlobalAveragePool", &[&x]);
        }
        x = self.graph.node_with("Flatten", &[&x], vec![int("axis", 1)]);
        for i in 0..config.hidden.len() {
            x = self.linear(&format!("Cnn.layers.{i}"), &x)?;
            x = self.graph.node("Relu", &[&x]);
        }
        self.linear(&format!("Cnn.layers.{}", config.hidden.len()), &x)
    }

    fn convolution(&mut self, name: &str, padding: Padding, x: &str) -> Result<Name> {
        let weight = format!("{name}.weight");
        let kernel = self.stored.tensor(&weight).map_or(1, |w| w.shape()[2]);
        let pads = match padding {
            Padding::Valid => vec![0; 4],
            // An even kernel sees one pixel more below and to the right.
            Padding::Same => {
                let all = kernel as i64 - 1;
                let before = all / 2;
                vec![before, before, all - before, all - before]
            }
        };
        let weight = self.weight(&weight)?;
        let bias = self.weight(&format!("{name}.bias"))?;
        let about = vec![ints("kernel_shape", vec![kernel as i64; 2]), ints("pads", pads)];
        Ok(self.graph.node_with("Conv", &[x, &weight, &bias], about))
    }
}
