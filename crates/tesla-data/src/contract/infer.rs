//! What every column is, from one pass over the rows.

use std::collections::BTreeSet;

use super::{ColumnKind, ColumnRule, Contract, Limits, Role, Task};
use crate::arrow::array::{Array, ArrayRef, Float64Array};
use crate::arrow::compute::cast;
use crate::arrow::datatypes::{DataType, Field};
use crate::config::{ColumnConfigs, DataConfig};
use crate::error::list;
use crate::frame::{as_strings, downcast};
use crate::prepare::REMAINING_LIFE;
use crate::source::{IMAGE_KEY, TEXT_KEY};
use crate::{Error, Frame, Result};

/// Text columns with more distinct values than this are free text, not categories.
const MAX_CATEGORIES: usize = 1000;
/// Whole-number targets with at most this many distinct values are classes.
const MAX_NUMERIC_CLASSES: usize = 20;
/// More distinct values than this are not kept: no target has so many classes, and no column so
/// many categories.
const MAX_DISTINCT: usize = 100_000;

impl Contract {
    /// Infers the contract from rows and from what the configuration says.
    ///
    /// # Errors
    /// When a configured column does not exist, or no target is known.
    pub fn infer(frame: &Frame, data: &DataConfig, columns: &ColumnConfigs) -> Result<Self> {
        if frame.is_empty() {
            data.bad_policy().check(frame.name(), frame.bad(), 0)?;
        }
        let (task, rules) = survey(frame, data, columns)?;
        let target = rules.iter().find(|rule| rule.role == Role::Target);
        let (Some(task), Some(target)) = (task, target.map(|rule| rule.name.clone())) else {
            let names: Vec<String> = rules.into_iter().map(|rule| rule.name).collect();
            return Err(Error::Config(format!(
                "no target: say which column of `{}` to predict with `--target` or `target` in `[data]`, one of {}",
                frame.name(),
                list(&names)
            )));
        };
        let contract = Self {
            task,
            columns: rules,
        };
        if contract.features().next().is_none() {
            return Err(Error::Config(format!(
                "`{}` leaves no column to learn from: every column but `{target}` is dropped, empty or an identifier",
                frame.name()
            )));
        }
        Ok(contract)
    }
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
    let schema = frame.schema();
    let target = target(frame, data, columns)?;
    let interactions = data.interactions.as_ref();
    let mut stats: Vec<Stats> = schema
        .fields()
        .iter()
        .map(|field| {
            let said = columns.get(field.name()).and_then(|c| c.kind);
            let is_category = said == Some(ColumnKind::Category)
                || target.as_ref() == Some(field.name())
                || interactions.is_some_and(|i| i.is_side(field.name()));
            Stats::new(field, is_category)
        })
        .collect();
    for batch in frame.batches()? {
        for (stats, values) in std::iter::zip(&mut stats, batch?.columns()) {
            stats.update(values)?;
        }
    }

    let has_content = schema.fields().iter().any(|f| is_content(f));
    let mut task = None;
    let mut rules = Vec::new();
    let mut prose = Vec::new();
    for (field, stats) in std::iter::zip(schema.fields(), stats) {
        let said = columns.get(field.name()).and_then(|c| c.kind);
        let is_side = interactions.is_some_and(|i| i.is_side(field.name()));
        let mut rule = match is_side {
            true => stats.side(field)?,
            false => stats.rule(field, said)?,
        };
        if let Some(config) = columns.get(field.name()) {
            rule.limits = Limits::of(config);
            rule.limits.check(&rule)?;
        }
        // A row that does not say who or what is of no use.
        rule.limits.required |= is_side;
        if target.as_ref() == Some(field.name()) {
            rule.role = Role::Target;
            rule.note = None;
            let life = rule.name == REMAINING_LIFE && data.target.is_none();
            let number = life || interactions.is_some();
            let found = stats.task(&rule, data.task.or(number.then_some(Task::Regression)))?;
            task = Some(found);
            if found == Task::Classification {
                rule.kind = ColumnKind::Category;
                rule.range = None;
                rule.categories = stats.categories(&rule.name)?;
            }
        } else if interactions.is_some() && !is_side {
            rule.role = Role::Unused;
            rule.note = (!data.drop.contains(field.name()))
                .then(|| "`[data.interactions]` learns from users and items alone".to_string());
        } else if data.is_key(field.name())
            && (!columns.contains_key(field.name()) || data.drop.contains(field.name()))
        {
            rule.role = Role::Key;
            rule.range = None;
            // Other names will come: nothing is to be known of these.
            rule.categories = Vec::new();
            if rule.kind == ColumnKind::Category {
                rule.kind = ColumnKind::Text;
            }
            rule.note = Some(format!(
                "windows are built by it (`data.sequence`); say `[columns.{}]` to learn from it too",
                rule.name
            ));
        } else if data.drop.iter().any(|c| c == field.name()) || (has_content && !is_content(field))
        {
            rule.role = Role::Unused;
            rule.note = None;
        } else if data.split.column.as_ref() == Some(field.name())
            && !columns.contains_key(field.name())
        {
            rule.role = Role::Unused;
            rule.note = Some(format!(
                "it divides the rows (`split.column`); say `[columns.{}]` to learn from it too",
                rule.name
            ));
        }
        rules.push(rule);
        prose.push(stats.is_prose());
    }
    if task.is_some() {
        use_texts(&mut rules, &prose);
    }
    Ok((task, rules))
}

