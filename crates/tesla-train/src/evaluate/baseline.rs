//! A linear model on the same prepared rows: what any other model should beat.

use std::collections::BTreeMap;

use tesla_core::{Bundle, Device, ModelConfig, Network};
use tesla_data::samples::Floats;
use tesla_data::{Inputs, Samples, Selection, Target};

use super::{Baseline, Options, evaluate_with};
use crate::metrics::resample::Resampling;
use crate::{Result, solve};

/// Products of one pass over the rows that a logistic baseline may cost, and those of the normal
/// equations: seconds at most.
const PASS: usize = 10_000_000;
const EQUATIONS: usize = 2_000_000_000;
/// A linear model of fewer rows than this, and fewer than there are, says nothing.
const FEWEST: usize = 500;

/// Fits `logistic` or `linear` on prepared training rows, evenly spread ones where they are many, and
/// evaluates it as the model itself was. `None` where the model is one itself, where the rows are
/// words, ids or windows, and where they are too wide for it to be quick.
pub(crate) fn linear(
    bundle: &Bundle,
    train: &Samples,
    rows: &Selection<'_>,
    options: &Options,
    device: &Device,
) -> Result<Option<Baseline>> {
    let is_plain = matches!(train.inputs, Inputs::Dense(_) | Inputs::Images(_))
        && bundle.pipeline.sequence.is_none()
        && bundle.signature.ids.is_empty();
    if !is_plain || solve::is_exact(&bundle.model) {
        return Ok(None);
    }
    let width: usize = train.inputs.row_shape().iter().product();
    let labels = bundle.pipeline.target.labels().len();
    let most = match labels {
        0 => EQUATIONS / (width * width).max(1),
        labels => PASS / (width * labels).max(1),
    };
    if most < train.len.min(FEWEST) || (labels == 0 && width > 2000) {
        return Ok(None);
    }
    let every = train.len.div_ceil(most).max(1);
    let chosen: Vec<usize> = (0..train.len).step_by(every).collect();
    let inputs = Inputs::Dense(Floats::new(width, train.inputs.gather(&chosen)?));
    let weights = match &train.target {
        Target::Classes(all) => {
            let classes: Vec<u32> = chosen.iter().map(|row| all[*row]).collect();
            solve::quick_logistic(&inputs, &classes, labels)
        }
        Target::Values(all) => {
            let target = &bundle.pipeline.target;
            let y: Vec<f64> = chosen.iter().map(|row| target.encode(all[*row])).collect();
            solve::quick_least_squares(&inputs, &y)
        }
        Target::Absent => return Ok(None),
    };
    // What cannot be solved is no baseline, and no reason to fail.
    let Ok(weights) = weights else {
        return Ok(None);
    };
    let narrow = |values: Vec<f64>| -> Vec<f32> { values.into_iter().map(|v| v as f32).collect() };
    let (weight, bias) = (narrow(weights.weight), narrow(weights.bias));
    if !weight.iter().chain(&bias).all(|w| w.is_finite()) {
        return Ok(None);
    }
    let model = match labels {
        0 => ModelConfig::Linear(Default::default()),
        _ => ModelConfig::Logistic(Default::default()),
    };
    let name = model.kind().to_string();
    let network = Network::linear(weight, bias, device);
    let plain = Bundle::new(
        bundle.signature.clone(),
        bundle.contract.clone(),
        bundle.pipeline.clone(),
        model,
        &network,
        bundle.provenance.clone(),
    )?;
    // No interval: only the figures are asked for.
    let options = Options {
        by: Vec::new(),
        resampling: Resampling {
            resamples: 2,
            ..options.resampling
        },
        ..options.clone()
    };
    let report = evaluate_with(&plain.predictor(device)?, rows, &options)?;
    let figures = report.figures().into_iter();
    let figures: BTreeMap<String, f64> = figures
        .filter_map(|(name, value)| Some((name.to_string(), value?)))
        .collect();
    Ok(Some(Baseline {
        name,
        fitted_on: Some(chosen.len()),
        figures,
    }))
}
