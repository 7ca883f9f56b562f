//! Metrics, each as scikit-learn defines it.

use serde::{Deserialize, Serialize};

/// How well classes were told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The share of rows whose most probable class is the true one.
    pub accuracy: f64,
    /// The mean over classes of precision.
    pub precision: f64,
    /// The mean over classes of recall.
    pub recall: f64,
    /// The mean over classes of F1.
    pub f1: f64,
    /// The mean of `-ln p(true class)`, with p kept above the smallest step of a 64-bit float.
    pub log_loss: f64,
    /// The area under the ROC curve of the second class; only for two classes that both occur.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// One entry per class.
    pub classes: Vec<ClassFigures>,
    /// Row = true class, column = predicted class.
    pub confusion: Vec<Vec<usize>>,
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
    /// Rows of this class.
    pub support: usize,
}

/// How close numbers were.
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
}

/// Figures for `probabilities`, `[rows, labels]` row-major, against true class numbers. Averages
/// are over the classes that occur among the true or the predicted ones.
pub fn classification(labels: &[String], truth: &[u32], probabilities: &[f64]) -> Classification {
    let count = labels.len();
    let mut confusion = vec![vec![0usize; count]; count];
    let mut log_loss = 0.0;
    for (truth, row) in truth.iter().zip(probabilities.chunks_exact(count)) {
        let truth = *truth as usize;
        let best = (1..count).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        confusion[truth][best] += 1;
        log_loss -= row[truth].clamp(f64::EPSILON, 1.0).ln();
    }
    let rows = truth.len() as f64;
    let classes: Vec<ClassFigures> = labels
        .iter()
        .enumerate()
        .map(|(i, label)| {
            let hits = confusion[i][i];
            let support: usize = confusion[i].iter().sum();
            let predicted: usize = confusion.iter().map(|row| row[i]).sum();
            ClassFigures {
                label: label.clone(),
                precision: ratio(hits, predicted),
                recall: ratio(hits, support),
                f1: ratio(2 * hits, support + predicted),
                support,
            }
        })
        .collect();
    let present: Vec<&ClassFigures> = classes
        .iter()
        .enumerate()
        .filter(|(i, c)| c.support > 0 || confusion.iter().any(|row| row[*i] > 0))
        .map(|(_, c)| c)
        .collect();
    let macro_mean = |f: fn(&ClassFigures) -> f64| {
        present.iter().map(|c| f(c)).sum::<f64>() / present.len().max(1) as f64
    };
    let hits: usize = (0..count).map(|i| confusion[i][i]).sum();
    Classification {
        accuracy: hits as f64 / rows,
        precision: macro_mean(|c| c.precision),
        recall: macro_mean(|c| c.recall),
        f1: macro_mean(|c| c.f1),
        log_loss: log_loss / rows,
        roc_auc: (count == 2)
            .then(|| {
                let scores: Vec<f64> = probabilities.chunks_exact(2).map(|p| p[1]).collect();
                roc_auc(truth, &scores)
            })
            .flatten(),
        classes,
        confusion,
    }
}

/// The area under the ROC curve: the chance that a random row of class 1 scores higher than a
/// random row of class 0, ties counting half (Mann-Whitney U). `None` unless both classes occur.
pub fn roc_auc(truth: &[u32], scores: &[f64]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut below, mut pairs) = (0.0, 0.0);
    let mut at = 0;
    while at < order.len() {
        let same = order[at..]
            .iter()
            .take_while(|i| scores[**i] == scores[order[at]])
            .count()
            .max(1);
        let positive = order[at..at + same].iter().filter(|i| truth[**i] == 1).count() as f64;
        let negative = same as f64 - positive;
        pairs += positive * (below + negative / 2.0);
        below += negative;
        at += same;
    }
    let positives = scores.len() as f64 - below;
    (positives > 0.0 && below > 0.0).then(|| pairs / (positives * below))
}

/// Figures for numbers.
pub fn regression(truth: &[f64], predicted: &[f64]) -> Regression {
    let rows = truth.len() as f64;
    let mean = truth.iter().sum::<f64>() / rows;
    let (mut absolute, mut squares, mut total) = (0.0, 0.0, 0.0);
    for (y, p) in truth.iter().zip(predicted) {
        absolute += (y - p).abs();
        squares += (y - p).powi(2);
        total += (y - mean).powi(2);
    }
    Regression {
        mae: absolute / rows,
        mse: squares / rows,
        rmse: (squares / rows).sqrt(),
        // As scikit-learn: a constant target is 1 when met exactly and 0 otherwise.
        r2: match (total > 0.0, squares > 0.0) {
            (true, _) => 1.0 - squares / total,
            (false, true) => 0.0,
            (false, false) => 1.0,
        },
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
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
        let confusion: Vec<f64> = found.confusion.iter().flatten().map(|n| *n as f64).collect();
        assert_eq!(confusion, floats(&r["confusion_matrix"]));
    }

    #[test]
    fn three_classes_equal_scikit_learn() {
        let r = reference("three_classes");
        let labels = ["0", "1", "2"].map(String::from);
        let found = classification(&labels, &classes(&r["y_true"]), &floats(&r["probabilities"]));
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
        check(&classification(&labels, &classes(&r["y_true"]), &certain), &r);
    }

    #[test]
    fn binary_with_ties_equals_scikit_learn() {
        let r = reference("binary");
        let labels = ["0", "1"].map(String::from);
        let p: Vec<f64> = floats(&r["scores"]).into_iter().flat_map(|s| [1.0 - s, s]).collect();
        let found = classification(&labels, &classes(&r["y_true"]), &p);
        check(&found, &r);
        close(found.log_loss, &r["log_loss"]);
        close(found.roc_auc.unwrap(), &r["roc_auc"]);
    }

    #[test]
    fn regression_equals_scikit_learn() {
        for block in ["regression", "regression_worse_than_mean"] {
            let r = reference(block);
            let found = regression(&floats(&r["y_true"]), &floats(&r["y_pred"]));
            close(found.mae, &r["mae"]);
            close(found.mse, &r["mse"]);
            close(found.rmse, &r["rmse"]);
            close(found.r2, &r["r2"]);
        }
    }
}
