//! Figures of predicted classes.

use serde::{Deserialize, Serialize};

use super::sum::Tally;
use super::{Result, check_classes, check_length, check_weights, share, undefined, weight_of};

/// Counts of true and predicted classes, batch by batch.
pub struct ClassCounts {
    classes: usize,
    rows: usize,
    cells: Vec<Tally>,
}

impl ClassCounts {
    /// No row yet, of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            rows: 0,
            cells: (0..classes * classes).map(|_| Tally::default()).collect(),
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When lengths differ, or a class or a weight is out of range.
    pub fn update(
        &mut self,
        truth: &[u32],
        predicted: &[u32],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        check_length("predicted classes", predicted.len(), truth.len())?;
        check_weights(weights, truth.len(), self.rows)?;
        check_classes("truth", truth, self.classes, self.rows)?;
        check_classes("prediction", predicted, self.classes, self.rows)?;
        for (row, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
            self.add(*truth, *predicted, weight_of(weights, row));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, truth: u32, predicted: u32, weight: Option<f64>) {
        self.rows += 1;
        self.cells[truth as usize * self.classes + predicted as usize].add(weight);
    }

    /// Adds the rows of another.
    ///
    /// # Panics
    /// When the numbers of classes differ.
    pub fn merge(&mut self, other: Self) {
        assert_eq!(self.classes, other.classes, "counts of different classes are merged");
        self.rows += other.rows;
        self.cells.iter_mut().zip(other.cells).for_each(|(a, b)| a.merge(b));
    }

    /// The confusion matrix.
    pub fn finish(self) -> Confusion {
        Confusion {
            classes: self.classes,
            cells: self.cells.into_iter().map(Tally::value).collect(),
        }
    }
}

/// A confusion matrix: the weight of the rows of each true class (row) that were predicted as each
/// class (column). Without weights these are counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    cells: Vec<f64>,
}

/// How well one class was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Of the rows predicted as this class, the share that are; none where there is no such row.
    pub precision: Option<f64>,
    /// Of the rows of this class, the share that were found; none where there is no such row.
    pub recall: Option<f64>,
    /// `(1 + β²) TP / (β² support + predicted)`; none where the class does not occur at all.
    pub f: Option<f64>,
    /// The weight of the rows of this class.
    pub support: f64,
}

/// How the figures of classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Average {
    /// All decisions together. With one class per row, all three figures are then the accuracy.
    Micro,
    /// The mean over the classes that occur among the true or the predicted ones.
    Macro,
    /// The mean over classes, each weighted by its support.
    Weighted,
}

/// What stands in an average for a figure that a class does not define: scikit-learn's
/// `zero_division`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroDivision {
    /// 0, as scikit-learn does by default.
    #[default]
    Zero,
    /// 1.
    One,
    /// Nothing: the class is left out of this average.
    Skip,
}

/// How much a confusion of two classes costs in Cohen's kappa.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KappaWeights {
    /// 1, whichever classes they are.
    Equal,
    /// `|i - j|`, for classes that are in order.
    Linear,
    /// `(i - j)²`, for classes that are in order.
    Quadratic,
}

impl Confusion {
    /// The confusion matrix of all rows at once.
    ///
    /// # Errors
    /// When lengths differ, or a class or a weight is out of range.
    pub fn new(
        classes: usize,
        truth: &[u32],
        predicted: &[u32],
        weights: Option<&[f64]>,
    ) -> Result<Self> {
        let mut counts = ClassCounts::new(classes);
        counts.update(truth, predicted, weights)?;
        Ok(counts.finish())
    }

