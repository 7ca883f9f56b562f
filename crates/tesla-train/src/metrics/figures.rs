//! The figures that a report names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::counts::{Average, ClassCounts, ClassScore, Confusion, KappaWeights, ZeroDivision};
use super::multiclass::{ClassScores, MultiClass};
use super::probability::{Bin, Probabilities, ProbabilityFigures};
use super::regression::{RegressionSums, d2_absolute_error, median_absolute_error};
use super::scores::RankedScores;
use super::{MetricError, Result};

/// How well classes were told apart. A figure that the rows do not define is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The share of rows whose predicted class is the true one.
    pub accuracy: f64,
    /// The mean over classes of precision.
    pub precision: f64,
    /// The mean over classes of recall.
    pub recall: f64,
    /// The mean over classes of F1.
    pub f1: f64,
    /// The mean of `-ln p(true class)`, with p kept above the smallest step of a 64-bit float.
    pub log_loss: f64,
    /// The mean over the classes that occur of recall.
    pub balanced_accuracy: Option<f64>,
    /// The Brier score.
    pub brier: Option<f64>,
    /// The expected calibration error over 15 bins.
    pub calibration_error: Option<f64>,
    /// The area under the ROC curve of the second of two classes; of more, the mean over classes of
    /// each against the rest.
    pub roc_auc: Option<f64>,
    /// The area under the ROC curve, averaged over pairs of classes; of more than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roc_auc_ovo: Option<f64>,
    /// The average precision of the second of two classes; of more, the mean over the classes that
    /// occur of each against the rest.
    pub average_precision: Option<f64>,
    /// The Matthews correlation coefficient.
    pub mcc: Option<f64>,
    /// Cohen's kappa.
    pub kappa: Option<f64>,
    /// The share of rows whose class is among the k most probable, by k.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub top_k: BTreeMap<String, f64>,
    /// Precision, recall and F1 of all decisions together.
    pub micro: Option<Averages>,
    /// Precision, recall and F1, averaged over classes by their rows.
    pub weighted: Option<Averages>,
    /// One entry per class.
    pub classes: Vec<ClassFigures>,
    /// Row = true class, column = predicted class: counts, or weights where rows have them.
    #[serde(serialize_with = "whole_rows")]
    pub confusion: Vec<Vec<f64>>,
}

/// Precision, recall and F1 over classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// F1.
    pub f1: f64,
}

/// How well one class was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// The class.
    pub label: String,
    /// Of the rows predicted as this class, the share that are; 0 of none.
    pub precision: f64,
    /// Of the rows of this class, the share that were found; 0 of none.
    pub recall: f64,
    /// `2 precision recall / (precision + recall)`; 0 where both are.
    pub f1: f64,
    /// Rows of this class, or their weight where rows have one.
    #[serde(serialize_with = "whole")]
    pub support: f64,
    /// The area under the ROC curve of this class against the rest; of more than two classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// The average precision of this class against the rest; of more than two classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
}

/// How close numbers were. A figure that the rows do not define is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// The mean of `|y - ŷ|`, in the target's unit.
    pub mae: f64,
    /// The mean of `(y - ŷ)²`.
    pub mse: f64,
    /// The square root of `mse`, in the target's unit.
    pub rmse: f64,
    /// `1 - Σ(y - ŷ)² / Σ(y - mean y)²`: 1 is perfect, 0 is no better than the mean.
    pub r2: f64,
    /// As `r2`, but blind to a constant error.
    pub explained_variance: Option<f64>,
    /// The median of `|y - ŷ|`.
    pub median_absolute_error: Option<f64>,
    /// The largest `|y - ŷ|`.
    pub max_error: Option<f64>,
    /// The mean of `|y - ŷ| / |y|`.
    pub mape: Option<f64>,
    /// The root of the mean of `(ln(1 + y) - ln(1 + ŷ))²`.
    pub rmsle: Option<f64>,
    /// `1 - Σ|y - ŷ| / Σ|y - median y|`.
    pub d2_absolute_error: Option<f64>,
    /// The pinball loss of the quantiles 0.1, 0.5 and 0.9.
    pub pinball: Option<[f64; 3]>,
    /// The score of remaining life of C-MAPSS; of remaining life only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmapss: Option<f64>,
}

/// Counts as whole numbers.
fn whole<S: Serializer>(value: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Number(*value).serialize(serializer)
}

fn whole_rows<S: Serializer>(
    rows: &[Vec<f64>],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(
        rows.iter()
            .map(|row| row.iter().map(|v| Number(*v)).collect::<Vec<_>>()),
    )
}

struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0.fract() == 0.0 && (0.0..1e15).contains(&self.0) {
            true => serializer.serialize_u64(self.0 as u64),
            false => serializer.serialize_f64(self.0),
        }
    }
}

