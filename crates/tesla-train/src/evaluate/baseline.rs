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
    (train, weights): (&Samples, Option<&[f64]>),
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
    let own: Option<Vec<f64>> = weights.map(|all| chosen.iter().map(|row| all[*row]).collect());
    let own = own.as_deref();
    let weights = match &train.target {
        Target::Classes(all) => {
            let classes: Vec<u32> = chosen.iter().map(|row| all[*row]).collect();
            solve::quick_logistic(&inputs, &classes, labels, own)
        }
        Target::Values(all) => {
            let target = &bundle.pipeline.target;
            let y: Vec<f64> = chosen.iter().map(|row| target.encode(all[*row])).collect();
            solve::quick_least_squares(&inputs, &y, own)
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use tesla_core::{DeviceChoice, ModelConfig};
    use tesla_data::source::{CsvSource, Input};
    use tesla_data::{Dataset, Frame};

    use super::*;
    use crate::evaluate::row_weights;
    use crate::{Config, Silent, train};

    #[test]
    fn rows_teach_a_baseline_as_much_as_they_weigh() {
        let device = Device::open(DeviceChoice::Flex).unwrap();
        for (is_class, figure) in [(false, "r2"), (true, "accuracy")] {
            // Every third row weighs something, and says the contrary of the others.
            let mut table = String::from("x,w,y\n");
            for row in 0..300 {
                let x = f64::from(row * 37 % 101) / 50.0 - 1.0;
                let y = if row % 3 == 0 { x } else { -x };
                let class = if y > 0.0 { "yes" } else { "no" };
                let y = if is_class {
                    class.into()
                } else {
                    y.to_string()
                };
                table += &format!("{x},{},{y}\n", u8::from(row % 3 == 0));
            }
            let input = Input::from_bytes("t.csv", table.as_bytes());
            let source = CsvSource::open(input, Default::default()).unwrap();
            let data = Dataset::from_frame(Frame::read_all(Box::new(source)).unwrap());
            let mut config = Config {
                model: Some(ModelConfig::from_kind("mlp").unwrap()),
                ..Default::default()
            };
            config.data.target = Some("y".into());
            config.data.weight = Some("w".into());
            config.audit.level = tesla_data::AuditLevel::Off;
            config.train.epochs = 1;
            let bundle = train(&config, &data, &device, &mut Silent).unwrap().bundle;
            let data = data.settle(&bundle.contract, &config.data.bad_policy()).unwrap();
            let rows = data.frame.all();
            let samples = bundle.pipeline.collect_train(&rows).unwrap();
            let weights = row_weights(&rows, "w").unwrap();
            let options = Options {
                weight: Some("w".into()),
                ..Default::default()
            };
            let fitted = |weights| {
                let found = linear(&bundle, (&samples, weights), &rows, &options, &device);
                found.unwrap().unwrap().figures[figure]
            };
            assert!(fitted(Some(&weights)) > 0.95, "{figure}: {}", fitted(Some(&weights)));
            assert!(fitted(None) < 0.3, "{figure}: {}", fitted(None));
        }
    }
}
