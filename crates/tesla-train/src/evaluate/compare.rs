//! Two models on the same rows.

use serde::{Deserialize, Serialize};
use tesla_core::{ModelConfig, Predictions, Predictor};
use tesla_data::prepare::FittedTarget;
use tesla_data::{Selection, Target};

use super::gather::{
    ClassRow, OF_CLASSES, OF_VALUES, ValueRow, class_figures, value_figures, widths,
};
use super::sample::{MOST, Sample};
use super::{Intervals, Metrics, judge, row_weights};
use crate::metrics;
use crate::metrics::resample::{Difference, McNemar, Resampling, difference_counts, mcnemar};
use crate::{Error, Result};

/// Two models on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The rows that both could be judged on.
    pub rows: usize,
    /// Rows that only one of them could be judged on; they are left out.
    pub left_out: usize,
    /// How differences were drawn again.
    pub resampling: Resampling,
    /// The figures, the one that decides first.
    pub figures: Vec<Compared>,
    /// Of classes whose rows all weigh the same: McNemar's test of the rows that only one of them had
    /// right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcnemar: Option<McNemar>,
    /// Which model is better, if either is: 1, 2, or 0 where the rows do not tell them apart.
    pub better: u8,
}

/// A figure of two models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// That of the first model.
    pub first: f64,
    /// That of the second.
    pub second: f64,
    /// The first less the second, with its interval and the p-value of a paired bootstrap.
    pub difference: Difference,
}

/// A p-value below this tells two models apart.
const SIGNIFICANT: f64 = 0.05;
/// Figures that are compared.
const SHOWN: [&str; 8] =
    ["accuracy", "f1", "log_loss", "brier", "roc_auc", "average_precision", "mcc", "kappa"];

/// One model's rows: their numbers in the source, and what was said of them.
struct Side {
    numbers: Vec<usize>,
    said: Said,
}

enum Said {
    Classes(Vec<ClassRow>),
    Values(Vec<ValueRow>),
}

