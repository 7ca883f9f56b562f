//! Values of a column as the contract has them, and what is wrong with those that are not.

use crate::arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{DataType, Field, TimeUnit};

use super::{Breach, ColumnKind, ColumnRule};
use crate::error::list;
use crate::frame::{as_strings, downcast};
use crate::{Error, Result, dates, nearest};

/// A field of text as a number: decimal or exponent notation, finite.
pub(crate) fn number(field: &[u8]) -> Option<f64> {
    // `parse` also takes "inf", "nan" and "infinity", which are not numbers to learn from.
    if !matches!(field.first()?, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return None;
    }
    let value: f64 = fast_float2::parse(field).ok()?;
    value.is_finite().then_some(value)
}

/// The reason to give for a text in a numeric column.
pub(crate) fn not_a_number(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("`{shown}` is not a number: expected a finite number, or nothing for a missing value")
}

/// A column of some rows by name: its place and its field.
pub(crate) fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<(usize, &'a Field)> {
    let schema = rows.schema_ref();
    schema.column_with_name(name).ok_or_else(|| Error::MissingColumn {
        column: name.to_string(),
        place: "the rows".into(),
        valid: schema.fields().iter().map(|f| f.name().clone()).collect(),
    })
}

/// Names as the contract writes them: where every category is a number, `1.0`, `+1` and `1` are
/// one name, since a column of numbers was read when it was inferred.
pub(super) fn names(texts: StringArray, categories: &[String]) -> StringArray {
    let canonical = |text: &str| number(text.trim().as_bytes()).map(|value| value.to_string());
    let numeric = !categories.is_empty()
        && categories.iter().all(|name| canonical(name).as_ref() == Some(name));
    match numeric {
        false => texts,
        true => texts
            .iter()
            .map(|text| text.map(|text| canonical(text).unwrap_or_else(|| text.to_string())))
            .collect(),
    }
}

pub(super) fn numbers(
    values: &ArrayRef,
    column: &str,
    breaches: &mut Vec<Breach>,
) -> Result<Float64Array> {
    let array = match values.data_type() {
        t if t.is_numeric() || *t == DataType::Boolean || *t == DataType::Null => {
            let array = cast(values, &DataType::Float64)?;
            downcast::<Float64Array>(&array)?.clone()
        }
        _ => {
            let texts = as_strings(values)?;
            let mut parsed = Vec::with_capacity(texts.len());
            for (i, text) in texts.iter().enumerate() {
                let text = text.map(str::trim).filter(|text| !text.is_empty());
                let value = text.and_then(|text| number(text.as_bytes()));
                if let (Some(text), None) = (text, value) {
                    breaches.push(Breach::feature(i, column, text));
                }
                parsed.push(value);
            }
            Float64Array::from(parsed)
        }
    };
    // NaN is how many producers write "missing"; nothing can be learned from an infinity.
    if array.iter().flatten().all(f64::is_finite) {
        return Ok(array);
    }
    for (row, value) in array.iter().enumerate() {
        if let Some(value) = value.filter(|v| v.is_infinite()) {
            breaches.push(Breach::feature(row, column, &value.to_string()));
        }
    }
    Ok(array.iter().map(|v| v.filter(|v| v.is_finite())).collect())
}

