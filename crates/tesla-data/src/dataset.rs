use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::arrow::array::ArrayRef;
use crate::arrow::datatypes::{DataType, Field, Schema};
use crate::config::{ColumnConfigs, DataConfig, SplitBy, SplitConfig};
use crate::contract::{ColumnKind, Task};
use crate::interactions::InteractionsConfig;
use crate::prepare::{Groups, SequenceConfig, read_numbers};
use crate::source::Reading;
use crate::split::{Key, Rows, Split, folds, read_rows, split};
use crate::{BadPolicy, Contract, Error, Frame, Paths, Result, Source, source};

/// The rows of a training run: one source that is divided, and rows somebody else set apart.
pub struct Dataset {
    /// The rows that are divided.
    pub frame: Frame,
    /// Validation rows from a source of their own.
    pub valid: Option<Frame>,
    /// Test rows from a source of their own.
    pub test: Option<Frame>,
    /// The numbers that test rows have in the source.
    test_rows: Option<Vec<usize>>,
    /// The split that is repeated.
    saved: Option<Split>,
}

/// What `[data]` names, opened and not yet read.
pub struct Sources<'a> {
    config: &'a DataConfig,
    kinds: BTreeMap<&'a str, ColumnKind>,
    base: &'a Path,
    source: Arc<dyn Source>,
    valid: Option<Arc<dyn Source>>,
    test: Option<Arc<dyn Source>>,
}

impl<'a> Sources<'a> {
    /// Opens what `[data]` names; relative paths start at `base`.
    ///
    /// # Errors
    /// When a source does not exist or is nothing TESLA reads.
    pub fn open(config: &'a DataConfig, base: &'a Path) -> Result<Self> {
        if config.source.is_empty() {
            let message = "no data: say `source = \"…\"` in `[data]`";
            return Err(Error::Config(message.into()));
        }
        if config.test.is_some() && config.split.test_rows.is_some() {
            let message = "`test` and `split.test_rows` in `[data]` both say which rows to test on: remove one";
            return Err(Error::Config(message.into()));
        }
        if let Some(sequence) = &config.sequence {
            sequence.check()?;
            let after = sequence.remaining_life.as_ref().and_then(|life| life.after.as_ref());
            if after.is_some() && config.test.is_none() {
                let message = "`data.sequence.remaining_life.after` is about a test source, but there is no `test` in `[data]`: add it, or remove `after`";
                return Err(Error::Config(message.into()));
            }
        }
        let open = |paths: &Paths| -> Result<Arc<dyn Source>> {
            Ok(source::open_all(paths, base, config)?.into())
        };
        let own = |path: &Option<String>| {
            path.as_deref().map(|path| open(&Paths::from(path))).transpose()
        };
        Ok(Self {
            config,
            kinds: BTreeMap::new(),
            base,
            source: open(&config.source)?,
            valid: own(&config.valid)?,
            test: own(&config.test)?,
        })
    }

    /// With what `[columns]` says that columns hold. Without it, whether a column of a file is a number
    /// or a text is told by its values alone.
    pub fn with_columns(mut self, columns: &'a ColumnConfigs) -> Self {
        let kinds = columns.iter().filter_map(|(name, c)| Some((name.as_str(), c.kind?)));
        self.kinds = kinds.collect();
        self
    }