/// Compares two models on the rows that both can be judged on; `rows` are the same source, read by the
/// contract of each.
///
/// What decides is the accuracy, by McNemar's test over all rows, or by a paired bootstrap where rows
/// have weights, which that test does not know; of numbers it is the root mean squared error, by a paired
/// bootstrap.
///
/// # Errors
/// When the models predict different things or rank, and as [`evaluate`](super::evaluate()).
pub fn compare(
    models: [&Predictor; 2],
    rows: [&Selection<'_>; 2],
    weight: Option<&str>,
    resampling: &Resampling,
) -> Result<Comparison> {
    let ranks = |model: &&Predictor| matches!(model.bundle().model, ModelConfig::Bpr(_));
    if models.iter().any(ranks) {
        return Err(Error::Config(
            "a model of kind `bpr` gives scores without a unit, which cannot be compared row by row: judge each model by itself on the same rows, with `tesla evaluate` and `--seen`, and compare `ndcg`".into(),
        ));
    }
    let targets = models.map(|model| &model.bundle().pipeline.target);
    let labels = labels(targets)?;
    let [first, second] = [0, 1].map(|at| side(models[at], rows[at], &labels, weight));
    let (first, second) = (first?, second?);
    let total = first.numbers.len() + second.numbers.len();
    let pairs = pairs(&first.numbers, &second.numbers);
    if pairs.len() < 2 {
        return Err(Error::Config(format!(
            "{} rows can be judged by both models: expected at least 2",
            pairs.len()
        )));
    }
    let left_out = total - 2 * pairs.len();
    let mut sample = Sample::new(MOST);
    for pair in &pairs {
        sample.add(first.numbers[pair[0]], || *pair);
    }
    let sampled = sample.finish();
    let rows = pairs.len();
    let (figures, mcnemar) = match (first.said, second.said) {
        (Said::Classes(first), Said::Classes(second)) => {
            let right = |side: &[ClassRow], at: usize| -> Vec<bool> {
                pairs.iter().map(|pair| side[pair[at]].is_right()).collect()
            };
            let test = match weight {
                Some(_) => None,
                None => Some(mcnemar(&right(&first, 0), &right(&second, 1))?),
            };
            let chosen = |side: &[ClassRow], at: usize, pairs: &[[usize; 2]]| -> Vec<ClassRow> {
                pairs.iter().map(|pair| side[pair[at]].clone()).collect()
            };
            let count = labels.len();
            let whole = [chosen(&first, 0, &pairs), chosen(&second, 1, &pairs)]
                .map(|side| class_figures(&side, count)(&vec![1; rows]));
            let [first, second] = [chosen(&first, 0, &sampled), chosen(&second, 1, &sampled)];
            let figures = [class_figures(&first, count), class_figures(&second, count)];
            let found = differences(&OF_CLASSES, whole, &figures, sampled.len(), rows, resampling)?;
            (found, test)
        }
        (Said::Values(first), Said::Values(second)) => {
            let chosen = |side: &[ValueRow], at: usize, pairs: &[[usize; 2]]| -> Vec<ValueRow> {
                pairs.iter().map(|pair| side[pair[at]]).collect()
            };
            let whole = [chosen(&first, 0, &pairs), chosen(&second, 1, &pairs)]
                .map(|side| value_figures(&side)(&vec![1; rows]));
            let [first, second] = [chosen(&first, 0, &sampled), chosen(&second, 1, &sampled)];
            let figures = [value_figures(&first), value_figures(&second)];
            (differences(&OF_VALUES, whole, &figures, sampled.len(), rows, resampling)?, None)
        }
        _ => unreachable!("`labels` refused models of different tasks"),
    };
    let better = better(&figures, mcnemar.as_ref());
    Ok(Comparison {
        rows,
        left_out,
        resampling: *resampling,
        figures,
        mcnemar,
        better,
    })
}

/// The classes of both models, sorted; none of numbers.
fn labels(targets: [&FittedTarget; 2]) -> Result<Vec<String>> {
    let [first, second] = targets;
    if first.name() != second.name() || first.task() != second.task() {
        let what = |target: &FittedTarget| match target.labels() {
            [] => format!("`{}`, a number", target.name()),
            _ => format!("`{}`, a class", target.name()),
        };
        return Err(Error::Config(format!(
            "the models predict different things, and cannot be compared: the first {}, the second {}",
            what(first),
            what(second)
        )));
    }
    let mut labels = [first.labels(), second.labels()].concat();
    labels.sort();
    labels.dedup();
    Ok(labels)
}

fn side(
    model: &Predictor,
    rows: &Selection<'_>,
    labels: &[String],
    weight: Option<&str>,
) -> Result<Side> {
    let target = &model.bundle().pipeline.target;
    // Where each of its own classes stands among those of both.
    let place: Vec<usize> = target
        .labels()
        .iter()
        .map(|label| labels.partition_point(|other| other < label))
        .collect();
    let weights = weight.map(|name| row_weights(rows, name)).transpose()?;
    let weight = |row: usize| weights.as_ref().map_or(1.0, |all| all[rows.row(row)]);
    let mut side = Side {
        numbers: Vec::new(),
        said: match labels {
            [] => Said::Values(Vec::new()),
            _ => Said::Classes(Vec::new()),
        },
    };
    judge(model, rows, false, |judged| {
        let number = |row: &usize| rows.frame().number(rows.row(*row));
        side.numbers.extend(judged.rows.iter().map(number));
        let classes = judged.predictions.classes();
        match (&mut side.said, &judged.truth, &judged.predictions) {
            (
                Said::Classes(said),
                Target::Classes(truth),
                Predictions::Classes { probabilities, .. },
            ) => {
                let all = probabilities.chunks_exact(place.len().max(1));
                for (at, row) in all.enumerate() {
                    let mut wide = vec![0.0; labels.len()];
                    std::iter::zip(&place, row).for_each(|(place, p)| wide[*place] = *p);
                    let [truth, predicted] = [truth[at] as usize, classes[at]];
                    said.push(ClassRow::new(
                        place[truth] as u32,
                        place[predicted] as u32,
                        weight(judged.rows[at]),
                        &wide,
                    ));
                }
            }
            (Said::Values(said), Target::Values(truth), Predictions::Values(values)) => {
                for (at, (y, p)) in std::iter::zip(truth, values).enumerate() {
                    said.push(ValueRow::new(*y, *p, weight(judged.rows[at])));
                }
            }
            _ => unreachable!("the pipeline that made the target made the predictions"),
        }
        Ok(())
    })?;
    Ok(side)
}

/// The places of the numbers that are in both lists, which ascend.
fn pairs(first: &[usize], second: &[usize]) -> Vec<[usize; 2]> {
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < first.len() && j < second.len() {
        match first[i].cmp(&second[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                pairs.push([i, j]);
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    pairs
}

/// The figures of both sides, of all rows (`whole`), and their differences. Where intervals come from a
/// sample, they are those of all rows.
fn differences(
    names: &[&str],
    whole: [Vec<metrics::Result<f64>>; 2],
    figures: &[impl Fn(&[u32]) -> Vec<metrics::Result<f64>> + Sync; 2],
    sampled: usize,
    rows: usize,
    resampling: &Resampling,
) -> Result<Vec<Compared>> {
    let [first, second] = figures;
    let difference = |counts: &[u32]| -> Vec<metrics::Result<f64>> {
        let pairs = std::iter::zip(first(counts), second(counts));
        pairs.map(|(first, second)| Ok(first? - second?)).collect()
    };
    let found = difference_counts(sampled, resampling, difference)?;
    let intervals = found.iter().map(|found| Some(found.as_ref()?.interval)).collect();
    let Intervals { figures, .. } = widths(names, intervals, sampled, rows, resampling);
    let [first, second] = whole;
    let all = std::iter::zip(first, second);
    let mut compared: Vec<Compared> = std::iter::zip(names, std::iter::zip(all, found))
        .filter(|(name, _)| SHOWN.contains(name) || names.len() == OF_VALUES.len())
        .filter_map(|(name, ((first, second), found))| {
            let (first, second) = (first.ok()?, second.ok()?);
            Some(Compared {
                name: name.to_string(),
                first,
                second,
                difference: Difference {
                    interval: figures.get(*name)?.around(first - second),
                    ..found?
                },
            })
        })
        .collect();
    let place = |name: &str| usize::from(name != "accuracy" && name != "rmse");
    compared.sort_by_key(|found| place(&found.name));
    Ok(compared)
}

fn better(figures: &[Compared], mcnemar: Option<&McNemar>) -> u8 {
    let Some(main) = figures.first() else {
        return 0;
    };
    let p = mcnemar.map_or(main.difference.p_value, |test| test.p_value);
    let ahead = match mcnemar {
        // Of all rows, where the figures are those of a sample.
        Some(test) => test.only_first as f64 - test.only_second as f64,
        None if Metrics::more_is_better(&main.name) => main.difference.interval.estimate,
        None => -main.difference.interval.estimate,
    };
    match p < SIGNIFICANT {
        true if ahead > 0.0 => 1,
        true if ahead < 0.0 => 2,
        _ => 0,
    }
}

impl Comparison {
    /// What the rows say, in a sentence; the models by the names that are given.
    pub fn conclusion(&self, names: [&str; 2]) -> String {
        let Some(main) = self.figures.first() else {
            return "the rows do not define a figure to compare".into();
        };
        let figure = main.name.replace('_', " ");
        let (test, p) = match &self.mcnemar {
            Some(test) => ("McNemar's test", test.p_value),
            None => ("paired bootstrap", main.difference.p_value),
        };
        let Difference { interval, .. } = &main.difference;
        let range = format!("{:.4} to {:.4}", interval.low, interval.high);
        let p = match p < 0.001 {
            true => "p < 0.001".to_string(),
            false => format!("p = {p:.3}"),
        };
        let rows = self.rows;
        match self.better {
            0 => format!(
                "the {rows} rows do not tell the models apart: the difference in {figure} is {:.4} ({range}), {p} by {test}",
                interval.estimate
            ),
            model => {
                let (better, worse) = match model {
                    1 => (names[0], names[1]),
                    _ => (names[1], names[0]),
                };
                format!(
                    "`{better}` is better than `{worse}` on these {rows} rows: {figure} {:.4} against {:.4}, {p} by {test}",
                    if model == 1 { main.first } else { main.second },
                    if model == 1 { main.second } else { main.first },
                )
            }
        }
    }
}
