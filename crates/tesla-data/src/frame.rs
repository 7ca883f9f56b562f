//! The rows of a source as Arrow batches.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use crate::arrow::compute::{cast, concat_batches, filter_record_batch, take_record_batch};
use crate::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::contract::{Breach, Contract, Need, number};
use crate::prepare::Groups;
use crate::profile::cells::row_hashes;
use crate::quarantine::{BadPolicy, BadRow, Duplicates, OnBad};
use crate::source::Source;
use crate::table::{MEMORY, Table};
use crate::{Error, Result};

/// The rows of a source, with the way back to it, so that a message can name the line.
#[derive(Clone)]
pub struct Frame {
    table: Table,
    /// The rows that were set apart, in the source's order.
    bad: Vec<BadRow>,
    /// The rows that were kept without a value, in the source's order.
    nulled: Vec<BadRow>,
    source: Arc<dyn Source>,
    memory: usize,
    /// What the rows were settled from, for the columns that the contract leaves out.
    raw: Option<Arc<Frame>>,
}

/// A source with more bad rows than this, and more bad than good ones, is not read to its end.
const MOST_BAD: usize = 100_000;

impl Frame {
    /// Reads all rows of `source` with the columns of `schema`; what exceeds `memory` bytes goes to
    /// a temporary file. Rows that cannot be read are set apart in [`Frame::bad`]; with
    /// [`OnBad::Null`] a text among numbers becomes missing instead, and its row is listed in
    /// [`Frame::nulled`].
    ///
    /// # Errors
    /// When the source fails, or when it has no row at all.
    pub fn read(
        source: Arc<dyn Source>,
        schema: &SchemaRef,
        memory: usize,
        on_bad: OnBad,
    ) -> Result<Self> {
        let (mut table, mut bad) = collect(&*source, schema, schema, memory)?;
        if table.is_empty() && bad.is_empty() {
            return Err(Error::source(source.name(), "has no rows: expected at least one"));
        }
        let mut nulled = Vec::new();
        let at_fault: BTreeSet<&str> = bad.iter().filter_map(|b| b.column.as_deref()).collect();
        if on_bad == OnBad::Null && !at_fault.is_empty() {
            // Rare enough to read again, with the columns at fault as texts.
            let as_text = schema.fields().iter().map(|field| {
                let is_text = at_fault.contains(field.name().as_str())
                    && field.data_type() == &DataType::Float64;
                match is_text {
                    true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
                    false => field.clone(),
                }
            });
            let as_text = Arc::new(Schema::new(as_text.collect::<Vec<_>>()));
            let (read, still_bad) = collect(&*source, &as_text, schema, memory)?;
            let is_bad = |number| still_bad.binary_search_by_key(&number, |b| b.number).is_ok();
            nulled = bad.iter().filter(|bad| !is_bad(bad.number)).cloned().collect();
            (table, bad) = (read, still_bad);
        }
        Ok(Self {
            table,
            bad,
            nulled,
            source,
            memory,
            raw: None,
        })
    }

    /// Reads all rows and columns of `source`.
    ///
    /// # Errors
    /// When the columns cannot be inferred or a row cannot be read.
    pub fn read_all(source: Box<dyn Source>) -> Result<Self> {
        let schema = source.schema()?;
        Self::read(source.into(), &schema, MEMORY, OnBad::Quarantine)
    }

