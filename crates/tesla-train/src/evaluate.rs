//! Evaluation: raw rows with their truth go through the predictor, as every prediction does.
//!
//! Rows are judged batch by batch. Sums are kept of all of them; intervals, pictures of residuals and
//! the figures of slices that have intervals are made of at most 20,000 rows, chosen by a hash of
//! their numbers, so that time and memory are bounded and nothing depends on how rows come in
//! batches.

mod baseline;
mod compare;
mod curves;
mod gather;
mod ranking;
mod sample;
mod slices;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tesla_core::{ModelConfig, Predictions, Predictor, Seen};
use tesla_data::arrow::array::{Array, AsArray, RecordBatch};
use tesla_data::arrow::compute::{cast, concat_batches};
use tesla_data::arrow::datatypes::{DataType, Float64Type};
use tesla_data::contract::Need;
use tesla_data::{Selection, Target, Task};

use crate::metrics::ranking::RankingFigures;
use crate::metrics::resample::{Interval, Resampling};
use crate::metrics::{Bin, Classification, Regression, Undefined};
use crate::{Error, Result};

use gather::{Finished, Gather};
use ranking::Cold;
use slices::Cuts;

pub(crate) use baseline::linear;
pub use compare::{Compared, Comparison, compare};
pub use ranking::seen_in;

/// The figures of a model on some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The rows that were evaluated.
    pub rows: usize,
    /// The weight of all rows, where a column weighs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The probability of the second class from which on it is predicted, where one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The figures.
    pub metrics: Metrics,
    /// Why figures are `null`, by their names.
    #[serde(default)]
    pub undefined: Undefined,
    /// How far the figures would vary were the rows drawn again.
    #[serde(default)]
    pub intervals: Intervals,
    /// The figures of simple models on the same rows.
    #[serde(default)]
    pub baselines: Vec<Baseline>,
    /// What pictures are drawn from.
    #[serde(default)]
    pub curves: Curves,
    /// The figures of parts of the rows, column by column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slices>,
    /// The worst mistakes, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worst: Vec<Mistake>,
    /// What is known of users and items, where rows are interactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactions: Option<InteractionFigures>,
}

/// How many users and items training did not see, and what only ratings have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InteractionFigures {
    /// Users of these rows that training did not see.
    pub cold_users: usize,
    /// Items of these rows that training did not see.
    pub cold_items: usize,
    /// Rows of such a user or item.
    pub cold_rows: usize,
    /// The mean absolute error divided by the range of the training ratings (Goldberg et al. 2001).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nmae: Option<f64>,
}

/// Figures by task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Metrics {
    /// The target is a class.
    Classification(Classification),
    /// The target is a number.
    Regression(Regression),
    /// The model ranks items for users.
    Ranking(RankingFigures),
}

/// Bootstrap intervals of the main figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// How they were drawn; `None` where there are none.
    pub resampling: Option<Resampling>,
    /// The rows they were drawn from: fewer than were evaluated where those are many. The intervals
    /// are then narrowed to what all rows would have, by the root of the share.
    pub rows: usize,
    /// By the names of [`Report::figures`].
    pub figures: BTreeMap<String, Interval>,
}

/// A simple model that the model should beat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// `majority` and `mean` always say the commonest class or the mean of these rows; `logistic` and
    /// `linear` were fitted on the same prepared training rows.
    pub name: String,
    /// The training rows it was fitted on, where it was: fewer than there are where they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted_on: Option<usize>,
    /// Its figures, by the names of [`Report::figures`].
    pub figures: BTreeMap<String, f64>,
}

/// What pictures are drawn from: at most 200 points each, rounded to five digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Of two classes for the second; of more for each of the ten commonest against the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranking: Vec<RankingCurves>,
    /// Mean probability and share that came true, by bin: of the second of two classes, or of the
    /// most probable of more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<Bin>,
    /// Of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residuals: Option<Residuals>,
}

