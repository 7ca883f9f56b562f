//! What two parts of the data share, groups and times, and what is odd about the rows of one.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::{Finding, FindingKind, Severity};
use crate::arrow::array::{Array, ArrayRef};
use crate::config::{AuditConfig, ColumnConfigs, Impute, SplitBy, SplitConfig};
use crate::contract::{ColumnKind, ColumnRule, Role};
use crate::frame::as_strings;
use crate::profile::warnings::{count, percent, slips};
use crate::split::{Key, times};
use crate::{Contract, Dataset, Error, Frame, Result, Split};

/// The parts that have rows, in the order in which they are used: train, valid, test.
pub(super) struct Parts<'a> {
    pub(super) all: Vec<Part<'a>>,
}

/// One part.
pub(super) struct Part<'a> {
    pub(super) name: &'static str,
    pub(super) frame: &'a Frame,
    /// Whether it has a source of its own.
    pub(super) own: bool,
    pub(super) rows: Vec<u32>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(data: &'a Dataset, split: &Split) -> Self {
        let part = |name, own: Option<&'a Frame>, rows: &[u32]| match own {
            Some(frame) => Part {
                name,
                frame,
                own: true,
                rows: (0..frame.len() as u32).collect(),
            },
            None => Part {
                name,
                frame: &data.frame,
                own: false,
                rows: rows.to_vec(),
            },
        };
        let mut all = vec![
            part("training", None, &split.train),
            part("validation", data.valid.as_ref(), &split.valid),
            part("test", data.test.as_ref(), &split.test),
        ];
        all.retain(|part| part.name == "training" || !part.rows.is_empty());
        Self { all }
    }

    pub(super) fn train(&self) -> &Part<'a> {
        &self.all[0]
    }

    /// One result per part of what `look` makes of its frame, which is made once a frame.
    pub(super) fn look<T>(&self, look: impl Fn(&Frame) -> Result<T>) -> Result<Vec<Rc<T>>> {
        let main = Rc::new(look(self.train().frame)?);
        let each = |part: &Part<'_>| match part.own {
            true => Ok(Rc::new(look(part.frame)?)),
            false => Ok(main.clone()),
        };
        self.all.iter().map(each).collect()
    }
}

impl Part<'_> {
    pub(super) fn place(&self, row: u32) -> String {
        self.frame.place(row as usize)
    }
}

/// A column of one of the frames; none where a part with a source of its own lacks it.
fn column_of(parts: &Parts<'_>, frame: &Frame, name: &str) -> Result<Option<ArrayRef>> {
    match frame.key_column(name) {
        Err(Error::MissingColumn { .. }) if !std::ptr::eq(frame, parts.train().frame) => Ok(None),
        found => found.map(Some),
    }
}

/// Groups with rows in two parts.
pub(super) fn shared_groups(
    parts: &Parts<'_>,
    contract: &Contract,
    split: &Split,
    config: &AuditConfig,
    divided: &SplitConfig,
) -> Result<Vec<Finding>> {
    let by_group = (split.by == SplitBy::Group)
        .then_some(divided.column.as_deref())
        .flatten();
    if let Some(name) = config.group.as_deref().or(by_group) {
        return Ok(shared(parts, name)?.into_iter().collect());
    }
    // Nobody has named a group: a column that is called an identifier and repeats may be one.
    let mut found = Vec::new();
    for rule in contract.columns.iter().filter(|rule| is_id_name(&rule.name)) {
        if divided.column.as_ref() == Some(&rule.name) {
            continue;
        }
        if let Some(finding) = shared(parts, &rule.name)? {
            found.push(Finding {
                severity: Severity::Warn,
                ..finding
            });
        }
    }
    Ok(found)
}

/// `id`, or a name that ends in it as a word of its own.
fn is_id_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ends = |end: &str| lower.ends_with(end);
    lower == "id" || ends("_id") || ends(" id") || ends("-id") || name.ends_with("Id")
}