    /// The rows that keep the contract, in its columns and types; the others are set apart, or
    /// lose the value at fault, and duplicates are left out, as `policy` says. Rows read are rows
    /// kept and rows in [`Frame::bad`].
    ///
    /// # Errors
    /// When more rows are bad than `policy` allows, or a column of the contract is missing.
    pub fn settle(&self, contract: &Contract, policy: &BadPolicy) -> Result<Self> {
        let empty = RecordBatch::new_empty(self.schema().clone());
        let schema = contract.examine(&empty, Need::Target)?.0.schema();
        let mut start = 0;
        // The first breach of each row that is set apart, and of each that loses values only.
        let mut first: BTreeMap<usize, Breach> = BTreeMap::new();
        let mut loses: BTreeMap<usize, Breach> = BTreeMap::new();
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let mut repeats: Vec<[usize; 2]> = Vec::new();
        let batches = self.batches()?.map(|batch| {
            let (rows, breaches) = contract.examine(&batch?, Need::Target)?;
            let mut keep = vec![true; rows.num_rows()];
            for breach in breaches {
                if breach.spoils_row || policy.on_bad != OnBad::Null {
                    keep[breach.row] = false;
                    first.entry(start + breach.row).or_insert(breach);
                } else {
                    loses.entry(start + breach.row).or_insert(breach);
                }
            }
            if policy.duplicates == Duplicates::Drop {
                for (row, hash) in row_hashes(rows.columns())?.into_iter().enumerate() {
                    let earlier = *match keep[row] {
                        true => seen.entry(hash).or_insert(start + row),
                        false => continue,
                    };
                    if earlier != start + row {
                        keep[row] = false;
                        repeats.push([start + row, earlier]);
                    }
                }
            }
            start += rows.num_rows();
            match keep.iter().all(|keep| *keep) {
                true => Ok(rows),
                false => Ok(filter_record_batch(&rows, &keep.into())?),
            }
        });
        let mut settled = Self {
            table: Table::collect(schema, batches, self.memory)?,
            bad: self.bad.clone(),
            nulled: self.nulled.clone(),
            source: self.source.clone(),
            memory: self.memory,
            raw: Some(Arc::new(self.clone())),
        };
        loses.retain(|row, _| !first.contains_key(row));
        // A target that was no number became missing when the rows were read; what it was says more.
        let was = |bad: BadRow| {
            let at = self.nulled.binary_search_by_key(&bad.number, |b| b.number).ok();
            let was = at.map(|at| &self.nulled[at]).filter(|was| was.column == bad.column);
            was.cloned().unwrap_or(bad)
        };
        for (list, breaches) in [(&mut settled.bad, first), (&mut settled.nulled, loses)] {
            if !breaches.is_empty() {
                list.extend(self.bad_rows(breaches).into_iter().map(was));
                list.sort_by_key(|bad| bad.number);
                list.dedup_by_key(|bad| bad.number);
            }
        }
        let faulty: Vec<BadRow> =
            settled.bad.iter().filter(|bad| !bad.is_repeat()).cloned().collect();
        policy.check(self.name(), &faulty, settled.len() + repeats.len())?;
        if !repeats.is_empty() {
            let [numbers, earlier]: [Vec<usize>; 2] =
                [0, 1].map(|at| repeats.iter().map(|pair| self.number(pair[at])).collect());
            let places = self.source.places(&numbers).into_iter();
            let firsts = self.source.places(&earlier);
            let rows = std::iter::zip(numbers, std::iter::zip(places, firsts));
            let repeats =
                rows.map(|(number, (place, first))| BadRow::repeat(number, place, &first));
            settled.bad.extend(repeats);
            settled.bad.sort_by_key(|bad| bad.number);
        }
        let is_bad = |number| settled.bad.binary_search_by_key(&number, |b| b.number).is_ok();
        settled.nulled.retain(|row| !is_bad(row.number));
        Ok(settled)
    }

    /// Breaches by row, with their places.
    pub(crate) fn bad_rows(&self, breaches: BTreeMap<usize, Breach>) -> Vec<BadRow> {
        let numbers: Vec<usize> = breaches.keys().map(|row| self.number(*row)).collect();
        let places = self.source.places(&numbers);
        std::iter::zip(breaches.into_values(), std::iter::zip(numbers, places))
            .map(|(breach, (number, place))| BadRow {
                place,
                number,
                column: Some(breach.column),
                value: breach.value,
                reason: breach.reason,
            })
            .collect()
    }

    /// The values of a column, one a row, whether or not the contract needs it.
    ///
    /// # Errors
    /// When the source has no such column.
    pub fn column(&self, name: &str) -> Result<ArrayRef> {
        if self.schema().column_with_name(name).is_some() {
            let at = self.schema().index_of(name)?;
            let pieces: Vec<RecordBatch> = self
                .batches()?
                .map(|batch| Ok(batch?.project(&[at])?))
                .collect::<Result<_>>()?;
            let schema = Arc::new(self.schema().project(&[at])?);
            return Ok(concat_batches(&schema, &pieces)?.column(0).clone());
        }
        let Some(raw) = &self.raw else {
            return Err(Error::MissingColumn {
                column: name.into(),
                place: format!("`{}`", self.name()),
                valid: self.schema().fields().iter().map(|f| f.name().clone()).collect(),
            });
        };
        self.kept_of(raw, name)
    }

