//! Rules that go by the values of a column.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::{Key, Split};
use crate::arrow::array::{Array, ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{DataType, TimeUnit};
use crate::config::SplitConfig;
use crate::contract::number;
use crate::frame::{as_strings, downcast};
use crate::{Error, Result};

/// The rows of each group, sorted by the groups' names: the order of the rows makes no difference.
pub(super) fn groups(key: Key<'_>) -> Result<Vec<Vec<u32>>> {
    let names = texts(key, "group")?;
    let mut members: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (row, name) in names.iter().flatten().enumerate() {
        members.entry(name).or_default().push(row as u32);
    }
    Ok(members.into_values().collect())
}

/// The rows in their order of time, as `count` blocks of about as many; rows of one time stay
/// together.
pub(super) fn blocks(key: Key<'_>, count: usize) -> Result<Vec<Vec<Vec<u32>>>> {
    let times = times(key)?;
    present(times.iter().map(Option::is_some), key, "time")?;
    let mut order: Vec<(i64, u32)> = times.into_iter().flatten().zip(0..).collect();
    order.sort_unstable();
    let units: Vec<Vec<u32>> = order
        .chunk_by(|a, b| a.0 == b.0)
        .map(|unit| unit.iter().map(|(_, row)| *row).collect())
        .collect();
    if units.len() < count {
        return Err(Error::Config(format!(
            "column `{}` has {} different times, too few for {} folds: ask for fewer",
            key.name,
            units.len(),
            count - 1
        )));
    }
    let rows = order.len();
    let mut blocks: Vec<Vec<Vec<u32>>> = vec![Vec::new(); count];
    let (mut at, mut had, left) = (0, 0, units.len());
    for (done, unit) in units.into_iter().enumerate() {
        let full = had * count >= rows * (at + 1);
        // Every block that is to come needs a unit.
        let must = left - done <= count - 1 - at;
        if at + 1 < count && !blocks[at].is_empty() && (full || must) {
            at += 1;
        }
        had += unit.len();
        blocks[at].push(unit);
    }
    Ok(blocks)
}

/// Whole groups, in an order that the seed gives, each to the part that lacks most rows: no part
/// exceeds its share by as much as the largest group, unless it would have none.
pub(super) fn group(
    config: &SplitConfig,
    key: Key<'_>,
    rng: &mut ChaCha8Rng,
    parts: &mut Split,
) -> Result<()> {
    let mut groups = groups(key)?;
    groups.shuffle(rng);

    let n = parts.rows as f64;
    let wanted = [n * (1.0 - config.valid - config.test), n * config.valid, n * config.test];
    enough(groups.len(), config, key, "groups")?;
    let mut dealt: [Vec<Vec<u32>>; 3] = Default::default();
    let mut had = [0.0; 3];
    for group in groups {
        let lacks = |part: usize| wanted[part] - had[part];
        let part = (1..3).fold(0, |best, part| {
            if lacks(part) > lacks(best) {
                part
            } else {
                best
            }
        });
        had[part] += group.len() as f64;
        dealt[part].push(group);
    }
    // A small share among large groups may have come away empty.
    for part in 0..3 {
        if wanted[part] > 0.0 && dealt[part].is_empty() {
            let richest = (0..3).max_by_key(|other| dealt[*other].len()).unwrap_or(0);
            let smallest = (0..dealt[richest].len()).min_by_key(|at| dealt[richest][*at].len());
            let moved = smallest.map(|at| dealt[richest].remove(at));
            dealt[part].extend(moved);
        }
    }
    [parts.train, parts.valid, parts.test] = dealt.map(|groups| groups.concat());
    Ok(())
}

/// The earliest rows to train on, the latest to test on. A cut that would divide rows of one time
/// goes to the nearest time that ends there.
pub(super) fn time(config: &SplitConfig, key: Key<'_>, parts: &mut Split) -> Result<()> {
    let times = times(key)?;
    present(times.iter().map(Option::is_some), key, "time")?;
    let times: Vec<i64> = times.into_iter().flatten().collect();
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    // The row number decides among equals, which stay together anyway.
    order.sort_by_key(|row| times[*row as usize]);
    let ends: Vec<usize> = (1..order.len())
        .filter(|at| times[order[at - 1] as usize] != times[order[*at] as usize])
        .collect();
    enough(ends.len() + 1, config, key, "times")?;

    let n = parts.rows as f64;
    let nearest = |ends: &[usize], wanted: f64| {
        let distance = |end: &usize| (*end as f64 - wanted).abs();
        ends.iter()
            .copied()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
    };
    let (has_valid, has_test) = (config.valid > 0.0, config.test > 0.0);
    let test = match has_test {
        // One end must be left for the validation rows to begin at.
        true => nearest(&ends[usize::from(has_valid)..], n * (1.0 - config.test)),
        false => None,
    };
    let test = test.unwrap_or(order.len());
    let before = &ends[..ends.partition_point(|end| *end < test)];
    let valid = match has_valid {
        true => nearest(before, n * (1.0 - config.test - config.valid)),
        false => None,
    };
    let valid = valid.unwrap_or(test);
    parts.train = order[..valid].to_vec();
    parts.valid = order[valid..test].to_vec();
    parts.test = order[test..].to_vec();
    Ok(())
}

/// The part that each row names.
pub(super) fn column(key: Key<'_>, parts: &mut Split) -> Result<()> {
    let names = texts(key, "column")?;
    for (row, name) in names.iter().flatten().enumerate() {
        let part = match name.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => &mut parts.train,
            "valid" | "validation" | "val" | "dev" => &mut parts.valid,
            "test" | "testing" => &mut parts.test,
            _ => {
                let shown: String = name.chars().take(40).collect();
                let reason =
                    format!("`{shown}` is no part of a split: expected `train`, `valid` or `test`");
                return Err(Error::value((key.place)(row), key.name, reason));
            }
        };
        part.push(row as u32);
    }
    Ok(())
}

