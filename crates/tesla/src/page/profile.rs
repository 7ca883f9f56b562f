//! The page of a data profile.

use anyhow::Result;
use minijinja::Value;
use serde::Serialize;
use tesla_data::contract::Role;
use tesla_data::profile::{ColumnProfile, Level, Numbers, Profile};
use tesla_data::{ColumnKind, Task};

use super::{chart, html, render};
use crate::figures::{count, number, share};

/// What the template fills in.
#[derive(Serialize)]
struct Page<'a> {
    version: &'static str,
    command: &'a str,
    profile: &'a Profile,
    task: String,
    /// The share of values that are missing.
    missing: f64,
    /// The cards, the target and then the closest relations first.
    ranked: Vec<&'a Card>,
    cards: &'a [Card],
}

/// A column as the page shows it.
#[derive(Serialize)]
struct Card {
    id: String,
    name: String,
    kind: &'static str,
    is_target: bool,
    /// The share of rows without a value.
    missing: f64,
    distinct: String,
    relation: Option<Relation>,
    /// What the figures below leave out.
    facts: String,
    chart: Option<Value>,
    quantiles: Vec<(&'static str, f64)>,
    /// What the bars count, for who cannot see them.
    bars_of: String,
    bars_head: &'static str,
    bars: Vec<Bar>,
    /// What the bars leave out.
    rest: String,
}

#[derive(Serialize)]
struct Relation {
    symbol: &'static str,
    value: String,
    width: f64,
}

#[derive(Serialize)]
struct Bar {
    label: String,
    count: usize,
    share: f64,
    width: f64,
}

/// The profile as one HTML file; `command` makes it again.
///
/// # Errors
/// When the template and this function do not fit each other.
pub(crate) fn page(profile: &Profile, command: &str) -> Result<String> {
    let cards: Vec<Card> = profile
        .columns
        .iter()
        .enumerate()
        .map(|(i, column)| card(i, column, profile.rows))
        .collect::<Result<_>>()?;
    let missing: usize = profile.columns.iter().map(|column| column.missing).sum();
    // The target, then the closest relation: a stable sort keeps the source's order otherwise.
    let mut ranked: Vec<&Card> = cards.iter().collect();
    let rank = |card: &Card| match (card.is_target, &card.relation) {
        (true, _) => f64::INFINITY,
        (_, Some(relation)) => relation.width,
        _ => -1.0,
    };
    ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    render(
        "profile.html",
        &Page {
            version: env!("CARGO_PKG_VERSION"),
            command,
            profile,
            task: match profile.task {
                Some(Task::Classification) => {
                    let target = cards.iter().find(|card| card.is_target);
                    format!("one of {} classes", target.map_or("its", |card| &card.distinct))
                }
                _ => "a number".to_string(),
            },
            missing: share(missing, profile.rows * profile.columns.len()),
            ranked,
            cards: &cards,
        },
    )
}

fn card(place: usize, column: &ColumnProfile, rows: usize) -> Result<Card> {
    let present = rows - column.missing;
    let mut card = Card {
        id: format!("column-{}", place + 1),
        name: column.name.clone(),
        kind: kind(column.kind),
        is_target: column.role == Role::Target,
        missing: share(column.missing, rows),
        distinct: match column.distinct.exact {
            true => count(column.distinct.count),
            false => {
                format!("about {}", number((column.distinct.count as f64 / 1e3).round() * 1e3))
            }
        },
        relation: column.relation.map(|relation| Relation {
            symbol: relation.measure.symbol(),
            value: format!("{:.2}", relation.value).replace("-0.00", "0.00"),
            width: (1000.0 * relation.value.abs()).round() / 10.0,
        }),
        facts: String::new(),
        chart: None,
        quantiles: Vec::new(),
        bars_of: String::new(),
        bars_head: "value",
        bars: Vec::new(),
        rest: String::new(),
    };
    let mut facts = vec![match column.missing {
        0 => "none missing".to_string(),
        missing => format!("{} missing", count(missing)),
    }];
    facts.push(format!("{} distinct", card.distinct));
    match column.kind {
        ColumnKind::Numeric => {
            if let Some(n) = &column.numbers {
                numbers(&mut card, n, &format!("Histogram of {}", column.name))?;
                facts.push(moments(n));
            }
        }
        ColumnKind::Category | ColumnKind::Time => {
            bars(&mut card, &column.top, column.distinct.count, present)
        }
        ColumnKind::Text => {
            if let Some(n) = &column.lengths {
                match n.min == n.max {
                    true => facts.push(format!("{} characters each", number(n.min))),
                    false => {
                        let title = format!("Characters in each text of {}", column.name);
                        numbers(&mut card, n, &title)?;
                        facts.push(format!("{} characters at the median", number(n.p50)));
                    }
                }
            }
        }
        ColumnKind::Image => {
            if let Some(images) = &column.images {
                card.bars_head = "width x height";
                bars(&mut card, &images.sizes, images.distinct_sizes, present);
                facts.extend(
                    images
                        .formats
                        .iter()
                        .map(|f| format!("{} {}", count(f.count), f.value)),
                );
                if images.unreadable > 0 {
                    facts.push(format!("{} unreadable", count(images.unreadable)));
                }
            }
        }
    }
    if let Some(note) = &column.note {
        facts.push(format!("not used: {note}"));
    }
    card.facts = facts.join(" · ");
    Ok(card)
}

fn numbers(card: &mut Card, n: &Numbers, title: &str) -> Result<()> {
    let bins = &n.histogram;
    card.chart = Some(html(chart::histogram(title, bins.start, bins.end, &bins.counts)?));
    card.quantiles = vec![
        ("min", n.min),
        ("5 %", n.p5),
        ("25 %", n.p25),
        ("50 %", n.p50),
        ("75 %", n.p75),
        ("95 %", n.p95),
        ("max", n.max),
    ];
    Ok(())
}

fn moments(n: &Numbers) -> String {
    match n.std {
        Some(std) => format!("mean {}\u{a0}±\u{a0}{}", number(n.mean), number(std)),
        None => format!("mean {}", number(n.mean)),
    }
}

fn bars(card: &mut Card, levels: &[Level], distinct: usize, present: usize) {
    let longest = levels.iter().map(|level| level.count).max().unwrap_or(1);
    card.bars_of = format!("The commonest values of {}", card.name);
    card.bars = levels
        .iter()
        .map(|level| Bar {
            label: level.value.clone(),
            count: level.count,
            share: share(level.count, present),
            width: (1000.0 * share(level.count, longest)).round() / 10.0,
        })
        .collect();
    let others = distinct.saturating_sub(levels.len());
    if others > 0 && !levels.is_empty() {
        let rows = present.saturating_sub(levels.iter().map(|level| level.count).sum());
        card.rest = match others {
            1 => format!("and 1 more value in {} rows", count(rows)),
            n => format!("and {} more values in {} rows", count(n), count(rows)),
        };
    }
}

fn kind(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Numeric => "number",
        ColumnKind::Category => "category",
        ColumnKind::Text => "text",
        ColumnKind::Image => "image",
        ColumnKind::Time => "time",
    }
}

