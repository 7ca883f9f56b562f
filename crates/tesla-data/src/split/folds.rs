//! Folds: each row is tested once, by a model that did not see it.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Rows, Split, keyed, needs, rule};
use crate::config::{SplitBy, SplitConfig};
use crate::{Error, Result};

/// Divides rows into `count` folds by the configured rule; the test rows of a split are one fold, its
/// validation rows a share `config.valid` of all rows, taken from the others. By time, fold `i` of
/// `count + 1` blocks is tested by what came before it; the first block only teaches.
///
/// # Errors
/// When the rule names the parts itself, there are fewer things to divide than folds, or as
/// [`split`](super::split).
pub fn folds(config: &SplitConfig, rows: &Rows<'_>, count: usize, seed: u64) -> Result<Vec<Split>> {
    let by = rule(config, rows)?;
    if count < 2 || count > rows.len {
        return Err(Error::Config(format!(
            "{count} folds of {} rows cannot be: give 2 folds or more, and at most as many as rows",
            rows.len
        )));
    }
    let key = || rows.key.ok_or_else(|| needs(by, "column", "the name of a column"));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let single = |rows: &mut dyn Iterator<Item = u32>| rows.map(|row| vec![row]).collect();
    let all = 0..rows.len as u32;
    let strata: Vec<Vec<Vec<u32>>> = match by {
        SplitBy::Random => vec![single(&mut all.into_iter())],
        SplitBy::Stratified => {
            let classes = rows.classes.unwrap_or_default();
            let classes_of = classes.iter().max().map_or(0, |m| *m as usize + 1);
            let mut strata = vec![Vec::new(); classes_of];
            for (row, class) in classes.iter().enumerate() {
                strata[*class as usize].push(vec![row as u32]);
            }
            strata
        }
        SplitBy::Group => vec![keyed::groups(key()?)?],
        SplitBy::Time => return by_time(config, keyed::blocks(key()?, count + 1)?, rows.len, seed),
        SplitBy::Column | SplitBy::Rows | SplitBy::File | SplitBy::Hash => {
            return Err(Error::Config(format!(
                "`split.by = \"{}\"` names the parts itself, and folds cannot be made of it: use `random`, `stratified`, `group` or `time`",
                by.name()
            )));
        }
    };
    let units: usize = strata.iter().map(Vec::len).sum();
    if units < count {
        return Err(Error::Config(format!(
            "there are {units} groups, too few for {count} folds: ask for fewer folds"
        )));
    }
    let strata = deal(strata, count, &mut rng);
    let share = config.valid / (1.0 - 1.0 / count as f64);
    Ok((0..count)
        .map(|fold| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(fold as u64 + 1);
            let mut parts = empty(by, seed, rows.len);
            for stratum in &strata {
                take(stratum, fold, share, &mut rng, &mut parts);
            }
            sorted(parts)
        })
        .collect())
}

fn empty(by: SplitBy, seed: u64, rows: usize) -> Split {
    Split {
        by,
        seed,
        rows,
        train: Vec::new(),
        valid: Vec::new(),
        test: Vec::new(),
    }
}

fn sorted(mut parts: Split) -> Split {
    for part in [&mut parts.train, &mut parts.valid, &mut parts.test] {
        part.sort_unstable();
    }
    parts
}

/// Rows that stay together, with the fold they are tested in.
type Unit = (usize, Vec<u32>);