    /// How far [`Sources::read`] is, for whoever watches from another thread.
    pub fn reading(&self) -> Reading {
        let all = std::iter::once(&self.source).chain(&self.valid).chain(&self.test);
        all.fold(Reading::default(), |sum, source| sum + source.reading())
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn read(&self) -> Result<Dataset> {
        let config = self.config;
        let read = |source: &Arc<dyn Source>, schema: Schema| {
            let (memory, on_bad) = (config.memory_bytes(), config.on_bad);
            Frame::read(source.clone(), &Arc::new(schema), memory, on_bad)
        };
        let mut schema = self.as_said(without_dropped(&*self.source, config)?);
        let own = |source: &Option<Arc<dyn Source>>, schema: &Schema| -> Result<Option<Frame>> {
            let Some(source) = source else {
                return Ok(None);
            };
            let found = source.schema()?;
            let fields = found.fields().iter().filter(|f| !config.leaves_out(f.name()));
            let fields = fields.map(|field| match schema.field_with_name(field.name()) {
                Ok(known) if is_plain(field) && is_plain(known) => Arc::new(known.clone()),
                _ => field.clone(),
            });
            let fields: Vec<_> = fields.collect();
            read(source, Schema::new(fields)).map(Some)
        };
        let mut frame = read(&self.source, schema.clone())?;
        let as_text = self.as_text(&schema, &frame);
        if as_text != schema {
            // Rare enough to read again.
            (frame, schema) = (read(&self.source, as_text.clone())?, as_text);
        }
        // Texts and numbers are told apart once: a source of its own may happen to hold digits only.
        let (valid, test) = (own(&self.valid, &schema)?, own(&self.test, &schema)?);
        let after = self.after()?;
        let with_target = |frame: Frame, after: Option<&[f64]>| {
            let frame = match &config.interactions {
                Some(interactions) => frame.with_interaction(interactions)?,
                None => frame,
            };
            match &config.sequence {
                Some(sequence) => frame.with_remaining_life(sequence, after),
                None => Ok(frame),
            }
        };
        Ok(Dataset {
            frame: with_target(frame, None)?,
            valid: valid.map(|frame| with_target(frame, None)).transpose()?,
            test: test.map(|frame| with_target(frame, after.as_deref())).transpose()?,
            test_rows: config
                .split
                .test_rows
                .as_deref()
                .map(|path| read_rows(&self.base.join(path)))
                .transpose()?,
            saved: config
                .split
                .file
                .as_deref()
                .map(|path| Split::load(&self.base.join(path)))
                .transpose()?,
        })
    }

    /// The columns, of which those that are said to be numbers are read as numbers.
    fn as_said(&self, schema: Schema) -> Schema {
        let said = |name: &str| self.kinds.get(name) == Some(&ColumnKind::Numeric);
        retyped(&schema, DataType::Float64, said)
    }

    /// The columns, of which those that hold names are read as texts where a value is no number.
    fn as_text(&self, schema: &Schema, frame: &Frame) -> Schema {
        let lists = [frame.bad(), frame.nulled()].into_iter().flatten();
        let at_fault: BTreeSet<&str> = lists.filter_map(|bad| bad.column.as_deref()).collect();
        retyped(schema, DataType::Utf8, |name| at_fault.contains(name) && self.is_name(name))
    }

    /// Whether a column is said to hold anything but numbers: names that may happen to be digits.
    fn is_name(&self, column: &str) -> bool {
        let data = self.config;
        let is = |name: &Option<String>| name.as_deref() == Some(column);
        match self.kinds.get(column) {
            Some(kind) => *kind != ColumnKind::Numeric,
            None => {
                (data.task == Some(Task::Classification) && is(&data.target))
                    || (data.split.by == Some(SplitBy::Group) && is(&data.split.column))
                    || data.sequence.iter().any(|sequence| is(&sequence.group))
                    || data.interactions.iter().any(|i| i.is_side(column))
            }
        }
    }

    /// What is left of each group of the test source after its last row, where that is said.
    fn after(&self) -> Result<Option<Vec<f64>>> {
        let life = self.config.sequence.as_ref().and_then(|s| s.remaining_life.as_ref());
        let after = life.and_then(|life| life.after.as_deref());
        after.map(|path| read_numbers(&self.base.join(path))).transpose()
    }
}

impl Dataset {
    /// Opens and reads what `[data]` names; relative paths start at `base`.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn load(config: &DataConfig, base: &Path) -> Result<Self> {
        Sources::open(config, base)?.read()
    }

    /// Rows already in memory, all to be divided.
    pub fn from_frame(frame: Frame) -> Self {
        Self {
            frame,
            valid: None,
            test: None,
            test_rows: None,
            saved: None,
        }
    }

