//! Looking at a column cell by cell, whatever it holds: hashes, distinct values and levels.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use rayon::prelude::*;

use super::{Distinct, Level};
use crate::arrow::array::{Array, ArrayRef, Float64Array, LargeBinaryArray, StringArray};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::DataType;
use crate::frame::{as_strings, downcast};
use crate::{Frame, Result};

/// A column, in one piece.
pub(crate) enum Cells {
    Numbers(Float64Array),
    Texts(StringArray),
    Bytes(LargeBinaryArray),
}

impl Cells {
    /// Puts a column together from the batches of a frame.
    pub(crate) fn read(frame: &Frame, at: usize) -> Result<Self> {
        Self::of(&frame.column(frame.schema().field(at).name())?)
    }

    /// A column as it is in memory.
    pub(crate) fn of(values: &ArrayRef) -> Result<Self> {
        use DataType::{Binary, FixedSizeBinary, LargeBinary};
        Ok(match values.data_type() {
            Binary | LargeBinary | FixedSizeBinary(_) => {
                Cells::Bytes(downcast::<LargeBinaryArray>(&cast(values, &LargeBinary)?)?.clone())
            }
            kind if kind.is_numeric() => {
                let values = cast(values, &DataType::Float64)?;
                Cells::Numbers(downcast::<Float64Array>(&values)?.clone())
            }
            _ => Cells::Texts(as_strings(values)?),
        })
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Cells::Numbers(a) => a.len(),
            Cells::Texts(a) => a.len(),
            Cells::Bytes(a) => a.len(),
        }
    }

    /// The number in a row; none where it is missing or not finite.
    pub(crate) fn number(&self, row: usize) -> Option<f64> {
        match self {
            Cells::Numbers(a) if a.is_valid(row) => Some(a.value(row)).filter(|v| v.is_finite()),
            _ => None,
        }
    }

    /// The numbers that are there.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        (0..self.len()).filter_map(|row| self.number(row))
    }

    /// The texts that are there.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Cells::Texts(texts) => Some(texts),
            _ => None,
        };
        texts.into_iter().flatten().flatten()
    }

    /// A 64-bit hash of the value, the same in every run; none where it is missing.
    pub(crate) fn hash(&self, row: usize) -> Option<u64> {
        fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            hasher.finish()
        }
        match self {
            // Adding 0 makes -0 and 0 one value.
            Cells::Numbers(_) => self.number(row).map(|v| mix((v + 0.0).to_bits())),
            Cells::Texts(a) => a.is_valid(row).then(|| hash(a.value(row))),
            Cells::Bytes(a) => a.is_valid(row).then(|| hash(a.value(row))),
        }
    }

    fn show(&self, row: usize) -> String {
        const SHOWN: usize = 80;
        match self {
            Cells::Numbers(a) => (a.value(row) + 0.0).to_string(),
            Cells::Texts(a) if a.value(row).chars().nth(SHOWN).is_some() => {
                a.value(row).chars().take(SHOWN - 1).chain(['…']).collect()
            }
            Cells::Texts(a) => a.value(row).to_string(),
            Cells::Bytes(a) => format!("{} bytes", a.value(row).len()),
        }
    }
}

/// What one pass over a column finds.
pub(crate) struct Seen {
    /// Rows with a value.
    pub(crate) present: usize,
    /// Distinct values.
    pub(crate) distinct: Distinct,
    /// Each value with its rows; none where there are too many.
    pub(crate) levels: Option<Levels>,
}

impl Seen {
    pub(crate) fn of(cells: &Cells) -> Self {
        let mut present = 0;
        let mut distinct = DistinctCounter::default();
        let mut levels = Some(Levels::default());
        let most = match cells {
            Cells::Numbers(_) => MAX_NUMBERS,
            Cells::Texts(_) => MAX_TEXTS,
            Cells::Bytes(_) => 0,
        };
        for row in 0..cells.len() {
            let Some(hash) = cells.hash(row) else {
                continue;
            };
            present += 1;
            distinct.add(hash);
            if let Some(found) = &mut levels {
                found.add(hash, row);
                if found.counts.len() > most {
                    levels = None;
                }
            }
        }
        Self {
            present,
            distinct: distinct.count(),
            levels,
        }
    }

    /// The commonest values, if any repeats.
    pub(crate) fn top(&self, cells: &Cells, most: usize) -> Vec<Level> {
        let Some(levels) = &self.levels else {
            return Vec::new();
        };
        if levels.counts.len() == self.present && self.present > most {
            return Vec::new();
        }
        let mut order: Vec<usize> = (0..levels.counts.len()).collect();
        // The earlier row first where counts are equal.
        order.sort_by_key(|code| std::cmp::Reverse(levels.counts[*code]));
        let level = |code: &usize| Level {
            value: cells.show(levels.first[*code]),
            count: levels.counts[*code],
        };
        order.iter().take(most).map(level).collect()
    }
}

