//! The figures that a report names.

use serde::{Deserialize, Serialize};

use super::{Average, Probabilities, RegressionSums, Result, ZeroDivision};

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
///
/// # Errors
/// When lengths differ, a class or a probability is out of range, or there is no row.
pub fn classification(
    labels: &[String],
    truth: &[u32],
    probabilities: &[f64],
) -> Result<Classification> {
    let mut all = Probabilities::new(labels.len());
    all.update(truth, probabilities, None)?;
    let found = all.finish()?;
    let confusion = &found.confusion;
    let mean = confusion.average(Average::Macro, 1.0, ZeroDivision::Zero)?;
    let classes = labels.iter().enumerate().map(|(i, label)| {
        let class = confusion.class(i, 1.0);
        ClassFigures {
            label: label.clone(),
            precision: class.precision.unwrap_or(0.0),
            recall: class.recall.unwrap_or(0.0),
            f1: class.f.unwrap_or(0.0),
            support: class.support as usize,
        }
    });
    let cells = (0..labels.len())
        .map(|t| (0..labels.len()).map(|p| confusion.cell(t, p) as usize).collect());
    Ok(Classification {
        accuracy: confusion.accuracy()?,
        precision: mean.precision.unwrap_or(0.0),
        recall: mean.recall.unwrap_or(0.0),
        f1: mean.f.unwrap_or(0.0),
        log_loss: found.log_loss,
        classes: classes.collect(),
        confusion: cells.collect(),
        roc_auc: found.scores.and_then(|scores| scores.finish().roc_auc().ok()),
    })
}

/// Figures for numbers.
///
/// # Errors
/// When lengths differ, a number is not finite, or there is no row.
pub fn regression(truth: &[f64], predicted: &[f64]) -> Result<Regression> {
    let found = RegressionSums::of(truth, predicted, None)?.finish()?;
    Ok(Regression {
        mae: found.mae,
        mse: found.mse,
        rmse: found.rmse,
        // One row is a constant truth.
        r2: found.r2.unwrap_or(f64::from(found.mse == 0.0)),
    })
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