    /// The values of a column that rows are divided or grouped by: like [`Frame::column`], but times
    /// as they were written.
    pub(crate) fn key_column(&self, name: &str) -> Result<ArrayRef> {
        let kind = |frame: &Frame| {
            let field = frame.schema().field_with_name(name).ok()?;
            Some(field.data_type().clone())
        };
        match &self.raw {
            Some(raw) if kind(self) == Some(DataType::Float64) => match kind(raw) {
                Some(DataType::Utf8) => self.kept_of(raw, name),
                _ => self.column(name),
            },
            _ => self.column(name),
        }
    }

    /// A column of `raw`, in the rows that are kept here.
    fn kept_of(&self, raw: &Frame, name: &str) -> Result<ArrayRef> {
        let all = raw.column(name)?;
        // Whoever is kept here was kept there.
        let at = (0..self.len()).filter_map(|row| raw.row_of(self.number(row)));
        let at = UInt32Array::from_iter_values(at.map(|row| row as u32));
        Ok(arrow_select::take::take(&all, &at, None)?)
    }

    /// The last row of each group, ascending; see [`SequenceConfig`](crate::SequenceConfig).
    ///
    /// # Errors
    /// When a column does not exist, a value is missing, or `order` holds neither numbers nor dates.
    pub fn last_of_groups(&self, group: Option<&str>, order: Option<&str>) -> Result<Vec<u32>> {
        Ok(Groups::of_frame(self, group, order)?.last())
    }

    /// The rows with one more column of numbers.
    pub(crate) fn with_column(self, name: &str, values: Float64Array) -> Result<Self> {
        let field = Arc::new(Field::new(name, DataType::Float64, true));
        let fields = self.schema().fields().iter().cloned().chain([field]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut start = 0;
        let batches = self.batches()?.map(|batch| {
            let batch = batch?;
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(values.slice(start, batch.num_rows())));
            start += batch.num_rows();
            Ok(RecordBatch::try_new(schema.clone(), columns)?)
        });
        let table = Table::collect(schema.clone(), batches, self.memory)?;
        Ok(Self { table, ..self })
    }

    /// The rows with each batch changed, which keeps its columns and its length.
    pub(crate) fn map(&self, change: impl Fn(RecordBatch) -> Result<RecordBatch>) -> Result<Self> {
        let batches = self.batches()?.map(|batch| change(batch?));
        let table = Table::collect(self.schema().clone(), batches, self.memory)?;
        Ok(Self {
            table,
            ..self.clone()
        })
    }

    /// All rows.
    pub fn all(&self) -> Selection<'_> {
        Selection {
            frame: self,
            rows: None,
        }
    }

    /// The given rows (zero-based, ascending): a list, or one that is borrowed, as of a split.
    pub fn select<'a>(&'a self, rows: impl Into<Cow<'a, [u32]>>) -> Selection<'a> {
        Selection {
            frame: self,
            rows: Some(rows.into()),
        }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        self.table.schema()
    }

    /// All rows, batch by batch.
    ///
    /// # Errors
    /// When they stand in a temporary file that cannot be read.
    pub fn batches(&self) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + '_>> {
        self.table.batches()
    }

    /// All rows as one batch in memory.
    ///
    /// # Errors
    /// When they do not fit one.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        self.table.to_batch()
    }

    /// Each row's class as its place among the target's categories; `None` when the target is a
    /// number. The rows must conform.
    ///
    /// # Errors
    /// When the target column is missing.
    pub fn class_ids(&self, contract: &Contract) -> Result<Option<Vec<u32>>> {
        let mut ids = Vec::with_capacity(self.len());
        for batch in self.batches()? {
            match contract.class_ids(&batch?)? {
                Some(next) => ids.extend(next),
                None => return Ok(None),
            }
        }
        Ok(Some(ids))
    }

    /// Bytes of rows that are held in memory; what exceeds them is in a temporary file.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Whether the rows exceed [`Frame::memory`].
    pub fn is_on_disk(&self) -> bool {
        self.table.is_on_disk()
    }

    /// The rows that were set apart, in the source's order.
    pub fn bad(&self) -> &[BadRow] {
        &self.bad
    }

    /// The rows that were kept without a value that could not be read or broke the contract
    /// ([`OnBad::Null`]), each with the first such value, in the source's order.
    pub fn nulled(&self) -> &[BadRow] {
        &self.nulled
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether all rows were set apart.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The source's name as the user wrote it.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// Where row `row` (zero-based) stands, for a message: "`data.csv` line 7".
    pub fn place(&self, row: usize) -> String {
        self.source.places(&[self.number(row)])[0].to_string()
    }

    /// See [`Source::quoted_delimiter`].
    pub(crate) fn quoted_delimiter(&self) -> Option<char> {
        self.source.quoted_delimiter()
    }

    /// The zero-based number that row `row` has in its source, where bad rows count too.
    pub fn number(&self, row: usize) -> usize {
        let before = |k: usize| self.bad[k].number - k <= row;
        row + partition_point(self.bad.len(), before)
    }

    /// The row that has the zero-based number `number` in its source; `None` when it was set apart, or
    /// the source has fewer.
    pub fn row_of(&self, number: usize) -> Option<usize> {
        match self.bad.binary_search_by_key(&number, |bad| bad.number) {
            Ok(_) => None,
            Err(before) => Some(number - before).filter(|row| *row < self.len()),
        }
    }

    /// SHA-256 of the source's bytes.
    ///
    /// # Errors
    /// When the source can no longer be read.
    pub fn fingerprint(&self) -> Result<String> {
        self.source.fingerprint()
    }
}

