//! Splits: which rows teach, which tune and which judge.

use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::{SplitBy, SplitConfig};
use crate::{Error, Result};

/// Row numbers (zero-based, ascending) of the three parts. No row is in two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The rows that everything is fitted on.
    pub train: Vec<u32>,
    /// The rows that stop training early and tune.
    pub valid: Vec<u32>,
    /// The rows that give the final figures.
    pub test: Vec<u32>,
}

/// Divides `rows` rows. `classes` gives each row's class where the target is one. `test_rows` are
/// the rows of the configured row list; those that do not exist are passed over.
///
/// # Errors
/// When the shares do not leave training rows.
pub fn split(
    config: &SplitConfig,
    rows: usize,
    classes: Option<&[u32]>,
    test_rows: Option<&[u32]>,
    seed: u64,
) -> Result<Split> {
    for (name, share) in [("valid", config.valid), ("test", config.test)] {
        if !(0.0..1.0).contains(&share) {
            let message = format!("`split.{name}` is {share}: expected a share from 0 to below 1");
            return Err(Error::Config(message));
        }
    }
    if config.valid + config.test >= 1.0 {
        return Err(Error::Config(format!(
            "`split.valid` + `split.test` is {}: expected less than 1, so that rows are left to train on",
            config.valid + config.test
        )));
    }
    if u32::try_from(rows).is_err() {
        let message =
            format!("{rows} rows are more than can be divided: expected at most {}", u32::MAX);
        return Err(Error::Config(message));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parts = Split {
        train: Vec::new(),
        valid: Vec::new(),
        test: Vec::new(),
    };
    let by = config.by.unwrap_or(match (test_rows, classes) {
        (Some(_), _) => SplitBy::Rows,
        (None, Some(_)) => SplitBy::Stratified,
        (None, None) => SplitBy::Random,
    });
    match (by, classes) {
        (SplitBy::Rows, _) => {
            let Some(listed) = test_rows else {
                let message = "`split.by = \"rows\"` needs `split.test_rows`: the name of a file of row numbers";
                return Err(Error::Config(message.into()));
            };
            let mut is_test = vec![false; rows];
            for row in listed {
                if let Some(is_test) = is_test.get_mut(*row as usize) {
                    *is_test = true;
                }
            }
            let (test, rest): (Vec<u32>, Vec<u32>) =
                (0..rows as u32).partition(|row| is_test[*row as usize]);
            parts.test = test;
            cut(rest, config.valid, 0.0, &mut rng, &mut parts);
        }
        (SplitBy::Stratified, Some(classes)) => {
            let count = classes.iter().max().map_or(0, |m| *m as usize + 1);
            let mut members = vec![Vec::new(); count];
            for (row, class) in classes.iter().enumerate() {
                members[*class as usize].push(row as u32);
            }
            for class in members {
                cut(class, config.valid, config.test, &mut rng, &mut parts);
            }
        }
        (SplitBy::Stratified, None) => {
            let message = "`split.by = \"stratified\"` needs classes, but the target is a number: use `random`";
            return Err(Error::Config(message.into()));
        }
        (SplitBy::Random, _) => {
            let all = (0..rows as u32).collect();
            cut(all, config.valid, config.test, &mut rng, &mut parts);
        }
    }
    for part in [&mut parts.train, &mut parts.valid, &mut parts.test] {
        part.sort_unstable();
    }
    if parts.train.is_empty() {
        let message =
            format!("the split of {rows} rows leaves none to train on: lower `split.test`");
        return Err(Error::Config(message));
    }
    Ok(parts)
}

/// Reads a list of zero-based row numbers, one a line.
///
/// # Errors
/// When the file cannot be read or a line is not a row number.
pub fn read_rows(path: &Path) -> Result<Vec<usize>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            line.trim().parse().map_err(|_| Error::Row {
                place: format!("`{}` line {}", path.display(), i + 1),
                reason: format!("`{}` is not a zero-based row number", line.trim()),
            })
        })
        .collect()
}

/// Shuffles `rows` and deals them out; shares are rounded to whole rows.
fn cut(mut rows: Vec<u32>, valid: f64, test: f64, rng: &mut ChaCha8Rng, parts: &mut Split) {
    rows.shuffle(rng);
    let share = |share: f64| (rows.len() as f64 * share).round() as usize;
    let test = share(test);
    let valid = share(valid).min(rows.len() - test);
    parts.test.extend(&rows[..test]);
    parts.valid.extend(&rows[test..test + valid]);
    parts.train.extend(&rows[test + valid..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_lands_in_exactly_one_part(
            classes in prop::collection::vec(0u32..4, 5..200),
            valid in 0.0..0.4f64,
            test in 0.0..0.4f64,
            stratified: bool,
            seed: u64,
        ) {
            let by = if stratified { SplitBy::Stratified } else { SplitBy::Random };
            let config = SplitConfig { by: Some(by), valid, test, test_rows: None };
            if let Ok(parts) = split(&config, classes.len(), Some(&classes), None, seed) {
                let mut all = [parts.train, parts.valid, parts.test].concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..classes.len() as u32).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn stratified_keeps_proportions_and_repeats_with_its_seed() {
        let classes: Vec<u32> = (0..1000).map(|i| u32::from(i % 10 == 0)).collect();
        let config = SplitConfig::default();
        let parts = split(&config, 1000, Some(&classes), None, 7).unwrap();
        assert_eq!((parts.train.len(), parts.valid.len(), parts.test.len()), (700, 100, 200));
        assert_eq!(parts.test.iter().filter(|r| classes[**r as usize] == 1).count(), 20);
        assert_eq!(parts, split(&config, 1000, Some(&classes), None, 7).unwrap());
        assert_ne!(parts, split(&config, 1000, Some(&classes), None, 8).unwrap());
    }

    #[test]
    fn listed_rows_are_the_test_rows() {
        let config = SplitConfig {
            valid: 0.0,
            ..Default::default()
        };
        let parts = split(&config, 5, None, Some(&[1, 3]), 0).unwrap();
        assert_eq!(parts.test, [1, 3]);
        assert_eq!(parts.train, [0, 2, 4]);
    }
}