/// The curves of a class against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankingCurves {
    /// The class.
    pub class: String,
    /// `[false positive rate, true positive rate]`, from `[0, 0]` to `[1, 1]`.
    pub roc: Vec<[f64; 2]>,
    /// `[recall, precision]`, by rising recall.
    pub precision_recall: Vec<[f64; 2]>,
}

/// How predicted numbers miss the true ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Residuals {
    /// The edges of the bins of `predicted - true`; the first and the last bin hold what is beyond
    /// them, too.
    pub edges: Vec<f64>,
    /// The rows in each bin: of all, or of those that intervals are drawn from.
    pub counts: Vec<usize>,
    /// `[true, predicted]` of some rows. Not in a bundle, which holds no row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<[f64; 2]>,
}

/// The figures of parts of the rows: by the values of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slices {
    /// The column.
    pub column: String,
    /// Its values, the one of most rows first; ranges of numbers in their order.
    pub slices: Vec<Slice>,
}

/// The figures of rows that share a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The value, or a range.
    pub value: String,
    /// The rows.
    pub rows: usize,
    /// Their figures, by the names of [`Report::figures`].
    pub figures: BTreeMap<String, Option<f64>>,
    /// Their intervals.
    pub intervals: BTreeMap<String, Interval>,
    /// Why figures are `null`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undefined: Undefined,
}

/// A row that the model has very wrong. Its values stand in the data alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// The zero-based number of the row in its source; see
    /// [`Frame::row_of`](tesla_data::Frame::row_of).
    pub row: usize,
    /// Where it stands, for people: "`data.csv` line 7".
    pub place: String,
    /// The true class or number.
    pub truth: String,
    /// The predicted one.
    pub predicted: String,
    /// The probability of the predicted class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The probability of the true class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth_probability: Option<f64>,
    /// `predicted - true`, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

/// How rows are evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Columns whose values divide the rows into slices.
    pub by: Vec<String>,
    /// The column that says what a row weighs.
    pub weight: Option<String>,
    /// How intervals are drawn.
    pub resampling: Resampling,
    /// Judge only the last row of each group of a sequence.
    pub only_last: bool,
    /// What a model that ranks leaves out of the list of each user.
    pub seen: Seen,
}

/// The worst mistakes that a report lists.
const WORST: usize = 20;

/// Evaluates a model on raw rows that carry the target, batch by batch.
///
/// # Errors
/// When the rows break the contract, a class is unknown to the model, there is no row, or a prediction
/// is not a number.
pub fn evaluate(predictor: &Predictor, rows: &Selection<'_>) -> Result<Report> {
    evaluate_with(predictor, rows, &Options::default())
}

/// Like [`evaluate`], with slices, weights and intervals as `options` say.
///
/// # Errors
/// As [`evaluate`], and when a column of `options` does not exist or a weight is none.
pub fn evaluate_with(
    predictor: &Predictor,
    rows: &Selection<'_>,
    options: &Options,
) -> Result<Report> {
    let bundle = predictor.bundle();
    if let ModelConfig::Bpr(_) = bundle.model {
        return ranking::rank_rows(predictor, rows, &options.seen);
    }
    let target = &bundle.pipeline.target;
    let frame = rows.frame();
    let weights = options
        .weight
        .as_deref()
        .map(|name| row_weights(rows, name))
        .transpose()?;
    let mut cuts = Vec::new();
    for column in &options.by {
        cuts.push(Cuts::new(column, &frame.column(column)?, target)?);
    }
    let mut all = Gather::new(target, WORST, sample::MOST);
    let mut cold = Cold::default();
    judge(predictor, rows, options.only_last, |found| {
        let weights: Option<Vec<f64>> = weights
            .as_ref()
            .map(|all| found.rows.iter().map(|row| all[rows.row(*row)]).collect());
        all.update(&found, weights.as_deref())?;
        cold.add(predictor, &found.batch)?;
        for cut in &mut cuts {
            cut.update(&found, weights.as_deref(), &|row| rows.row(row))?;
        }
        Ok(())
    })?;
    if all.rows() == 0 {
        return Err(Error::Config("there is no row to evaluate on".into()));
    }
    let weight = all.weight();
    let is_life = bundle.provenance.config["data"]["sequence"]["remaining_life"].is_object();
    let Finished {
        rows: count,
        metrics,
        undefined,
        intervals,
        curves,
        worst,
        constant,
    } = all.finish(target, &options.resampling, is_life)?;
    let interactions = bundle.pipeline.interactions.as_ref().map(|fitted| {
        let [low, high] = fitted.range;
        let mae = match &metrics {
            Metrics::Regression(metrics) if high > low => Some(metrics.mae),
            _ => None,
        };
        InteractionFigures {
            nmae: mae.map(|mae| mae / (high - low)),
            ..cold.finish()
        }
    });
    Ok(Report {
        rows: count,
        weight,
        threshold: bundle.decision.threshold,
        metrics,
        undefined,
        intervals,
        baselines: vec![constant],
        curves,
        slices: cuts
            .into_iter()
            .map(|cut| cut.finish(target, &options.resampling))
            .collect::<Result<_>>()?,
        worst: worst.into_iter().map(|worst| worst.named(target, rows)).collect(),
        interactions,
    })
}

