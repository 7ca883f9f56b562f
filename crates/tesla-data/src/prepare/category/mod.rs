//! Categories: imputed, rare levels grouped, and encoded as numbers.

mod hash;
mod levels;
mod target;

use std::sync::Arc;

use crate::arrow::array::{Array, ArrayRef, StringArray};
use serde::{Deserialize, Serialize};

use crate::config::{ColumnConfig, Constant, Encode, Impute};
use crate::frame::downcast;
use crate::samples::Target;
use crate::{Error, Result};
use hash::hashed;
use levels::{Names, Places};
use target::{FOLDS, Sums};

/// The number of columns that `encode = "hash"` has when nothing is said.
const HASH_SIZE: usize = 256;

/// A category as numbers; by default one per level: 1 for the level of the row, 0 for the others,
/// and 0 everywhere for a level that training never saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedCategory {
    /// The column's name.
    pub name: String,
    /// The levels of the training rows, sorted; without those that are rare.
    pub levels: Vec<String>,
    /// The place of a missing value: a level's, or one past the last for a place of its own. None
    /// when training saw no missing value and none was asked for: it is as an unknown level.
    pub missing: Option<usize>,
    /// How levels become numbers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encode: Encode,
    /// Whether there is a place behind the levels for rare and unknown ones.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rare: bool,
    /// Whether a missing value becomes the last one before, where there is one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forward_fill: bool,
    /// What each place and then an unknown level is encoded as, where that is not the place:
    /// `[places + 1, outputs]`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub values: Vec<f64>,
    /// The mean and the scale that `values` are standardised by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub units: Option<[f64; 2]>,
    /// The number of columns of `encode = "hash"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hash_size: usize,
    /// What stands in for a missing value before it is hashed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fill: Option<String>,
    /// `values` learned without each part of the training rows. Only the fitting run has them.
    #[serde(skip)]
    folds: Vec<Vec<f64>>,
    #[serde(skip)]
    known: Places,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is known of a category after some batches.
pub(super) struct CategoryFit {
    name: String,
    config: ColumnConfig,
    names: Names,
    /// Rows of each level, the missing one first.
    counts: Vec<u64>,
    sums: Option<Sums>,
    rows: usize,
    /// Whether the last level stands in for missing ones.
    pub(super) carries: bool,
    last: usize,
}

/// The number of a missing value; levels follow in the order they are seen.
const MISSING: usize = 0;