fn shared(parts: &Parts<'_>, name: &str) -> Result<Option<Finding>> {
    let values = parts.look(|frame| {
        column_of(parts, frame, name)?
            .map(|column| as_strings(&column))
            .transpose()
    })?;
    // Each group's rows in each part.
    let mut groups: BTreeMap<&str, HashMap<usize, usize>> = BTreeMap::new();
    let mut rows = 0;
    for (at, part) in parts.all.iter().enumerate() {
        let Some(values) = values[at].as_ref() else {
            continue;
        };
        for row in &part.rows {
            let row = *row as usize;
            if values.is_valid(row) {
                *groups.entry(values.value(row)).or_default().entry(at).or_default() += 1;
                rows += 1;
            }
        }
    }
    // Identifiers that never repeat group nothing.
    if groups.len() == rows {
        return Ok(None);
    }
    let in_two = groups.iter().filter(|(_, found)| found.len() > 1);
    let Some((example, found)) = in_two.clone().next() else {
        return Ok(None);
    };
    let mut where_found: Vec<usize> = found.keys().copied().collect();
    where_found.sort_unstable();
    let names: Vec<&str> = where_found.iter().map(|at| parts.all[*at].name).collect();
    // Whole numbers up to the number of groups may start anew in each file.
    let divided = |at: &&usize| !parts.all[**at].own;
    let all_own = in_two
        .clone()
        .all(|(_, found)| found.keys().filter(divided).count() < 2);
    let most = 2 * groups.len() as u64;
    let numbered = groups
        .keys()
        .all(|group| group.parse::<u64>().is_ok_and(|n| n <= most));
    let anew = all_own && numbered;
    let fix = match anew {
        true => format!(
            "look whether `{name}` counts anew in each file, and drop rows of groups that do not"
        ),
        false if all_own => "remove the rows of such groups from one of the files".into(),
        false => format!("divide by it with `split = {{ by = \"group\", column = \"{name}\" }}`"),
    };
    Ok(Some(Finding {
        kind: FindingKind::SharedGroups,
        severity: if anew { Severity::Warn } else { Severity::Stop },
        column: Some(name.into()),
        message: format!(
            "{} of {} values of `{name}` have rows in two parts, such as `{example}` in {}, so that the figures say nothing of a new one",
            in_two.count(),
            groups.len(),
            names.join(" and ")
        ),
        fix,
    }))
}

/// Rows to judge by that are older than rows to learn from.
pub(super) fn time_overlap(
    parts: &Parts<'_>,
    split: &Split,
    config: &AuditConfig,
    divided: &SplitConfig,
) -> Result<Vec<Finding>> {
    let by_time = (split.by == SplitBy::Time)
        .then_some(divided.column.as_deref())
        .flatten();
    let Some(name) = config.time.as_deref().or(by_time) else {
        return Ok(Vec::new());
    };
    let found = parts.look(|frame| {
        let Some(values) = column_of(parts, frame, name)? else {
            return Ok(None);
        };
        let place = |row: usize| frame.place(row);
        let key = Key {
            name,
            values: &values,
            place: &place,
        };
        Ok(Some((times(key)?, as_strings(&values)?)))
    })?;
    let time = |at: usize, row: u32| found[at].as_ref().as_ref()?.0[row as usize];
    let last = parts.train().rows.iter().copied().max_by_key(|row| time(0, *row));
    let Some(last) = last.filter(|row| time(0, *row).is_some()) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    let mut counts = Vec::new();
    for (at, part) in parts.all.iter().enumerate().skip(1) {
        let earlier = |row: &&u32| time(at, **row).is_some_and(|t| Some(t) < time(0, last));
        let early = part.rows.iter().filter(earlier).count();
        if early > 0 {
            counts.push(format!(
                "{} of {}",
                count(early, &format!("{} row", part.name)),
                part.rows.len()
            ));
        }
    }
    if let (false, Some((_, texts))) = (counts.is_empty(), found[0].as_ref()) {
        findings.push(Finding {
            kind: FindingKind::TimeOverlap,
            severity: Severity::Warn,
            column: Some(name.into()),
            message: format!(
                "{} are older than the last training row, of `{}` in `{name}`, so that the model is judged on a past it has seen the future of",
                counts.join(" and "),
                texts.value(last as usize)
            ),
            fix: format!("divide by time with `split = {{ by = \"time\", column = \"{name}\" }}`"),
        });
    }
    Ok(findings)
}

