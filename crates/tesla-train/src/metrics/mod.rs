//! Metrics, each as scikit-learn defines it, and the statistics of comparing models.
//!
//! Everything here is a pure function of slices. Weights are optional, one per row, and zero takes a
//! row out. A figure that the rows do not define is [`MetricError::Undefined`], and a value that is
//! not a number is [`MetricError::Invalid`] and names its row: no NaN comes out.
//!
//! Each family has an accumulator with `update`, `merge` and `finish`. Its sums are exact (rounded
//! once, at the end), or taken in sorted order, so the figures do not depend on how rows are cut
//! into batches. `docs/metrics.md` lists definitions, ranges and awkward cases.

pub mod calibration;
mod counts;
mod figures;
mod multiclass;
mod probability;
pub mod ranking;
mod regression;
pub mod resample;
mod scores;
mod sum;
pub mod threshold;

#[cfg(test)]
mod reference;

pub use counts::{Average, ClassCounts, ClassScore, Confusion, KappaWeights, ZeroDivision};
pub use figures::{
    Averages, ClassFigures, Classification, Regression, Undefined, classification, regression,
};
pub(crate) use figures::{ClassGather, ClassesFound, classification_of, regression_of};
pub use multiclass::{ClassScores, MultiClass, roc_auc_multiclass};
pub use probability::{
    Bin, Bins, Probabilities, ProbabilityFigures, brier, calibration_curve, calibration_error,
    log_loss, top_k_accuracy,
};
pub use regression::{
    RegressionFigures, RegressionSums, d2_absolute_error, median_absolute_error, pinball_loss,
};
pub use scores::{
    PrecisionRecallCurve, RankedScores, RocCurve, Score, Scores, average_precision,
    precision_recall_curve, roc_auc, roc_curve,
};

/// Why there is no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricError {
    /// The rows are sound, but do not define this figure, such as the AUC of one class.
    Undefined(String),
    /// The rows or the arguments are at fault.
    Invalid(String),
}

impl std::fmt::Display for MetricError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undefined(text) | Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for MetricError {}

/// The result of a metric.
pub type Result<T> = std::result::Result<T, MetricError>;

fn undefined<T>(text: impl Into<String>) -> Result<T> {
    Err(MetricError::Undefined(text.into()))
}

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(MetricError::Invalid(text.into()))
}

/// Checks that there are as many of `what` as rows.
fn check_length(what: &str, found: usize, rows: usize) -> Result<()> {
    match found == rows {
        true => Ok(()),
        false => invalid(format!("there are {found} {what} for {rows} rows: give one per row")),
    }
}

/// Checks that every number is finite. `first` is the number of rows that came before.
fn check_finite<S: Score>(what: &str, values: &[S], first: usize) -> Result<()> {
    match values.iter().position(|v| !v.number().is_finite()) {
        None => Ok(()),
        Some(row) => invalid(format!(
            "the {what} of row {} is {}: give a finite number",
            first + row,
            values[row].number()
        )),
    }
}

fn check_weights(weights: Option<&[f64]>, rows: usize, first: usize) -> Result<()> {
    let Some(weights) = weights else {
        return Ok(());
    };
    check_length("weights", weights.len(), rows)?;
    match weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        None => Ok(()),
        Some(row) => invalid(format!(
            "the weight of row {} is {}: give a finite number that is not negative",
            first + row,
            weights[row]
        )),
    }
}

/// Checks that class numbers are below `classes`.
fn check_classes(what: &str, values: &[u32], classes: usize, first: usize) -> Result<()> {
    match values.iter().position(|c| *c as usize >= classes) {
        None => Ok(()),
        Some(row) => invalid(format!(
            "the {what} of row {} is class {}: the classes are 0 to {}",
            first + row,
            values[row],
            classes.saturating_sub(1)
        )),
    }
}

/// The weight of a row where there are weights.
fn weight_of(weights: Option<&[f64]>, row: usize) -> Option<f64> {
    weights.map(|w| w[row])
}

/// `part / whole`, where `whole` is a weight that may be zero.
fn share(metric: &str, part: f64, whole: f64) -> Result<f64> {
    match whole > 0.0 {
        true => Ok(part / whole),
        false => undefined(format!("{metric} is undefined: there is no row with a weight above 0")),
    }
}