impl CategoryFit {
    /// `classes` is the number of classes of the target, 0 when it is a number.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub(super) fn new(name: &str, config: &ColumnConfig, classes: usize) -> Result<Self> {
        check(name, config)?;
        Ok(Self {
            name: name.to_string(),
            config: config.clone(),
            names: Names::default(),
            counts: vec![0],
            sums: (config.encode == Some(Encode::Target)).then(|| Sums::new(classes)),
            rows: 0,
            carries: config.impute == Some(Impute::ForwardFill),
            last: MISSING,
        })
    }

    /// Whether the target is needed.
    pub(super) fn wants_target(&self) -> bool {
        self.sums.is_some()
    }

    pub(super) fn update(&mut self, values: &ArrayRef, target: &Target) -> Result<()> {
        let hashes = self.config.encode == Some(Encode::Hash);
        if hashes && self.config.impute != Some(Impute::Mode) {
            // Nothing is learned, so that levels may be as many as rows.
            return Ok(());
        }
        let values = downcast::<StringArray>(values)?;
        for (at, value) in values.iter().enumerate() {
            let level = match value {
                Some(value) => self.level(value),
                None if self.carries => self.last,
                None => MISSING,
            };
            self.last = level;
            self.counts[level] += 1;
            if let Some(sums) = &mut self.sums {
                sums.add(level, self.rows + at, target, at);
            }
        }
        self.rows += values.len();
        Ok(())
    }

    fn level(&mut self, name: &str) -> usize {
        let level = self.names.id(name) + 1;
        if level == self.counts.len() {
            self.counts.push(0);
        }
        level
    }

    pub(super) fn finish(mut self) -> FittedCategory {
        let encode = self.config.encode.unwrap_or_default();
        let constant = match &self.config.impute {
            Some(Impute::Constant(Constant::Text(text))) => Some(text.clone()),
            Some(Impute::Constant(Constant::Number(number))) => Some(number.to_string()),
            _ => None,
        };
        let constant_level = match &constant {
            // Where no value is missing, the constant is a level only if it is one already.
            Some(text) if encode != Encode::Hash => {
                match self.counts[MISSING] > 0 || self.names.contains(text) {
                    true => Some(self.level(text)),
                    false => None,
                }
            }
            _ => None,
        };
        let sorted: Vec<(String, usize)> = self.names.sorted();
        let sorted: Vec<(String, usize)> = sorted.into_iter().map(|(n, id)| (n, id + 1)).collect();
        // What stands in for a missing value counts with the rows it stands in for.
        let stands_in = match self.config.impute {
            // The first of the most frequent levels, as scikit-learn has it.
            Some(Impute::Mode | Impute::ForwardFill) => sorted
                .iter()
                .enumerate()
                .max_by_key(|(i, (_, level))| (self.counts[*level], std::cmp::Reverse(*i)))
                .map(|(_, (_, level))| *level),
            _ => constant_level,
        };
        if let Some(level) = stands_in {
            self.counts[level] += self.counts[MISSING];
        }
        let members = |level: usize| match stands_in == Some(level) {
            true => vec![level, MISSING],
            false => vec![level],
        };
        let fill = match (encode, constant) {
            (Encode::Hash, None) => {
                let name = |level| sorted.iter().find(|(_, l)| *l == level);
                stands_in.and_then(name).map(|(name, _)| name.clone())
            }
            (Encode::Hash, constant) => constant,
            _ => None,
        };

        // Places: frequent levels, then one for rare ones, then one for missing values.
        let least = self.config.min_count.unwrap_or(0) as u64;
        let (mut levels, mut places, mut rare) = (Vec::new(), Vec::new(), Vec::new());
        let mut missing = None;
        for (name, level) in sorted.into_iter().filter(|_| encode != Encode::Hash) {
            let is_rare = self.counts[level] < least;
            match is_rare {
                true => rare.extend(members(level)),
                false => {
                    if stands_in == Some(level) {
                        missing = Some(levels.len());
                    }
                    levels.push(name);
                    places.push(members(level));
                }
            }
        }
        let has_rare = !rare.is_empty();
        if has_rare {
            if rare.contains(&MISSING) {
                missing = Some(places.len());
            }
            places.push(rare);
        }
        if stands_in.is_none() && self.counts[MISSING] > 0 && encode != Encode::Hash {
            missing = Some(places.len());
            places.push(vec![MISSING]);
        }
        let (mut values, mut units, mut folds) = (Vec::new(), None, Vec::new());
        if encode == Encode::Frequency {
            // A level that stands in for missing values has their rows already.
            let rows = |levels: &Vec<usize>| -> u64 {
                let own = |level: &&usize| **level != MISSING || levels.len() == 1;
                levels.iter().filter(own).map(|level| self.counts[*level]).sum()
            };
            let share = |levels| rows(levels) as f64 / self.rows.max(1) as f64;
            values = places.iter().map(share).chain([0.0]).collect();
        }
        if let Some(sums) = &self.sums {
            values = sums.encode(&places, None);
            units = sums.units(&places);
            // Of one row nothing is left to encode it from.
            if self.rows > 1 {
                folds = (0..FOLDS).map(|fold| sums.encode(&places, Some(fold))).collect();
            }
        }
        FittedCategory {
            name: self.name,
            levels,
            missing,
            encode,
            rare: has_rare,
            forward_fill: self.config.impute == Some(Impute::ForwardFill),
            values,
            units,
            hash_size: match encode {
                Encode::Hash => self.config.hash_size.unwrap_or(HASH_SIZE),
                _ => 0,
            },
            fill,
            folds,
            known: Places::default(),
        }
    }
}

fn check(name: &str, config: &ColumnConfig) -> Result<()> {
    let refuse = |what: String| Err(Error::Config(format!("column `{name}`: {what}")));
    let encode = config.encode.unwrap_or_default();
    match (config.hash_size, config.min_count) {
        (Some(_), _) if encode != Encode::Hash => {
            refuse("`hash_size` goes with `encode = \"hash\"` only: remove one".into())
        }
        (Some(size), _) if !(1..=1 << 20).contains(&size) => {
            refuse(format!("`hash_size` is {size}: expected 1 to {}", 1 << 20))
        }
        (_, Some(_)) if encode == Encode::Hash => {
            refuse("`encode = \"hash\"` counts no levels: remove `min_count`".into())
        }
        _ => Ok(()),
    }
}

impl FittedCategory {
    /// The place of a value; none for an unknown level where there is no place for rare ones.
    fn place(&self, value: Option<&str>) -> Option<usize> {
        match value {
            Some(value) => self.known.of(value, &self.levels),
            None => self.missing,
        }
        .or_else(|| self.rare.then_some(self.levels.len()))
    }

    /// The id that a network looks the level `name` up by, 0 for an unknown one.
    pub fn id(&self, name: &str) -> u32 {
        let ids = self.levels.len() + usize::from(self.rare);
        let place = self.place(Some(name)).filter(|place| *place < ids);
        place.map_or(0, |place| place as u32 + 1)
    }

    /// Whether a level is none of those that have a place of their own.
    pub(super) fn is_unknown(&self, level: &str) -> bool {
        self.encode != Encode::Hash && self.known.of(level, &self.levels).is_none()
    }

    /// The number of places.
    fn places(&self) -> usize {
        let own = self.levels.len() + usize::from(self.rare);
        own + usize::from(self.missing == Some(own))
    }

