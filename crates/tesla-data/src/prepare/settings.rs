use crate::config::{ColumnConfig, Constant, Impute};
use crate::contract::{ColumnKind, ColumnRule};
use crate::{Error, Result};

/// Refuses settings that do not apply to the kind of a feature column.
pub(super) fn check(rule: &ColumnRule, config: &ColumnConfig) -> Result<()> {
    let refuse = |what: &str, valid: &str| {
        Err(Error::Config(format!(
            "column `{}`: {what} does not apply to its kind: expected {valid}",
            rule.name
        )))
    };
    let is_number = rule.kind == ColumnKind::Numeric;
    let is_category = rule.kind == ColumnKind::Category;
    let is_time = rule.kind == ColumnKind::Time;
    let numbers = [
        ("indicator", config.indicator && !is_time),
        ("clip", config.clip.is_some()),
        ("remove_outliers", config.remove_outliers.is_some()),
        ("scale", config.scale.is_some()),
        ("bins", config.bins.is_some()),
        ("degree", config.degree.is_some()),
    ];
    let categories = [
        ("encode", config.encode.is_some()),
        ("min_count", config.min_count.is_some()),
        ("hash_size", config.hash_size.is_some()),
    ];
    let times = [("parts", !config.parts.is_empty()), ("cyclic", config.cyclic.is_some())];
    if let Some((key, _)) = times.iter().find(|(_, said)| *said && !is_time) {
        return refuse(&format!("`{key}`"), "a date or time, which `kind = \"time\"` says");
    }
    if let Some((key, _)) = numbers.iter().find(|(_, said)| *said && !is_number) {
        return refuse(&format!("`{key}`"), "a number");
    }
    if let Some((key, _)) = categories.iter().find(|(_, said)| *said && !is_category) {
        return refuse(&format!("`{key}`"), "a category");
    }
    match (&config.impute, rule.kind) {
        (None, _) => Ok(()),
        (
            Some(
                Impute::Mean
                | Impute::Median
                | Impute::Mode
                | Impute::ForwardFill
                | Impute::Constant(Constant::Number(_)),
            ),
            ColumnKind::Numeric,
        ) => Ok(()),
        (Some(_), ColumnKind::Numeric) => refuse(
            "this `impute`",
            "`mean`, `median`, `mode`, `forward_fill` or `{ constant = 0 }`; `indicator = true` tells missing numbers apart",
        ),
        (Some(Impute::Mean | Impute::Median), ColumnKind::Category) => {
            refuse("this `impute`", "`missing`, `mode`, `forward_fill` or `{ constant = \"…\" }`")
        }
        (Some(_), ColumnKind::Category) => Ok(()),
        (Some(_), _) => refuse("`impute`", "a number or a category"),
    }
}
