use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Breach, ColumnKind, ColumnRule, Role};
use crate::arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use crate::config::ColumnConfig;
use crate::error::list;
use crate::frame::downcast;
use crate::{Error, Result, nearest};

/// What is said of a column's values in `[columns.NAME]`, and holds for every row: at training, and
/// when predictions are asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Numbers: the smallest and the largest that is valid. A row with another is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Categories: the names that are valid. A row with another is bad.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Whether a row must have a value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

impl Limits {
    pub(super) fn of(config: &ColumnConfig) -> Self {
        Self {
            range: config.range,
            categories: config.categories.clone(),
            required: config.required,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the limits suit what the column holds.
    pub(super) fn check(&self, rule: &ColumnRule) -> Result<()> {
        let wrong = |what: &str| Err(Error::Config(format!("column `{}`: {what}", rule.name)));
        match self.range {
            Some(_) if rule.kind != ColumnKind::Numeric => {
                wrong("`range` is for numbers: remove it, or say `kind = \"numeric\"`")
            }
            Some([low, high]) if low.is_nan() || high.is_nan() || low > high => {
                wrong(&format!("`range` is [{low}, {high}]: expected the smaller number first"))
            }
            _ if !self.categories.is_empty() && rule.kind != ColumnKind::Category => {
                wrong("`categories` is for categories: remove it, or say `kind = \"category\"`")
            }
            _ => Ok(()),
        }
    }

    /// Makes null what is not valid, and lists it.
    pub(super) fn enforce(
        &self,
        rule: &ColumnRule,
        values: ArrayRef,
        breaches: &mut Vec<Breach>,
    ) -> Result<ArrayRef> {
        let mut breach = |row, value: Option<String>, reason| {
            // Without a value that is required, the rest of the row is of no use.
            let value_is_all = value.is_none();
            breaches.push(Breach {
                row,
                column: rule.name.clone(),
                value,
                reason,
                spoils_row: value_is_all || rule.role != Role::Feature,
            });
        };
        if self.required {
            (0..values.len()).filter(|row| values.is_null(*row)).for_each(|row| {
                breach(row, None, "the value is missing, but `required`: fill it in".into());
            });
        }
        if let Some([low, high]) = self.range {
            let numbers = downcast::<Float64Array>(&values)?.iter().enumerate();
            let kept = numbers.map(|(row, value)| {
                let inside = value.filter(|v| (low..=high).contains(v));
                if let (Some(value), None) = (value, inside) {
                    let reason = format!("{value} is not in the `range` from {low} to {high}");
                    breach(row, Some(value.to_string()), reason);
                }
                inside
            });
            return Ok(Arc::new(kept.collect::<Float64Array>()));
        }
        if !self.categories.is_empty() {
            let names = downcast::<StringArray>(&values)?.iter().enumerate();
            let kept = names.map(|(row, name)| {
                let valid = name.filter(|name| self.categories.iter().any(|c| c == name));
                if let (Some(name), None) = (name, valid) {
                    let near = nearest(name, &self.categories)
                        .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
                    let reason = format!(
                        "`{name}` is not one of the `categories`{near}: expected {}",
                        list(&self.categories)
                    );
                    breach(row, Some(name.into()), reason);
                }
                valid
            });
            return Ok(Arc::new(kept.collect::<StringArray>()));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use crate::source::{CsvSource, Input};
    use crate::{BadPolicy, ColumnConfig, Contract, DataConfig, Frame};

    #[test]
    fn what_is_said_of_values_is_enforced_and_travels_with_the_contract() {
        let text = "n,c,y\n1,a,0\n2,b,1\n99,a,0\n3,z,1\n,a,0\n";
        let source =
            CsvSource::open(Input::from_bytes("t.csv", text.as_bytes()), Default::default());
        let frame = Frame::read_all(Box::new(source.unwrap())).unwrap();
        let number = ColumnConfig {
            range: Some([0.0, 10.0]),
            required: true,
            ..Default::default()
        };
        let category = ColumnConfig {
            categories: vec!["a".into(), "b".into()],
            ..Default::default()
        };
        let columns = [("n".to_string(), number), ("c".to_string(), category)];
        let data = DataConfig {
            target: Some("y".into()),
            ..Default::default()
        };
        let contract = Contract::infer(&frame, &data, &columns.into()).unwrap();
        let contract: Contract =
            serde_json::from_str(&serde_json::to_string(&contract).unwrap()).unwrap();
        let policy = BadPolicy {
            max_bad: 1.0,
            ..Default::default()
        };
        let kept = frame.settle(&contract, &policy).unwrap();
        let reasons: Vec<&str> = kept.bad().iter().map(|bad| bad.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "99 is not in the `range` from 0 to 10",
                "`z` is not one of the `categories`: expected `a`, `b`",
                "the value is missing, but `required`: fill it in",
            ]
        );
        assert_eq!(kept.len(), 2);
    }
}