/// Rows that were judged: what was said of them, and what is true.
pub(crate) struct Judged {
    /// Their places in the selection.
    pub(crate) rows: Vec<usize>,
    /// The batch they are from, as the contract has it.
    pub(crate) batch: RecordBatch,
    pub(crate) truth: Target,
    pub(crate) predictions: Predictions,
}

/// Predicts the rows of a selection that can be judged, batch by batch.
pub(crate) fn judge(
    predictor: &Predictor,
    rows: &Selection<'_>,
    only_last: bool,
    mut visit: impl FnMut(Judged) -> Result<()>,
) -> Result<()> {
    let bundle = predictor.bundle();
    let mut start = 0;
    let mut batches = rows.batches()?;
    if bundle.pipeline.sequence.is_some() {
        // A window is made of rows that may stand in another batch.
        let all = batches.collect::<tesla_data::Result<Vec<_>>>()?;
        let whole = all
            .first()
            .map(|first| concat_batches(&first.schema(), &all))
            .transpose();
        batches = Box::new(whole.map_err(tesla_data::Error::from)?.into_iter().map(Ok));
    }
    let mut pass = bundle.pipeline.pass();
    for batch in batches {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        let place = |row: usize| rows.place(start + row);
        let conformed = bundle.contract.conform(&batch, Need::Target, &place)?;
        let (judged, truth) = bundle.pipeline.judged(&conformed, only_last)?;
        let predictions = predictor.predict_in(&mut pass, &batch, &place)?;
        let is_all = judged.len() == batch.num_rows();
        visit(Judged {
            rows: judged.iter().map(|row| start + *row as usize).collect(),
            truth,
            predictions: match is_all {
                true => predictions,
                false => predictions.take(&judged),
            },
            batch: conformed,
        })?;
        start += batch.num_rows();
    }
    Ok(())
}

/// What each row of the selection's frame weighs.
pub(crate) fn row_weights(rows: &Selection<'_>, name: &str) -> Result<Vec<f64>> {
    let column = rows.frame().column(name)?;
    let numbers = cast(&column, &DataType::Float64).map_err(tesla_data::Error::from)?;
    let values = numbers.as_primitive::<Float64Type>();
    let mut weights = vec![0.0; values.len()];
    // Only rows that are judged have to have one.
    for row in 0..rows.len() {
        let at = rows.row(row);
        let valid = values.is_valid(at).then(|| values.value(at));
        weights[at] = valid.filter(|w| w.is_finite() && *w >= 0.0).ok_or_else(|| {
            Error::Config(format!(
                "{}, column `{name}`: expected a weight, a number that is not negative",
                rows.place(row)
            ))
        })?;
    }
    Ok(weights)
}

