//! A profile as text, at the width of the terminal.

use std::fmt::Write;

use tesla_data::contract::Role;
use tesla_data::profile::{ColumnProfile, Histogram, Level, Profile};
use tesla_data::{ColumnKind, Task};

use crate::figures::{count, number, percent, share};

/// Columns of one kind that are shown.
const MAX_COLUMNS: usize = 60;
/// Warnings that are shown.
const MAX_WARNINGS: usize = 20;

/// The profile for a terminal that is `width` characters wide.
pub(crate) fn profile(profile: &Profile, width: usize) -> String {
    let width = width.clamp(72, 132);
    let mut out = format!(
        "{}: {} row{}, {}{}\n",
        clean(&profile.source),
        count(profile.rows),
        if profile.rows == 1 { "" } else { "s" },
        super::plural(profile.columns.len(), "column"),
        target(profile)
    );
    warnings(&mut out, profile, width);
    let table = Table {
        profile,
        width,
        name: if width < 112 { 17 } else { 26 },
    };
    table.numbers(&mut out);
    table.categories(&mut out);
    table.times(&mut out);
    table.texts(&mut out);
    table.images(&mut out);
    out
}

fn target(profile: &Profile) -> String {
    let Some(name) = &profile.target else {
        return String::new();
    };
    let column = profile.columns.iter().find(|column| column.name == *name);
    match (profile.task, column) {
        (Some(Task::Classification), Some(column)) => {
            format!("; target {}, {} classes", clean(name), distinct(column))
        }
        _ => format!("; target {}, a number", clean(name)),
    }
}

fn warnings(out: &mut String, profile: &Profile, width: usize) {
    if profile.warnings.is_empty() {
        *out += "\nnothing suspicious was found\n";
        return;
    }
    *out += "\nlook at this first\n";
    for warning in profile.warnings.iter().take(MAX_WARNINGS) {
        for (i, line) in wrap(&clean(&warning.message), width - 4).iter().enumerate() {
            let _ = writeln!(out, "  {} {line}", if i == 0 { '!' } else { ' ' });
        }
    }
    more(out, profile.warnings.len(), MAX_WARNINGS);
}

struct Table<'a> {
    profile: &'a Profile,
    width: usize,
    /// The width of a column's name.
    name: usize,
}