/// All rows of a source and those that cannot be read: scanned as `schema` says, kept as `wanted`
/// says. Where that makes numbers of texts, a text that is none becomes missing.
fn collect(
    source: &dyn Source,
    schema: &SchemaRef,
    wanted: &SchemaRef,
    memory: usize,
) -> Result<(Table, Vec<BadRow>)> {
    let mut bad = Vec::new();
    let mut kept = 0;
    let batches = source.scan(schema)?.map(|scanned| {
        let scanned = scanned?;
        kept += scanned.rows.num_rows();
        bad.extend(scanned.bad);
        // Nobody reads so many reasons, and memory must not grow with them.
        if bad.len() > MOST_BAD && bad.len() > kept {
            return Err(BadPolicy::default().refuse(source.name(), &bad, kept));
        }
        as_wanted(scanned.rows, wanted)
    });
    let table = Table::collect(wanted.clone(), batches, memory)?;
    Ok((table, bad))
}

fn as_wanted(rows: RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == wanted {
        return Ok(rows);
    }
    let columns = std::iter::zip(rows.columns(), wanted.fields());
    let columns = columns.map(|(column, field)| -> Result<ArrayRef> {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        let texts = downcast::<StringArray>(column)?.iter();
        let numbers = texts.map(|text| number(text?.trim().as_bytes()));
        Ok(Arc::new(numbers.collect::<Float64Array>()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(wanted.clone(), columns)?)
}

/// Some rows of a frame, in its order.
pub struct Selection<'a> {
    frame: &'a Frame,
    rows: Option<Cow<'a, [u32]>>,
}

impl<'a> Selection<'a> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.frame.len(), |rows| rows.len())
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame the rows are of.
    pub fn frame(&self) -> &'a Frame {
        self.frame
    }

    /// The row of the frame that row `row` (zero-based) of the selection is.
    pub fn row(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row] as usize)
    }

    /// Where row `row` (zero-based) of the selection stands, for a message.
    pub fn place(&self, row: usize) -> String {
        self.frame.place(self.row(row))
    }

    /// The rows, batch by batch.
    ///
    /// # Errors
    /// When they stand in a temporary file that cannot be read.
    pub fn batches(&self) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + '_>> {
        let batches = self.frame.batches()?;
        let Some(rows) = &self.rows else {
            return Ok(batches);
        };
        let mut start = 0;
        let mut rest: &[u32] = rows;
        Ok(Box::new(batches.map(move |batch| {
            let batch = batch?;
            let end = start + batch.num_rows() as u32;
            let (here, after) = rest.split_at(rest.partition_point(|row| *row < end));
            let at = UInt32Array::from_iter_values(here.iter().map(|row| row - start));
            (start, rest) = (end, after);
            Ok(take_record_batch(&batch, &at)?)
        })))
    }
}