impl Report {
    /// The figure to look at first: its name and value.
    pub fn headline(&self) -> (&'static str, f64) {
        match &self.metrics {
            Metrics::Classification(m) => ("accuracy", m.accuracy),
            Metrics::Regression(m) => ("r2", m.r2),
            Metrics::Ranking(m) => ("ndcg", m.ndcg),
        }
    }

    /// The task.
    pub fn task(&self) -> Task {
        match &self.metrics {
            Metrics::Classification(_) => Task::Classification,
            Metrics::Regression(_) | Metrics::Ranking(_) => Task::Regression,
        }
    }

    /// All figures of the rows as a whole, by name, in the order to read them in. Those that the task
    /// does not have are left out; those that the rows do not define are `None`.
    pub fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        self.metrics.figures()
    }

    /// A figure by its name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures().into_iter().find(|(own, _)| *own == name)?.1
    }

    /// The report as it may travel with a model: without anything of single rows.
    pub fn without_rows(&self) -> Self {
        let mut report = self.clone();
        report.worst.clear();
        if let Some(residuals) = &mut report.curves.residuals {
            residuals.sample.clear();
        }
        report
    }
}

impl Metrics {
    /// See [`Report::figures`].
    pub fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        match self {
            Metrics::Classification(m) => {
                let top = [("2", "top_2"), ("3", "top_3"), ("5", "top_5")];
                let top = top.map(|(k, name)| (name, m.top_k.get(k).copied()));
                let ovo = (m.classes.len() > 2).then_some(("roc_auc_ovo", m.roc_auc_ovo));
                [
                    ("accuracy", Some(m.accuracy)),
                    ("balanced_accuracy", m.balanced_accuracy),
                    ("precision", Some(m.precision)),
                    ("recall", Some(m.recall)),
                    ("f1", Some(m.f1)),
                    ("log_loss", Some(m.log_loss)),
                    ("brier", m.brier),
                    ("calibration_error", m.calibration_error),
                    ("roc_auc", m.roc_auc),
                ]
                .into_iter()
                .chain(ovo)
                .chain([
                    ("average_precision", m.average_precision),
                    ("mcc", m.mcc),
                    ("kappa", m.kappa),
                ])
                .chain(top.into_iter().filter(|(_, value)| value.is_some()))
                .collect()
            }
            Metrics::Ranking(m) => vec![
                ("ndcg", Some(m.ndcg)),
                ("map", Some(m.map)),
                ("mrr", Some(m.mrr)),
                ("precision", Some(m.precision)),
                ("recall", Some(m.recall)),
                ("hit_rate", Some(m.hit_rate)),
                ("coverage", Some(m.coverage)),
            ],
            Metrics::Regression(m) => {
                let pinball = |i: usize| m.pinball.map(|p| p[i]);
                let cmapss = m.cmapss.map(|score| ("cmapss", Some(score)));
                [
                    ("rmse", Some(m.rmse)),
                    ("mae", Some(m.mae)),
                    ("r2", Some(m.r2)),
                    ("mse", Some(m.mse)),
                    ("median_absolute_error", m.median_absolute_error),
                    ("max_error", m.max_error),
                    ("mape", m.mape),
                    ("rmsle", m.rmsle),
                    ("explained_variance", m.explained_variance),
                    ("d2_absolute_error", m.d2_absolute_error),
                    ("pinball_0.1", pinball(0)),
                    ("pinball_0.5", pinball(1)),
                    ("pinball_0.9", pinball(2)),
                ]
                .into_iter()
                .chain(cmapss)
                .collect()
            }
        }
    }

    /// Whether more of a figure is better.
    pub fn more_is_better(name: &str) -> bool {
        !matches!(
            name,
            "loss"
                | "log_loss"
                | "brier"
                | "calibration_error"
                | "rmse"
                | "mae"
                | "mse"
                | "median_absolute_error"
                | "max_error"
                | "mape"
                | "rmsle"
                | "pinball_0.1"
                | "pinball_0.5"
                | "pinball_0.9"
                | "cmapss"
        )
    }
}