/// Numbers with more distinct values than this are not counted one by one.
const MAX_NUMBERS: usize = 1000;
/// Nor are texts with more than this.
const MAX_TEXTS: usize = 100_000;

/// The values of a column, numbered in the order of their first rows.
#[derive(Default)]
pub(crate) struct Levels {
    codes: HashMap<u64, u32, BuildHasherDefault<Mixed>>,
    /// Rows of each value.
    pub(crate) counts: Vec<usize>,
    /// The first row of each value.
    first: Vec<usize>,
}

impl Levels {
    fn add(&mut self, hash: u64, row: usize) {
        let code = *self.codes.entry(hash).or_insert(self.counts.len() as u32);
        if code as usize == self.counts.len() {
            self.counts.push(0);
            self.first.push(row);
        }
        self.counts[code as usize] += 1;
    }

    /// A value as text, by its place in `counts`.
    pub(crate) fn show(&self, cells: &Cells, code: u32) -> String {
        cells.show(self.first[code as usize])
    }

    /// The value of a row, as its place in `counts`.
    pub(crate) fn code(&self, cells: &Cells, row: usize) -> Option<u32> {
        self.codes.get(&cells.hash(row)?).copied()
    }
}

/// Counts distinct values in bounded memory: Wegman's adaptive sampling (P. Flajolet, "On adaptive
/// sampling", Computing 43, 1990). Up to [`DistinctCounter::MOST`] values it is exact; beyond, only hashes
/// that begin with `depth` zero bits are kept, and each stands for 2^depth values.
#[derive(Default)]
struct DistinctCounter {
    kept: HashSet<u64, BuildHasherDefault<Mixed>>,
    depth: u32,
}

impl DistinctCounter {
    /// The standard error of the estimate is about 1.2 / sqrt(MOST): 0.23 %.
    const MOST: usize = 1 << 18;

    fn add(&mut self, hash: u64) {
        if hash.leading_zeros() >= self.depth && self.kept.insert(hash) {
            while self.kept.len() > Self::MOST {
                self.depth += 1;
                self.kept.retain(|hash| hash.leading_zeros() >= self.depth);
            }
        }
    }

    fn count(&self) -> Distinct {
        Distinct {
            count: self.kept.len() << self.depth,
            exact: self.depth == 0,
        }
    }
}

/// Rows that repeat an earlier row, by a 64-bit hash of all their values: eight bytes a row.
pub(crate) fn duplicates(frame: &Frame) -> Result<usize> {
    let mut hashes: Vec<u64> = Vec::with_capacity(frame.len());
    for batch in frame.batches()? {
        hashes.extend(row_hashes(batch?.columns())?);
    }
    hashes.par_sort_unstable();
    Ok(hashes.windows(2).filter(|pair| pair[0] == pair[1]).count())
}

/// A 64-bit hash of each row, the same in every run.
pub(crate) fn row_hashes(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let columns: Vec<Cells> = columns.iter().map(Cells::of).collect::<Result<_>>()?;
    Ok((0..rows).into_par_iter().map(|row| row_hash(&columns, row)).collect())
}

fn row_hash(columns: &[Cells], row: usize) -> u64 {
    const MISSING: u64 = 0x6d69_7373_696e_6700;
    columns
        .iter()
        .fold(0, |all: u64, cells| mix(all.rotate_left(5) ^ cells.hash(row).unwrap_or(MISSING)))
}

/// The finaliser of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): every bit of the
/// input moves about half the bits of the output.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes what is a hash already. The product keeps the high bits useful to the table after
/// adaptive sampling has left only hashes that begin with zeros.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = mix(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_values_are_counted_then_estimated() {
        for (values, exact) in [(1000, true), (2_000_000, false)] {
            let mut counter = DistinctCounter::default();
            (0..2 * values).for_each(|i| counter.add(mix(i % values)));
            let found = counter.count();
            assert_eq!(found.exact, exact);
            let error = found.count as f64 / values as f64 - 1.0;
            assert!(error.abs() <= if exact { 0.0 } else { 0.01 }, "{found:?}");
        }
    }

    #[test]
    fn rows_repeat_only_when_every_value_does() {
        let numbers =
            Cells::Numbers(Float64Array::from(vec![Some(0.0), Some(-0.0), None, None, Some(1.0)]));
        let texts =
            Cells::Texts(StringArray::from(vec![Some("a"), Some("a"), Some("a"), Some("a"), None]));
        let columns = [numbers, texts];
        let hashes: HashSet<u64> = (0..5).map(|row| row_hash(&columns, row)).collect();
        assert_eq!(hashes.len(), 3);
    }
}