    /// Writes the column from place `at` of each row of `out` on, which holds zeros. `row` is the
    /// number of the first row among the training rows, where it is one of them.
    pub(super) fn transform(
        &self,
        values: &StringArray,
        row: Option<usize>,
        out: &mut [f64],
        width: usize,
        at: usize,
    ) {
        let rows = values.iter().zip(out.chunks_exact_mut(width));
        match self.encode {
            Encode::OneHot => {
                for (value, out) in rows {
                    if let Some(place) = self.place(value) {
                        out[at + place] = 1.0;
                    }
                }
            }
            Encode::Ordinal => {
                for (value, out) in rows {
                    out[at] = self.place(value).map_or(-1.0, |place| place as f64);
                }
            }
            Encode::Embedding => {
                let ids = self.levels.len() + usize::from(self.rare);
                for (value, out) in rows {
                    let place = self.place(value).filter(|place| *place < ids);
                    out[at] = place.map_or(0.0, |place| place as f64 + 1.0);
                }
            }
            Encode::Hash => {
                for (value, out) in rows {
                    if let Some(value) = value.or(self.fill.as_deref()) {
                        let (place, sign) = hashed(value, self.hash_size.max(1));
                        out[at + place] = sign;
                    }
                }
            }
            Encode::Frequency | Encode::Target => {
                let (outputs, unknown) = (self.width(), self.places());
                let [mean, scale] = self.units.unwrap_or([0.0, 1.0]);
                for (i, (value, out)) in rows.enumerate() {
                    let fold = row.and_then(|row| self.folds.get((row + i) % FOLDS));
                    let values = fold.unwrap_or(&self.values);
                    let place = self.place(value).unwrap_or(unknown);
                    let own = values.iter().skip(place * outputs);
                    for (out, value) in out[at..at + outputs].iter_mut().zip(own) {
                        *out = (value - mean) / scale;
                    }
                }
            }
        }
    }

    /// The column with each missing value replaced by the one before it; `last` is the one before
    /// the first row.
    pub(super) fn filled(&self, values: &ArrayRef, last: &mut Option<String>) -> Result<ArrayRef> {
        let values = downcast::<StringArray>(values)?;
        let mut before = last.as_deref();
        let filled: StringArray = values
            .iter()
            .map(|value| {
                before = value.or(before);
                before
            })
            .collect();
        *last = before.map(String::from);
        Ok(Arc::new(filled))
    }

    /// Numbers per row.
    pub(super) fn width(&self) -> usize {
        match self.encode {
            Encode::OneHot => self.places(),
            Encode::Ordinal | Encode::Embedding => 1,
            Encode::Hash => self.hash_size.max(1),
            Encode::Frequency | Encode::Target => (self.values.len() / (self.places() + 1)).max(1),
        }
    }

    /// The number of ids that a network looks vectors up by, where the column becomes ids.
    pub(crate) fn ids(&self) -> Option<usize> {
        let ids = self.levels.len() + usize::from(self.rare) + 1;
        (self.encode == Encode::Embedding).then_some(ids)
    }

    /// The names of the numbers; `labels` are the classes of the target.
    pub(super) fn names(&self, labels: &[String]) -> Vec<String> {
        let name = &self.name;
        match self.encode {
            Encode::OneHot => {
                let levels = self.levels.iter().map(String::as_str);
                let rare = self.rare.then_some("(rare)");
                levels
                    .chain(rare)
                    .chain(["(missing)"])
                    .take(self.width())
                    .map(|level| format!("{name}={level}"))
                    .collect()
            }
            Encode::Hash => (0..self.width()).map(|i| format!("hash({name})={i}")).collect(),
            Encode::Target if self.width() > 1 => {
                labels.iter().map(|label| format!("target({name})={label}")).collect()
            }
            Encode::Target => vec![format!("target({name})")],
            Encode::Frequency => vec![format!("frequency({name})")],
            Encode::Ordinal | Encode::Embedding => vec![name.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fit(config: ColumnConfig, values: &[Option<&str>]) -> FittedCategory {
        let mut fit = CategoryFit::new("c", &config, 0).unwrap();
        let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        fit.update(&values, &Target::Absent).unwrap();
        fit.finish()
    }

    fn encode(fitted: &FittedCategory, values: Vec<Option<&str>>) -> Vec<f64> {
        let array = StringArray::from(values);
        let mut out = vec![0.0; array.len() * fitted.width()];
        fitted.transform(&array, None, &mut out, fitted.width(), 0);
        out
    }

    #[test]
    fn one_place_per_level_and_none_for_a_stranger() {
        let train = [Some("b"), Some("a"), None, Some("b")];
        let own = fit(ColumnConfig::default(), &train);
        assert_eq!(own.names(&[]), ["c=a", "c=b", "c=(missing)"]);
        assert_eq!(
            encode(&own, vec![Some("b"), None, Some("z")]),
            [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        );
        let mode = ColumnConfig {
            impute: Some(Impute::Mode),
            ..Default::default()
        };
        assert_eq!(encode(&fit(mode, &train), vec![None]), [0.0, 1.0]);
    }
}
