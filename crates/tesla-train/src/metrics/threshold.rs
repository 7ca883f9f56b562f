//! Decision thresholds: a row is predicted as class 1 where its score is at or above one. Choose on
//! validation rows and report on others, or the figure flatters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scores::{Above, RankedScores};
use super::{Result, invalid, undefined};

/// A threshold and the figure that it was chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The score from which on a row is class 1.
    pub threshold: f64,
    /// The figure on the rows that it was chosen on.
    pub value: f64,
}

/// What each outcome costs; a gain is negative. Class 1 is the second of two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Costs {
    /// Class 0, predicted as 0.
    pub true_negative: f64,
    /// Class 0, predicted as 1.
    pub false_positive: f64,
    /// Class 1, predicted as 0.
    pub false_negative: f64,
    /// Class 1, predicted as 1.
    pub true_positive: f64,
}

impl Default for Costs {
    /// Every mistake costs 1.
    fn default() -> Self {
        Self {
            true_negative: 0.0,
            false_positive: 1.0,
            false_negative: 1.0,
            true_positive: 0.0,
        }
    }
}

/// The best of `value` over the distinct scores, from the highest down; the first of equals.
fn best(scores: &RankedScores, mut value: impl FnMut(&Above) -> Option<f64>) -> Option<Threshold> {
    let mut best: Option<Threshold> = None;
    scores.above(|above| {
        if let Some(value) = value(&above)
            && best.is_none_or(|best| value > best.value)
        {
            best = Some(Threshold {
                threshold: above.score,
                value,
            });
        }
    });
    best
}

/// The threshold of the highest F-beta, the higher one of equals.
///
/// # Errors
/// Without a row of class 1, or when `beta` is negative or not finite.
pub fn best_f_beta(scores: &RankedScores, beta: f64) -> Result<Threshold> {
    if !(beta.is_finite() && beta >= 0.0) {
        return invalid(format!("beta is {beta}: give a finite number that is not negative"));
    }
    let (positives, _) = scores.totals();
    let squared = beta * beta;
    let found = best(scores, |above| {
        let whole = squared * positives + above.true_positives + above.false_positives;
        Some((1.0 + squared) * above.true_positives / whole)
    });
    match found {
        Some(found) if positives > 0.0 => Ok(found),
        _ => undefined("the best F is undefined: there is no row of class 1"),
    }
}

/// The threshold of the lowest mean cost, the higher one of equals. Where it is cheapest to predict
/// class 1 never, the threshold is just above the highest score.
///
/// # Errors
/// Without a row, or when a cost is not finite.
pub fn minimum_cost(scores: &RankedScores, costs: &Costs) -> Result<Threshold> {
    let Costs {
        true_negative,
        false_positive,
        false_negative,
        true_positive,
    } = *costs;
    let all = [true_negative, false_positive, false_negative, true_positive];
    if all.iter().any(|cost| !cost.is_finite()) {
        return invalid("a cost is not a finite number");
    }
    let (positives, negatives) = scores.totals();
    let total = positives + negatives;
    let cost = |hits: f64, alarms: f64| {
        let sum = hits * true_positive
            + alarms * false_positive
            + (positives - hits) * false_negative
            + (negatives - alarms) * true_negative;
        sum / total
    };
    let mut highest = None;
    let found = best(scores, |above| {
        highest.get_or_insert(above.score);
        Some(-cost(above.true_positives, above.false_positives))
    });
    let (Some(found), Some(highest)) = (found, highest) else {
        return undefined("the lowest cost is undefined: there is no row with a weight above 0");
    };
    let never = cost(0.0, 0.0);
    Ok(match never <= -found.value {
        true => Threshold {
            threshold: f64::next_up(highest),
            value: never,
        },
        false => Threshold {
            threshold: found.threshold,
            value: -found.value,
        },
    })
}

/// The threshold of the highest recall among those of at least the precision asked for, the higher
/// one of equals.
///
/// # Errors
/// Without a row of class 1, when no threshold has the precision, or when it is not within 0 to 1.
pub fn recall_at_precision(scores: &RankedScores, precision: f64) -> Result<Threshold> {
    if !(0.0..=1.0).contains(&precision) {
        return invalid(format!("the precision is {precision}: give a number from 0 to 1"));
    }
    let (positives, _) = scores.totals();
    if positives <= 0.0 {
        return undefined("recall is undefined: there is no row of class 1");
    }
    let mut highest = 0.0f64;
    let found = best(scores, |above| {
        let reached = above.true_positives / (above.true_positives + above.false_positives);
        highest = highest.max(reached);
        (reached >= precision).then(|| above.true_positives / positives)
    });
    match found {
        Some(found) => Ok(found),
        None => undefined(format!(
            "no threshold has a precision of {precision}: the highest is {highest}"
        )),
    }
}