/// Why figures are `None`, by their names.
pub type Undefined = BTreeMap<String, String>;

/// The `k` of top-k accuracies, where there are more classes.
const TOP: [usize; 3] = [2, 3, 5];

/// More scores than this, of all rows and of more than two classes, are not ranked: their ranking has
/// no summary that is smaller than they are.
const MOST_SCORES: usize = 1 << 26;

/// Of more classes than this nothing is ranked: the rankings of all pairs would not fit.
const MOST_CLASSES: usize = 1000;

/// Figures of classes, batch by batch: memory grows with what ranks rows only.
pub(crate) struct ClassGather {
    classes: usize,
    counts: ClassCounts,
    probabilities: Probabilities,
    /// Scores of more than two classes, while they are few enough.
    scores: Option<ClassScores>,
    rows: usize,
}

/// All figures of classes, and what curves are drawn from.
pub(crate) struct ClassesFound {
    pub(crate) figures: Classification,
    pub(crate) undefined: Undefined,
    pub(crate) reliability: Vec<Bin>,
    /// The ranking of the second of two classes, or of each of more against the rest.
    pub(crate) ranked: Vec<(usize, RankedScores)>,
}

impl ClassGather {
    pub(crate) fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: ClassCounts::new(classes),
            probabilities: Probabilities::new(classes),
            scores: (3..=MOST_CLASSES)
                .contains(&classes)
                .then(|| ClassScores::new(classes)),
            rows: 0,
        }
    }

    pub(crate) fn update(
        &mut self,
        truth: &[u32],
        predicted: &[u32],
        probabilities: &[f64],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        self.rows += truth.len();
        self.counts.update(truth, predicted, weights)?;
        self.probabilities.update(truth, probabilities, weights)?;
        if self.rows.saturating_mul(self.classes) > MOST_SCORES {
            self.scores = None;
        }
        match &mut self.scores {
            Some(scores) => scores.update(truth, probabilities, weights),
            None => Ok(()),
        }
    }

    /// The figures; `curves` asks for the rankings of up to that many classes.
    pub(crate) fn finish(self, labels: &[String], curves: usize) -> Result<ClassesFound> {
        let confusion = self.counts.finish();
        let found = self.probabilities.finish()?;
        let mut undefined = Undefined::new();
        let mut figures = of_counts(labels, &confusion, &found, &mut undefined)?;
        let mut ranked = Vec::new();
        match (self.classes, self.scores) {
            (2, _) => {
                let scores = found.scores.unwrap_or_default().finish();
                figures.roc_auc = defined("roc_auc", scores.roc_auc(), labels, &mut undefined);
                figures.average_precision = defined(
                    "average_precision",
                    scores.average_precision(),
                    labels,
                    &mut undefined,
                );
                ranked.push((1, scores));
            }
            (_, Some(scores)) => {
                ranking(&mut figures, &scores, labels, &mut undefined);
                let mut order: Vec<usize> = (0..self.classes).collect();
                order.sort_by(|a, b| confusion.support(*b).total_cmp(&confusion.support(*a)));
                order.truncate(curves);
                order.sort_unstable();
                ranked.extend(order.into_iter().map(|c| (c, scores.one_vs_rest(c).finish())));
            }
            (_, None) => {
                let reason = format!(
                    "there are more than {MOST_CLASSES} classes or {MOST_SCORES} scores to rank"
                );
                for name in ["roc_auc", "roc_auc_ovo", "average_precision"] {
                    undefined.insert(name.into(), reason.clone());
                }
            }
        }
        Ok(ClassesFound {
            figures,
            undefined,
            reliability: found.reliability,
            ranked,
        })
    }
}

fn of_counts(
    labels: &[String],
    confusion: &Confusion,
    found: &ProbabilityFigures,
    undefined: &mut Undefined,
) -> Result<Classification> {
    let average = |average| -> Result<Averages> {
        let found: ClassScore = confusion.average(average, 1.0, ZeroDivision::Zero)?;
        Ok(Averages {
            precision: found.precision.unwrap_or(0.0),
            recall: found.recall.unwrap_or(0.0),
            f1: found.f.unwrap_or(0.0),
        })
    };
    let mean = average(Average::Macro)?;
    let classes = labels.iter().enumerate().map(|(i, label)| {
        let class = confusion.class(i, 1.0);
        ClassFigures {
            label: label.clone(),
            precision: class.precision.unwrap_or(0.0),
            recall: class.recall.unwrap_or(0.0),
            f1: class.f.unwrap_or(0.0),
            support: class.support,
            roc_auc: None,
            average_precision: None,
        }
    });
    let cells =
        (0..labels.len()).map(|t| (0..labels.len()).map(|p| confusion.cell(t, p)).collect());
    let top = TOP.iter().filter(|k| **k < labels.len());
    Ok(Classification {
        accuracy: confusion.accuracy()?,
        precision: mean.precision,
        recall: mean.recall,
        f1: mean.f1,
        log_loss: found.log_loss,
        balanced_accuracy: defined(
            "balanced_accuracy",
            confusion.balanced_accuracy(),
            labels,
            undefined,
        ),
        brier: Some(found.brier),
        calibration_error: Some(found.calibration_error),
        roc_auc: None,
        roc_auc_ovo: None,
        average_precision: None,
        mcc: defined("mcc", confusion.mcc(), labels, undefined),
        kappa: defined("kappa", confusion.kappa(KappaWeights::Equal), labels, undefined),
        top_k: top
            .filter_map(|k| Some((k.to_string(), found.top_k_accuracy(*k).ok()?)))
            .collect(),
        micro: Some(average(Average::Micro)?),
        weighted: Some(average(Average::Weighted)?),
        classes: classes.collect(),
        confusion: cells.collect(),
    })
}

