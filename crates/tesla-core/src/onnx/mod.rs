//! A model as one ONNX graph: raw columns in, predictions out.
//!
//! The preparation is part of the graph, in 64-bit floats as in [`FittedPipeline`], so that whoever runs
//! it cannot prepare differently. What ONNX cannot say is refused by its name.
//!
//! [`FittedPipeline`]: tesla_data::FittedPipeline

mod graph;
mod network;
mod prepare;
mod proto;

#[cfg(test)]
mod tests;

use prost::Message;
use tesla_data::contract::Limits;
use tesla_data::prepare::FittedTarget;

use crate::{Bundle, Error, Result};
use graph::{Graph, int, ints, string, strings};
use proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto, element};

/// The domain of operators for classical machine learning.
const ML: &str = "ai.onnx.ml";
/// The versions of the operators and of the file's format: what ONNX Runtime reads since 1.13 (2022).
const OPSET: i64 = 17;
const ML_OPSET: i64 = 3;
const IR_VERSION: i64 = 8;

/// The outputs of the graph, named as the server's.
const PREDICTION: &str = "prediction";
const PROBABILITY: &str = "probability";

/// What is done with what a graph has no way to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether rows that break `range`, `categories` or `required` of a column are predicted like any
    /// other: a graph cannot refuse a row.
    pub without_limits: bool,
}

/// The bytes of the `.onnx` file of a model.
///
/// Every feature column is an input: `[rows, 1]` of 64-bit floats for a number, where NaN is a missing
/// value; `[rows, 1]` of strings for a category, where the empty one is a missing value;
/// `[rows, channels, height, width]` of bytes for an image, in the size of the model.
/// The output `prediction` holds a label or a number for each row, `probability` one per class.
///
/// # Errors
/// When ONNX cannot express the model or its preparation; the message names what it is.
pub fn export(bundle: &Bundle, options: Options) -> Result<Vec<u8>> {
    if !options.without_limits {
        refuse_limits(bundle)?;
    }
    if bundle.decision.calibration.is_some() {
        return Err(refuse(
            "the calibration that `calibrate` in `[evaluate]` chose: train without it",
        ));
    }
    if bundle.decision.threshold.is_some() {
        return Err(refuse(
            "the threshold that `threshold` in `[evaluate]` chose: train without it",
        ));
    }
    let mut graph = Graph::default();
    let features = prepare::features(&mut graph, bundle)?;
    let scores = network::scores(&mut graph, bundle, &features)?;
    predict(&mut graph, &bundle.pipeline.target, &scores);
    let about = |key: &str, value: &str| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    let target = bundle.pipeline.target.name();
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "tesla".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!("Predicts `{target}` from raw columns ({})", bundle.model.kind()),
        graph: Some(graph.finish(bundle.model.kind())),
        opset_import: vec![opset("", OPSET), opset(ML, ML_OPSET)],
        metadata_props: vec![
            about("target", target),
            about("data_sha256", &bundle.provenance.data_sha256),
        ],
    };
    Ok(model.encode_to_vec())
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.into()),
        version,
    }
}

/// The error for what cannot be expressed.
fn refuse(what: impl std::fmt::Display) -> Error {
    Error::Model(format!("ONNX cannot express {what}"))
}

fn refuse_limits(bundle: &Bundle) -> Result<()> {
    let mut limited = bundle
        .contract
        .inputs()
        .filter(|rule| rule.limits != Limits::default());
    let Some(rule) = limited.next() else {
        return Ok(());
    };
    let limit = match &rule.limits {
        Limits { range: Some(_), .. } => "range",
        Limits { categories, .. } if !categories.is_empty() => "categories",
        _ => "required",
    };
    Err(refuse(format!(
        "`{limit}` of column `{}`, since a graph refuses no row: say `--without-limits` to leave such checks to whoever runs it",
        rule.name
    )))
}

/// What the scores mean.
fn predict(graph: &mut Graph, target: &FittedTarget, scores: &str) {
    let exact = graph.cast(scores, element::DOUBLE);
    match target {
        FittedTarget::Classes { labels, .. } => {
            let at = vec![int("axis", 1), int("keepdims", 0)];
            let best = graph.node_with("ArgMax", &[scores], at);
            let names = vec![
                ints("keys_int64s", (0..labels.len() as i64).collect()),
                strings("values_strings", labels.iter().map(String::as_str)),
                string("default_string", ""),
            ];
            let best = graph.node_with("LabelEncoder", &[&best], names);
            let shares = graph.node_with("Softmax", &[&exact], vec![int("axis", 1)]);
            let doc = format!("the most probable of {}", labels.join(", "));
            graph.output(PREDICTION, &best, element::STRING, &[], &doc);
            let doc = format!("one for each of {}", labels.join(", "));
            graph.output(PROBABILITY, &shares, element::DOUBLE, &[labels.len()], &doc);
        }
        FittedTarget::Value {
            name,
            mean,
            scale,
            log,
        } => {
            let y = graph.with("Mul", &exact, *scale);
            let mut y = graph.with("Add", &y, *mean);
            if *log {
                // A finite number even where a network is far off.
                y = graph.with("Min", &y, f64::MAX.ln());
                y = graph.node("Exp", &[&y]);
                y = graph.with("Sub", &y, 1.0);
            }
            let y = graph.squeeze(&y);
            graph.output(PREDICTION, &y, element::DOUBLE, &[], &format!("`{name}`"));
        }
    }
}