impl Table<'_> {
    fn columns(&self, kind: ColumnKind) -> Vec<&ColumnProfile> {
        self.profile
            .columns
            .iter()
            .filter(|column| column.kind == kind)
            .collect()
    }

    /// The head of a table, or nothing where it would be empty.
    fn head(&self, out: &mut String, title: &str, columns: &[&ColumnProfile], rest: &str) -> bool {
        if !columns.is_empty() {
            let _ = writeln!(out, "\n{:<wide$} {rest}", title, wide = self.name + 2);
        }
        !columns.is_empty()
    }

    fn name(&self, column: &ColumnProfile) -> String {
        let mark = if column.role == Role::Target {
            '>'
        } else {
            ' '
        };
        format!("{mark} {}", fit(&column.name, self.name))
    }

    /// The columns that are in every table: missing values and the relation to the target.
    fn common(&self, column: &ColumnProfile) -> String {
        let missing = match column.missing {
            0 => "·".into(),
            missing => percent(share(missing, self.profile.rows)),
        };
        let relation = match column.relation {
            _ if column.role == Role::Target => "target".into(),
            Some(relation) => {
                let value = format!("{:.2}", relation.value).replace("-0.00", "0.00");
                format!("{} {value:>5}", relation.measure.symbol())
            }
            None => String::new(),
        };
        match self.profile.target {
            Some(_) => format!("{missing:>8} {relation:>8}"),
            None => format!("{missing:>8}"),
        }
    }

    fn common_head(&self) -> &'static str {
        match self.profile.target {
            Some(_) => " missing relation",
            None => " missing",
        }
    }

    fn numbers(&self, out: &mut String) {
        let wide = self.width >= 112;
        let (count, common) =
            (if wide { 5 } else { 3 }, if self.profile.target.is_some() { 18 } else { 9 });
        let bars = self
            .width
            .saturating_sub(self.name + 3 + 10 * count + common)
            .clamp(8, 24);
        let columns = self.columns(ColumnKind::Numeric);
        let figures = match wide {
            true => "      min      25 %    median      75 %       max",
            false => "      min    median       max",
        };
        let rest = format!("{:<bars$} {figures} {}", "distribution", self.common_head());
        if !self.head(out, "numbers", &columns, &rest) {
            return;
        }
        for column in columns.iter().take(MAX_COLUMNS) {
            let _ = write!(out, "{} ", self.name(column));
            match &column.numbers {
                Some(n) => {
                    *out += &spark(&n.histogram, bars);
                    let figures = match wide {
                        true => vec![n.min, n.p25, n.p50, n.p75, n.max],
                        false => vec![n.min, n.p50, n.max],
                    };
                    figures.iter().for_each(|figure| {
                        let _ = write!(out, " {:>9}", number(*figure));
                    });
                }
                None => {
                    let _ = write!(out, "{:<wide$}", "no values", wide = bars + 10 * count);
                }
            }
            let _ = writeln!(out, " {}", self.common(column));
        }
        more(out, columns.len(), MAX_COLUMNS);
    }

    fn categories(&self, out: &mut String) {
        let columns = self.columns(ColumnKind::Category);
        let rest = format!("{:>8} {}  commonest", "distinct", self.common_head());
        if !self.head(out, "categories", &columns, &rest) {
            return;
        }
        for column in columns.iter().take(MAX_COLUMNS) {
            let start =
                format!("{} {:>8} {}", self.name(column), distinct(column), self.common(column));
            let room = self.width.saturating_sub(start.chars().count() + 2);
            let present = self.profile.rows - column.missing;
            let all = column.distinct.count;
            let _ = writeln!(out, "{start}  {}", commonest(&column.top, all, present, room));
        }
        more(out, columns.len(), MAX_COLUMNS);
    }

    fn texts(&self, out: &mut String) {
        let columns = self.columns(ColumnKind::Text);
        let rest = format!("{:>8} {}  characters", "distinct", self.common_head());
        if !self.head(out, "texts", &columns, &rest) {
            return;
        }
        for column in columns.iter().take(MAX_COLUMNS) {
            let _ = write!(
                out,
                "{} {:>8} {}",
                self.name(column),
                distinct(column),
                self.common(column)
            );
            let _ = match &column.lengths {
                Some(n) if n.min == n.max => writeln!(out, "  {} each", number(n.min)),
                Some(n) => writeln!(
                    out,
                    "  {} to {}, median {}  {}",
                    number(n.min),
                    number(n.max),
                    number(n.p50),
                    spark(&n.histogram, 10).trim_end()
                ),
                None => writeln!(out),
            };
        }
        more(out, columns.len(), MAX_COLUMNS);
    }

    fn times(&self, out: &mut String) {
        let columns = self.columns(ColumnKind::Time);
        let rest = format!("{:>8} {}", "distinct", self.common_head());
        if !self.head(out, "times", &columns, &rest) {
            return;
        }
        for column in columns.iter().take(MAX_COLUMNS) {
            let (name, common) = (self.name(column), self.common(column));
            let line = format!("{name} {:>8} {common}", distinct(column));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        more(out, columns.len(), MAX_COLUMNS);
    }

    fn images(&self, out: &mut String) {
        let columns = self.columns(ColumnKind::Image);
        let rest = format!("{:>8} {}  width x height", "distinct", self.common_head());
        if !self.head(out, "images", &columns, &rest) {
            return;
        }
        for column in columns {
            let start =
                format!("{} {:>8} {}", self.name(column), distinct(column), self.common(column));
            let room = self.width.saturating_sub(start.chars().count() + 2);
            let sizes = column.images.as_ref().map_or(String::new(), |images| {
                let readable = self.profile.rows - column.missing - images.unreadable;
                commonest(&images.sizes, images.distinct_sizes, readable, room)
            });
            let _ = writeln!(out, "{start}  {sizes}");
        }
    }
}

/// Levels with their shares, as many as there is room for.
fn commonest(levels: &[Level], distinct: usize, rows: usize, room: usize) -> String {
    let mut out = String::new();
    for (i, level) in levels.iter().enumerate() {
        let mut value = clean(&level.value);
        if i == 0 && value.chars().count() > room.saturating_sub(10) {
            value = fit(&value, room.saturating_sub(10)).trim_end().to_string();
        }
        let next = format!(
            "{}{value} {}",
            if i == 0 { "" } else { ", " },
            percent(share(level.count, rows))
        );
        let rest = if i + 1 < distinct { 3 } else { 0 };
        if i > 0 && (out.chars().count() + next.chars().count() + rest > room) {
            return out + ", …";
        }
        out += &next;
    }
    match levels.len() < distinct && !levels.is_empty() {
        true => out + ", …",
        false => out,
    }
}

/// A histogram in `width` characters: a bin may share a character or stretch over several.
fn spark(histogram: &Histogram, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bins = histogram.counts.len() as f64;
    let heights: Vec<f64> = (0..width)
        .map(|i| {
            let (from, to) = (i as f64 * bins / width as f64, (i + 1) as f64 * bins / width as f64);
            let overlap = |bin: usize| (to.min(bin as f64 + 1.0) - from.max(bin as f64)).max(0.0);
            let touched = from as usize..(to.ceil() as usize).min(histogram.counts.len());
            touched.map(|bin| histogram.counts[bin] as f64 * overlap(bin)).sum()
        })
        .collect();
    let highest = heights.iter().copied().fold(0.0, f64::max);
    let block = |height: &f64| match height / highest {
        share if share > 0.0 => BLOCKS[((8.0 * share).ceil() as usize).clamp(1, 8) - 1],
        _ => ' ',
    };
    heights.iter().map(block).collect()
}