/// How many of the first `0..len` satisfy `holds`, which is true up to some point and then false.
fn partition_point(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        match holds(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// The column as strings, whatever Arrow layout it has; numbers without a fraction lose the `.0`,
/// so that a class `3` is the same class in CSV, JSON and Parquet.
pub(crate) fn as_strings(array: &ArrayRef) -> Result<StringArray> {
    let array = match array.data_type() {
        DataType::Utf8 => array.clone(),
        DataType::Float64 | DataType::Float32 | DataType::Float16 => {
            let numbers = cast(array, &DataType::Float64)?;
            let numbers = downcast::<Float64Array>(&numbers)?;
            return Ok(numbers
                .iter()
                .map(|v| v.filter(|v| !v.is_nan()).map(|v| v.to_string()))
                .collect());
        }
        _ => cast(array, &DataType::Utf8)?,
    };
    Ok(downcast::<StringArray>(&array)?.clone())
}

/// The array as the concrete type `T`.
pub(crate) fn downcast<T: Array + 'static>(array: &ArrayRef) -> Result<&T> {
    array.as_any().downcast_ref::<T>().ok_or_else(|| {
        Error::Config(format!(
            "internal error: a column is {} where another type was expected",
            array.data_type()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CsvConfig, DataConfig};
    use crate::source::{CsvSource, Input};

    fn settle(text: &str, policy: &BadPolicy) -> Result<Frame> {
        let input = Input::from_bytes("t.csv", text.as_bytes());
        let frame = Frame::read_all(Box::new(CsvSource::open(input, CsvConfig::default())?))?;
        let data = DataConfig {
            target: Some("y".into()),
            ..Default::default()
        };
        let contract = Contract::infer(&frame, &data, &Default::default())?;
        frame.settle(&contract, policy)
    }

    #[test]
    fn bad_rows_are_set_apart_and_numbers_still_hold() {
        let policy = BadPolicy {
            max_bad: 0.5,
            ..Default::default()
        };
        let frame = settle("x,y\n0,a\n1\n2,a\n3,\n4,b\n", &policy).unwrap();
        assert_eq!(frame.len() + frame.bad().len(), 5);
        let numbers: Vec<usize> = (0..frame.len()).map(|row| frame.number(row)).collect();
        assert_eq!(numbers, [0, 2, 4]);
        assert_eq!(frame.place(2), "`t.csv` line 6");
        for row in 0..frame.len() {
            assert_eq!(frame.row_of(frame.number(row)), Some(row));
        }
        assert_eq!((frame.row_of(1), frame.row_of(3)), (None, None));
        let lines: Vec<_> = frame.bad().iter().map(|b| b.place.line).collect();
        assert_eq!(lines, [Some(3), Some(5)]);
        // Where the row as a whole is at fault, it is shown as it stands.
        assert_eq!(frame.bad()[0].value.as_deref(), Some("1"));
    }

    #[test]
    fn a_value_can_be_lost_instead_of_its_row() {
        let mut text = String::from("x,y\n");
        (0..200).for_each(|i| text.push_str(&format!("{i},{}\n", i % 2)));
        text.push_str("oops,1\n7\n8,0\n");
        let read = |on_bad| {
            let input = Input::from_bytes("t.csv", text.as_bytes());
            let source = CsvSource::open(input, CsvConfig::default()).unwrap();
            let schema = source.schema().unwrap();
            Frame::read(Arc::new(source), &schema, MEMORY, on_bad).unwrap()
        };
        let strict = read(OnBad::Quarantine);
        assert_eq!((strict.len(), strict.bad().len(), strict.nulled().len()), (201, 2, 0));
        let lenient = read(OnBad::Null);
        assert_eq!((lenient.len(), lenient.bad().len()), (202, 1));
        let [nulled] = lenient.nulled() else {
            panic!("{:?}", lenient.nulled())
        };
        assert_eq!((nulled.place.line, nulled.value.as_deref()), (Some(202), Some("oops")));
        let rows = lenient.to_batch().unwrap();
        assert!(rows.column(0).is_null(200) && rows.column(0).null_count() == 1);
    }

    #[test]
    fn no_row_is_kept_without_a_target() {
        let mut text = String::from("x,y\n");
        (0..200).for_each(|i| text.push_str(&format!("{i},{i}.5\n")));
        text.push_str("oops,1\n7,much\n8,\n");
        let input = Input::from_bytes("t.csv", text.as_bytes());
        let source = CsvSource::open(input, CsvConfig::default()).unwrap();
        let schema = source.schema().unwrap();
        let frame = Frame::read(Arc::new(source), &schema, MEMORY, OnBad::Null).unwrap();
        let data = DataConfig {
            target: Some("y".into()),
            ..Default::default()
        };
        let contract = Contract::infer(&frame, &data, &Default::default()).unwrap();
        let policy = BadPolicy {
            on_bad: OnBad::Null,
            ..Default::default()
        };
        let settled = frame.settle(&contract, &policy).unwrap();
        assert_eq!((settled.len(), settled.column("y").unwrap().null_count()), (201, 0));
        let [nulled] = settled.nulled() else {
            panic!("{:?}", settled.nulled())
        };
        assert_eq!((nulled.place.line, nulled.column.as_deref()), (Some(202), Some("x")));
        let [much, none] = settled.bad() else {
            panic!("{:?}", settled.bad())
        };
        assert_eq!((much.place.line, much.value.as_deref()), (Some(203), Some("much")));
        assert!(much.reason.contains("is not a number"), "{}", much.reason);
        assert!(none.reason.contains("the target is missing"), "{}", none.reason);
    }

    #[test]
    fn a_late_missing_marker_is_no_category() {
        let mut text = String::from("c,y\n");
        (0..3000).for_each(|i| text.push_str(&format!("{},{}\n", ["a", "b"][i % 2], i % 2)));
        text.push_str("NA,0\n ? ,1\n,1\n");
        for memory in [0, MEMORY] {
            let input = Input::from_bytes("t.csv", text.as_bytes());
            let source = CsvSource::open(input, CsvConfig::default())
                .unwrap()
                .with_memory(memory);
            let frame = Frame::read_all(Box::new(source)).unwrap();
            let data = DataConfig {
                target: Some("y".into()),
                ..Default::default()
            };
            let contract = Contract::infer(&frame, &data, &Default::default()).unwrap();
            let rule = contract.features().next().unwrap();
            assert_eq!(rule.categories, ["a", "b"]);
            let settled = frame.settle(&contract, &BadPolicy::default()).unwrap();
            assert_eq!((settled.len(), settled.column("c").unwrap().null_count()), (3003, 3));
        }
    }

    #[test]
    fn duplicates_are_left_out_counted_and_no_fault() {
        let policy = BadPolicy {
            max_bad: 0.2,
            duplicates: Duplicates::Drop,
            ..Default::default()
        };
        let frame = settle("x,y\n0,a\n0,b\n0,a\n1\n0,a\n-0,b\n1,b\n", &policy).unwrap();
        let reasons: Vec<&str> = frame.bad().iter().map(|bad| bad.reason.as_str()).collect();
        assert_eq!((frame.len(), reasons.len()), (3, 4));
        assert_eq!([reasons[0], reasons[3]], ["repeats `line 2`", "repeats `line 3`"]);
        assert_eq!(frame.bad().iter().filter(|bad| bad.is_repeat()).count(), 3);
        assert_eq!(frame.number(2), 6);
        // Settled again, nothing changes: duplicates never count as faults.
        let keep = BadPolicy {
            max_bad: 0.2,
            ..Default::default()
        };
        assert_eq!(settle("x,y\n0,a\n0,a\n", &keep).unwrap().len(), 2);
    }

    #[test]
    fn a_column_outside_the_contract_follows_the_rows() {
        let policy = BadPolicy {
            max_bad: 0.5,
            ..Default::default()
        };
        let mut text = String::from("x,name,y\n");
        (0..50).for_each(|i| match i % 5 {
            0 => text.push_str(&format!("{i},name{i}\n")),
            1 => text.push_str(&format!("{i},name{i},\n")),
            _ => text.push_str(&format!("{i},name{i},{}\n", ["a", "b"][i % 2])),
        });
        let frame = settle(&text, &policy).unwrap();
        assert!(frame.schema().column_with_name("name").is_none());
        let names = as_strings(&frame.column("name").unwrap()).unwrap();
        let expected: Vec<String> =
            (0..50).filter(|i| i % 5 > 1).map(|i| format!("name{i}")).collect();
        assert!(names.iter().flatten().eq(expected.iter().map(String::as_str)));
        let error = frame.column("nme").unwrap_err().to_string();
        assert!(error.contains("did you mean `name`"), "{error}");
    }

    #[test]
    fn too_many_bad_rows_end_the_run_with_the_commonest_reasons() {
        let mut text = String::from("x,y\n");
        (0..90).for_each(|i| text.push_str(&format!("{i},a\n")));
        (0..6).for_each(|i| text.push_str(&format!("{i},\n")));
        (0..4).for_each(|i| text.push_str(&format!("{i}\n")));
        let error = settle(&text, &BadPolicy::default()).err().unwrap();
        assert_eq!(
            error.to_string(),
            "`t.csv`: 10 of 100 rows are bad, more than `max_bad = 0.01` in `[data]` allows: 6 times column `y`: the target is missing: remove the row or fill it in (first in line 92); 4 times 1 fields where 2 are expected: a quote or a delimiter is missing or too many (first in line 98)"
        );
    }
}
