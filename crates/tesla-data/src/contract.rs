//! The contract: what every column is, inferred once, stored with the model and enforced on every
//! row, at training and at prediction alike.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ColumnConfigs, DataConfig};
use crate::error::list;
use crate::frame::{Frame, as_strings, downcast};
use crate::source::{IMAGE_KEY, Source};
use crate::{BadRow, Error, Result, nearest};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A number.
    Numeric,
    /// One of a set of names.
    Category,
    /// Free text, or a name that nearly every row has for itself.
    Text,
    /// A picture.
    Image,
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
    pub(crate) is_target: bool,
}

impl Breach {
    fn feature(row: usize, column: &str, value: &str) -> Self {
        Self {
            row,
            column: column.into(),
            value: Some(value.chars().take(BadRow::SHOWN).collect()),
            reason: not_a_number(value),
            is_target: false,
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

/// Text columns with more distinct values than this are free text, not categories.
const MAX_CATEGORIES: usize = 1000;
/// Whole-number targets with at most this many distinct values are classes.
const MAX_NUMERIC_CLASSES: usize = 20;

impl Contract {
    /// Infers the contract from rows and from what the configuration says.
    ///
    /// # Errors
    /// When a configured column does not exist, or no target is known.
    pub fn infer(frame: &Frame, data: &DataConfig, columns: &ColumnConfigs) -> Result<Self> {
        let (task, rules) = survey(frame, data, columns)?;
        let names: Vec<String> = rules.iter().map(|rule| rule.name.clone()).collect();
        let (Some(task), Some(target)) = (task, rules.iter().find(|r| r.role == Role::Target))
        else {
            return Err(Error::Config(format!(
                "no target: say which column of `{}` to predict with `--target` or `target` in `[data]`, one of {}",
                frame.name(),
                list(&names)
            )));
        };
        let target = target.name.clone();
        let contract = Self {
            task,
            columns: rules,
        };
        if contract.features().next().is_none() {
            return Err(Error::Config(format!(
                "`{}` leaves no column to learn from: every column but `{target}` is dropped, empty or free text",
                frame.name()
            )));
        }
        Ok(contract)
    }

    /// The columns the model sees.
    pub fn features(&self) -> impl Iterator<Item = &ColumnRule> {
        self.columns.iter().filter(|c| c.role == Role::Feature)
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
            .map(|rule| {
                let kind = match rule.kind {
                    ColumnKind::Numeric => DataType::Float64,
                    ColumnKind::Category | ColumnKind::Text => DataType::Utf8,
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
        let mut schema = self.schema(need);
        if self.features().any(|c| c.kind == ColumnKind::Image) {
            // Only the source knows how it writes its pixels.
            let found = source.schema()?;
            let own = |field: &Arc<Field>| match found.field_with_name(field.name()) {
                Ok(found) => Arc::new(found.clone()),
                Err(_) => field.clone(),
            };
            schema = Arc::new(Schema::new(schema.fields().iter().map(own).collect::<Vec<_>>()));
        }
        Frame::read(source, &schema)
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
        for rule in self.needed(need) {
            let (at, field) = column(rows, &rule.name)?;
            let values = rows.column(at);
            let column: ArrayRef = match rule.kind {
                ColumnKind::Numeric => Arc::new(numbers(values, &rule.name, &mut breaches)?),
                ColumnKind::Category | ColumnKind::Text => Arc::new(as_strings(values)?),
                ColumnKind::Image => cast(values, &DataType::LargeBinary)?,
            };
            if rule.role == Role::Target {
                check_target(rule, &column, &mut breaches)?;
            }
            fields.push(
                Field::new(&rule.name, column.data_type().clone(), true)
                    .with_metadata(field.metadata().clone()),
            );
            columns.push(column);
        }
        let options = crate::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
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

    fn needed(&self, need: Need) -> impl Iterator<Item = &ColumnRule> {
        self.columns.iter().filter(move |c| match c.role {
            Role::Feature => true,
            Role::Target => need == Need::Target,
            Role::Unused => false,
        })
    }
}

/// A field of text as a number: decimal or exponent notation, finite.
pub(crate) fn number(field: &[u8]) -> Option<f64> {
    // `parse` also takes "inf", "nan" and "infinity", which are not numbers to learn from.
    if !matches!(field.first()?, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return None;
    }
    let value: f64 = std::str::from_utf8(field).ok()?.parse().ok()?;
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
    schema
        .column_with_name(name)
        .ok_or_else(|| Error::MissingColumn {
            column: name.to_string(),
            place: "the rows".into(),
            valid: schema.fields().iter().map(|f| f.name().clone()).collect(),
        })
}

fn is_image(field: &Field) -> bool {
    field.metadata().contains_key(IMAGE_KEY)
}

/// What every column is, and the task when a target is known: what a contract is made of.
///
/// # Errors
/// When a configured column does not exist, or is configured as what it cannot be.
pub(crate) fn survey(
    frame: &Frame,
    data: &DataConfig,
    columns: &ColumnConfigs,
) -> Result<(Option<Task>, Vec<ColumnRule>)> {
    let rows = frame.rows();
    let schema = rows.schema();
    let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let known = |column: &str| match names.iter().any(|n| n == column) {
        true => Ok(()),
        false => Err(Error::MissingColumn {
            column: column.to_string(),
            place: format!("`{}`", frame.name()),
            valid: names.clone(),
        }),
    };
    let has_images = schema.fields().iter().any(|f| is_image(f));
    let target = match data.target.as_deref() {
        None if has_images && names.iter().any(|n| n == "label") => Some("label"),
        target => target,
    };
    for column in target.into_iter().chain(data.drop.iter().map(String::as_str)).chain(columns.keys().map(String::as_str)) {
        known(column)?;
    }
    if let Some(target) = target.filter(|target| data.drop.iter().any(|c| c == target)) {
        let message = format!("`{target}` is both the target and in `drop`: remove one");
        return Err(Error::Config(message));
    }

    // Columns do not know of each other: counting distinct texts is worth a thread each.
    let survey = |(field, values): (&Arc<Field>, &ArrayRef)| {
        let config = columns.get(field.name()).cloned().unwrap_or_default();
        let mut rule = rule(field, values, config.kind)?;
        let mut task = None;
        if target == Some(field.name()) {
            rule.role = Role::Target;
            rule.note = None;
            let found = target_task(&rule, values, data.task)?;
            task = Some(found);
            if found == Task::Classification {
                rule.kind = ColumnKind::Category;
                rule.range = None;
                rule.categories = distinct(&as_strings(values)?, usize::MAX);
            }
        } else if data.drop.iter().any(|c| c == field.name())
            || (has_images && rule.kind != ColumnKind::Image)
        {
            rule.role = Role::Unused;
            rule.note = None;
        }
        Ok((task, rule))
    };
    let pairs: Vec<_> = std::iter::zip(schema.fields(), rows.columns()).collect();
    let surveyed: Vec<(Option<Task>, ColumnRule)> =
        pairs.into_par_iter().map(survey).collect::<Result<_>>()?;
    let task = surveyed.iter().find_map(|(task, _)| *task);
    Ok((task, surveyed.into_iter().map(|(_, rule)| rule).collect()))
}

fn rule(field: &Field, values: &ArrayRef, said: Option<ColumnKind>) -> Result<ColumnRule> {
    let mut rule = ColumnRule {
        name: field.name().clone(),
        kind: ColumnKind::Numeric,
        role: Role::Feature,
        nullable: values.null_count() > 0,
        range: None,
        categories: Vec::new(),
        note: None,
    };
    if is_image(field) {
        rule.kind = ColumnKind::Image;
        return Ok(rule);
    }
    if values.null_count() == values.len() {
        rule.role = Role::Unused;
        rule.note = Some("it has no values".into());
        return Ok(rule);
    }
    let is_number = values.data_type().is_numeric();
    rule.kind = match said {
        Some(ColumnKind::Image) | Some(ColumnKind::Numeric) if !is_number => {
            return Err(Error::Config(format!(
                "column `{}` is configured as a number or an image, but holds text: use `kind = \"category\"`",
                field.name()
            )));
        }
        Some(kind) => kind,
        None if is_number => ColumnKind::Numeric,
        None => {
            let seen = distinct(&as_strings(values)?, MAX_CATEGORIES + 1).len();
            let present = values.len() - values.null_count();
            match seen > MAX_CATEGORIES || (seen > 20 && 2 * seen > present) {
                true => ColumnKind::Text,
                false => ColumnKind::Category,
            }
        }
    };
    match rule.kind {
        ColumnKind::Numeric => {
            let values = cast(values, &DataType::Float64)?;
            let values = downcast::<Float64Array>(&values)?;
            let values = values.iter().flatten().filter(|v| !v.is_nan());
            let range = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[min, max], v| {
                [min.min(v), max.max(v)]
            });
            rule.range = (range[0] <= range[1]).then_some(range);
        }
        ColumnKind::Category => rule.categories = distinct(&as_strings(values)?, usize::MAX),
        ColumnKind::Text => {
            rule.role = Role::Unused;
            rule.note = Some(
                "it looks like free text or an identifier; say `kind = \"category\"` to use it"
                    .into(),
            );
        }
        ColumnKind::Image => {}
    }
    Ok(rule)
}

fn target_task(rule: &ColumnRule, values: &ArrayRef, said: Option<Task>) -> Result<Task> {
    let is_number = values.data_type().is_numeric();
    match said {
        Some(Task::Regression) if !is_number => Err(Error::Config(format!(
            "the target `{}` holds text, which cannot be predicted as a number: use `task = \"classification\"`",
            rule.name
        ))),
        Some(task) => Ok(task),
        None if !is_number || rule.kind != ColumnKind::Numeric => Ok(Task::Classification),
        None => {
            let values = cast(values, &DataType::Float64)?;
            let values = downcast::<Float64Array>(&values)?;
            let whole = values.iter().flatten().all(|v| v.fract() == 0.0);
            let few = whole && {
                let seen: BTreeSet<i64> = values
                    .iter()
                    .flatten()
                    .map(|v| v as i64)
                    .take(100_000)
                    .collect();
                seen.len() <= MAX_NUMERIC_CLASSES
            };
            Ok(match few {
                true => Task::Classification,
                false => Task::Regression,
            })
        }
    }
}

/// The distinct values, sorted; stops once there are `limit`.
fn distinct(values: &StringArray, limit: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    for value in values.iter().flatten() {
        if seen.len() >= limit {
            break;
        }
        seen.insert(value);
    }
    let mut seen: Vec<String> = seen.into_iter().map(String::from).collect();
    seen.sort_unstable();
    seen
}

fn numbers(
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

fn check_target(rule: &ColumnRule, values: &ArrayRef, breaches: &mut Vec<Breach>) -> Result<()> {
    let breach = |row, value, reason| Breach {
        row,
        column: rule.name.clone(),
        value,
        reason,
        is_target: true,
    };
    if values.null_count() > 0 {
        let missing = (0..values.len()).filter(|row| values.is_null(*row));
        let reason = || "the target is missing: remove the row or fill it in".into();
        breaches.extend(missing.map(|row| breach(row, None, reason())));
    }
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
            breaches.push(breach(row, Some(class.into()), reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CsvConfig;
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
        assert_eq!(
            infer("x,y\n1,1.5\n2,2\n", "y").unwrap().task,
            Task::Regression
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
    fn conform_refuses_text_in_a_number_and_unknown_classes() {
        let contract = infer("x,y\n1,a\n2,b\n", "y").unwrap();
        let place = |row: usize| format!("row {}", row + 1);
        let rows = frame("y,x\na,1\nb,oops\n");
        let error = contract
            .conform(rows.rows(), Need::Features, &place)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("row 2, column `x`: `oops` is not a number"),
            "{error}"
        );
        let rows = frame("x,y\n1,a\n2,c\n");
        let error = contract
            .conform(rows.rows(), Need::Target, &place)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("row 2, column `y`: the class `c` is unknown"),
            "{error}"
        );
    }
}
