//! Calibration: from scores to probabilities that come true as often as they say. Fit on validation
//! rows.

pub use tesla_core::decision::{Isotonic, Platt, Temperature};

use super::{
    Result, check_classes, check_finite, check_length, check_weights, invalid, undefined, weight_of,
};

/// `ln(1 / temperature)` is searched within plus and minus this, as in scikit-learn.
const LOG_BETA_BOUND: f64 = 10.0;

/// The temperature of the lowest log loss, between `exp(-10)` and `exp(10)`. `logits` is
/// `[rows, classes]`, row-major; of probabilities take `ln(p + 1e-12)`. Rows that are told apart
/// perfectly have no lowest: the temperature is then one at which the log loss is 0 in 64 bits.
/// It is 1 where the logits of every row are all the same.
///
/// # Errors
/// When lengths differ, a class, a logit or a weight is out of range, or there is no row with a
/// weight above 0.
pub fn fit_temperature(
    classes: usize,
    truth: &[u32],
    logits: &[f64],
    weights: Option<&[f64]>,
) -> Result<Temperature> {
    if classes < 2 {
        return invalid(format!("there are {classes} classes: give at least 2"));
    }
    check_length("rows of logits", logits.len() / classes, truth.len())?;
    check_length("logits", logits.len(), truth.len() * classes)?;
    check_weights(weights, truth.len(), 0)?;
    check_classes("truth", truth, classes, 0)?;
    if let Some(at) = logits.iter().position(|z| !z.is_finite()) {
        return invalid(format!(
            "a logit of row {} is {}: give finite numbers",
            at / classes,
            logits[at]
        ));
    }
    check_weighted("the temperature", weights, truth.len())?;
    // The log loss is convex in beta = 1 / temperature: its slope is Σ w (E[z] - z(truth)).
    let slope = |beta: f64| -> f64 {
        let rows = truth.iter().zip(logits.chunks_exact(classes)).enumerate();
        rows.map(|(row, (truth, z))| {
            let highest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (mut sum, mut mean) = (0.0, 0.0);
            for z in z {
                let e = (beta * (z - highest)).exp();
                sum += e;
                mean += e * (z - highest);
            }
            weight_of(weights, row).unwrap_or(1.0) * (mean / sum - (z[*truth as usize] - highest))
        })
        .sum()
    };
    if slope(1.0) == 0.0 {
        return Ok(Temperature { temperature: 1.0 });
    }
    let (mut low, mut high) = (-LOG_BETA_BOUND, LOG_BETA_BOUND);
    // Halving always ends: 60 times leaves 2e-17 of the range.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match slope(middle.exp()) < 0.0 {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok(Temperature {
        temperature: (-(low + high) / 2.0).exp(),
    })
}

