use std::collections::BTreeMap;
use std::sync::Arc;

use crate::arrow::array::{
    Array, ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use crate::arrow::compute::{cast, take_record_batch};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{ORIGINAL_KEY, Scanned, require};
use crate::contract::{not_a_number, number};
use crate::frame::{as_strings, downcast};
use crate::{BadRow, Error, Place, Result};

/// Typed columns of a file, brought to the kinds that every source delivers.
///
/// Numbers of any width become `Float64`; a NaN is a missing value. Text in any layout, `true` and
/// `false`, and dates and times (ISO 8601, in UTC where the file knows a time zone) become `Utf8`.
/// Nested columns and raw bytes are not read.
pub(super) struct Columns {
    name: String,
    found: SchemaRef,
    drop: Vec<String>,
}

impl Columns {
    /// The columns `found` in the source `name`; those in `drop` need not be readable.
    pub(super) fn new(name: &str, found: SchemaRef, drop: &[String]) -> Result<Self> {
        for (i, field) in found.fields().iter().enumerate() {
            if found.fields()[..i].iter().any(|f| f.name() == field.name()) {
                let reason = format!("has two columns named `{}`: rename one", field.name());
                return Err(Error::source(name, reason));
            }
        }
        Ok(Self {
            name: name.into(),
            found,
            drop: drop.to_vec(),
        })
    }

    /// All columns as they are delivered. A column that cannot be read and is dropped anyway comes
    /// out as text without values.
    pub(super) fn schema(&self) -> Result<SchemaRef> {
        let deliver = |field: &Arc<Field>| match delivered(field.data_type()) {
            Some(kind) => Ok(Field::new(field.name(), kind, true)),
            None if self.drop.contains(field.name()) => {
                Ok(Field::new(field.name(), DataType::Utf8, true))
            }
            None => Err(self.unreadable(field)),
        };
        let fields: Vec<Field> = self.found.fields().iter().map(deliver).collect::<Result<_>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The columns that can be read.
    pub(super) fn readable(&self) -> SchemaRef {
        let deliver = |field: &Arc<Field>| {
            Some(Field::new(field.name(), delivered(field.data_type())?, true))
        };
        let fields: Vec<Field> = self.found.fields().iter().filter_map(deliver).collect();
        Arc::new(Schema::new(fields))
    }

    /// The columns that can be read, in the layout that they have in the file.
    pub(super) fn original(&self) -> SchemaRef {
        let as_it_is = |field: &Arc<Field>| {
            delivered(field.data_type())?;
            let mark = [(ORIGINAL_KEY.to_string(), String::new())];
            Some(
                Field::new(field.name(), field.data_type().clone(), true)
                    .with_metadata(mark.into()),
            )
        };
        let fields: Vec<Field> = self.found.fields().iter().filter_map(as_it_is).collect();
        Arc::new(Schema::new(fields))
    }

    /// The places in the file of the columns that `wanted` asks for and that can be read.
    pub(super) fn project(&self, wanted: &SchemaRef) -> Result<Vec<usize>> {
        require(wanted, &self.found, &self.name)?;
        let mut places = Vec::new();
        for field in wanted.fields() {
            let at = self.found.index_of(field.name())?;
            let field = &self.found.fields()[at];
            match delivered(field.data_type()) {
                Some(_) => places.push(at),
                None if self.drop.contains(field.name()) => {}
                None => return Err(self.unreadable(field)),
            }
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Rows as `wanted` asks for them; `first` is the number of the first row.
    pub(super) fn convert(
        &self,
        rows: &RecordBatch,
        wanted: &SchemaRef,
        first: usize,
    ) -> Result<Scanned> {
        let mut bad = BTreeMap::new();
        let mut columns = Vec::with_capacity(wanted.fields().len());
        for field in wanted.fields() {
            let values = rows.column_by_name(field.name());
            columns.push(match (values, field.data_type()) {
                (None, kind) => new_null_array(kind, rows.num_rows()),
                (Some(values), kind)
                    if values.data_type() == kind
                        && field.metadata().contains_key(ORIGINAL_KEY) =>
                {
                    values.clone()
                }
                (Some(values), DataType::Float64) => {
                    Arc::new(self.numbers(values, field.name(), first, &mut bad)?) as ArrayRef
                }
                (Some(values), _) => texts(values)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let mut rows = RecordBatch::try_new_with_options(wanted.clone(), columns, &options)?;
        if !bad.is_empty() {
            let good = (0..rows.num_rows() as u32).filter(|row| !bad.contains_key(row));
            rows = take_record_batch(&rows, &UInt32Array::from_iter_values(good))?;
        }
        let bad = bad.into_values().collect();
        Ok(Scanned { rows, bad })
    }

    fn numbers(
        &self,
        values: &ArrayRef,
        column: &str,
        first: usize,
        bad: &mut BTreeMap<u32, BadRow>,
    ) -> Result<Float64Array> {
        let mut refuse = |row: usize, text: &str| {
            let number = first + row;
            bad.entry(row as u32).or_insert_with(|| BadRow {
                place: Place::row(&self.name, number),
                number,
                column: Some(column.into()),
                value: Some(text.chars().take(BadRow::SHOWN).collect()),
                reason: not_a_number(text),
            });
        };
        if delivered(values.data_type()) == Some(DataType::Utf8) && !is_boolean(values) {
            let texts = texts(values)?;
            let texts = downcast::<crate::arrow::array::StringArray>(&texts)?;
            let parse = |(row, text): (usize, Option<&str>)| {
                let text = text.map(str::trim).filter(|text| !text.is_empty())?;
                let parsed = number(text.as_bytes());
                if parsed.is_none() {
                    refuse(row, text);
                }
                parsed
            };
            return Ok(texts.iter().enumerate().map(parse).collect());
        }
        let numbers = match values.data_type() {
            DataType::Duration(unit) => {
                let ticks = cast(&cast(values, &DataType::Int64)?, &DataType::Float64)?;
                let seconds = |ticks| ticks / per_second(*unit);
                let seconds: Float64Array = downcast::<Float64Array>(&ticks)?.unary(seconds);
                Arc::new(seconds) as ArrayRef
            }
            _ => cast(values, &DataType::Float64)?,
        };
        let numbers = downcast::<Float64Array>(&numbers)?;
        if numbers.values().iter().all(|v| v.is_finite()) {
            return Ok(numbers.clone());
        }
        let finite = |(row, value): (usize, Option<f64>)| {
            let value = value?;
            if value.is_infinite() {
                refuse(row, &value.to_string());
            }
            value.is_finite().then_some(value)
        };
        Ok(numbers.iter().enumerate().map(finite).collect())
    }

    fn unreadable(&self, field: &Field) -> Error {
        let holds = match field.data_type() {
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => "raw bytes".to_string(),
            kind => {
                let kind: String = kind.to_string().chars().take(80).collect();
                format!("nested or unusual values ({kind})")
            }
        };
        let name = field.name();
        let reason = format!(
            "holds {holds}, not numbers, text or times: leave it out with `drop = [\"{name}\"]` in `[data]`"
        );
        Error::value(format!("`{}`", self.name), name, reason)
    }
}

/// What a column of this layout is delivered as; `None` for what TESLA does not read.
fn delivered(layout: &DataType) -> Option<DataType> {
    use DataType as T;
    match layout {
        layout if layout.is_numeric() => Some(T::Float64),
        T::Duration(_) => Some(T::Float64),
        T::Boolean | T::Null | T::Utf8 | T::LargeUtf8 | T::Utf8View => Some(T::Utf8),
        T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) => Some(T::Utf8),
        T::Dictionary(_, values) if !matches!(**values, T::Dictionary(..)) => delivered(values),
        _ => None,
    }
}

fn is_boolean(values: &ArrayRef) -> bool {
    matches!(values.data_type(), DataType::Boolean | DataType::Null)
}

/// A column of any layout that is read as `Utf8`: numbers, times and the like as people write them.
///
/// # Errors
/// When Arrow has no text for the layout.
pub fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    let values = match values.data_type() {
        DataType::Dictionary(_, inner) => cast(values, inner)?,
        _ => values.clone(),
    };
    let values = match values.data_type() {
        // An offset, not a zone's name: names need a time zone database.
        DataType::Timestamp(unit, Some(_)) => {
            let ticks = cast(&values, &DataType::Int64)?;
            cast(&ticks, &DataType::Timestamp(*unit, Some("+00:00".into())))?
        }
        // Arrow writes midnight into every `Date64`, which is days all the same.
        DataType::Date64 => cast(&values, &DataType::Date32)?,
        _ => values,
    };
    Ok(Arc::new(as_strings(&values)?))
}

fn per_second(unit: TimeUnit) -> f64 {
    match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1e6,
        TimeUnit::Nanosecond => 1e9,
    }
}

#[cfg(test)]
mod tests {
    use crate::arrow::array::{
        AsArray, BooleanArray, Date32Array, DictionaryArray, DurationSecondArray, Float32Array,
        Int8Array, StringArray, StringViewArray, TimestampMillisecondArray,
    };
    use crate::arrow::datatypes::{Float64Type, Int32Type};

    use super::*;

    fn scan(column: ArrayRef, wanted: Option<DataType>) -> Result<Scanned> {
        let field = Field::new("c", column.data_type().clone(), true);
        let found = Arc::new(Schema::new(vec![field]));
        let rows = RecordBatch::try_new(found.clone(), vec![column])?;
        let columns = Columns::new("t", found, &[])?;
        let schema = match wanted {
            Some(kind) => Arc::new(Schema::new(vec![Field::new("c", kind, true)])),
            None => columns.schema()?,
        };
        columns.convert(&rows, &schema, 0)
    }

    #[track_caller]
    fn check_text(column: impl Array + 'static, expected: &[Option<&str>]) {
        let rows = scan(Arc::new(column), None).unwrap().rows;
        let texts: Vec<_> = rows.column(0).as_string::<i32>().iter().collect();
        assert_eq!(texts, expected);
    }

    #[track_caller]
    fn check_numbers(column: impl Array + 'static, expected: &[Option<f64>]) {
        let rows = scan(Arc::new(column), Some(DataType::Float64)).unwrap().rows;
        let numbers: Vec<_> = rows.column(0).as_primitive::<Float64Type>().iter().collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn text_of_any_layout_booleans_and_times() {
        let words = [Some("a"), None, Some("b")];
        check_text(StringViewArray::from_iter(words), &words);
        check_text(DictionaryArray::<Int32Type>::from_iter(words), &[Some("a"), None, Some("b")]);
        check_text(BooleanArray::from(vec![Some(true), None]), &[Some("true"), None]);
        check_text(Date32Array::from(vec![18_262]), &[Some("2020-01-01")]);
        let time = TimestampMillisecondArray::from(vec![1_577_836_800_500]);
        check_text(time.clone(), &[Some("2020-01-01T00:00:00.500")]);
        check_text(time.with_timezone("Europe/Berlin"), &[Some("2020-01-01T00:00:00.500Z")]);
    }

    #[test]
    fn numbers_of_any_width_and_from_text_where_a_number_is_asked_for() {
        check_numbers(Int8Array::from(vec![Some(-1), None]), &[Some(-1.0), None]);
        check_numbers(Float32Array::from(vec![0.5, f32::NAN]), &[Some(0.5), None]);
        check_numbers(BooleanArray::from(vec![true, false]), &[Some(1.0), Some(0.0)]);
        check_numbers(StringArray::from(vec![" 2.5 ", ""]), &[Some(2.5), None]);
        check_numbers(DurationSecondArray::from(vec![90]), &[Some(90.0)]);
    }

    #[test]
    fn what_is_no_number_is_set_apart_with_its_row() {
        let column = Arc::new(StringArray::from(vec!["1", "x", "3"]));
        let scanned = scan(column, Some(DataType::Float64)).unwrap();
        assert_eq!(scanned.rows.num_rows(), 2);
        assert_eq!(scanned.bad.len(), 1);
        let error = scanned.bad[0].clone().into_error().to_string();
        assert!(error.starts_with("`t` row 2, column `c`: `x` is not a number"), "{error}");

        let column = Arc::new(Float32Array::from(vec![f32::INFINITY, 1.0]));
        assert_eq!(scan(column, None).unwrap().bad[0].number, 0);
    }
}
