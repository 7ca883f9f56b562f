//! What a person should look at before training.

use serde::{Deserialize, Serialize};

use super::cells::{Cells, Seen};
use super::relation::{Target, Tells};
use super::{ColumnProfile, Profile, share};
use crate::contract::{ColumnKind, Role, number};
use crate::error::list;

/// Something suspicious.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What kind of thing.
    pub kind: WarningKind,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// What was found and what to do, in one sentence.
    pub message: String,
}

/// The kinds of warnings, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// A feature tells the target alone: it may not be known when it is time to predict.
    PerfectPredictor,
    /// Rows could not be read.
    Quarantined,
    /// The first line of the file names no columns: it is a row like the others.
    NoHeader,
    /// Rows lack the target.
    TargetMissing,
    /// A number is so large that hardly anything can be learned beside it.
    Extreme,
    /// A column is read as names or texts for the sake of a few values that are no numbers.
    MostlyNumbers,
    /// Images cannot be read.
    UnreadableImages,
    /// Some classes are much rarer than others.
    Imbalance,
    /// Rows or images repeat earlier ones.
    Duplicates,
    /// A column has one value.
    Constant,
    /// A column numbers or names the rows.
    IdLike,
    /// Most rows lack a value.
    MostlyMissing,
}

/// Fewer rows than this do not make distinct values an identifier.
const MIN_ROWS: usize = 20;
/// The commonest class may have this many times the rows of the rarest.
const BALANCED: usize = 10;

/// Numbers beyond this stand for something missing, or are slips: their squares leave 32 bits.
const EXTREME: f64 = 1e20;

/// What is suspicious about the data set as a whole. `header` says whether the first line of a file
/// was taken for the names of its columns.
pub(super) fn of_profile(
    profile: &Profile,
    target: Option<&Target<'_>>,
    header: bool,
) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |kind, message| {
        found.push(Warning {
            kind,
            column: None,
            message,
        })
    };
    let all = profile.rows + profile.quarantined;
    if let Some(reason) = profile.reasons.first() {
        let message = format!(
            "{} of {} could not be read, {} for this reason: {} (first {})",
            percent(profile.quarantined, all),
            count(all, "row"),
            grouped(reason.count),
            reason.reason,
            reason.first
        );
        warn(WarningKind::Quarantined, message);
    }
    let like_values = profile
        .columns
        .iter()
        .filter(|column| is_like_a_value(column))
        .count();
    if header && 2 * like_values >= profile.columns.len() && like_values > 0 {
        let names = profile.columns.iter().take(5).map(|column| column.name.clone());
        let message = format!(
            "the first line looks like a row, since the columns are called {} as values are: say `header = false` in `[data.csv]`, and `names` if you like",
            list(&names.collect::<Vec<_>>())
        );
        warn(WarningKind::NoHeader, message);
    }
    if profile.duplicates > 0 {
        let message = format!(
            "{} ({}) {} an earlier row in every column: without repeats, no row is both learned from and tested on",
            count(profile.duplicates, "row"),
            percent(profile.duplicates, profile.rows),
            repeat(profile.duplicates)
        );
        warn(WarningKind::Duplicates, message);
    }
    if let (Some(Target::Classes { counts, .. }), Some(name)) = (target, &profile.target) {
        let (most, least) = (counts.iter().max(), counts.iter().min());
        if let (Some(most), Some(least)) = (most, least)
            && *most >= BALANCED * least
        {
            let message = format!(
                "the classes of `{name}` are uneven: the commonest has {} ({}), the rarest {}; judge a model by more than its accuracy",
                count(*most, "row"),
                percent(*most, profile.rows),
                grouped(*least)
            );
            found.push(Warning {
                kind: WarningKind::Imbalance,
                column: Some(name.clone()),
                message,
            });
        }
    }
    found
}