/// The lowest log loss against targets smoothed as Platt did, `(n₁ + 1) / (n₁ + 2)` for class 1
/// and `1 / (n₀ + 2)` for class 0, by Newton's method with halved steps (Lin, Lin & Weng 2007).
///
/// # Errors
/// When lengths differ, a class is neither 0 nor 1, a score or a weight is out of range, or
/// there is no row with a weight above 0.
pub fn fit_platt(truth: &[u32], scores: &[f64], weights: Option<&[f64]>) -> Result<Platt> {
    check_binary(truth, scores, weights)?;
    check_weighted("Platt scaling", weights, truth.len())?;
    let largest = scores.iter().fold(0.0f64, |largest, s| largest.max(s.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let weight = |row| weight_of(weights, row).unwrap_or(1.0);
    let of_class = |class: u32| -> f64 {
        truth
            .iter()
            .enumerate()
            .filter(|(_, t)| **t == class)
            .map(|(row, _)| weight(row))
            .sum()
    };
    let (negatives, positives) = (of_class(0), of_class(1));
    let targets = [1.0 / (negatives + 2.0), (positives + 1.0) / (positives + 2.0)];
    let rows: Vec<(f64, f64, f64)> = truth
        .iter()
        .zip(scores)
        .enumerate()
        .map(|(row, (truth, s))| (s / scale, targets[*truth as usize], weight(row)))
        .collect();
    // The log loss of p = 1 / (1 + exp(z)) against a target t is ln(1 + exp(z)) - (1 - t) z.
    let loss = |a: f64, b: f64| -> f64 {
        rows.iter()
            .map(|(s, t, w)| {
                let z = a * s + b;
                w * (z.max(0.0) + (-z.abs()).exp().ln_1p() - (1.0 - t) * z)
            })
            .sum()
    };
    let (mut a, mut b) = (0.0, ((negatives + 1.0) / (positives + 1.0)).ln());
    let mut now = loss(a, b);
    'newton: for _ in 0..100 {
        let [mut ga, mut gb, mut haa, mut hab, mut hbb] = [0.0; 5];
        for (s, t, w) in &rows {
            let p = 1.0 / (1.0 + (a * s + b).exp());
            let (g, h) = (w * (t - p), w * p * (1.0 - p));
            ga += g * s;
            gb += g;
            haa += h * s * s;
            hab += h * s;
            hbb += h;
        }
        // A small ridge, for scores that are all the same.
        let ridge = 1e-12 * (haa + hbb);
        let (haa, hbb) = (haa + ridge, hbb + ridge);
        let determinant = haa * hbb - hab * hab;
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        let at = |step: f64| (a - step * da, b - step * db);
        let mut step = 1.0;
        let mut next = loss(at(step).0, at(step).1);
        while next.is_nan() || next > now {
            step /= 2.0;
            if step < 1e-10 {
                break 'newton;
            }
            next = loss(at(step).0, at(step).1);
        }
        ((a, b), now) = (at(step), next);
        if da.abs().max(db.abs()) <= 1e-14 * (1.0 + a.abs() + b.abs()) {
            break;
        }
    }
    Ok(Platt {
        slope: a / scale,
        intercept: b,
    })
}

/// The non-decreasing values of the smallest squared error, by pooling adjacent violators.
/// Scores closer than 1e-15 count as one, as in scikit-learn.
///
/// # Errors
/// When lengths differ, a class is neither 0 nor 1, a score or a weight is out of range, or
/// there is no row with a weight above 0.
pub fn fit_isotonic(truth: &[u32], scores: &[f64], weights: Option<&[f64]>) -> Result<Isotonic> {
    check_binary(truth, scores, weights)?;
    let mut rows: Vec<(f64, f64, f64)> = truth
        .iter()
        .zip(scores)
        .enumerate()
        .map(|(row, (t, s))| (*s, f64::from(*t), weight_of(weights, row).unwrap_or(1.0)))
        .filter(|(_, _, weight)| *weight > 0.0)
        .collect();
    rows.sort_unstable_by(|a, b| {
        a.0.total_cmp(&b.0)
            .then(a.1.total_cmp(&b.1))
            .then(a.2.total_cmp(&b.2))
    });
    let mut points: Vec<Block> = Vec::new();
    for (score, value, weight) in rows {
        match points.last_mut() {
            Some(last) if score - last.first < 1e-15 => last.add(value, weight),
            _ => points.push(Block {
                first: score,
                last: score,
                sum: value * weight,
                weight,
            }),
        }
    }
    if points.is_empty() {
        return undefined(
            "isotonic calibration is undefined: there is no row with a weight above 0",
        );
    }
    let mut blocks: Vec<Block> = Vec::new();
    for point in points {
        blocks.push(point);
        while let [.., before, last] = &blocks[..]
            && before.value() >= last.value()
        {
            let joined = Block {
                first: before.first,
                last: last.last,
                sum: before.sum + last.sum,
                weight: before.weight + last.weight,
            };
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    let mut fitted = Isotonic {
        scores: Vec::new(),
        values: Vec::new(),
    };
    for block in blocks {
        let ends = if block.first == block.last { 1 } else { 2 };
        for score in &[block.first, block.last][..ends] {
            fitted.scores.push(*score);
            fitted.values.push(block.value());
        }
    }
    Ok(fitted)
}

/// Neighbouring points that have one value.
struct Block {
    first: f64,
    last: f64,
    sum: f64,
    weight: f64,
}

impl Block {
    fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    fn value(&self) -> f64 {
        self.sum / self.weight
    }
}

fn check_binary(truth: &[u32], scores: &[f64], weights: Option<&[f64]>) -> Result<()> {
    check_length("scores", scores.len(), truth.len())?;
    check_weights(weights, truth.len(), 0)?;
    check_classes("truth", truth, 2, 0)?;
    check_finite("score", scores, 0)
}

fn check_weighted(what: &str, weights: Option<&[f64]>, rows: usize) -> Result<()> {
    match weights.map_or(rows > 0, |w| w.iter().any(|w| *w > 0.0)) {
        true => Ok(()),
        false => undefined(format!("{what} is undefined: there is no row with a weight above 0")),
    }
}
