//! Splits: which rows teach, which tune and which judge.
//!
//! A split is made of what the rows are and of a seed, never of threads or of how rows come in
//! batches. It can be written down and repeated: [`Split::save`] and `by = "file"`.

mod file;
mod folds;
mod keyed;

use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::arrow::array::ArrayRef;
use crate::config::{SplitBy, SplitConfig};
use crate::{Error, Result};

pub use folds::folds;
pub(crate) use keyed::times;

/// Row numbers (zero-based, ascending) of the three parts. No row is in two of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "file::Ranges", try_from = "file::Ranges")]
pub struct Split {
    /// The rule that divided the rows.
    pub by: SplitBy,
    /// The seed it was given.
    pub seed: u64,
    /// How many rows there were.
    pub rows: usize,
    /// The rows that everything is fitted on.
    pub train: Vec<u32>,
    /// The rows that stop training early and tune.
    pub valid: Vec<u32>,
    /// The rows that give the final figures.
    pub test: Vec<u32>,
}

/// What a rule may have to know of the rows it divides.
#[derive(Clone, Copy, Default)]
pub struct Rows<'a> {
    /// How many there are.
    pub len: usize,
    /// Each row's class, where the target is one.
    pub classes: Option<&'a [u32]>,
    /// The rows of the configured list.
    pub listed: Option<&'a [u32]>,
    /// The configured column.
    pub key: Option<Key<'a>>,
    /// The split that a configured file holds.
    pub saved: Option<&'a Split>,
}

/// The column that divides rows.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its values, one a row.
    pub values: &'a ArrayRef,
    /// Where a row stands, for a message.
    pub place: &'a dyn Fn(usize) -> String,
}

/// Divides rows. Rows of `rows.listed` that do not exist are passed over.
///
/// # Errors
/// When the configuration is not one rule with what it needs, a value of the column does not suit
/// the rule, or the shares do not leave training rows.
pub fn split(config: &SplitConfig, rows: &Rows<'_>, seed: u64) -> Result<Split> {
    let by = rule(config, rows)?;
    if u32::try_from(rows.len).is_err() {
        let message = format!(
            "{} rows are more than can be divided: expected at most {}",
            rows.len,
            u32::MAX
        );
        return Err(Error::Config(message));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parts = Split {
        by,
        seed,
        rows: rows.len,
        train: Vec::new(),
        valid: Vec::new(),
        test: Vec::new(),
    };
    let all = 0..rows.len as u32;
    match by {
        SplitBy::Random => cut(all.collect(), config.valid, config.test, &mut rng, &mut parts),
        SplitBy::Stratified => {
            let Some(classes) = rows.classes else {
                let message = "`split.by = \"stratified\"` needs classes, but the target is a number: use `random`";
                return Err(Error::Config(message.into()));
            };
            let count = classes.iter().max().map_or(0, |m| *m as usize + 1);
            let mut members = vec![Vec::new(); count];
            for (row, class) in classes.iter().enumerate() {
                members[*class as usize].push(row as u32);
            }
            for class in members {
                cut(class, config.valid, config.test, &mut rng, &mut parts);
            }
        }
        SplitBy::Rows => {
            let mut is_test = vec![false; rows.len];
            for row in rows.listed.unwrap_or_default() {
                if let Some(is_test) = is_test.get_mut(*row as usize) {
                    *is_test = true;
                }
            }
            let (test, rest): (Vec<u32>, Vec<u32>) = all.partition(|row| is_test[*row as usize]);
            parts.test = test;
            cut(rest, config.valid, 0.0, &mut rng, &mut parts);
        }
        SplitBy::File => {
            let saved = rows
                .saved
                .ok_or_else(|| needs(by, "file", "the name of a saved split"))?;
            if saved.rows != rows.len {
                return Err(Error::Config(format!(
                    "`split.file` divides {} rows, but there are {}: split the rows anew, or bring back the data it was made from",
                    saved.rows, rows.len
                )));
            }
            parts = saved.clone();
        }
        SplitBy::Group | SplitBy::Time | SplitBy::Column | SplitBy::Hash => {
            let key = rows.key.ok_or_else(|| needs(by, "column", "the name of a column"))?;
            match by {
                SplitBy::Group => keyed::group(config, key, &mut rng, &mut parts)?,
                SplitBy::Time => keyed::time(config, key, &mut parts)?,
                SplitBy::Column => keyed::column(key, &mut parts)?,
                _ => keyed::hash(config, key, &mut parts)?,
            }
        }
    }
    for part in [&mut parts.train, &mut parts.valid, &mut parts.test] {
        part.sort_unstable();
    }
    if parts.train.is_empty() {
        let cure = match by {
            SplitBy::Column => "mark some as `train`",
            SplitBy::Rows => "list fewer in `split.test_rows`",
            _ => "lower `split.test`",
        };
        let message = format!("the split of {} rows leaves none to train on: {cure}", rows.len);
        return Err(Error::Config(message));
    }
    Ok(parts)
}

/// The rule that the configuration means, once its keys suit each other.
fn rule(config: &SplitConfig, rows: &Rows<'_>) -> Result<SplitBy> {
    let refuse = |message: String| Err(Error::Config(message));
    for (name, share) in [("valid", config.valid), ("test", config.test)] {
        if !(0.0..1.0).contains(&share) {
            return refuse(format!(
                "`split.{name}` is {share}: expected a share from 0 to below 1"
            ));
        }
    }
    if config.valid + config.test >= 1.0 {
        return refuse(format!(
            "`split.valid` + `split.test` is {}: expected less than 1, so that rows are left to train on",
            config.valid + config.test
        ));
    }
    let by = match config.by {
        Some(by) => by,
        None if config.column.is_some() => {
            return refuse(
                "`split.column` does not say how it divides rows: add `by`, one of `group`, `time`, `column` and `hash`"
                    .into(),
            );
        }
        None if config.file.is_some() => SplitBy::File,
        None if rows.listed.is_some() => SplitBy::Rows,
        None if rows.classes.is_some() => SplitBy::Stratified,
        None => SplitBy::Random,
    };
    let keyed = matches!(by, SplitBy::Group | SplitBy::Time | SplitBy::Column | SplitBy::Hash);
    let what = "the name of a file of row numbers";
    for (key, given, wanted, what) in [
        ("column", config.column.is_some(), keyed, "the name of a column"),
        ("test_rows", rows.listed.is_some(), by == SplitBy::Rows, what),
        ("file", config.file.is_some(), by == SplitBy::File, "the name of a saved split"),
    ] {
        if wanted && !given {
            return Err(needs(by, key, what));
        }
        if given && !wanted {
            return refuse(format!(
                "`split.{key}` has no meaning with `split.by = \"{}\"`: remove one",
                by.name()
            ));
        }
    }
    Ok(by)
}

fn needs(by: SplitBy, key: &str, what: &str) -> Error {
    Error::Config(format!("`split.by = \"{}\"` needs `split.{key}`: {what}", by.name()))
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
mod tests;