/// A stable hash of the value decides; see [`SplitBy::Hash`](crate::config::SplitBy::Hash).
pub(super) fn hash(config: &SplitConfig, key: Key<'_>, parts: &mut Split) -> Result<()> {
    let names = texts(key, "hash")?;
    for (row, name) in names.iter().flatten().enumerate() {
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let first = digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
        let at = first as f64 / 2f64.powi(64);
        let part = match at {
            at if at < config.test => &mut parts.test,
            at if at < config.test + config.valid => &mut parts.valid,
            _ => &mut parts.train,
        };
        part.push(row as u32);
    }
    Ok(())
}

/// Times as numbers in the same order: numbers, or microseconds of ISO dates. Dates without a zone
/// are taken as UTC.
pub(crate) fn times(key: Key<'_>) -> Result<Vec<Option<i64>>> {
    if key.values.data_type().is_numeric() {
        let numbers = cast(key.values, &DataType::Float64)?;
        let numbers = downcast::<Float64Array>(&numbers)?.iter();
        return Ok(numbers.map(|v| v.filter(|v| v.is_finite()).map(in_order)).collect());
    }
    let texts = as_strings(key.values)?;
    let refuse = |row: usize, text: &str| {
        let shown: String = text.chars().take(40).collect();
        let reason = format!(
            "`{shown}` is not a time: expected numbers throughout, or ISO dates such as `2024-01-31` or `2024-01-31T12:00:00Z`"
        );
        Error::value((key.place)(row), key.name, reason)
    };
    let as_number = |text: &str| number(text.trim().as_bytes());
    if texts
        .iter()
        .flatten()
        .next()
        .is_some_and(|text| as_number(text).is_some())
    {
        let time = |(row, text): (usize, Option<&str>)| {
            let Some(text) = text else { return Ok(None) };
            let number = as_number(text).ok_or_else(|| refuse(row, text))?;
            Ok(Some(in_order(number)))
        };
        return texts.iter().enumerate().map(time).collect();
    }
    let full: StringArray = texts.iter().map(|text| text.map(with_seconds)).collect();
    let full: ArrayRef = Arc::new(full);
    let found = cast(&full, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let found = downcast::<TimestampMicrosecondArray>(&found)?;
    if let Some(row) = (0..texts.len()).find(|row| texts.is_valid(*row) && found.is_null(*row)) {
        return Err(refuse(row, texts.value(row)));
    }
    Ok(found.iter().collect())
}

/// `2024-01-31 12:00` with its seconds, which Arrow does not do without.
fn with_seconds(text: &str) -> String {
    let text = text.trim();
    match text.split_at_checked(16) {
        Some((minutes, zone)) if minutes.as_bytes()[13] == b':' && !zone.starts_with(':') => {
            format!("{minutes}:00{zone}")
        }
        _ => text.to_string(),
    }
}

/// A finite number as a whole one, in the same order.
fn in_order(value: f64) -> i64 {
    // Adding 0 makes -0 and 0 one time.
    let bits = (value + 0.0).to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The values as texts, none of which may be missing.
fn texts(key: Key<'_>, rule: &str) -> Result<StringArray> {
    let texts = as_strings(key.values)?;
    present(texts.iter().map(|text| text.is_some()), key, rule)?;
    Ok(texts)
}

fn present(there: impl Iterator<Item = bool>, key: Key<'_>, rule: &str) -> Result<()> {
    let missing: Vec<usize> = there
        .enumerate()
        .filter(|(_, there)| !there)
        .map(|(row, _)| row)
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    Err(Error::Config(format!(
        "{} of {} rows have no value in column `{}`, which `split.by = \"{rule}\"` goes by (first {}): fill it in, or remove those rows",
        missing.len(),
        key.values.len(),
        key.name,
        (key.place)(*first)
    )))
}

/// Whether each part that is asked for can have one of `found` things that cannot be divided.
fn enough(found: usize, config: &SplitConfig, key: Key<'_>, what: &str) -> Result<()> {
    let parts = 1 + usize::from(config.valid > 0.0) + usize::from(config.test > 0.0);
    match found >= parts {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "column `{}` has {found} different {what}, too few for {parts} parts: set `split.valid` or `split.test` to 0, or divide the rows by something else",
            key.name
        ))),
    }
}