/// Each unit, the largest first, to the fold that has fewest rows of the stratum, and of all.
fn deal(strata: Vec<Vec<Vec<u32>>>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<Unit>> {
    let mut all = vec![0; count];
    let mut dealt = Vec::with_capacity(strata.len());
    for mut units in strata {
        units.shuffle(rng);
        units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
        let mut own = vec![0; count];
        let with_fold = units.into_iter().map(|unit| {
            let fold = (0..count).min_by_key(|fold| (own[*fold], all[*fold])).unwrap_or(0);
            own[fold] += unit.len();
            all[fold] += unit.len();
            (fold, unit)
        });
        dealt.push(with_fold.collect());
    }
    dealt
}

/// The parts of one fold: its units are tested, a share of the others validates.
fn take(units: &[Unit], fold: usize, share: f64, rng: &mut ChaCha8Rng, parts: &mut Split) {
    let mut rest: Vec<&Vec<u32>> = Vec::new();
    for (own, unit) in units {
        match *own == fold {
            true => parts.test.extend(unit),
            false => rest.push(unit),
        }
    }
    rest.shuffle(rng);
    let rows: usize = rest.iter().map(|unit| unit.len()).sum();
    let mut wanted = (rows as f64 * share).round() as usize;
    let last = rest.len().saturating_sub(1);
    for (at, unit) in rest.into_iter().enumerate() {
        // One is left to train on.
        match wanted > 0 && at < last {
            true => {
                parts.valid.extend(unit);
                wanted = wanted.saturating_sub(unit.len());
            }
            false => parts.train.extend(unit),
        }
    }
}

/// Each block but the first is tested by those before it, of which the latest rows validate.
fn by_time(
    config: &SplitConfig,
    blocks: Vec<Vec<Vec<u32>>>,
    rows: usize,
    seed: u64,
) -> Result<Vec<Split>> {
    let share = config.valid / (1.0 - config.test);
    Ok((1..blocks.len())
        .map(|at| {
            let mut parts = empty(SplitBy::Time, seed, rows);
            parts.test = blocks[at].concat();
            let before: Vec<&Vec<u32>> = blocks[..at].iter().flatten().collect();
            let all: usize = before.iter().map(|unit| unit.len()).sum();
            let mut wanted = (all as f64 * share).round() as usize;
            for (at, unit) in before.into_iter().enumerate().rev() {
                match wanted >= unit.len() && at > 0 {
                    true => {
                        wanted -= unit.len();
                        parts.valid.extend(unit);
                    }
                    false => {
                        wanted = 0;
                        parts.train.extend(unit);
                    }
                }
            }
            sorted(parts)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::arrow::array::{ArrayRef, Float64Array, StringArray};
    use crate::split::Key;

    fn config(by: SplitBy) -> SplitConfig {
        let column = matches!(by, SplitBy::Group | SplitBy::Time).then(|| "k".to_string());
        SplitConfig {
            by: Some(by),
            column,
            ..Default::default()
        }
    }

    fn apart(splits: &[Split], rows: usize) {
        for split in splits {
            let mut all: Vec<u32> = [&split.train, &split.valid, &split.test]
                .into_iter()
                .flatten()
                .copied()
                .collect();
            let found = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!((found, all.len()), (rows, rows));
            assert!(!split.train.is_empty() && !split.test.is_empty());
        }
        let mut tested: Vec<u32> = splits.iter().flat_map(|split| &split.test).copied().collect();
        tested.sort_unstable();
        assert!(tested.into_iter().eq(0..rows as u32));
    }

    #[test]
    fn every_row_is_tested_once_and_classes_keep_their_shares() {
        let classes: Vec<u32> = (0..103).map(|row| u32::from(row % 10 == 0)).collect();
        let rows = Rows {
            len: 103,
            classes: Some(&classes),
            ..Default::default()
        };
        for by in [SplitBy::Random, SplitBy::Stratified] {
            let found = folds(&config(by), &rows, 5, 1).unwrap();
            apart(&found, 103);
            assert!(found.iter().all(|split| (20..=21).contains(&split.test.len())));
            assert!(found.iter().all(|split| (9..=11).contains(&split.valid.len())));
            assert_eq!(found, folds(&config(by), &rows, 5, 1).unwrap());
            if by == SplitBy::Stratified {
                let rare = |rows: &[u32]| rows.iter().filter(|row| **row % 10 == 0).count();
                assert!(found.iter().all(|split| (2..=3).contains(&rare(&split.test))));
            }
        }
        assert!(folds(&config(SplitBy::Random), &rows, 1, 1).is_err());
        assert!(folds(&config(SplitBy::Random), &rows, 104, 1).is_err());
    }

    #[test]
    fn groups_stay_together_and_time_goes_on() {
        let place = |row: usize| format!("row {row}");
        let names: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..90).map(|row| format!("g{}", row % 9))));
        let with = |values: &ArrayRef, by, count| {
            let rows = Rows {
                len: 90,
                key: Some(Key {
                    name: "k",
                    values,
                    place: &place,
                }),
                ..Default::default()
            };
            folds(&config(by), &rows, count, 3)
        };
        let found = with(&names, SplitBy::Group, 3).unwrap();
        apart(&found, 90);
        for split in &found {
            let groups = |rows: &[u32]| -> std::collections::BTreeSet<u32> {
                rows.iter().map(|row| row % 9).collect()
            };
            assert!(groups(&split.test).is_disjoint(&groups(&split.train)));
            assert!(groups(&split.valid).is_disjoint(&groups(&split.train)));
            assert_eq!(split.test.len(), 30);
        }
        assert!(with(&names, SplitBy::Group, 10).is_err());

        let times: ArrayRef =
            Arc::new(Float64Array::from_iter_values((0..90).map(|row| f64::from(89 - row))));
        let found = with(&times, SplitBy::Time, 4).unwrap();
        assert_eq!(found.len(), 4);
        for split in &found {
            // Row 0 is the latest.
            let (oldest, newest) = (split.valid.last().unwrap(), split.valid.first().unwrap());
            assert!(split.train.iter().all(|row| row > oldest));
            assert!(split.test.iter().all(|row| row < newest));
        }
    }
}