/// What ranks more than two classes.
fn ranking(
    figures: &mut Classification,
    scores: &ClassScores,
    labels: &[String],
    undefined: &mut Undefined,
) {
    let occurs: Vec<bool> = figures.classes.iter().map(|c| c.support > 0.0).collect();
    let mut precisions = Vec::new();
    for (class, own) in figures.classes.iter_mut().enumerate().filter(|(c, _)| occurs[*c]) {
        let ranked = scores.one_vs_rest(class).finish();
        own.roc_auc = ranked.roc_auc().ok();
        own.average_precision = ranked.average_precision().ok();
        precisions.extend(own.average_precision);
    }
    let auc = |kind| scores.roc_auc(kind, Average::Macro);
    // The mean of the areas above is the same figure; only its reasons are needed.
    let mean = match occurs.iter().all(|occurs| *occurs) {
        true => {
            let areas: Option<Vec<f64>> = figures.classes.iter().map(|c| c.roc_auc).collect();
            match areas {
                Some(areas) => Ok(areas.iter().sum::<f64>() / areas.len() as f64),
                None => auc(MultiClass::OneVsRest),
            }
        }
        false => auc(MultiClass::OneVsRest),
    };
    figures.roc_auc = defined("roc_auc", mean, labels, undefined);
    if labels.len() <= MOST_PAIRED {
        figures.roc_auc_ovo = defined("roc_auc_ovo", auc(MultiClass::OneVsOne), labels, undefined);
    }
    figures.average_precision = match precisions.is_empty() {
        true => None,
        false => Some(precisions.iter().sum::<f64>() / precisions.len() as f64),
    };
}

/// More classes than this have too many pairs.
const MOST_PAIRED: usize = 50;

/// The figure, or why there is none, with the labels of classes.
pub(crate) fn defined(
    name: &str,
    figure: Result<f64>,
    labels: &[String],
    undefined: &mut Undefined,
) -> Option<f64> {
    match figure {
        Ok(value) => Some(value),
        Err(MetricError::Undefined(reason) | MetricError::Invalid(reason)) => {
            let digits = reason.chars().rev().take_while(char::is_ascii_digit).count();
            let (text, number) = reason.split_at(reason.len() - digits);
            let label = number.parse().ok().and_then(|class: usize| labels.get(class));
            let reason = match label.filter(|_| text.ends_with("class ")) {
                Some(label) => format!("{text}`{label}`"),
                None => reason,
            };
            undefined.insert(name.into(), reason);
            None
        }
    }
}

/// Figures for `probabilities`, `[rows, labels]` row-major, against true class numbers; the most
/// probable class is the predicted one. Averages are over the classes that occur among the true or
/// the predicted ones.
///
/// # Errors
/// When lengths differ, a class or a probability is out of range, or there is no row.
pub fn classification(
    labels: &[String],
    truth: &[u32],
    probabilities: &[f64],
) -> Result<Classification> {
    Ok(classification_of(labels, truth, probabilities, None)?.0)
}

/// Figures for classes, and why some are `None`.
pub(crate) fn classification_of(
    labels: &[String],
    truth: &[u32],
    probabilities: &[f64],
    weights: Option<&[f64]>,
) -> Result<(Classification, Undefined)> {
    let mut all = ClassGather::new(labels.len());
    let best =
        |row: &[f64]| (1..row.len()).fold(0, |b, i| if row[i] > row[b] { i } else { b }) as u32;
    let predicted: Vec<u32> = probabilities.chunks_exact(labels.len().max(1)).map(best).collect();
    all.update(truth, &predicted, probabilities, weights)?;
    let found = all.finish(labels, 0)?;
    Ok((found.figures, found.undefined))
}

