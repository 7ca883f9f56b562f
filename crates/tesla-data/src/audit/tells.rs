//! Features that tell the target, and features that tell the rows apart.

use rayon::prelude::*;

use super::parts::Parts;
use super::{Finding, FindingKind, Severity};
use crate::arrow::array::{ArrayRef, UInt32Array};
use crate::contract::{ColumnKind, ColumnRule, Contract};
use crate::profile::cells::{Cells, Seen};
use crate::profile::relation::{self, RARE, Target, Tells, gives_away, pearson, spearman};
use crate::profile::warnings::{count, is_id};
use crate::profile::{describe, share};
use crate::{Frame, Result};

/// An area under the curve or a share of variance that no honest feature reaches alone.
const PERFECT: f64 = 0.999;
/// Fewer training rows than this prove nothing.
const MIN_ROWS: usize = 20;
/// Ranks and levels are compared on this many training rows, evenly spread.
const COMPARED: usize = 20_000;
/// The share of a level is taken from the other folds, so that a level with one row tells nothing.
const FOLDS: usize = 5;

/// What is known of a feature.
struct Looked {
    name: String,
    gives_away: bool,
    /// The two values of a feature that has two.
    flag: Option<[String; 2]>,
    /// The share of the rarer one.
    rare: f64,
    findings: Vec<Finding>,
}

/// What the features tell, by the training rows alone.
pub(super) fn tells(parts: &Parts<'_>, contract: &Contract) -> Result<Vec<Finding>> {
    let Some(target) = contract.target() else {
        return Ok(Vec::new());
    };
    let train = parts.train();
    let rows = &train.rows;
    if rows.len() < MIN_ROWS {
        return Ok(Vec::new());
    }
    let answers = Cells::of(&taken(train.frame, target, rows)?)?;
    let labels = Seen::of(&answers);
    let task = Target::of(&answers, Some(contract.task));
    let one = |rule: &ColumnRule| -> Result<Looked> {
        let cells = Cells::of(&taken(train.frame, rule, rows)?)?;
        look(&cells, rule, &task, (&answers, &labels), target)
    };
    let features: Vec<&ColumnRule> = contract
        .features()
        .filter(|rule| rule.kind != ColumnKind::Image)
        .collect();
    let looked: Vec<Looked> = features.into_par_iter().map(one).collect::<Result<_>>()?;
    let siblings = siblings(&looked, &target.name);
    Ok(looked.into_iter().flat_map(|l| l.findings).chain(siblings).collect())
}

fn taken(frame: &Frame, rule: &ColumnRule, rows: &[u32]) -> Result<ArrayRef> {
    let at = UInt32Array::from_iter_values(rows.iter().copied());
    Ok(arrow_select::take::take(&frame.column(&rule.name)?, &at, None)?)
}

fn look(
    cells: &Cells,
    rule: &ColumnRule,
    target: &Target<'_>,
    (answers, labels): (&Cells, &Seen),
    predicted: &ColumnRule,
) -> Result<Looked> {
    let name = &rule.name;
    let seen = Seen::of(cells);
    let mut looked = Looked {
        name: name.clone(),
        gives_away: false,
        flag: None,
        rare: 0.0,
        findings: Vec::new(),
    };
    if let Some(levels) = seen.levels.as_ref().filter(|levels| levels.counts.len() == 2) {
        let mut values = [0, 1].map(|code| levels.show(cells, code));
        values.sort();
        looked.flag = Some(values);
        looked.rare = share(levels.counts[0].min(levels.counts[1]), seen.present);
    }
    let mut found = |kind, severity, message: String, fix: &str| {
        looked.findings.push(Finding {
            kind,
            severity,
            column: Some(name.clone()),
            message,
            fix: fix.into(),
        });
    };
    let described = describe(cells, &seen, rule.clone());
    let y = &predicted.name;
    let drop = format!(
        "add `{name}` to `drop` in `[data]`, unless it is known when it is time to predict"
    );
    // The measure that suits both sides first: its figure goes into the message.
    let strength = strength(cells, &seen, rule.kind, target);
    let by_level = match target {
        Target::Classes { .. } => relation::tells(cells, &seen, &described, target),
        Target::Values(_) => None,
    };
    match (strength.filter(|(_, value)| *value > PERFECT), by_level, target) {
        (Some((measure, value)), _, _) => {
            let message = format!(
                "`{name}` alone tells `{y}`: {measure} {value:.5} over {}",
                count(seen.present, "training row")
            );
            found(FindingKind::TellsTarget, Severity::Stop, message, &drop);
        }
        (None, Some(Tells::All), _) => {
            let message = format!(
                "`{name}` alone tells `{y}`: its values avoid 99 % of the errors of a guess over {}",
                count(seen.present, "training row")
            );
            found(FindingKind::TellsTarget, Severity::Stop, message, &drop);
        }
        (None, Some(Tells::Some), Target::Classes { codes, .. }) => {
            let pair = gives_away(cells, &seen, codes);
            if let (Some((value, class)), Some(levels), Some(classes)) =
                (pair, &seen.levels, &labels.levels)
            {
                let message = format!(
                    "`{name}` gives `{y}` away: where it is `{}`, in {}, nearly every row is `{}`, which only {} of {} are",
                    levels.show(cells, value),
                    count(levels.counts[value as usize], "training row"),
                    classes.show(answers, class),
                    classes.counts[class as usize],
                    answers.len()
                );
                found(FindingKind::GivesAway, Severity::Stop, message, &drop);
                looked.gives_away = true;
            }
        }
        _ => {}
    }
    if is_id(&described, cells, &seen) {
        let message = format!(
            "`{name}` looks like an identifier, a new value in each of {}",
            count(seen.present, "training row")
        );
        let fix = format!("add `{name}` to `drop` in `[data]`, for it means nothing in new rows");
        found(FindingKind::IdLike, Severity::Warn, message, &fix);
    }
    Ok(looked)
}