/// What is suspicious about one column.
pub(super) fn of_column(
    column: &ColumnProfile,
    cells: &Cells,
    seen: &Seen,
    tells: Option<Tells>,
) -> Vec<Warning> {
    let name = &column.name;
    let rows = cells.len();
    let mut found = Vec::new();
    let mut warn = |kind, message| {
        found.push(Warning {
            kind,
            column: Some(name.clone()),
            message,
        });
    };
    if let Some(tells) = tells.filter(|_| column.role == Role::Feature) {
        let what = match tells {
            Tells::All => format!("`{name}`"),
            Tells::Some => format!("a value of `{name}`"),
        };
        let message = format!(
            "{what} alone tells the target: drop the column, unless it is known when it is time to predict"
        );
        warn(WarningKind::PerfectPredictor, message);
    }
    if column.role == Role::Target && column.missing > 0 {
        let message = format!(
            "the target `{name}` is missing in {}: they cannot be learned from",
            count(column.missing, "row")
        );
        warn(WarningKind::TargetMissing, message);
    }
    if let Some(numbers) = column.numbers.as_ref().filter(|n| n.max.max(-n.min) > EXTREME) {
        let message = format!(
            "`{name}` goes from {:e} to {:e}: numbers beyond {EXTREME:e} stand for something missing or are slips, and hide all others; say `range` or `clip` in `[columns.{name}]`",
            numbers.min, numbers.max
        );
        warn(WarningKind::Extreme, message);
    }
    if let Some(slips) = slips(cells.texts()) {
        let message = format!(
            "{slips}: add it to `missing` in `[data.csv]` if it stands for nothing, or say `kind = \"numeric\"` in `[columns.{name}]`"
        );
        warn(WarningKind::MostlyNumbers, format!("`{name}` is no column of numbers: {message}"));
    }
    match column.distinct.count {
        0 => warn(WarningKind::Constant, format!("`{name}` has no values: drop it")),
        1 if column.kind != ColumnKind::Image && column.missing == 0 => {
            warn(WarningKind::Constant, format!("`{name}` has one value in all rows: drop it"));
        }
        _ => {}
    }
    if column.role != Role::Target && is_id(column, cells, seen) {
        let message = format!(
            "`{name}` looks like an identifier, a new value in every row: drop it, for it means nothing in new rows"
        );
        warn(WarningKind::IdLike, message);
    }
    if column.distinct.count > 0 && 2 * column.missing > rows {
        let message =
            format!("`{name}` is missing in {} of the rows", percent(column.missing, rows));
        warn(WarningKind::MostlyMissing, message);
    }
    if let Some(images) = &column.images {
        if images.unreadable > 0 {
            let message = format!(
                "{} of `{name}` cannot be read: training sets such rows apart or stops at them",
                count(images.unreadable, "image")
            );
            warn(WarningKind::UnreadableImages, message);
        }
        let repeated = seen.present.saturating_sub(column.distinct.count);
        if column.distinct.exact && repeated > 0 {
            let message = format!(
                "{} of `{name}` {} an earlier one byte for byte: without repeats, none is both learned from and tested on",
                count(repeated, "image"),
                repeat(repeated)
            );
            warn(WarningKind::Duplicates, message);
        }
    }
    found
}

/// What keeps a column of numbers from being one.
pub(crate) struct Slips {
    numbers: usize,
    all: usize,
    /// The first value that is no number, or how it begins.
    other: String,
}

impl std::fmt::Display for Slips {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            numbers,
            all,
            other,
        } = self;
        write!(f, "{numbers} of {all} values are numbers, others, such as `{other}`, are not")
    }
}

/// What is no number among texts of which four in five are, and twenty or more.
pub(crate) fn slips<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Slips> {
    let (mut numbers, mut all, mut other) = (0, 0, None);
    for text in texts {
        all += 1;
        match number(text.trim().as_bytes()) {
            Some(_) => numbers += 1,
            None => other = other.or(Some(text)),
        }
    }
    let other = other?.chars().take(20).collect();
    (numbers >= MIN_ROWS && 5 * numbers >= 4 * all).then_some(Slips {
        numbers,
        all,
        other,
    })
}

/// Whether the name of a column could be one of its values.
fn is_like_a_value(column: &ColumnProfile) -> bool {
    match &column.numbers {
        Some(numbers) => number(column.name.as_bytes())
            .is_some_and(|name| (numbers.min..=numbers.max).contains(&name)),
        None => column.top.iter().any(|level| level.value == column.name),
    }
}

/// A different value in every row, and either one word each, or whole numbers that count the rows.
pub(crate) fn is_id(column: &ColumnProfile, cells: &Cells, seen: &Seen) -> bool {
    let distinct = column.distinct;
    let all_differ = match distinct.exact {
        true => distinct.count == seen.present,
        false => distinct.count as f64 >= 0.99 * seen.present as f64,
    };
    if !all_differ || seen.present < MIN_ROWS {
        return false;
    }
    match &column.numbers {
        Some(numbers) => {
            let counts_rows = numbers.max - numbers.min < 2.0 * seen.present as f64;
            numbers.whole && (counts_rows || is_sorted(cells.numbers()))
        }
        None => {
            let sentences = cells.texts().filter(|t| t.contains(char::is_whitespace)).count();
            column.kind == ColumnKind::Text && 10 * sentences <= seen.present
        }
    }
}

fn is_sorted(values: impl Iterator<Item = f64> + Clone) -> bool {
    values.clone().is_sorted() || values.is_sorted_by(|a, b| a >= b)
}

pub(crate) fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{} {what}s", grouped(n)),
    }
}

fn repeat(n: usize) -> &'static str {
    if n == 1 { "repeats" } else { "repeat" }
}

/// A count with its thousands set apart.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(crate) fn percent(part: usize, whole: usize) -> String {
    match 100.0 * share(part, whole) {
        p if p > 0.0 && p < 0.1 => "less than 0.1 %".into(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}
