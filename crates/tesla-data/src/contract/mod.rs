//! The contract: what every column is, inferred once, stored with the model and enforced on every
//! row, at training and at prediction alike.

mod infer;
mod limits;
mod values;

pub(crate) use infer::survey;
pub(crate) use values::{column, not_a_number, number};

use std::sync::Arc;

use crate::arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use limits::Limits;

use crate::error::list;
use crate::frame::{Frame, as_strings, downcast};
use crate::source::{Source, rows_to_batch, value_of};
use crate::table::MEMORY;
use crate::{BadRow, Error, Place, Result, nearest};
use values::{check_target, check_weight, missing, names, numbers, times};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A number.
    #[serde(alias = "number")]
    Numeric,
    /// One of a set of names.
    Category,
    /// Free text, or a name that nearly every row has for itself.
    Text,
    /// A picture.
    Image,
    /// A date or a time: ISO 8601 in files of text, or seconds since 1970-01-01 UTC.
    Time,
}

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of a set of classes.
    Classification,
    /// A number.
    Regression,
}

/// What a column is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The model sees it.
    Feature,
    /// The model predicts it.
    Target,
    /// The model does not see it, but every row must have it: it says which rows follow each other.
    Key,
    /// It says what each row counts for while training; the model does not see it.
    Weight,
    /// The model never sees it.
    Unused,
}

/// What the contract says of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnRule {
    /// The column's name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// What it is used for.
    pub role: Role,
    /// Whether values were missing when the contract was inferred.
    pub nullable: bool,
    /// The smallest and largest number seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// The names seen, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// What was said of its values, and is enforced.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Why the column is not used, when that was inferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What every column of a data set is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// The task the target asks for.
    pub task: Task,
    /// One rule per column, in the order of the source.
    pub columns: Vec<ColumnRule>,
}

/// A value that breaks the contract.
#[derive(Debug)]
pub(crate) struct Breach {
    pub(crate) row: usize,
    pub(crate) column: String,
    pub(crate) value: Option<String>,
    pub(crate) reason: String,
    /// Whether the row is of no use without the value.
    pub(crate) spoils_row: bool,
}

impl Breach {
    fn feature(row: usize, column: &str, value: &str) -> Self {
        Self {
            row,
            column: column.into(),
            value: Some(value.chars().take(BadRow::SHOWN).collect()),
            reason: not_a_number(value),
            spoils_row: false,
        }
    }
}

/// Whether the target column must be among the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Features and target: to train and to evaluate.
    Target,
    /// Features only: to predict.
    Features,
}

impl Contract {
    /// The columns the model sees.
    pub fn features(&self) -> impl Iterator<Item = &ColumnRule> {
        self.columns.iter().filter(|c| c.role == Role::Feature)
    }

    /// The columns that a row must have to be predicted: those the model sees, and the keys.
    pub fn inputs(&self) -> impl Iterator<Item = &ColumnRule> {
        self.needed(Need::Features)
    }

    /// The column the model predicts.
    pub fn target(&self) -> Option<&ColumnRule> {
        self.columns.iter().find(|c| c.role == Role::Target)
    }