/// Flags beside flags that give the target away: two columns or more with the same two values, and
/// next to them one that has these values too, one of them rarely, but does not tell enough to be
/// caught by itself. Such columns are often written down together, after the fact.
fn siblings(looked: &[Looked], target: &str) -> Vec<Finding> {
    let caught = |at: usize| looked[at].gives_away && looked[at].flag.is_some();
    let alike = |a: usize, b: usize| looked[a].flag.is_some() && looked[a].flag == looked[b].flag;
    let mut findings = Vec::new();
    for at in 0..looked.len() {
        let suspect = &looked[at];
        if !suspect.findings.is_empty() || suspect.flag.is_none() || suspect.rare > RARE {
            continue;
        }
        // The unbroken run of columns with the same two values.
        let first = (0..at)
            .rev()
            .take_while(|other| alike(*other, at))
            .last()
            .unwrap_or(at);
        let last = (at + 1..looked.len())
            .take_while(|other| alike(*other, at))
            .last()
            .unwrap_or(at);
        let beside: Vec<String> = (first..=last)
            .filter(|other| caught(*other))
            .map(|o| format!("`{}`", looked[o].name))
            .collect();
        if beside.len() >= 2 {
            findings.push(Finding {
                kind: FindingKind::Sibling,
                severity: Severity::Warn,
                column: Some(suspect.name.clone()),
                message: format!(
                    "`{}` stands beside {}, which give `{target}` away, and is a flag as rare as they are, though it tells little by itself",
                    suspect.name,
                    beside.join(", ")
                ),
                fix: format!(
                    "add `{}` to `drop` in `[data]` if it too is written down only after the fact",
                    suspect.name
                ),
            });
        }
    }
    findings
}

/// How well the feature alone ranks or explains the target, and by what measure.
fn strength(
    cells: &Cells,
    seen: &Seen,
    kind: ColumnKind,
    target: &Target<'_>,
) -> Option<(&'static str, f64)> {
    let rows = (0..cells.len()).step_by(cells.len().div_ceil(COMPARED).max(1));
    let level = |row: usize| seen.levels.as_ref()?.code(cells, row);
    match (kind, target) {
        (ColumnKind::Numeric | ColumnKind::Time, Target::Values(y)) => {
            let pairs: Vec<(f64, f64)> = rows
                .filter_map(|row| Some((cells.number(row)?, y.number(row)?)))
                .collect();
            let linear = pearson(pairs.iter().copied()).map(|r| ("R²", r * r));
            let ranked = spearman(&pairs).map(|r| ("R² of the ranks", r * r));
            enough(pairs.len(), [linear, ranked])
        }
        (ColumnKind::Numeric | ColumnKind::Time, Target::Classes { codes, counts }) => {
            let pairs: Vec<(f64, u32)> = rows
                .filter_map(|row| Some((cells.number(row)?, codes[row]?)))
                .collect();
            let area = apart(&pairs, counts.len()).map(|area| ("AUC", area));
            enough(pairs.len(), [area, None])
        }
        (ColumnKind::Category, Target::Values(y)) => {
            let pairs: Vec<(u32, f64)> =
                rows.filter_map(|row| Some((level(row)?, y.number(row)?))).collect();
            let guesses = cross_fitted(&pairs);
            let explained = explained(&guesses, &pairs).map(|r| ("cross-fitted R²", r));
            enough(pairs.len(), [explained, None])
        }
        (ColumnKind::Category, Target::Classes { codes, counts }) => {
            let pairs: Vec<(u32, u32)> =
                rows.filter_map(|row| Some((level(row)?, codes[row]?))).collect();
            let area =
                one_against_rest(&pairs, counts.len()).map(|area| ("cross-fitted AUC", area));
            enough(pairs.len(), [area, None])
        }
        _ => None,
    }
}