/// Figures for numbers.
///
/// # Errors
/// When lengths differ, a number is not finite, or there is no row.
pub fn regression(truth: &[f64], predicted: &[f64]) -> Result<Regression> {
    Ok(regression_of(truth, predicted, None, false)?.0)
}

/// Figures for numbers, and why some are `None`.
pub(crate) fn regression_of(
    truth: &[f64],
    predicted: &[f64],
    weights: Option<&[f64]>,
    is_life: bool,
) -> Result<(Regression, Undefined)> {
    let found = RegressionSums::of(truth, predicted, weights)?.finish()?;
    let mut undefined = Undefined::new();
    let mut reason = |name: &str, found: Option<f64>, reason: &str| {
        if found.is_none() {
            undefined.insert(name.into(), reason.into());
        }
        found
    };
    let below = "a number is -1 or below, which has no logarithm";
    let figures = Regression {
        mae: found.mae,
        mse: found.mse,
        rmse: found.rmse,
        // One row is a constant truth.
        r2: found.r2.unwrap_or(f64::from(found.mse == 0.0)),
        explained_variance: Some(found.explained_variance),
        median_absolute_error: Some(median_absolute_error(truth, predicted, weights)?),
        max_error: Some(found.max_error),
        mape: reason("mape", found.mape, "a true number is 0, and an error is no share of it"),
        rmsle: reason("rmsle", found.rmsle, below),
        d2_absolute_error: reason(
            "d2_absolute_error",
            d2_absolute_error(truth, predicted, weights).ok(),
            "there are fewer than two rows",
        ),
        pinball: Some([0.1, 0.5, 0.9].map(|alpha| found.pinball(alpha))),
        cmapss: match is_life {
            true => reason("cmapss", found.cmapss, "it is too large for a number"),
            false => None,
        },
    };
    Ok((figures, undefined))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn reference(block: &str) -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/peers/reference.json");
        let text = std::fs::read_to_string(path).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        all["metrics"][block].clone()
    }

    fn floats(value: &Value) -> Vec<f64> {
        value
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|v| match v {
                Value::Array(_) => floats(v),
                v => vec![v.as_f64().unwrap()],
            })
            .collect()
    }

    fn classes(value: &Value) -> Vec<u32> {
        floats(value).into_iter().map(|v| v as u32).collect()
    }

    fn close(found: f64, expected: &Value) {
        let expected = expected.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    fn check(found: &Classification, r: &Value) {
        close(found.accuracy, &r["accuracy"]);
        close(found.precision, &r["macro"]["precision"]);
        close(found.recall, &r["macro"]["recall"]);
        close(found.f1, &r["macro"]["f1"]);
        for (i, class) in found.classes.iter().enumerate() {
            close(class.precision, &r["per_class"]["precision"][i]);
            close(class.recall, &r["per_class"]["recall"][i]);
            close(class.f1, &r["per_class"]["f1"][i]);
        }
        let confusion: Vec<f64> = found.confusion.iter().flatten().copied().collect();
        assert_eq!(confusion, floats(&r["confusion_matrix"]));
    }

    #[test]
    fn three_classes_equal_scikit_learn() {
        let r = reference("three_classes");
        let labels = ["0", "1", "2"].map(String::from);
        let found =
            classification(&labels, &classes(&r["y_true"]), &floats(&r["probabilities"])).unwrap();
        check(&found, &r);
        close(found.log_loss, &r["log_loss"]);
    }

    #[test]
    fn a_class_never_predicted_counts_zero() {
        let r = reference("class_never_predicted");
        let labels = ["0", "1", "2"].map(String::from);
        let certain: Vec<f64> = classes(&r["y_pred"])
            .into_iter()
            .flat_map(|c| (0..3).map(move |i| f64::from(i == c)))
            .collect();
        check(&classification(&labels, &classes(&r["y_true"]), &certain).unwrap(), &r);
    }

    #[test]
    fn binary_with_ties_equals_scikit_learn() {
        let r = reference("binary");
        let labels = ["0", "1"].map(String::from);
        let p: Vec<f64> = floats(&r["scores"]).into_iter().flat_map(|s| [1.0 - s, s]).collect();
        let found = classification(&labels, &classes(&r["y_true"]), &p).unwrap();
        check(&found, &r);
        close(found.log_loss, &r["log_loss"]);
        close(found.roc_auc.unwrap(), &r["roc_auc"]);
    }

    #[test]
    fn regression_equals_scikit_learn() {
        for block in ["regression", "regression_worse_than_mean"] {
            let r = reference(block);
            let found = regression(&floats(&r["y_true"]), &floats(&r["y_pred"])).unwrap();
            close(found.mae, &r["mae"]);
            close(found.mse, &r["mse"]);
            close(found.rmse, &r["rmse"]);
            close(found.r2, &r["r2"]);
        }
    }
}