#[cfg(test)]
mod tests {
    use tesla_data::source::{CsvSource, Input};
    use tesla_data::{DataConfig, Frame};

    use super::*;

    fn of(table: &str, target: &str) -> String {
        let input = Input::from_bytes("<b>.csv", table.as_bytes());
        let source = CsvSource::open(input, Default::default()).unwrap();
        let frame = Frame::read_all(Box::new(source)).unwrap();
        let data = DataConfig {
            target: Some(target.into()),
            ..Default::default()
        };
        let profile = tesla_data::profile(&frame, &data, &Default::default()).unwrap();
        page(&profile, "tesla profile '<b>.csv'").unwrap()
    }

    #[test]
    fn names_and_values_from_the_data_are_escaped() {
        let mut table = String::from("<script>alert(1)</script>,\"\"\"onmouseover=x`<i>\",c,y\n");
        for i in 0..30 {
            table += &format!("{i},7,</table><img src=x onerror=y{}>,{}\n", i % 2, i % 3);
        }
        table += "1,2\n";
        let out = of(&table, "y");
        for hostile in ["<script", "<img", "<i>", "<b>", "\"onmouseover"] {
            assert!(!out.contains(hostile), "{hostile}: {out}");
        }
        assert!(out.contains("&lt;script&gt;alert(1)"), "{out}");
        assert_eq!(out.matches("</table>").count(), out.matches("<table").count());
    }

    #[test]
    fn a_page_needs_nothing_from_outside_and_names_its_tables_and_charts() {
        let table: String = (0..40)
            .map(|i| format!("{},{},{}\n", i * i, ["a", "b"][i % 2], i))
            .collect();
        let out = of(&format!("x,c,y\n{table}"), "y");
        for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
            assert!(!out.contains(outside), "{outside}");
        }
        assert!(out.contains("default-src 'none'"));
        assert_eq!(out.matches("<svg").count(), 2);
        assert_eq!(out.matches("<title>").count(), 3);
        assert_eq!(out.matches("<desc>").count(), 2);
        assert_eq!(out.matches("<th>").count(), 0, "a header without a scope");
        assert!(out.contains("<h3>x</h3>") && out.contains("href=\"#column-1\""));
    }
}
