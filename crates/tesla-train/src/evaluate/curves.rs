//! Figures become what pictures are drawn from.

use super::gather::ValueRow;
use super::{Curves, RankingCurves, Residuals};
use crate::metrics::{Bin, RankedScores};

/// The most points of a curve of one of two classes, and of more.
const POINTS: [usize; 2] = [200, 100];
/// The bins of residuals.
const BINS: usize = 30;
/// The rows that a picture of residuals shows.
const SHOWN: usize = 1000;

/// Five digits are more than a picture shows.
fn rounded(x: f64) -> f64 {
    (x * 1e5).round() / 1e5
}

pub(super) fn of_classes(
    ranked: &[(usize, RankedScores)],
    labels: &[String],
    reliability: Vec<Bin>,
) -> Curves {
    let most = POINTS[usize::from(labels.len() > 2)];
    let ranking = ranked.iter().filter_map(|(class, scores)| {
        let roc = scores.roc_curve(true).ok()?;
        let pr = scores.precision_recall_curve().ok()?;
        let roc = std::iter::zip(roc.false_positive_rate, roc.true_positive_rate);
        let mut recall: Vec<[f64; 2]> =
            std::iter::zip(pr.recall, pr.precision).map(|(r, p)| [r, p]).collect();
        recall.reverse();
        Some(RankingCurves {
            class: labels[*class].clone(),
            roc: thinned(&roc.map(|(f, t)| [f, t]).collect::<Vec<_>>(), most),
            precision_recall: thinned(&recall, most),
        })
    });
    Curves {
        ranking: ranking.collect(),
        reliability,
        residuals: None,
    }
}

/// At most `most` points: the ends, and between them those that are first to be as far along the
/// curve as an even share.
fn thinned(points: &[[f64; 2]], most: usize) -> Vec<[f64; 2]> {
    let step =
        |pair: &[[f64; 2]]| (pair[1][0] - pair[0][0]).abs() + (pair[1][1] - pair[0][1]).abs();
    let round = |point: &[f64; 2]| point.map(rounded);
    if points.len() <= most {
        return points.iter().map(round).collect();
    }
    let whole: f64 = points.windows(2).map(step).sum();
    let mut kept = vec![round(&points[0])];
    let mut along = 0.0;
    for pair in points.windows(2) {
        along += step(pair);
        if along >= whole * kept.len() as f64 / (most - 1) as f64 && kept.len() < most - 1 {
            kept.push(round(&pair[1]));
        }
    }
    kept.extend(points.last().map(round));
    kept
}

pub(super) fn of_values(sample: &[ValueRow]) -> Curves {
    let mut errors: Vec<f64> = sample.iter().map(|row| row.predicted - row.truth).collect();
    errors.sort_unstable_by(f64::total_cmp);
    let last = errors.len().saturating_sub(1);
    let at = |share: f64| errors.get((last as f64 * share).round() as usize).copied();
    let (Some(low), Some(high)) = (at(0.005), at(0.995)) else {
        return Curves::default();
    };
    let bins = if high > low { BINS } else { 1 };
    let edge = |bin: usize| low + (high - low) * bin as f64 / bins as f64;
    let mut counts = vec![0; bins];
    for error in &errors {
        let bin = (1..bins).take_while(|bin| *error >= edge(*bin)).count();
        counts[bin] += 1;
    }
    let every = sample.len().div_ceil(SHOWN).max(1);
    Curves {
        residuals: Some(Residuals {
            edges: (0..=bins).map(edge).collect(),
            counts,
            sample: sample
                .iter()
                .step_by(every)
                .map(|row| [row.truth, row.predicted])
                .collect(),
        }),
        ..Default::default()
    }
}
