//! Rows, texts and images that are in two parts.

use std::collections::HashMap;
use std::sync::Arc;

use super::parts::{Parts, of_part};
use super::{Finding, FindingKind, Severity};
use crate::arrow::array::{ArrayRef, StringArray};
use crate::contract::{ColumnKind, Contract};
use crate::frame::as_strings;
use crate::profile::cells::{Cells, row_hashes};
use crate::profile::share;
use crate::{Frame, Result};

/// A row is a copy, not a coincidence, when fewer than this many coincidences would be expected of
/// as many rows as are trained on, if the columns had nothing to do with each other. Columns have,
/// so real coincidences come more often: of the census of 1994, 18 % of the official test rows
/// repeat a training row, but only 0.3 % are copies by this rule.
const COINCIDENCES: f64 = 0.1;
/// More copies than this share of a part end the run: a model that learns rows by heart gains as
/// much.
const COPIES: f64 = 0.01;
/// So do not one or two, which small data sets such as iris have.
const FEW: usize = 3;
/// Images repeat byte for byte by copying only.
const IMAGES: f64 = 0.01;
/// People do write the same twice: of SMS Spam, 11 % of the test messages repeat a training message.
/// One in five is more than figures can bear.
const TEXTS: f64 = 0.2;

/// The rows of a part that are in an earlier one too.
struct Overlap {
    /// The part's place.
    part: usize,
    rows: Vec<u32>,
    /// For the first of them: the earlier part's place and the row there.
    first: (usize, u32),
}

/// Everything that repeats between parts.
pub(super) fn repeats(parts: &Parts<'_>, contract: &Contract) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let of_kind = |kind| contract.features().filter(move |rule| rule.kind == kind);
    let plain = of_kind(ColumnKind::Numeric)
        .chain(of_kind(ColumnKind::Category))
        .chain(of_kind(ColumnKind::Time))
        .count();
    if plain > 0 {
        found.extend(rows(parts, contract)?);
    }
    for rule in of_kind(ColumnKind::Text) {
        let overlaps = overlaps(parts, |frame| {
            let texts = as_strings(&frame.column(&rule.name)?)?;
            let lower = texts.iter().map(|text| {
                let text = text.map(|text| text.trim().to_lowercase());
                text.filter(|text| !text.is_empty())
            });
            let lower: ArrayRef = Arc::new(lower.collect::<StringArray>());
            hashes(&lower)
        })?;
        let what = format!("have a `{}` of an earlier part, but for case and blanks", rule.name);
        let fix = "remove such rows from one part, or divide by groups of equal texts";
        let rule = (FindingKind::RepeatedTexts, rule.name.as_str());
        found.extend(finding(parts, &overlaps, rule, &what, fix, TEXTS));
    }
    for rule in of_kind(ColumnKind::Image) {
        let overlaps = overlaps(parts, |frame| hashes(&frame.column(&rule.name)?))?;
        let what = format!("have an `{}` of an earlier part, byte for byte", rule.name);
        let fix = "remove the copies, with `duplicates = \"drop\"` in `[data]` where they are in one source and of one class";
        let rule = (FindingKind::RepeatedImages, rule.name.as_str());
        found.extend(finding(parts, &overlaps, rule, &what, fix, IMAGES));
    }
    Ok(found)
}

/// Rows with the same features. Rows of few, coarse columns repeat by themselves: only those that
/// can be no coincidence end the run.
fn rows(parts: &Parts<'_>, contract: &Contract) -> Result<Option<Finding>> {
    let names: Vec<&str> = contract.features().map(|rule| rule.name.as_str()).collect();
    let overlaps = overlaps(parts, |frame| {
        let mut hashes = Vec::with_capacity(frame.len());
        for batch in frame.batches()? {
            let batch = batch?;
            let features = names.iter().filter_map(|name| batch.column_by_name(name));
            hashes.extend(
                row_hashes(&features.cloned().collect::<Vec<_>>())?
                    .into_iter()
                    .map(Some),
            );
        }
        Ok(hashes)
    })?;
    if overlaps.is_empty() {
        return Ok(None);
    }
    let copies = copies(parts, &overlaps, &names)?;
    let grave = std::iter::zip(&overlaps, &copies).any(|(overlap, copies)| {
        *copies >= FEW && share(*copies, parts.all[overlap.part].rows.len()) > COPIES
    });
    let what = match copies.iter().sum::<usize>() {
        0 => {
            "have the features of a row of an earlier part, as happens by itself where columns are coarse"
                .into()
        }
        copies => format!(
            "have the features of a row of an earlier part, {copies} of them beyond coincidence"
        ),
    };
    let fix = "leave out copies with `duplicates = \"drop\"` in `[data]`, or keep them together with `split.by = \"group\"`";
    let found = finding(parts, &overlaps, (FindingKind::RepeatedRows, ""), &what, fix, 1.0);
    Ok(found.map(|finding| Finding {
        severity: if grave {
            Severity::Stop
        } else {
            Severity::Warn
        },
        column: None,
        ..finding
    }))
}

