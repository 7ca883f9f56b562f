//! What is chosen on validation rows once the weights are known: calibration and threshold.

use tesla_core::Bundle;
use tesla_core::decision::{logits, score};
use tesla_core::{Calibration, Decision, Device, Predictions};
use tesla_data::{Selection, Target, Task};

use crate::config::{CalibrationKind, EvaluateConfig, ThresholdRule};
use crate::evaluate::{judge, row_weights};
use crate::metrics::Scores;
use crate::metrics::calibration::{fit_isotonic, fit_platt, fit_temperature};
use crate::metrics::threshold::{best_f_beta, minimum_cost, recall_at_precision};
use crate::{Error, Result};

/// Whether what `[evaluate]` asks for can be chosen, before anything is trained.
pub(crate) fn check(
    config: &EvaluateConfig,
    task: Task,
    classes: usize,
    valid_rows: usize,
) -> Result<()> {
    let asked = [
        (
            "calibrate",
            config.calibrate.is_some(),
            config.calibrate == Some(CalibrationKind::Temperature),
        ),
        ("threshold", config.threshold.is_some(), false),
    ];
    for (key, _, of_many) in asked.into_iter().filter(|(_, asked, _)| *asked) {
        let refuse = |reason: String| Err(Error::Config(format!("`evaluate.{key}` {reason}")));
        if task == Task::Regression {
            return refuse("is about classes, but the target is a number: remove it".into());
        }
        if classes != 2 && !of_many {
            let instead = match key {
                "calibrate" => "use `temperature`",
                _ => "remove it",
            };
            return refuse(format!("is for two classes, but the target has {classes}: {instead}"));
        }
        if valid_rows == 0 {
            return refuse(
                "is chosen on validation rows, and there are none: raise `split.valid`, or name them with `valid` in `[data]`"
                    .into(),
            );
        }
    }
    Ok(())
}

/// Chooses on the validation rows what `[evaluate]` asks for: the calibration, and the threshold of the
/// calibrated probabilities.
pub(crate) fn decide(
    config: &EvaluateConfig,
    bundle: &Bundle,
    valid: &Selection<'_>,
    device: &Device,
) -> Result<Decision> {
    let mut decision = Decision::default();
    if config.calibrate.is_none() && config.threshold.is_none() {
        return Ok(decision);
    }
    let predictor = bundle.clone().predictor(device)?;
    let all_weights = config
        .weight
        .as_deref()
        .map(|name| row_weights(valid, name))
        .transpose()?;
    let (mut truth, mut probabilities, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    judge(&predictor, valid, false, |judged| {
        if let (
            Target::Classes(classes),
            Predictions::Classes {
                probabilities: p, ..
            },
        ) = (judged.truth, judged.predictions)
        {
            truth.extend(classes);
            probabilities.extend(p);
        }
        if let Some(all) = &all_weights {
            weights.extend(judged.rows.iter().map(|row| all[valid.row(*row)]));
        }
        Ok(())
    })?;
    let weights = all_weights.is_some().then_some(weights.as_slice());
    let classes = bundle.pipeline.target.labels().len();
    let rows = || probabilities.chunks_exact(classes);
    let scores = || rows().map(score).collect::<Vec<f64>>();
    decision.calibration = match config.calibrate {
        None => None,
        Some(CalibrationKind::Temperature) => {
            let logits: Vec<f64> = rows().flat_map(logits).collect();
            Some(Calibration::Temperature(fit_temperature(classes, &truth, &logits, weights)?))
        }
        Some(CalibrationKind::Platt) => {
            Some(Calibration::Platt(fit_platt(&truth, &scores(), weights)?))
        }
        Some(CalibrationKind::Isotonic) => {
            Some(Calibration::Isotonic(fit_isotonic(&truth, &scores(), weights)?))
        }
    };
    if let Some(rule) = &config.threshold {
        if let Some(calibration) = &decision.calibration {
            probabilities
                .chunks_exact_mut(classes)
                .for_each(|row| calibration.apply(row));
        }
        let second: Vec<f64> = probabilities.iter().skip(1).step_by(2).copied().collect();
        let ranked = Scores::of(&truth, &second, weights)?.finish();
        let found = match rule {
            ThresholdRule::F1 => best_f_beta(&ranked, 1.0),
            ThresholdRule::RecallAtPrecision(precision) => recall_at_precision(&ranked, *precision),
            ThresholdRule::Cost(costs) => minimum_cost(&ranked, costs),
        };
        let found = found.map_err(|e| {
            Error::Config(format!(
                "`evaluate.threshold` cannot be chosen on the validation rows: {e}"
            ))
        })?;
        decision.threshold = Some(found.threshold);
    }
    Ok(decision)
}