    /// Divides the rows; `classes` gives each row's class where the target is one. A part that
    /// has a source of its own takes nothing from the divided rows.
    ///
    /// # Errors
    /// As [`split()`](crate::split::split), and when a part that has a source of its own is given rows.
    pub fn split(&self, config: &DataConfig, classes: Option<&[u32]>, seed: u64) -> Result<Split> {
        let mut shares = by_sequence(config);
        if self.valid.is_some() {
            shares.valid = 0.0;
        }
        if self.test.is_some() {
            shares.test = 0.0;
        }
        let parts = self.with_rows(&shares, classes, config.interactions.as_ref(), |rows| {
            split(&shares, rows, seed)
        })?;
        for (name, own, part) in
            [("valid", &self.valid, &parts.valid), ("test", &self.test, &parts.test)]
        {
            if own.is_some() && !part.is_empty() {
                return Err(Error::Config(format!(
                    "`{name}` in `[data]` is a source of its own, but `split.by = \"{}\"` also puts {} rows there: remove one",
                    parts.by.name(),
                    part.len()
                )));
            }
        }
        if let Some(sequence) = &config.sequence {
            self.check_whole(sequence, &parts)?;
        }
        Ok(parts)
    }

    /// Divides the rows of the one source into folds; see [`folds`](crate::split::folds).
    ///
    /// # Errors
    /// As [`folds`](crate::split::folds).
    pub fn folds(
        &self,
        config: &DataConfig,
        classes: Option<&[u32]>,
        count: usize,
        seed: u64,
    ) -> Result<Vec<Split>> {
        let shares = by_sequence(config);
        let parts =
            self.with_rows(&shares, classes, None, |rows| folds(&shares, rows, count, seed))?;
        if let Some(sequence) = &config.sequence {
            parts.iter().try_for_each(|parts| self.check_whole(sequence, parts))?;
        }
        Ok(parts)
    }

    /// The rows of the one source, to be divided as `split` says: with `split.by = "file"`, whatever
    /// file is named.
    pub fn with_split(&self, split: Split) -> Self {
        Self {
            saved: Some(split),
            ..Self::from_frame(self.frame.clone())
        }
    }

    /// Calls `divide` with what a rule may have to know of the rows.
    fn with_rows<T>(
        &self,
        shares: &SplitConfig,
        classes: Option<&[u32]>,
        interactions: Option<&InteractionsConfig>,
        divide: impl FnOnce(&Rows<'_>) -> Result<T>,
    ) -> Result<T> {
        let frame = &self.frame;
        let listed = self.test_rows.as_ref().map(|rows| self.rows_of(rows)).transpose()?;
        let column = shares.column.as_deref();
        let values = column.map(|name| frame.key_column(name)).transpose()?;
        let place = |row: usize| frame.place(row);
        let key = column.zip(values.as_ref()).map(|(name, values)| Key {
            name,
            values,
            place: &place,
        });
        let [user, time] = by_user(shares, interactions);
        let with_values = |name: Option<String>| -> Result<Option<(ArrayRef, String)>> {
            name.map(|name| Ok((frame.column(&name)?, name))).transpose()
        };
        let (user, time) = (with_values(user)?, with_values(time)?);
        divide(&Rows {
            len: frame.len(),
            classes,
            listed: listed.as_deref(),
            key,
            user: user.as_ref().map(|(values, name)| Key {
                name,
                values,
                place: &place,
            }),
            time: time.as_ref().map(|(values, name)| Key {
                name,
                values,
                place: &place,
            }),
            saved: self.saved.as_ref(),
        })
    }

    /// Whether the rows of each group that are in one part follow each other: otherwise windows would
    /// have gaps, and rows of another part between theirs.
    fn check_whole(&self, sequence: &SequenceConfig, parts: &Split) -> Result<()> {
        let (group, order) = (sequence.group.as_deref(), sequence.order.as_deref());
        let groups = Groups::of_frame(&self.frame, group, order)?;
        let mut part_of = vec![0; parts.rows];
        for (part, rows) in [(1, &parts.valid), (2, &parts.test)] {
            rows.iter().for_each(|row| part_of[*row as usize] = part);
        }
        for places in groups.ranges() {
            let mut over = [false; 3];
            let rows = &groups.order[places];
            for pair in rows.windows(2) {
                let [before, part] = [pair[0], pair[1]].map(|row| part_of[row as usize]);
                over[before] |= before != part;
                if over[part] {
                    let cure = match group {
                        Some(group) => format!("`by = \"group\"` with `column = \"{group}\"`"),
                        None => "`by = \"time\"` with the `order` of the rows as `column`".into(),
                    };
                    return Err(Error::Config(format!(
                        "`split.by = \"{}\"` tears sequences apart (first at {}): use {cure} in `[data.split]`",
                        parts.by.name(),
                        self.frame.place(pair[1] as usize)
                    )));
                }
            }
        }
        Ok(())
    }

    /// The rows with the target that interactions without a rating have; see
    /// [`Frame::with_interaction`].
    ///
    /// # Errors
    /// When there is a column of its name.
    pub fn with_interaction(&self, interactions: &InteractionsConfig) -> Result<Self> {
        let add = |frame: &Frame| frame.clone().with_interaction(interactions);
        Ok(Self {
            frame: add(&self.frame)?,
            valid: self.valid.as_ref().map(add).transpose()?,
            test: self.test.as_ref().map(add).transpose()?,
            test_rows: self.test_rows.clone(),
            saved: self.saved.clone(),
        })
    }

    /// The rows that keep the contract; see [`Frame::settle`].
    ///
    /// # Errors
    /// When more rows are bad than `policy` allows, or a column of the contract is missing.
    pub fn settle(&self, contract: &Contract, policy: &BadPolicy) -> Result<Self> {
        let settle = |frame: &Frame| frame.settle(contract, policy);
        Ok(Self {
            frame: settle(&self.frame)?,
            valid: self.valid.as_ref().map(settle).transpose()?,
            test: self.test.as_ref().map(settle).transpose()?,
            test_rows: self.test_rows.clone(),
            saved: self.saved.clone(),
        })
    }

    /// All sources: the one that is divided first.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        std::iter::once(&self.frame).chain(&self.valid).chain(&self.test)
    }

