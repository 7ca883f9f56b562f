//! The area under the ROC curve of more than two classes.

use serde::{Deserialize, Serialize};

use super::counts::Average;
use super::scores::{Keys, Score, Scores};
use super::{Result, check_classes, check_weights, invalid, undefined, weight_of};

/// How the AUC of two classes is carried over to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MultiClass {
    /// Each class against all others, by the score of the class.
    OneVsRest,
    /// Each pair of classes, by the score of the one and of the other (Hand & Till 2001).
    OneVsOne,
}

/// Scores of every class, batch by batch: 8 bytes a row and class, 16 with weights.
#[derive(Clone, Debug)]
pub struct ClassScores {
    classes: usize,
    rows: usize,
    /// By true class, then by the class whose score it is.
    keys: Vec<Keys>,
}

impl ClassScores {
    /// No row yet, of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            rows: 0,
            keys: vec![Keys::default(); classes * classes],
        }
    }

    /// Adds rows: their true class and `[rows, classes]` scores, row-major.
    ///
    /// # Errors
    /// When lengths differ, or a class, a score or a weight is out of range.
    pub fn update<S: Score>(
        &mut self,
        truth: &[u32],
        scores: &[S],
        weights: Option<&[f64]>,
    ) -> Result<()> {
        let classes = self.classes;
        if scores.len() != truth.len() * classes {
            return invalid(format!(
                "there are {} scores for {} rows: give one per row and class, {} in all",
                scores.len(),
                truth.len(),
                truth.len() * classes
            ));
        }
        check_weights(weights, truth.len(), self.rows)?;
        check_classes("truth", truth, classes, self.rows)?;
        for (row, (truth, scores)) in truth.iter().zip(scores.chunks_exact(classes)).enumerate() {
            if let Some(found) = scores.iter().find(|s| !s.number().is_finite()) {
                return invalid(format!(
                    "a score of row {} is {}: give finite numbers",
                    self.rows + row,
                    found.number()
                ));
            }
            let columns = self.keys[*truth as usize * classes..].iter_mut();
            for (keys, score) in columns.zip(scores) {
                keys.push(score.number(), weight_of(weights, row));
            }
        }
        self.rows += truth.len();
        Ok(())
    }

    /// Adds the rows of another.
    ///
    /// # Panics
    /// When the numbers of classes differ.
    pub fn merge(&mut self, other: Self) {
        assert_eq!(self.classes, other.classes, "scores of different classes are merged");
        self.rows += other.rows;
        self.keys.iter_mut().zip(other.keys).for_each(|(a, b)| a.append(b));
    }

    fn of_class(&self, truth: usize, column: usize) -> &Keys {
        &self.keys[truth * self.classes + column]
    }

    /// The scores of one class, with its rows as class 1 and all others as class 0.
    pub fn one_vs_rest(&self, class: usize) -> Scores {
        let mut negative = Keys::default();
        for other in (0..self.classes).filter(|other| *other != class) {
            negative.extend(self.of_class(other, class));
        }
        Scores {
            rows: self.rows,
            positive: self.of_class(class, class).clone(),
            negative,
        }
    }

    fn pair(&self, class: usize, other: usize) -> Scores {
        Scores {
            rows: self.rows,
            positive: self.of_class(class, class).clone(),
            negative: self.of_class(other, class).clone(),
        }
    }

    /// The mean of the AUC over classes (one-vs-rest) or over pairs of the classes that occur
    /// (one-vs-one); weighted, each counts by the weight of its true rows.
    ///
    /// # Errors
    /// One-vs-rest, unless every class occurs; one-vs-one, unless two do.
    pub fn roc_auc(&self, multi_class: MultiClass, average: Average) -> Result<f64> {
        if average == Average::Micro {
            return invalid("the multi-class AUC has no micro average: ask for macro or weighted");
        }
        let mut parts: Vec<(f64, f64)> = Vec::new();
        let occurring: Vec<usize> = (0..self.classes)
            .filter(|c| !self.of_class(*c, *c).is_empty())
            .collect();
        match multi_class {
            MultiClass::OneVsRest => {
                if let Some(absent) = (0..self.classes).find(|c| !occurring.contains(c)) {
                    return undefined(format!(
                        "the one-vs-rest AUC is undefined: there is no row of class {absent}"
                    ));
                }
                for class in occurring {
                    let scores = self.one_vs_rest(class).finish();
                    parts.push((scores.roc_auc()?, scores.totals().0));
                }
            }
            MultiClass::OneVsOne => {
                for (i, a) in occurring.iter().enumerate() {
                    for b in &occurring[i + 1..] {
                        let (first, second) =
                            (self.pair(*a, *b).finish(), self.pair(*b, *a).finish());
                        let auc = (first.roc_auc()? + second.roc_auc()?) / 2.0;
                        let (one, other) = first.totals();
                        parts.push((auc, one + other));
                    }
                }
            }
        }
        if parts.is_empty() {
            return undefined("the multi-class AUC is undefined: only one class occurs");
        }
        let (mut sum, mut whole) = (0.0, 0.0);
        for (auc, support) in parts {
            let weight = if average == Average::Macro {
                1.0
            } else {
                support
            };
            sum += weight * auc;
            whole += weight;
        }
        Ok(sum / whole)
    }
}

/// [`ClassScores::roc_auc`] of all rows at once; `scores` is `[rows, classes]`, row-major.
///
/// # Errors
/// As [`ClassScores::update`] and [`ClassScores::roc_auc`].
pub fn roc_auc_multiclass<S: Score>(
    classes: usize,
    truth: &[u32],
    scores: &[S],
    weights: Option<&[f64]>,
    multi_class: MultiClass,
    average: Average,
) -> Result<f64> {
    let mut all = ClassScores::new(classes);
    all.update(truth, scores, weights)?;
    all.roc_auc(multi_class, average)
}