/// Where nothing else is left to learn from, free text is: the columns of more than one word, or the
/// only one there is.
fn use_texts(rules: &mut [ColumnRule], prose: &[bool]) {
    if rules.iter().any(|rule| rule.role == Role::Feature) {
        return;
    }
    let texts: Vec<usize> = (0..rules.len())
        .filter(|at| rules[*at].kind == ColumnKind::Text && rules[*at].note.is_some())
        .filter(|at| rules[*at].role == Role::Unused)
        .collect();
    let several = texts.len() > 1;
    for at in texts.into_iter().filter(|at| prose[*at] || !several) {
        rules[at].role = Role::Feature;
        rules[at].note = None;
    }
}

/// The target's name, where there is one; every configured column must exist.
fn target(frame: &Frame, data: &DataConfig, columns: &ColumnConfigs) -> Result<Option<String>> {
    let fields = frame.schema().fields();
    let names: Vec<String> = fields.iter().map(|f| f.name().clone()).collect();
    let target = match data.target.as_deref() {
        None if fields.iter().any(|f| is_content(f)) && names.iter().any(|n| n == "label") => {
            Some("label")
        }
        target => target,
    };
    let made = data.sequence.iter().any(|s| s.remaining_life.is_some());
    let target = match (made, target) {
        (true, None) => Some(REMAINING_LIFE),
        (true, Some(target)) if target != REMAINING_LIFE => {
            return Err(Error::Config(format!(
                "`target = \"{target}\"` and `sequence.remaining_life` in `[data]` both say what to predict: remove one"
            )));
        }
        (_, target) => target,
    };
    let target = match (&data.interactions, target) {
        (Some(interactions), target) => Some(interactions.target(target)?),
        (None, target) => target,
    };
    let sides = data.interactions.iter().flat_map(|i| i.columns());
    let sides: Vec<&str> = sides.collect();
    let keys: Vec<&str> = data.sequence.iter().flat_map(|s| s.keys()).collect();
    if let Some(key) = keys.iter().find(|key| Some(**key) == target) {
        let message =
            format!("`{key}` is both the target and in `data.sequence`: build windows by another");
        return Err(Error::Config(message));
    }
    if let Some(target) = target.filter(|target| data.drop.iter().any(|c| c == target)) {
        let message = format!("`{target}` is both the target and in `drop`: remove one");
        return Err(Error::Config(message));
    }
    let divides = data.split.column.as_deref();
    if let Some(column) = divides.filter(|column| Some(*column) == target) {
        let message =
            format!("`{column}` is both the target and `split.column`: divide by another");
        return Err(Error::Config(message));
    }
    let said = columns.keys().map(String::as_str);
    for column in target.into_iter().chain(divides).chain(keys).chain(sides).chain(said) {
        if !names.iter().any(|n| n == column) {
            return Err(Error::MissingColumn {
                column: column.to_string(),
                place: format!("`{}`", frame.name()),
                valid: names,
            });
        }
    }
    Ok(target.map(String::from))
}

fn is_image(field: &Field) -> bool {
    field.metadata().contains_key(IMAGE_KEY)
}

/// What the rows of a folder, or of a list of files, are about; its other columns describe them.
fn is_content(field: &Field) -> bool {
    is_image(field) || field.metadata().contains_key(TEXT_KEY)
}

/// What is known of a column after some batches.
struct Stats {
    is_number: bool,
    is_image: bool,
    /// Whether the source says that this is free text.
    is_text: bool,
    rows: usize,
    missing: usize,
    range: Option<[f64; 2]>,
    /// Whether every number so far is whole.
    whole: bool,
    /// Texts that were looked at, and those of them with a blank inside.
    texts: usize,
    blanks: usize,
    /// The distinct values as text, up to `MAX_DISTINCT`; only where they may be needed.
    distinct: Option<BTreeSet<String>>,
}

impl Stats {
    fn new(field: &Field, is_category: bool) -> Self {
        let is_number = field.data_type().is_numeric();
        let is_image = is_image(field);
        let is_text = field.metadata().contains_key(TEXT_KEY);
        let wants_distinct = !is_image && (is_category || !(is_number || is_text));
        Self {
            is_number,
            is_image,
            is_text,
            texts: 0,
            blanks: 0,
            rows: 0,
            missing: 0,
            range: None,
            whole: true,
            distinct: wants_distinct.then(BTreeSet::new),
        }
    }