/// How many rows of each overlap are copies, see [`COINCIDENCES`]. A column at a time, and of each
/// only the values that such rows have.
fn copies(parts: &Parts<'_>, overlaps: &[Overlap], names: &[&str]) -> Result<Vec<usize>> {
    let train = &parts.train().rows;
    let n = train.len() as f64;
    let mut expected: Vec<Vec<f64>> = overlaps
        .iter()
        .map(|overlap| vec![n.ln(); overlap.rows.len()])
        .collect();
    for name in names {
        let hashes = parts.look(|frame| hashes(&frame.column(name)?))?;
        let wanted = overlaps
            .iter()
            .flat_map(|overlap| overlap.rows.iter().map(|row| hashes[overlap.part][*row as usize]));
        let mut counts: HashMap<Option<u64>, f64> = wanted.map(|hash| (hash, 0.0)).collect();
        for row in train {
            if let Some(count) = counts.get_mut(&hashes[0][*row as usize]) {
                *count += 1.0;
            }
        }
        for (overlap, expected) in std::iter::zip(overlaps, &mut expected) {
            for (row, expected) in std::iter::zip(&overlap.rows, expected) {
                let count = counts[&hashes[overlap.part][*row as usize]];
                *expected += (count.max(1.0) / n).ln();
            }
        }
    }
    let few = (COINCIDENCES / n).ln();
    let copies = |expected: &Vec<f64>| expected.iter().filter(|e| **e < few).count();
    Ok(expected.iter().map(copies).collect())
}

fn hashes(values: &ArrayRef) -> Result<Vec<Option<u64>>> {
    let cells = Cells::of(values)?;
    Ok((0..cells.len()).map(|row| cells.hash(row)).collect())
}

/// The rows of each part whose hash an earlier part has.
fn overlaps(
    parts: &Parts<'_>,
    hash: impl Fn(&Frame) -> Result<Vec<Option<u64>>>,
) -> Result<Vec<Overlap>> {
    let hashes = parts.look(hash)?;
    let mut seen: HashMap<u64, (usize, u32)> = HashMap::new();
    let mut found = Vec::new();
    for (at, part) in parts.all.iter().enumerate() {
        let hash = |row: &u32| hashes[at][*row as usize];
        let is_seen = |row: &&u32| hash(row).is_some_and(|hash| seen.contains_key(&hash));
        let rows: Vec<u32> = part.rows.iter().filter(is_seen).copied().collect();
        if let Some(first) = rows.first().and_then(hash).map(|hash| seen[&hash]) {
            found.push(Overlap {
                part: at,
                rows,
                first,
            });
        }
        for row in &part.rows {
            if let Some(hash) = hash(row) {
                seen.entry(hash).or_insert((at, *row));
            }
        }
    }
    Ok(found)
}

fn finding(
    parts: &Parts<'_>,
    overlaps: &[Overlap],
    (kind, column): (FindingKind, &str),
    what: &str,
    fix: &str,
    most: f64,
) -> Option<Finding> {
    let first = overlaps.last()?;
    let counts: Vec<String> = overlaps
        .iter()
        .map(|o| of_part(o.rows.len(), &parts.all[o.part]))
        .collect();
    let grave = overlaps
        .iter()
        .any(|o| share(o.rows.len(), parts.all[o.part].rows.len()) > most);
    Some(Finding {
        kind,
        severity: if grave {
            Severity::Stop
        } else {
            Severity::Warn
        },
        column: Some(column.to_string()),
        message: format!(
            "{} {what} (such as {}, a repeat of {}), so that the figures reward memory there",
            counts.join(" and "),
            parts.all[first.part].place(first.rows[0]),
            parts.all[first.first.0].place(first.first.1)
        ),
        fix: fix.into(),
    })
}