    /// A matrix of cells, row by row.
    pub(crate) fn from_cells(classes: usize, cells: Vec<f64>) -> Self {
        Self { classes, cells }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The weight of the rows of class `truth` predicted as class `predicted`.
    pub fn cell(&self, truth: usize, predicted: usize) -> f64 {
        self.cells[truth * self.classes + predicted]
    }

    /// The weight of the rows of a class.
    pub fn support(&self, class: usize) -> f64 {
        (0..self.classes).map(|p| self.cell(class, p)).sum()
    }

    /// The weight of the rows predicted as a class.
    pub fn predicted(&self, class: usize) -> f64 {
        (0..self.classes).map(|t| self.cell(t, class)).sum()
    }

    /// The weight of all rows.
    pub fn total(&self) -> f64 {
        self.cells.iter().sum()
    }

    fn hits(&self) -> f64 {
        (0..self.classes).map(|c| self.cell(c, c)).sum()
    }

    /// The share of rows whose class was found: `Σ hits / Σ rows`.
    ///
    /// # Errors
    /// Without a row.
    pub fn accuracy(&self) -> Result<f64> {
        share("accuracy", self.hits(), self.total())
    }

    /// The mean of recall over the classes that occur in the truth.
    ///
    /// # Errors
    /// Without a row.
    pub fn balanced_accuracy(&self) -> Result<f64> {
        let recalls: Vec<f64> =
            (0..self.classes).filter_map(|c| self.class(c, 1.0).recall).collect();
        share("balanced accuracy", recalls.iter().sum(), recalls.len() as f64)
    }

    /// Precision, recall and F-beta of one class.
    pub fn class(&self, class: usize, beta: f64) -> ClassScore {
        let (hits, support, predicted) =
            (self.cell(class, class), self.support(class), self.predicted(class));
        class_score(hits, support, predicted, beta)
    }

    /// Precision, recall and F-beta over all classes. In the macro and weighted average, F is the
    /// mean of the classes' F, not the F of the means. `support` is the weight of all rows.
    ///
    /// # Errors
    /// When no class defines a figure.
    pub fn average(&self, average: Average, beta: f64, zero: ZeroDivision) -> Result<ClassScore> {
        let total = self.total();
        share("the average over classes", 0.0, total)?;
        if average == Average::Micro {
            return Ok(class_score(self.hits(), total, total, beta));
        }
        let occurring = (0..self.classes).map(|c| (self.predicted(c), self.class(c, beta)));
        let classes: Vec<ClassScore> = occurring
            .filter(|(predicted, class)| *predicted > 0.0 || class.support > 0.0)
            .map(|(_, class)| class)
            .collect();
        let mean = |figure: fn(&ClassScore) -> Option<f64>| {
            let (mut sum, mut whole) = (0.0, 0.0);
            for class in &classes {
                let stand_in = match zero {
                    ZeroDivision::Zero => Some(0.0),
                    ZeroDivision::One => Some(1.0),
                    ZeroDivision::Skip => None,
                };
                let Some(value) = figure(class).or(stand_in) else {
                    continue;
                };
                let weight = if average == Average::Macro {
                    1.0
                } else {
                    class.support
                };
                sum += weight * value;
                whole += weight;
            }
            (whole > 0.0).then(|| sum / whole)
        };
        Ok(ClassScore {
            precision: mean(|c| c.precision),
            recall: mean(|c| c.recall),
            f: mean(|c| c.f),
            support: total,
        })
    }

    /// The Matthews correlation coefficient: the correlation of true and predicted class (Gorodkin
    /// 2004 for more than two classes).
    ///
    /// # Errors
    /// When the truth or the prediction is one class only; scikit-learn says 0 there.
    pub fn mcc(&self) -> Result<f64> {
        let total = self.total();
        let (mut both, mut truths, mut predictions) = (0.0, 0.0, 0.0);
        for class in 0..self.classes {
            let (support, predicted) = (self.support(class), self.predicted(class));
            both += support * predicted;
            truths += support * support;
            predictions += predicted * predicted;
        }
        let spread = (total * total - truths) * (total * total - predictions);
        // Counted, because with weights the differences above may be a rounding error.
        let occurring = |weight: fn(&Self, usize) -> f64| {
            (0..self.classes).filter(|c| weight(self, *c) > 0.0).count()
        };
        if occurring(Self::support) < 2 || occurring(Self::predicted) < 2 {
            return undefined(
                "the Matthews correlation is undefined: the truth or the prediction is one class only",
            );
        }
        Ok((self.hits() * total - both) / spread.sqrt())
    }

    /// Cohen's kappa: agreement beyond chance, `1 - Σ w observed / Σ w expected`, where `expected`
    /// has the same margins and no association. Distances are between class numbers, also across
    /// classes that do not occur.
    ///
    /// # Errors
    /// When chance alone would agree fully: truth and prediction are the same one class.
    pub fn kappa(&self, weights: KappaWeights) -> Result<f64> {
        let total = self.total();
        share("Cohen's kappa", 0.0, total)?;
        let supports: Vec<f64> = (0..self.classes).map(|c| self.support(c)).collect();
        let predictions: Vec<f64> = (0..self.classes).map(|c| self.predicted(c)).collect();
        let (mut observed, mut expected) = (0.0, 0.0);
        for (truth, support) in supports.iter().enumerate() {
            for (predicted, prediction) in predictions.iter().enumerate() {
                let distance = truth.abs_diff(predicted) as f64;
                let cost = match weights {
                    KappaWeights::Equal => distance.min(1.0),
                    KappaWeights::Linear => distance,
                    KappaWeights::Quadratic => distance * distance,
                };
                observed += cost * self.cell(truth, predicted);
                expected += cost * support * prediction / total;
            }
        }
        match expected > 0.0 {
            true => Ok(1.0 - observed / expected),
            false => undefined(
                "Cohen's kappa is undefined: the truth and the prediction are the same one class",
            ),
        }
    }
}

fn class_score(hits: f64, support: f64, predicted: f64, beta: f64) -> ClassScore {
    let ratio = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    let squared = beta * beta;
    ClassScore {
        precision: ratio(hits, predicted),
        recall: ratio(hits, support),
        f: match squared.is_infinite() {
            true => ratio(hits, support),
            false => ratio((1.0 + squared) * hits, squared * support + predicted),
        },
        support,
    }
}
