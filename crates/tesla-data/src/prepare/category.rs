use std::collections::BTreeMap;

use crate::arrow::array::{Array, ArrayRef, StringArray};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::config::Impute;
use crate::frame::downcast;

/// A category as one number per level: 1 for the level of the row, 0 for the others. A level that
/// training never saw is 0 everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedCategory {
    /// The column's name.
    pub name: String,
    /// The levels of the training rows, sorted.
    pub levels: Vec<String>,
    /// The place of a missing value: a level's, or one past the last for a place of its own. None
    /// when training saw no missing value and none was asked for: 0 everywhere.
    pub missing: Option<usize>,
}

/// What is known of a category after some batches.
pub(super) struct CategoryFit {
    name: String,
    impute: Option<Impute>,
    counts: BTreeMap<String, usize>,
    missing: usize,
}

impl CategoryFit {
    pub(super) fn new(name: &str, impute: Option<Impute>) -> Self {
        Self {
            name: name.to_string(),
            impute,
            counts: BTreeMap::new(),
            missing: 0,
        }
    }

    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        let values = downcast::<StringArray>(values)?;
        self.missing += values.null_count();
        for value in values.iter().flatten() {
            match self.counts.get_mut(value) {
                Some(count) => *count += 1,
                None => {
                    self.counts.insert(value.to_string(), 1);
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> FittedCategory {
        let counts = self.counts;
        let missing = match self.impute {
            // The first of the most frequent levels, as scikit-learn has it.
            Some(Impute::Mode) => counts
                .values()
                .enumerate()
                .max_by_key(|(i, count)| (**count, std::cmp::Reverse(*i)))
                .map(|(i, _)| i),
            _ => (self.missing > 0).then_some(counts.len()),
        };
        FittedCategory {
            name: self.name,
            levels: counts.into_keys().collect(),
            missing,
        }
    }
}

impl FittedCategory {
    pub(super) fn transform(
        &self,
        values: &ArrayRef,
        out: &mut [f64],
        width: usize,
        at: usize,
    ) -> Result<()> {
        let values = downcast::<StringArray>(values)?;
        for (value, row) in values.iter().zip(out.chunks_exact_mut(width)) {
            let place = match value {
                Some(value) => self.levels.binary_search_by(|l| l.as_str().cmp(value)).ok(),
                None => self.missing,
            };
            if let Some(place) = place {
                row[at + place] = 1.0;
            }
        }
        Ok(())
    }

    pub(super) fn width(&self) -> usize {
        self.levels.len() + usize::from(self.missing == Some(self.levels.len()))
    }

    pub(super) fn names(&self) -> Vec<String> {
        let levels = self.levels.iter().map(String::as_str);
        levels
            .chain(std::iter::once("(missing)"))
            .take(self.width())
            .map(|level| format!("{}={level}", self.name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn encode(fitted: &FittedCategory, values: Vec<Option<&str>>) -> Vec<f64> {
        let array: ArrayRef = Arc::new(StringArray::from(values));
        let mut out = vec![0.0; array.len() * fitted.width()];
        fitted.transform(&array, &mut out, fitted.width(), 0).unwrap();
        out
    }

    #[test]
    fn one_place_per_level_and_none_for_a_stranger() {
        let train: ArrayRef =
            Arc::new(StringArray::from(vec![Some("b"), Some("a"), None, Some("b")]));
        let fit = |impute| {
            let mut fit = CategoryFit::new("c", impute);
            fit.update(&train).unwrap();
            fit.finish()
        };
        let own = fit(None);
        assert_eq!(own.names(), ["c=a", "c=b", "c=(missing)"]);
        assert_eq!(
            encode(&own, vec![Some("b"), None, Some("z")]),
            [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        );
        let mode = fit(Some(Impute::Mode));
        assert_eq!(encode(&mode, vec![None]), [0.0, 1.0]);
    }
}