fn distinct(column: &ColumnProfile) -> String {
    match column.distinct.exact {
        true => count(column.distinct.count),
        false => format!("~{}", number((column.distinct.count as f64 / 1e3).round() * 1e3)),
    }
}

fn more(out: &mut String, all: usize, shown: usize) {
    if all > shown {
        let _ = writeln!(out, "  and {} more: `--json` lists all", all - shown);
    }
}

/// Text from a file without what would move the cursor or recolour the terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Text cut or padded to `width` characters.
fn fit(text: &str, width: usize) -> String {
    let text = clean(text);
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => format!("{text:<width$}"),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use tesla_data::source::{CsvSource, Input};
    use tesla_data::{DataConfig, Frame};

    use super::*;

    fn text(table: &str, target: Option<&str>, width: usize) -> String {
        let input = Input::from_bytes("people.csv", table.as_bytes());
        let source = CsvSource::open(input, Default::default()).unwrap();
        let frame = Frame::read_all(Box::new(source)).unwrap();
        let data = DataConfig {
            target: target.map(String::from),
            ..Default::default()
        };
        profile(&tesla_data::profile(&frame, &data, &Default::default()).unwrap(), width)
    }

    /// Forty people, one of whom is there twice.
    fn people() -> String {
        let mut table = String::from("id,age,wage,city,remark,paid\n");
        for i in 0..40 {
            let city = ["Bern", "Basel", "Genève", "Zürich"][i * i % 7 % 4];
            let wage = if i % 9 == 4 {
                String::new()
            } else {
                format!("{:.2}", 1e3 * (i % 13 + 2) as f64 / 7.0)
            };
            let remark = if i % 3 == 0 {
                format!("note {i}")
            } else {
                String::new()
            };
            table += &format!(
                "P{i:03},{},{wage},{city},{remark},{}\n",
                20 + i * 7 % 31,
                ["no", "yes"][usize::from(i % 11 == 0)]
            );
        }
        table + "P000,20,285.71,Bern,note 0,yes\n"
    }

    #[test]
    fn reads_well_at_80_columns() {
        insta::assert_snapshot!(text(&people(), Some("paid"), 80), @r#"
        people.csv: 41 rows, 6 columns; target paid, 2 classes

        look at this first
          ! 1 row (2.4 %) repeats an earlier row in every column: without repeats, no
            row is both learned from and tested on
          ! `remark` is missing in 63 % of the rows

        numbers             distribution       min    median       max  missing relation
          age               █▇▆▅▇▇▅▇▇▆▆▆        20        34        50        ·  η  0.00
          wage              ████▆▆▆▆████     285.7     1,143     2,000    9.8 %  η  0.00

        categories          distinct  missing relation  commonest
          city                     3        ·  V  0.00  Bern 44 %, Genève 29 %, …
          remark                  14     63 %  V  0.28  note 0 13 %, note 3 6.7 %, …
        > paid                     2        ·   target  no 88 %, yes 12 %

        texts               distinct  missing relation  characters
          id                      40        ·           4 each
        "#);
    }

    #[test]
    fn reads_well_at_120_columns() {
        insta::assert_snapshot!(text(&people(), None, 120), @r#"
        people.csv: 41 rows, 6 columns

        look at this first
          ! 1 row (2.4 %) repeats an earlier row in every column: without repeats, no row is both learned from and tested on
          ! `remark` is missing in 63 % of the rows

        numbers                      distribution                   min      25 %    median      75 %       max  missing
          age                        █▄▄▆▄▅▄▄▅▅▄▆▄▄▆▄▆▄▄▆▄▅▅▄        20        27        34        42        50        ·
          wage                       ████████▆▆▆▆▆▆▆▆████████     285.7     571.4     1,143     1,571     2,000    9.8 %

        categories                   distinct  missing  commonest
          city                              3        ·  Bern 44 %, Genève 29 %, Basel 27 %
          remark                           14     63 %  note 0 13 %, note 3 6.7 %, note 6 6.7 %, note 9 6.7 %, note 12 6.7 %, …
          paid                              2        ·  no 88 %, yes 12 %

        texts                        distinct  missing  characters
          id                               40        ·  4 each
        "#);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "x".repeat(300);
        let table = format!("{long},y\n")
            + &(0..30).map(|i| format!("{long}{},{i}\n", i % 3)).collect::<String>();
        for width in [80, 100, 120] {
            for line in text(&table, Some("y"), width).lines().skip(1) {
                assert!(line.chars().count() <= width || line.contains(&long), "{line}");
            }
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let out = text("a\u{1b}[31m,b\nx\u{7},1\ny\u{1b}]0;t,2\n", None, 80);
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    }
}