    fn update(&mut self, values: &ArrayRef) -> Result<()> {
        self.rows += values.len();
        self.missing += values.null_count();
        if self.is_number {
            let values = cast(values, &DataType::Float64)?;
            for value in downcast::<Float64Array>(&values)?.iter().flatten() {
                if !value.is_finite() {
                    continue;
                }
                let [min, max] = self.range.unwrap_or([value, value]);
                self.range = Some([min.min(value), max.max(value)]);
                self.whole &= value.fract() == 0.0;
            }
        }
        if let Some(distinct) = self.distinct.as_mut().filter(|d| d.len() <= MAX_DISTINCT) {
            for value in as_strings(values)?.iter().flatten() {
                self.texts += 1;
                self.blanks += usize::from(value.trim().contains(char::is_whitespace));
                if !distinct.contains(value) && distinct.len() <= MAX_DISTINCT {
                    distinct.insert(value.to_string());
                }
            }
        }
        Ok(())
    }

    fn rule(&self, field: &Field, said: Option<ColumnKind>) -> Result<ColumnRule> {
        let mut rule = ColumnRule {
            name: field.name().clone(),
            kind: ColumnKind::Numeric,
            role: Role::Feature,
            nullable: self.missing > 0,
            range: None,
            categories: Vec::new(),
            limits: Limits::default(),
            note: None,
        };
        if self.is_image {
            rule.kind = ColumnKind::Image;
            return Ok(rule);
        }
        if self.is_text && said.is_none() {
            rule.kind = ColumnKind::Text;
            return Ok(rule);
        }
        if self.missing == self.rows {
            rule.role = Role::Unused;
            rule.note = Some("it has no values".into());
            return Ok(rule);
        }
        rule.kind = match said {
            Some(ColumnKind::Image) => {
                return Err(Error::Config(format!(
                    "column `{}` is configured as an image, but holds numbers or text: use `column` in `[data.images]` for a column of paths",
                    field.name()
                )));
            }
            Some(ColumnKind::Numeric) if !self.is_number => {
                return Err(Error::Config(format!(
                    "column `{}` is configured as a number, but holds text: use `kind = \"category\"`",
                    field.name()
                )));
            }
            Some(kind) => kind,
            None if self.is_number => ColumnKind::Numeric,
            None => {
                let seen = self.distinct.as_ref().map_or(0, BTreeSet::len);
                let present = self.rows - self.missing;
                match seen > MAX_CATEGORIES || (seen > 20 && 2 * seen > present) {
                    true => ColumnKind::Text,
                    false => ColumnKind::Category,
                }
            }
        };
        match rule.kind {
            ColumnKind::Numeric => rule.range = self.range,
            ColumnKind::Category => rule.categories = self.categories(field.name())?,
            ColumnKind::Text if said.is_none() => {
                rule.role = Role::Unused;
                rule.note = Some(
                    "it looks like free text or an identifier; say `kind = \"category\"` to use it, or drop the other columns to learn from it as text"
                        .into(),
                );
            }
            ColumnKind::Text | ColumnKind::Image => {}
        }
        Ok(rule)
    }

    /// What a column of users or items is: a category, of however many levels.
    fn side(&self, field: &Field) -> Result<ColumnRule> {
        let many = self.distinct.as_ref().is_some_and(|d| d.len() > MAX_DISTINCT);
        let kind = if many {
            ColumnKind::Text
        } else {
            ColumnKind::Category
        };
        let mut rule = self.rule(field, Some(kind))?;
        (rule.role, rule.kind) = (Role::Feature, ColumnKind::Category);
        Ok(rule)
    }

    /// Whether most values have more than one word, which no identifier has.
    fn is_prose(&self) -> bool {
        2 * self.blanks > self.texts
    }

    /// The distinct values, sorted.
    fn categories(&self, column: &str) -> Result<Vec<String>> {
        let distinct = self.distinct.iter().flatten();
        match self.distinct.as_ref().is_some_and(|d| d.len() > MAX_DISTINCT) {
            true => Err(Error::Config(format!(
                "column `{column}` has more than {MAX_DISTINCT} distinct values, which are no categories: drop it, or say another `kind`"
            ))),
            false => Ok(distinct.cloned().collect()),
        }
    }

    fn task(&self, rule: &ColumnRule, said: Option<Task>) -> Result<Task> {
        match said {
            Some(Task::Regression) if !self.is_number => Err(Error::Config(format!(
                "the target `{}` holds text, which cannot be predicted as a number: use `task = \"classification\"`",
                rule.name
            ))),
            Some(Task::Regression) if rule.kind != ColumnKind::Numeric => {
                Err(Error::Config(format!(
                    "the target `{}` is configured as a category and its task as regression: remove one",
                    rule.name
                )))
            }
            Some(task) => Ok(task),
            None if !self.is_number || rule.kind != ColumnKind::Numeric => Ok(Task::Classification),
            None => {
                let seen = self.distinct.as_ref().map_or(0, BTreeSet::len);
                Ok(match self.whole && seen <= MAX_NUMERIC_CLASSES {
                    true => Task::Classification,
                    false => Task::Regression,
                })
            }
        }
    }
}