    /// The columns that inference set aside, with the reason.
    pub fn notes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns
            .iter()
            .filter_map(|c| Some((c.name.as_str(), c.note.as_deref()?)))
    }

    /// The Arrow schema of the columns that are needed, as sources should deliver them.
    pub fn schema(&self, need: Need) -> SchemaRef {
        let fields: Vec<Field> = self
            .needed(need)
            // New rows may be without what weighs them.
            .filter(|rule| rule.role != Role::Weight)
            .map(|rule| {
                let kind = match rule.kind {
                    ColumnKind::Numeric => DataType::Float64,
                    ColumnKind::Category | ColumnKind::Text | ColumnKind::Time => DataType::Utf8,
                    ColumnKind::Image => DataType::LargeBinary,
                };
                Field::new(&rule.name, kind, true)
            })
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// Reads the needed columns of a source, with their types.
    ///
    /// # Errors
    /// When a column is missing or a value is not of its column's kind.
    pub fn read(&self, source: Box<dyn Source>, need: Need) -> Result<Frame> {
        self.read_with(source, need, &[])
    }

    /// Like [`Contract::read`], with other columns of the source, as they are there.
    ///
    /// # Errors
    /// As [`Contract::read`].
    pub fn read_with(
        &self,
        source: Box<dyn Source>,
        need: Need,
        others: &[String],
    ) -> Result<Frame> {
        let mut schema = self.schema(need);
        let missing = |name: &&String| schema.column_with_name(name).is_none();
        let others: Vec<&String> = others.iter().filter(missing).collect();
        if !others.is_empty() {
            let found = source.schema()?;
            let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
            for name in others {
                let (_, field) =
                    found.column_with_name(name).ok_or_else(|| Error::MissingColumn {
                        column: name.clone(),
                        place: format!("`{}`", source.name()),
                        valid: found.fields().iter().map(|f| f.name().clone()).collect(),
                    })?;
                if fields.iter().all(|known| known.name() != name) {
                    fields.push(Arc::new(field.clone()));
                }
            }
            schema = Arc::new(Schema::new(fields));
        }
        if self.features().any(|c| c.kind == ColumnKind::Image) {
            // Only the source knows how it writes its pixels.
            let found = source.schema()?;
            let own = |field: &Arc<Field>| match found.field_with_name(field.name()) {
                Ok(found) => Arc::new(found.clone()),
                Err(_) => field.clone(),
            };
            schema = Arc::new(Schema::new(schema.fields().iter().map(own).collect::<Vec<_>>()));
        }
        Frame::read(source.into(), &schema, MEMORY, crate::OnBad::Quarantine)
    }

    /// JSON objects as rows with the contract's inputs. Every one must have a key: one that is
    /// not there may be misspelt, and must not pass for a missing value.
    ///
    /// # Errors
    /// When a key is absent, or a value is not of its column's kind; the message names the row,
    /// counted from 1.
    pub fn from_json(&self, rows: &[Map<String, Value>]) -> Result<RecordBatch> {
        let place = |row: usize| format!("row {}", row + 1);
        for (i, row) in rows.iter().enumerate() {
            if let Some(absent) = self.inputs().find(|c| value_of(row, &c.name).is_none()) {
                let keys: Vec<String> = row.keys().cloned().collect();
                let near = nearest(&absent.name, &keys)
                    .map_or(String::new(), |near| format!(" (is `{near}` it?)"));
                return Err(Error::Row {
                    place: place(i),
                    reason: format!(
                        "no key `{}`{near}: expected one for each of {}, `null` where there is no value",
                        absent.name,
                        list(&self.inputs().map(|c| c.name.clone()).collect::<Vec<_>>())
                    ),
                });
            }
        }
        rows_to_batch(rows, &self.schema(Need::Features), &place)
    }

    /// Brings rows into the contract's columns and types: any Arrow layout of a number or a text
    /// is accepted, columns may stand in any order, others are left out. `place` names a row for
    /// a message.
    ///
    /// # Errors
    /// When a column is missing, a value is not of its column's kind, or a class is unknown.
    pub fn conform(
        &self,
        rows: &RecordBatch,
        need: Need,
        place: &dyn Fn(usize) -> String,
    ) -> Result<RecordBatch> {
        let (rows, breaches) = self.examine(rows, need)?;
        match breaches.into_iter().min_by_key(|b| b.row) {
            Some(b) => Err(Error::value(place(b.row), b.column, b.reason)),
            None => Ok(rows),
        }
    }

    /// The rows that break the contract, ascending, each with its first breach; `number` is the place
    /// of the row among `rows`, and where it stands is left open.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn bad_rows(&self, rows: &RecordBatch, need: Need) -> Result<Vec<BadRow>> {
        let (_, mut breaches) = self.examine(rows, need)?;
        breaches.sort_by_key(|breach| breach.row);
        breaches.dedup_by_key(|breach| breach.row);
        let bad = breaches.into_iter().map(|breach| BadRow {
            place: Place::default(),
            number: breach.row,
            column: Some(breach.column),
            value: breach.value,
            reason: breach.reason,
        });
        Ok(bad.collect())
    }

    /// Like [`Contract::conform`], but values that break the contract become null and are listed,
    /// column by column.
    pub(crate) fn examine(
        &self,
        rows: &RecordBatch,
        need: Need,
    ) -> Result<(RecordBatch, Vec<Breach>)> {
        let mut breaches = Vec::new();
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        let given = rows.schema_ref().fields();
        let mut next = 0;
        for rule in self.needed(need) {
            // Nearly always the columns stand in the contract's order; a search for each of many
            // would take the square of their number.
            if rule.role == Role::Weight && rows.schema_ref().column_with_name(&rule.name).is_none()
            {
                continue;
            }
            let (at, field) = match given.get(next) {
                Some(field) if *field.name() == rule.name => (next, field.as_ref()),
                _ => column(rows, &rule.name)?,
            };
            next = at + 1;
            let values = rows.column(at);
            let column: ArrayRef = match rule.kind {
                ColumnKind::Numeric => Arc::new(numbers(values, &rule.name, &mut breaches)?),
                ColumnKind::Category => Arc::new(names(as_strings(values)?, &rule.categories)),
                ColumnKind::Text => Arc::new(as_strings(values)?),
                ColumnKind::Image => cast(values, &DataType::LargeBinary)?,
                ColumnKind::Time => Arc::new(times(values, &rule.name, &mut breaches)?),
            };
            let column = match rule.limits.is_none() {
                true => column,
                false => rule.limits.enforce(rule, column, &mut breaches)?,
            };
            if rule.role == Role::Target {
                check_target(rule, &column, &mut breaches)?;
            }
            if rule.role == Role::Weight {
                check_weight(rule, &column, &mut breaches)?;
            }
            if rule.role == Role::Key {
                let reason = "the value is missing: windows of rows are built by this column, so fill it in or remove the row";
                breaches.extend(missing(rule, &column, reason));
            }
            fields.push(
                Field::new(&rule.name, column.data_type().clone(), true)
                    .with_metadata(field.metadata().clone()),
            );
            columns.push(column);
        }
        let options =
            crate::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok((rows, breaches))
    }

    /// Each row's class as its place among the target's categories; `None` when the target is a
    /// number. The rows must conform.
    ///
    /// # Errors
    /// When the target column is missing.
    pub fn class_ids(&self, rows: &RecordBatch) -> Result<Option<Vec<u32>>> {
        let Some(target) = self.target().filter(|t| t.kind == ColumnKind::Category) else {
            return Ok(None);
        };
        let (at, _) = column(rows, &target.name)?;
        let labels = downcast::<StringArray>(rows.column(at))?;
        let id = |label: &str| {
            target
                .categories
                .partition_point(|category| category.as_str() < label) as u32
        };
        Ok(Some(labels.iter().map(|l| id(l.unwrap_or_default())).collect()))
    }

    /// What each row counts for; `None` when neither contract nor rows have such a column. The rows must
    /// conform.
    ///
    /// # Errors
    /// When the column is not what the contract says.
    pub fn weights(&self, rows: &RecordBatch) -> Result<Option<Vec<f64>>> {
        let Some(rule) = self.columns.iter().find(|c| c.role == Role::Weight) else {
            return Ok(None);
        };
        let Some(weights) = rows.column_by_name(&rule.name) else {
            return Ok(None);
        };
        Ok(Some(downcast::<Float64Array>(weights)?.values().to_vec()))
    }

    /// Values of a column as the contract writes its names, in any Arrow layout.
    ///
    /// # Errors
    /// When the values have no text.
    pub fn names(&self, column: &str, values: &ArrayRef) -> Result<StringArray> {
        let rule = self.columns.iter().find(|rule| rule.name == column);
        let categories = rule.map_or(&[][..], |rule| &rule.categories);
        Ok(names(as_strings(values)?, categories))
    }

    fn needed(&self, need: Need) -> impl Iterator<Item = &ColumnRule> {
        self.columns.iter().filter(move |c| match c.role {
            Role::Feature | Role::Key => true,
            Role::Target | Role::Weight => need == Need::Target,
            Role::Unused => false,
        })
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CsvConfig, DataConfig};
    use crate::source::{CsvSource, Input};

    fn frame(text: &str) -> Frame {
        let input = Input::from_bytes("t.csv", text.as_bytes());
        let source = CsvSource::open(input, CsvConfig::default()).unwrap();
        Frame::read_all(Box::new(source)).unwrap()
    }

    fn infer(text: &str, target: &str) -> Result<Contract> {
        let data = DataConfig {
            target: Some(target.into()),
            ..Default::default()
        };
        Contract::infer(&frame(text), &data, &Default::default())
    }

    #[test]
    fn infers_kinds_and_task() {
        let contract = infer("age,city,y\n1,a,no\n2,b,yes\n,a,no\n", "y").unwrap();
        assert_eq!(contract.task, Task::Classification);
        assert_eq!(contract.columns[0].kind, ColumnKind::Numeric);
        assert!(contract.columns[0].nullable);
        assert_eq!(contract.columns[0].range, Some([1.0, 2.0]));
        assert_eq!(contract.columns[1].categories, ["a", "b"]);
        assert_eq!(contract.target().unwrap().categories, ["no", "yes"]);
        assert_eq!(infer("x,y\n1,1.5\n2,2\n", "y").unwrap().task, Task::Regression);
    }

    #[test]
    fn a_column_of_iso_dates_is_a_time_and_conforms_to_seconds() {
        let text = "when,mixed,code,y\n2024-01-31,2024-01-31,20240131,1.5\n,soon,20240201,2\n2024-02-01T06:00Z,2024-02-01,20240202,3\n";
        let contract = infer(text, "y").unwrap();
        let kinds: Vec<ColumnKind> = contract.columns.iter().map(|rule| rule.kind).collect();
        let (time, number) = (ColumnKind::Time, ColumnKind::Numeric);
        assert_eq!(kinds, [time, ColumnKind::Category, number, number]);
        let place = |row: usize| format!("row {}", row + 1);
        let seconds = |rows: &RecordBatch| {
            let rows = contract.conform(rows, Need::Target, &place)?;
            let again = contract.conform(&rows, Need::Target, &place)?;
            assert_eq!(rows, again);
            Ok::<_, Error>(downcast::<Float64Array>(rows.column(0))?.iter().collect::<Vec<_>>())
        };
        let rows = frame(text).to_batch().unwrap();
        let expected = [Some(1_706_659_200.0), None, Some(1_706_767_200.0)];
        assert_eq!(seconds(&rows).unwrap(), expected);
        // The same times in Arrow's own types, and as seconds.
        let with = |values: ArrayRef| {
            let mut columns = rows.columns().to_vec();
            columns[0] = values;
            let names = contract.columns.iter().map(|rule| rule.name.clone());
            RecordBatch::try_from_iter(std::iter::zip(names, columns)).unwrap()
        };
        let millis: ArrayRef = Arc::new(crate::arrow::array::TimestampMillisecondArray::from(
            expected.map(|s| s.map(|s| s as i64 * 1000)).to_vec(),
        ));
        assert_eq!(seconds(&with(millis.clone())).unwrap(), expected);
        let zoned = crate::arrow::array::TimestampMillisecondArray::from(
            expected.map(|s| s.map(|s| s as i64 * 1000)).to_vec(),
        )
        .with_timezone("+02:00");
        assert_eq!(seconds(&with(Arc::new(zoned))).unwrap(), expected);
        let days = cast(&millis, &DataType::Date32).unwrap();
        let midnight = [expected[0], None, Some(1_706_745_600.0)];
        assert_eq!(seconds(&with(days)).unwrap(), midnight);
        let error = seconds(&with(cast(&millis, &DataType::Int64).unwrap())).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("row 1, column `when`: `1706659200000` is not a time"),
            "{error}"
        );
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["2024-01-31", "", "31.1.2024"]));
        let error = seconds(&with(texts)).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("row 3, column `when`: `31.1.2024` is not"),
            "{error}"
        );
    }

    #[test]
    fn a_misspelt_target_names_the_nearest_column() {
        let error = infer("age,income\n1,2\n", "incme").unwrap_err().to_string();
        assert_eq!(
            error,
            "no column `incme` in `t.csv` (did you mean `income`?): it has `age`, `income`"
        );
    }

    #[test]
    fn free_text_is_learned_from_where_it_stands_alone() {
        let table = |header: &str, row: &dyn Fn(usize) -> String| {
            let rows: String = (0..30).map(|i| row(i) + "\n").collect();
            infer(&format!("{header}\n{rows}"), "y").unwrap()
        };
        let used = |contract: &Contract| -> Vec<String> {
            contract.features().map(|rule| rule.name.clone()).collect()
        };
        let prose = |i| format!("call me at {i}");
        let label = |i| ["ham", "spam"][i % 2];
        let alone = table("y,text", &|i| format!("{},{}", label(i), prose(i)));
        assert_eq!(alone.task, Task::Classification);
        let rule = alone.features().next().unwrap();
        assert_eq!((rule.kind, rule.note.is_none()), (ColumnKind::Text, true));
        let with_id = table("id,text,y", &|i| format!("m{i},{},{}", prose(i), label(i)));
        assert_eq!(used(&with_id), ["text"]);
        let names = table("name,y", &|i| format!("m{i},{}", label(i)));
        assert_eq!(used(&names), ["name"]);
        let beside = table("text,x,y", &|i| format!("{},{i},{}", prose(i), label(i)));
        assert_eq!(used(&beside), ["x"]);
        assert_eq!(beside.notes().next().unwrap().0, "text");
    }

    #[test]
    fn a_folder_of_texts_knows_its_target() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("a/1.txt", "up"), ("a/2.txt", "up up"), ("b/1.txt", "down")] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let data = DataConfig::default();
        let source = crate::source::open(root.path(), &data).unwrap();
        let frame = Frame::read_all(source).unwrap();
        let contract = Contract::infer(&frame, &data, &Default::default()).unwrap();
        assert_eq!(contract.target().unwrap().categories, ["a", "b"]);
        let features: Vec<_> = contract.features().map(|rule| (&*rule.name, rule.kind)).collect();
        assert_eq!(features, [("text", ColumnKind::Text)]);
    }

    #[test]
    fn a_weight_is_a_number_of_0_or_more_and_no_feature() {
        let data = DataConfig {
            target: Some("y".into()),
            weight: Some("w".into()),
            ..Default::default()
        };
        let rows = frame("x,w,y\n1,2,a\n2,0.5,b\n3,1,a\n");
        let contract = Contract::infer(&rows, &data, &Default::default()).unwrap();
        let features: Vec<_> = contract.features().map(|rule| &*rule.name).collect();
        assert_eq!(features, ["x"]);
        let weights = contract.weights(&rows.to_batch().unwrap()).unwrap();
        assert_eq!(weights, Some(vec![2.0, 0.5, 1.0]));
        let bad = frame("x,w,y\n1,-2,a\n2,,b\n").to_batch().unwrap();
        let (_, breaches) = contract.examine(&bad, Need::Target).unwrap();
        assert_eq!(breaches.len(), 2);
        assert!(breaches.iter().all(|breach| breach.spoils_row));
        let words = frame("x,w,y\n1,much,a\n2,little,b\n");
        let error = Contract::infer(&words, &data, &Default::default()).unwrap_err();
        assert!(error.to_string().contains("holds no numbers"), "{error}");
    }

    #[test]
    fn conform_refuses_text_in_a_number_and_unknown_classes() {
        let contract = infer("x,y\n1,a\n2,b\n", "y").unwrap();
        let place = |row: usize| format!("row {}", row + 1);
        let rows = frame("y,x\na,1\nb,oops\n");
        let error = contract
            .conform(&rows.to_batch().unwrap(), Need::Features, &place)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("row 2, column `x`: `oops` is not a number"),
            "{error}"
        );
        let rows = frame("x,y\n1,a\n2,c\n");
        let error = contract
            .conform(&rows.to_batch().unwrap(), Need::Target, &place)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("row 2, column `y`: the class `c` is unknown"),
            "{error}"
        );
    }
}