fn enough(rows: usize, found: [Option<(&'static str, f64)>; 2]) -> Option<(&'static str, f64)> {
    let found = found.into_iter().flatten().max_by(|a, b| a.1.total_cmp(&b.1));
    found.filter(|_| rows >= MIN_ROWS)
}

/// How well a number tells every two classes apart: for two classes the area under the ROC curve,
/// for more the least over pairs of classes. Which of two has the larger numbers makes no
/// difference. The best class against the rest, or the mean over pairs, would be too easy: one
/// petal tells one iris from the other two.
fn apart(pairs: &[(f64, u32)], classes: usize) -> Option<f64> {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut below = vec![0f64; classes];
    // For each pair of classes: how often the first has the larger number, ties for a half.
    let mut wins = vec![0f64; classes * classes];
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        let mut here = vec![0.0; classes];
        same.iter().for_each(|(_, class)| here[*class as usize] += 1.0);
        let present: Vec<usize> = (0..classes).filter(|class| here[*class] > 0.0).collect();
        for class in present {
            for other in 0..classes {
                wins[class * classes + other] += here[class] * (below[other] + here[other] / 2.0);
            }
        }
        std::iter::zip(&mut below, here).for_each(|(below, here)| *below += here);
    }
    let pairs = (0..classes).flat_map(|a| (0..a).map(move |b| (a, b)));
    let areas = pairs.filter_map(|(a, b)| {
        let all = below[a] * below[b];
        let area = wins[a * classes + b] / all;
        (all > 0.0).then(|| area.max(1.0 - area))
    });
    areas.min_by(f64::total_cmp)
}

/// Each row's mean of the answers of its level in the other folds; of all rows there, where the
/// level is not among them.
fn cross_fitted(pairs: &[(u32, f64)]) -> Vec<f64> {
    let levels = pairs.iter().map(|(level, _)| *level as usize + 1).max().unwrap_or(0);
    let mut of_level = vec![[[0.0; 2]; FOLDS]; levels];
    for (row, (level, y)) in pairs.iter().enumerate() {
        let [n, sum] = &mut of_level[*level as usize][row % FOLDS];
        *n += 1.0;
        *sum += y;
    }
    let but = |folds: &[[f64; 2]; FOLDS], fold: usize| {
        let others = folds.iter().enumerate().filter(|(at, _)| *at != fold);
        others.fold([0.0; 2], |[n, sum], (_, other)| [n + other[0], sum + other[1]])
    };
    let all: Vec<[f64; 2]> = (0..FOLDS)
        .map(|fold| {
            let levels = of_level.iter().map(|folds| but(folds, fold));
            levels.fold([0.0; 2], |[n, sum], level| [n + level[0], sum + level[1]])
        })
        .collect();
    let guess = |(row, (level, _)): (usize, &(u32, f64))| {
        let fold = row % FOLDS;
        match but(&of_level[*level as usize], fold) {
            [n, sum] if n > 0.0 => sum / n,
            _ => all[fold][1] / all[fold][0].max(1.0),
        }
    };
    pairs.iter().enumerate().map(guess).collect()
}

/// 1 - the squared errors over those of the mean; none of a constant.
fn explained(guesses: &[f64], pairs: &[(u32, f64)]) -> Option<f64> {
    let mean = pairs.iter().map(|(_, y)| y).sum::<f64>() / pairs.len() as f64;
    let total: f64 = pairs.iter().map(|(_, y)| (y - mean).powi(2)).sum();
    let errors: f64 = std::iter::zip(guesses, pairs)
        .map(|(g, (_, y))| (y - g).powi(2))
        .sum();
    (total > 0.0).then(|| 1.0 - errors / total)
}

/// The mean over classes of the area under the curve of each against the rest, by cross-fitted
/// shares of the class in each level.
fn one_against_rest(pairs: &[(u32, u32)], classes: usize) -> Option<f64> {
    let areas = (0..classes as u32).into_par_iter().filter_map(|class| {
        let is = |of: u32| u32::from(of == class);
        let answers: Vec<(u32, f64)> =
            pairs.iter().map(|(level, of)| (*level, f64::from(is(*of)))).collect();
        let scores = cross_fitted(&answers);
        let scored: Vec<(f64, u32)> = std::iter::zip(scores, pairs)
            .map(|(score, (_, of))| (score, is(*of)))
            .collect();
        apart(&scored, 2)
    });
    let areas: Vec<f64> = areas.collect();
    (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        // Of 2 x 3 pairs, the 1s are above in 4, and level in 1.
        let pairs = [(1.0, 0), (2.0, 1), (3.0, 0), (3.0, 1), (0.0, 0)];
        let area = apart(&pairs, 2).unwrap();
        assert!((area - 4.5 / 6.0).abs() < 1e-12, "{area}");
        assert_eq!(apart(&[(1.0, 2), (2.0, 0), (3.0, 1)], 3), Some(1.0));
        assert_eq!(apart(&[(1.0, 0), (2.0, 0)], 2), None);
    }

    #[test]
    fn a_level_with_one_row_tells_nothing() {
        let pairs: Vec<(u32, f64)> = (0..100).map(|i| (i, f64::from(i % 2))).collect();
        let found = explained(&cross_fitted(&pairs), &pairs).unwrap();
        assert!(found <= 0.0, "{found}");
        let pairs: Vec<(u32, f64)> = (0..100).map(|i| (i % 4, f64::from(i % 2))).collect();
        assert_eq!(explained(&cross_fitted(&pairs), &pairs), Some(1.0));
    }
}