    /// The rows that have these numbers in the source; numbers of bad rows are left out.
    fn rows_of(&self, numbers: &[usize]) -> Result<Vec<u32>> {
        let all = self.frame.len() + self.frame.bad().len();
        if let Some(number) = numbers.iter().find(|number| **number >= all) {
            return Err(Error::Config(format!(
                "`split.test_rows` lists row {number}, but the last row is {}",
                all - 1
            )));
        }
        let row = |number: &usize| self.frame.row_of(*number).map(|row| row as u32);
        Ok(numbers.iter().filter_map(row).collect())
    }
}

/// How rows are divided; where nothing is said, sequences are by whole groups or, where all rows are
/// one group, by time.
fn by_sequence(config: &DataConfig) -> SplitConfig {
    let mut split = config.split.clone();
    let is_said = split.by.is_some()
        || split.column.is_some()
        || split.file.is_some()
        || split.user.is_some()
        || split.test_rows.is_some();
    let Some(sequence) = config.sequence.as_ref().filter(|_| !is_said) else {
        return split;
    };
    let by = [(SplitBy::Group, &sequence.group), (SplitBy::Time, &sequence.order)];
    if let Some((by, column)) = by.into_iter().find(|(_, column)| column.is_some()) {
        split.by = Some(by);
        split.column = column.clone();
    }
    split
}

/// The columns of users and of times that rows are divided by, where they are.
fn by_user(split: &SplitConfig, interactions: Option<&InteractionsConfig>) -> [Option<String>; 2] {
    let by_user = [SplitBy::UserRatio, SplitBy::UserTime, SplitBy::LeaveOneOut];
    if !split.by.is_some_and(|by| by_user.contains(&by)) {
        return [None, None];
    }
    let user = || interactions.map(|i| i.user.clone());
    let time = || interactions.and_then(|i| i.time.clone());
    [split.user.clone().or_else(user), split.time.clone().or_else(time)]
}

/// Whether a column is a number or a text, which a source can deliver as either.
fn is_plain(field: &Field) -> bool {
    field.metadata().is_empty() && matches!(field.data_type(), DataType::Float64 | DataType::Utf8)
}

/// The columns, the plain ones that are `said` as this type.
fn retyped(schema: &Schema, kind: DataType, said: impl Fn(&str) -> bool) -> Schema {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match is_plain(field) && said(field.name()) {
            true => Arc::new(field.as_ref().clone().with_data_type(kind.clone())),
            false => field.clone(),
        });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The columns of a source but those that are left out, which must exist: what is wrong in them is