/// Times as seconds since 1970-01-01 UTC.
pub(super) fn times(
    values: &ArrayRef,
    column: &str,
    breaches: &mut Vec<Breach>,
) -> Result<Float64Array> {
    let ticks = |per_second: f64| -> Result<Float64Array> {
        let ticks = cast(&cast(values, &DataType::Int64)?, &DataType::Float64)?;
        Ok(downcast::<Float64Array>(&ticks)?.unary(|ticks| ticks / per_second))
    };
    let mut refuse = |row: usize, value: &str| {
        let mut breach = Breach::feature(row, column, value);
        let shown: String = value.chars().take(40).collect();
        breach.reason = format!(
            "`{shown}` is not a time: expected ISO 8601 such as `2024-01-31` or `2024-01-31T12:00:00Z`, seconds since 1970, or nothing for a missing value"
        );
        breaches.push(breach);
    };
    let found = match values.data_type() {
        DataType::Date32 => {
            let days = cast(&cast(values, &DataType::Int32)?, &DataType::Float64)?;
            downcast::<Float64Array>(&days)?.unary(|days| days * 86_400.0)
        }
        DataType::Date64 => ticks(1e3)?,
        DataType::Timestamp(unit, _) => ticks(match unit {
            TimeUnit::Second => 1.0,
            TimeUnit::Millisecond => 1e3,
            TimeUnit::Microsecond => 1e6,
            TimeUnit::Nanosecond => 1e9,
        })?,
        t if t.is_numeric() || *t == DataType::Null => {
            let numbers = cast(values, &DataType::Float64)?;
            downcast::<Float64Array>(&numbers)?.clone()
        }
        _ => {
            let texts = as_strings(values)?;
            let mut parsed = Vec::with_capacity(texts.len());
            for (row, text) in texts.iter().enumerate() {
                let text = text.map(str::trim).filter(|text| !text.is_empty());
                let time =
                    text.and_then(|text| dates::seconds(text).or_else(|| number(text.as_bytes())));
                if let (Some(text), None) = (text, time) {
                    refuse(row, text);
                }
                parsed.push(time);
            }
            Float64Array::from(parsed)
        }
    };
    if found.iter().flatten().all(dates::is_time) {
        return Ok(found);
    }
    let kept = found.iter().enumerate().map(|(row, time)| {
        let time = time.filter(|time| !time.is_nan())?;
        if !dates::is_time(time) {
            refuse(row, &time.to_string());
        }
        Some(time).filter(|time| dates::is_time(*time))
    });
    Ok(kept.collect())
}

/// A breach for each value that is not there and cannot be done without.
pub(super) fn missing<'a>(
    rule: &'a ColumnRule,
    values: &'a ArrayRef,
    reason: &'a str,
) -> impl Iterator<Item = Breach> {
    let rows = match values.null_count() {
        0 => 0..0,
        _ => 0..values.len(),
    };
    rows.filter(|row| values.is_null(*row)).map(move |row| Breach {
        row,
        column: rule.name.clone(),
        value: None,
        reason: reason.into(),
        spoils_row: true,
    })
}

pub(super) fn check_target(
    rule: &ColumnRule,
    values: &ArrayRef,
    breaches: &mut Vec<Breach>,
) -> Result<()> {
    breaches.extend(missing(rule, values, "the target is missing: remove the row or fill it in"));
    if rule.kind != ColumnKind::Category {
        return Ok(());
    }
    for (row, class) in downcast::<StringArray>(values)?.iter().enumerate() {
        let Some(class) = class else { continue };
        let find = |known: &String| known.as_str().cmp(class);
        if rule.categories.binary_search_by(find).is_err() {
            let near = nearest(class, &rule.categories)
                .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            let reason = format!(
                "the class `{class}` is unknown{near}: the model knows {}",
                list(&rule.categories)
            );
            breaches.push(Breach {
                row,
                column: rule.name.clone(),
                value: Some(class.into()),
                reason,
                spoils_row: true,
            });
        }
    }
    Ok(())
}

pub(super) fn check_weight(
    rule: &ColumnRule,
    values: &ArrayRef,
    breaches: &mut Vec<Breach>,
) -> Result<()> {
    let reason = "the weight of the row is missing: fill it in or remove the row";
    breaches.extend(missing(rule, values, reason));
    for (row, weight) in downcast::<Float64Array>(values)?.iter().enumerate() {
        if let Some(weight) = weight.filter(|weight| *weight < 0.0) {
            breaches.push(Breach {
                row,
                column: rule.name.clone(),
                value: Some(weight.to_string()),
                reason: format!("the weight of the row is {weight}: expected 0 or more"),
                spoils_row: true,
            });
        }
    }
    Ok(())
}