/// Columns that fill missing values from the row before, in rows that are not in the order of time:
/// of the column that is named, else of the only one that holds times.
pub(super) fn row_order(
    parts: &Parts<'_>,
    contract: &Contract,
    config: &AuditConfig,
    divided: &SplitConfig,
    columns: &ColumnConfigs,
) -> Result<Vec<Finding>> {
    let fills = |rule: &&ColumnRule| {
        let said = columns.get(&rule.name).and_then(|column| column.impute.as_ref());
        said == Some(&Impute::ForwardFill) && rule.nullable
    };
    let filled: Vec<&str> = contract
        .features()
        .filter(fills)
        .map(|rule| rule.name.as_str())
        .collect();
    if filled.is_empty() {
        return Ok(Vec::new());
    }
    let by_time = (divided.by == Some(SplitBy::Time)).then_some(divided.column.as_deref());
    let mut kinds = contract.columns.iter().filter(|rule| rule.kind == ColumnKind::Time);
    let only = kinds.next().filter(|_| kinds.next().is_none());
    let named = config.time.as_deref().or(by_time.flatten());
    let Some(time) = named.or(only.map(|rule| rule.name.as_str())) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    for part in &parts.all {
        let Some(values) = column_of(parts, part.frame, time)? else {
            continue;
        };
        let place = |row: usize| part.frame.place(row);
        let key = Key {
            name: time,
            values: &values,
            place: &place,
        };
        let times = times(key)?;
        let known: Vec<u32> = part
            .rows
            .iter()
            .copied()
            .filter(|row| times[*row as usize].is_some())
            .collect();
        let back = known
            .windows(2)
            .find(|pair| times[pair[1] as usize] < times[pair[0] as usize]);
        let Some(back) = back else { continue };
        findings.extend(filled.iter().map(|name| Finding {
            kind: FindingKind::RowOrder,
            severity: Severity::Warn,
            column: Some(name.to_string()),
            message: format!(
                "`{name}` fills missing values from the row before, but the {} rows do not follow each other by `{time}` (first at {})",
                part.name,
                part.place(back[1])
            ),
            fix: format!("sort the rows by `{time}`"),
        }));
        break;
    }
    Ok(findings)
}

/// Columns of names or texts most of whose values are numbers, where nobody has said that they are names.
pub(super) fn mostly_numbers(
    parts: &Parts<'_>,
    contract: &Contract,
    columns: &ColumnConfigs,
) -> Result<Vec<Finding>> {
    let train = parts.train();
    let mut findings = Vec::new();
    for rule in &contract.columns {
        let is_used = matches!(rule.role, Role::Feature | Role::Target) || rule.note.is_some();
        let is_said = columns.get(&rule.name).is_some_and(|column| column.kind.is_some());
        if !is_used || is_said || !matches!(rule.kind, ColumnKind::Category | ColumnKind::Text) {
            continue;
        }
        let Some(values) = column_of(parts, train.frame, &rule.name)? else {
            continue;
        };
        let texts = as_strings(&values)?;
        let rows = train.rows.iter().map(|row| *row as usize);
        let Some(slips) =
            slips(rows.filter(|row| texts.is_valid(*row)).map(|row| texts.value(row)))
        else {
            continue;
        };
        findings.push(Finding {
            kind: FindingKind::MostlyNumbers,
            severity: Severity::Warn,
            column: Some(rule.name.clone()),
            message: format!("`{}` is no column of numbers: {slips}", rule.name),
            fix: format!(
                "add it to `missing` in `[data.csv]` if it stands for nothing, or say `kind = \"numeric\"` (or `\"category\"`) in `[columns.{}]`",
                rule.name
            ),
        });
    }
    Ok(findings)
}

/// Columns of names or texts with a value that goes on over a line end and a delimiter. A quote that opens
/// nothing, as in a file that knows no quotes, makes one value of all rows up to the next quote. Lines of text
/// with commas or blanks in them are too common to say so of them.
pub(super) fn joined_rows(parts: &Parts<'_>, contract: &Contract) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for rule in &contract.columns {
        let is_used = matches!(rule.role, Role::Feature | Role::Target);
        if !is_used || !matches!(rule.kind, ColumnKind::Category | ColumnKind::Text) {
            continue;
        }
        for part in &parts.all {
            let delimiter = part.frame.quoted_delimiter();
            let Some(delimiter) = delimiter.filter(|mark| !matches!(mark, ',' | ' ')) else {
                continue;
            };
            let Some(values) = column_of(parts, part.frame, &rule.name)? else {
                continue;
            };
            let texts = as_strings(&values)?;
            let is_joined = |row: &usize| {
                let later = texts.is_valid(*row).then(|| texts.value(*row).split_once('\n'));
                later.flatten().is_some_and(|(_, later)| later.contains(delimiter))
            };
            let rows = part.rows.iter().map(|row| *row as usize);
            let joined: Vec<usize> = rows.filter(is_joined).collect();
            let Some(first) = joined.first() else {
                continue;
            };
            findings.push(Finding {
                kind: FindingKind::JoinedRows,
                severity: Severity::Warn,
                column: Some(rule.name.clone()),
                message: format!(
                    "`{}` holds line ends and delimiters in {} ({}), as if rows had been joined by a quote that opens nothing",
                    rule.name,
                    of_part(joined.len(), part),
                    part.frame.place(*first)
                ),
                fix: "say `quote = \"\"` in `[data.csv]` if quotes are characters like any other".into(),
            });
            break;
        }
    }
    Ok(findings)
}

/// "3 of 40 test rows (7.5 %)".
pub(super) fn of_part(found: usize, part: &Part<'_>) -> String {
    let all = part.rows.len();
    format!("{found} of {} ({})", count(all, &format!("{} row", part.name)), percent(found, all))
}
