//! Splits as files: each part as ranges of rows, first and last, both of them in it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Split;
use crate::config::SplitBy;
use crate::{Error, Result};

/// A split as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ranges {
    by: SplitBy,
    seed: u64,
    rows: u32,
    train: Vec<[u32; 2]>,
    valid: Vec<[u32; 2]>,
    test: Vec<[u32; 2]>,
}

impl From<Split> for Ranges {
    fn from(split: Split) -> Self {
        Self {
            by: split.by,
            seed: split.seed,
            rows: split.rows as u32,
            train: ranges(&split.train),
            valid: ranges(&split.valid),
            test: ranges(&split.test),
        }
    }
}

impl TryFrom<Ranges> for Split {
    type Error = String;

    /// Every row must be in exactly one part.
    fn try_from(ranges: Ranges) -> Result<Self, String> {
        let mut all = [ranges.train.as_slice(), &ranges.valid, &ranges.test].concat();
        all.sort_unstable();
        let mut next = 0;
        for [first, last] in all {
            if first != next || last < first || last >= ranges.rows {
                return Err(format!(
                    "the range [{first},{last}] does not fit: expected every row from 0 to {} in exactly one part",
                    ranges.rows.saturating_sub(1)
                ));
            }
            next = last + 1;
        }
        if next != ranges.rows {
            return Err(format!("row {next} is in no part: expected every row in exactly one"));
        }
        let rows = |part: Vec<[u32; 2]>| {
            let mut rows: Vec<u32> =
                part.into_iter().flat_map(|[first, last]| first..=last).collect();
            rows.sort_unstable();
            rows
        };
        Ok(Self {
            by: ranges.by,
            seed: ranges.seed,
            rows: ranges.rows as usize,
            train: rows(ranges.train),
            valid: rows(ranges.valid),
            test: rows(ranges.test),
        })
    }
}

fn ranges(rows: &[u32]) -> Vec<[u32; 2]> {
    rows.chunk_by(|a, b| a + 1 == *b)
        .map(|run| [run[0], run[run.len() - 1]])
        .collect()
}

impl Split {
    /// The split as JSON: rule, seed, number of rows, and each part as ranges `[first,last]`, one
    /// part a line.
    pub fn to_json(&self) -> String {
        let Ranges {
            by,
            seed,
            rows,
            train,
            valid,
            test,
        } = self.clone().into();
        let part = |part: Vec<[u32; 2]>| {
            let ranges: Vec<String> = part.iter().map(|[a, b]| format!("[{a},{b}]")).collect();
            format!("[{}]", ranges.join(","))
        };
        format!(
            "{{\n\"by\": \"{}\",\n\"seed\": {seed},\n\"rows\": {rows},\n\"train\": {},\n\"valid\": {},\n\"test\": {}\n}}\n",
            by.name(),
            part(train),
            part(valid),
            part(test)
        )
    }

    /// Writes [`Split::to_json`] to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.to_json()).map_err(|error| {
            Error::source(path.display().to_string(), format!("cannot be written: {error}"))
        })
    }

    /// Reads what [`Split::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, or does not have every row in exactly one part.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        serde_json::from_str(&text).map_err(|error| {
            Error::source(path.display().to_string(), format!("is not a saved split: {error}"))
        })
    }
}