/// of no concern.
fn without_dropped(source: &dyn Source, config: &DataConfig) -> Result<Schema> {
    let drop = &config.drop;
    let schema = source.schema()?;
    let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    if let Some(column) = drop.iter().find(|column| !names.contains(column)) {
        return Err(Error::MissingColumn {
            column: column.clone(),
            place: format!("`{}`", source.name()),
            valid: names,
        });
    }
    let kept = schema.fields().iter().filter(|f| !config.leaves_out(f.name()));
    Ok(Schema::new(kept.cloned().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{CsvSource, Input};

    /// The table `x,y` of one file, with `kind` said of `x` where it is.
    fn read_as(rows: &str, kind: Option<ColumnKind>, on_bad: crate::OnBad) -> (Dataset, Contract) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.csv"), format!("x,y\n{rows}")).unwrap();
        let data = DataConfig {
            source: Paths::from("t.csv"),
            target: Some("y".into()),
            on_bad,
            ..Default::default()
        };
        let column = crate::config::ColumnConfig {
            kind,
            ..Default::default()
        };
        let columns: ColumnConfigs = kind.map(|_| ("x".to_string(), column)).into_iter().collect();
        let sources = Sources::open(&data, folder.path()).unwrap().with_columns(&columns);
        let data_set = sources.read().unwrap();
        let contract = Contract::infer(&data_set.frame, &data, &columns).unwrap();
        (data_set, contract)
    }

    #[test]
    fn a_slip_in_a_short_column_of_numbers_is_a_bad_row() {
        let rows = |slips: &[usize]| -> String {
            let cell = |i: usize| match slips.contains(&i) {
                true => "oops".to_string(),
                false => format!("{i}.5"),
            };
            (0..40)
                .map(|i| format!("{},{}\n", cell(i), ["a", "b"][i % 2]))
                .collect()
        };
        let (one, rows) = (rows(&[7]), rows(&[7, 17, 27, 37]));
        let kind_of_x = |contract: &Contract| contract.columns[0].kind;
        let (data, contract) = read_as(&one, None, crate::OnBad::Quarantine);
        assert_eq!((kind_of_x(&contract), data.frame.len()), (ColumnKind::Numeric, 39));
        assert_eq!(data.frame.bad()[0].value.as_deref(), Some("oops"));
        let (data, _) = read_as(&one, None, crate::OnBad::Null);
        assert_eq!((data.frame.len(), data.frame.nulled().len()), (40, 1));
        // What is said counts for more than the values.
        let (data, contract) = read_as(&one, Some(ColumnKind::Category), crate::OnBad::Quarantine);
        assert_eq!((kind_of_x(&contract), data.frame.len()), (ColumnKind::Category, 40));
        assert!(contract.columns[0].categories.contains(&"oops".to_string()));
        let (_, contract) = read_as(&rows, None, crate::OnBad::Quarantine);
        assert_eq!(kind_of_x(&contract), ColumnKind::Text);
        let (data, contract) = read_as(&rows, Some(ColumnKind::Numeric), crate::OnBad::Quarantine);
        assert_eq!((kind_of_x(&contract), data.frame.bad().len()), (ColumnKind::Numeric, 4));
    }

    #[test]
    fn a_class_that_is_no_number_is_a_class() {
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..200).map(|i| format!("{i},{}\n", i % 3)).collect();
        std::fs::write(folder.path().join("t.csv"), format!("x,y\n{rows}200,other\n")).unwrap();
        let mut data = DataConfig {
            source: Paths::from("t.csv"),
            target: Some("y".into()),
            ..Default::default()
        };
        assert_eq!(Dataset::load(&data, folder.path()).unwrap().frame.len(), 200);
        data.task = Some(Task::Classification);
        let frame = Dataset::load(&data, folder.path()).unwrap().frame;
        let contract = Contract::infer(&frame, &data, &Default::default()).unwrap();
        assert_eq!(contract.target().unwrap().categories, ["0", "1", "2", "other"]);
    }

    #[test]
    fn listed_numbers_count_bad_rows_too() {
        let input = Input::from_bytes("t.csv", "x,y\n0,a\n1\n2,b\n".as_bytes());
        let source = CsvSource::open(input, Default::default()).unwrap();
        let data = Dataset::from_frame(Frame::read_all(Box::new(source)).unwrap());
        assert_eq!(data.rows_of(&[1, 2]).unwrap(), [1]);
        let error = data.rows_of(&[3]).unwrap_err().to_string();
        assert!(error.contains("the last row is 2"), "{error}");
    }
}
