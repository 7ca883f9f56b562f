//! From what a network says to what the model says: calibrated probabilities and the threshold of a
//! decision, both chosen on validation rows and stored in the bundle.

use serde::{Deserialize, Serialize};

/// What happens to probabilities before anybody sees them, and when the second of two classes is
/// predicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How probabilities are calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The probability of the second of two classes from which on it is predicted. Without one the
    /// most probable class is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// A calibration. Those of a score take `ln p₁ - ln p₀`, of two classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Calibration {
    /// Of any number of classes.
    Temperature(Temperature),
    /// Of two classes.
    Platt(Platt),
    /// Of two classes.
    Isotonic(Isotonic),
}

/// Temperature scaling: `softmax(logits / temperature)` (Guo et al. 2017). It keeps the order of
/// classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Above 1 the probabilities become less certain.
    pub temperature: f64,
}

/// Platt scaling: `1 / (1 + exp(slope score + intercept))` (Platt 1999). The slope is negative where
/// a higher score speaks for class 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Of the score.
    pub slope: f64,
    /// Added to it.
    pub intercept: f64,
}

/// Isotonic calibration: the non-decreasing steps closest to the truth, with straight lines between
/// (Zadrozny & Elkan 2002).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// Scores, ascending.
    pub scores: Vec<f64>,
    /// The probability at each.
    pub values: Vec<f64>,
}

/// The scores of one row to probabilities that sum to 1.
pub fn softmax(scores: &mut [f64]) {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - max).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
}

impl Decision {
    /// Whether nothing was chosen.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it for so many classes; a bundle may have been made by hand.
    pub(crate) fn fault(&self, classes: usize) -> Option<&'static str> {
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        let sound = match &self.calibration {
            None => true,
            Some(Calibration::Temperature(t)) => t.temperature > 0.0 && t.temperature.is_finite(),
            Some(Calibration::Platt(p)) => classes == 2 && finite(&[p.slope, p.intercept]),
            Some(Calibration::Isotonic(i)) => {
                classes == 2
                    && !i.scores.is_empty()
                    && i.scores.len() == i.values.len()
                    && finite(&i.scores)
                    && i.values.iter().all(|v| (0.0..=1.0).contains(v))
            }
        };
        match self.threshold {
            _ if self.is_none() => None,
            _ if classes == 0 => Some("a decision among classes, but predicts a number"),
            _ if !sound => Some("a calibration that its classes do not allow"),
            Some(t) if classes != 2 || !t.is_finite() => {
                Some("a threshold that its classes do not allow")
            }
            _ => None,
        }
    }
}

/// The logarithms of the probabilities of one row: logits, up to a constant. What is 0 becomes the
/// smallest number, so that they are finite.
pub fn logits(probabilities: &[f64]) -> impl Iterator<Item = f64> + '_ {
    probabilities.iter().map(|p| p.max(f64::MIN_POSITIVE).ln())
}

/// The score of two classes: `ln p₁ - ln p₀`.
pub fn score(probabilities: &[f64]) -> f64 {
    logits(&probabilities[1..2]).sum::<f64>() - logits(&probabilities[..1]).sum::<f64>()
}

impl Calibration {
    /// Calibrates the probabilities of one row.
    pub fn apply(&self, probabilities: &mut [f64]) {
        let second = match self {
            Calibration::Temperature(fitted) => {
                let logits: Vec<f64> = logits(probabilities).collect();
                return probabilities.copy_from_slice(&fitted.apply(&logits));
            }
            Calibration::Platt(fitted) => fitted.apply(score(probabilities)),
            Calibration::Isotonic(fitted) => fitted.apply(score(probabilities)),
        };
        probabilities.copy_from_slice(&[1.0 - second, second]);
    }
}

impl Temperature {
    /// The probabilities of one row of logits.
    pub fn apply(&self, logits: &[f64]) -> Vec<f64> {
        let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = logits
            .iter()
            .map(|z| ((z - highest) / self.temperature).exp())
            .collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|e| e / sum).collect()
    }
}

impl Platt {
    /// The probability of class 1 at a score.
    pub fn apply(&self, score: f64) -> f64 {
        1.0 / (1.0 + (self.slope * score + self.intercept).exp())
    }
}

impl Isotonic {
    /// The probability of class 1 at a score; beyond the fitted scores, that of the nearest.
    pub fn apply(&self, score: f64) -> f64 {
        let last = self.scores.len() - 1;
        let at = self.scores.partition_point(|s| *s < score);
        if at == 0 || at > last {
            return self.values[at.min(last)];
        }
        let (x0, x1) = (self.scores[at - 1], self.scores[at]);
        let (y0, y1) = (self.values[at - 1], self.values[at]);
        (y1 - y0) / (x1 - x0) * (score - x0) + y0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_of_one_changes_nothing_and_a_high_one_evens_out() {
        let mut p = [0.7, 0.2, 0.1];
        let calibrated = |temperature| Calibration::Temperature(Temperature { temperature });
        calibrated(1.0).apply(&mut p);
        assert!((p[0] - 0.7).abs() < 1e-12 && (p[2] - 0.1).abs() < 1e-12);
        calibrated(1e9).apply(&mut p);
        assert!(p.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-6));
        let mut certain = [1.0, 0.0];
        calibrated(2.0).apply(&mut certain);
        assert!(certain[0] == 1.0 && certain[1] >= 0.0);
    }

    #[test]
    fn a_decision_made_by_hand_is_checked() {
        let empty = Isotonic {
            scores: Vec::new(),
            values: Vec::new(),
        };
        let decision = |calibration, threshold| Decision {
            calibration,
            threshold,
        };
        assert!(decision(Some(Calibration::Isotonic(empty)), None).fault(2).is_some());
        assert!(decision(None, Some(0.3)).fault(3).is_some());
        assert!(decision(None, Some(f64::NAN)).fault(2).is_some());
        assert!(decision(None, Some(0.3)).fault(2).is_none());
        assert!(Decision::default().fault(0).is_none());
    }
}
