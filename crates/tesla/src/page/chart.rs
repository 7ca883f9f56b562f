//! Charts as SVG that takes its colours from the page's style, so that one drawing serves light,
//! dark and paper.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::escape;
use crate::figures;

/// Plotters places on whole pixels only: charts are drawn this many times larger than shown.
const FINE: u32 = 4;

/// What is drawn, as a colour that stands for a class of `style.css` until [`finish`] puts the
/// class in its place.
#[derive(Clone, Copy)]
enum Ink {
    Text,
    Axis,
    Grid,
    /// One of several series, from 0; the style has [`SERIES`] of them.
    Series(usize),
}

/// Series that the style can tell apart.
const SERIES: usize = 6;

impl Ink {
    fn color(self) -> RGBColor {
        RGBColor(7, 7, self.number())
    }

    fn number(self) -> u8 {
        match self {
            Ink::Text => 0,
            Ink::Axis => 1,
            Ink::Grid => 2,
            Ink::Series(i) => 3 + (i % SERIES) as u8,
        }
    }
}

/// Counts in bins of one width, from `start` to `end`.
///
/// # Errors
/// When the drawing library refuses.
pub(crate) fn histogram(title: &str, start: f64, end: f64, counts: &[usize]) -> Result<String> {
    let x = Scale::of(start, end);
    let (start, end) = (x.start, x.end);
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    // Weights of both ends, so that no span overflows.
    let edge = |i: usize| {
        let share = i as f64 / counts.len() as f64;
        start * (1.0 - share) + end * share
    };
    let size = (340, 150);
    let svg = draw(size, |root| {
        let mut chart = frame(root, &x, &Scale::of(0.0, most as f64 * 1.04), 30, None)?;
        chart.draw_series(counts.iter().enumerate().filter(|(_, count)| **count > 0).map(
            |(i, count)| {
                let mut bar = Rectangle::new(
                    [(x.place(edge(i)), 0.0), (x.place(edge(i + 1)), *count as f64)],
                    Ink::Series(0).color().filled(),
                );
                // A hair between bars; not where they are that thin themselves.
                let gap = if counts.len() > 30 { 1 } else { FINE };
                bar.set_margin(0, 0, 0, gap);
                bar
            },
        ))?;
        Ok(())
    })?;
    let highest = counts.iter().position(|count| *count == most).unwrap_or(0);
    let description = format!(
        "{} values in {} bins from {} to {}; the fullest bin begins at {} and holds {}",
        figures::count(counts.iter().sum()),
        counts.len(),
        figures::number(start),
        figures::number(end),
        figures::number(edge(highest)),
        figures::count(most)
    );
    Ok(finish(svg, size, title, &description))
}

/// What a chart of two axes says in words.
pub(crate) struct Plot<'a> {
    /// What it shows.
    pub(crate) title: &'a str,
    /// What there is to see, for who cannot.
    pub(crate) description: &'a str,
    /// What goes to the right.
    pub(crate) x: &'a str,
    /// What goes up.
    pub(crate) y: &'a str,
    /// Which numbers the axes hold.
    pub(crate) range: Range,
}

/// Which numbers two axes hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Those that are there.
    Free,
    /// Both from 0 to 1.
    Shares,
    /// Both from 0 to 1, with a line from corner to corner.
    Diagonal,
    /// Both the same that are there, with a line from corner to corner.
    Same,
}

/// How the points of a series are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A line through them.
    Line,
    /// A line through them, and a dot on each.
    Dots,
    /// A dot on each.
    Cloud,
}

/// Series of points, such as losses by epoch or a curve of rates; a legend is the page's.
///
/// # Errors
/// When the drawing library refuses.
pub(crate) fn series(plot: &Plot<'_>, mark: Mark, series: &[Vec<(f64, f64)>]) -> Result<String> {
    let finite = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points
            .iter()
            .copied()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect()
    };
    let series: Vec<Vec<(f64, f64)>> = series.iter().map(|points| finite(points)).collect();
    let mut points = series.iter().flatten();
    let (x, y) = points.next().copied().unwrap_or_default();
    let [mut left, mut right, mut low, mut high] = [x, x, y, y];
    for (x, y) in points {
        (left, right) = (left.min(*x), right.max(*x));
        (low, high) = (low.min(*y), high.max(*y));
    }
    match plot.range {
        Range::Free => {}
        Range::Shares | Range::Diagonal => [left, right, low, high] = [0.0, 1.0, 0.0, 1.0],
        Range::Same => {
            (left, right) = (left.min(low), right.max(high));
            (low, high) = (left, right);
        }
    }
    let (across, up) = (Scale::of(left, right), Scale::of(low, high));
    let size = (360, 240);
    let svg = draw(size, |root| {
        let mut chart = frame(root, &across, &up, 44, Some((plot.x, plot.y)))?;
        if matches!(plot.range, Range::Diagonal | Range::Same) {
            let ends = [left, right].map(|at| (across.place(at), up.place(at)));
            chart.draw_series(LineSeries::new(ends, Ink::Text.color().stroke_width(FINE)))?;
        }
        for (i, points) in series.iter().enumerate() {
            let color = Ink::Series(i).color();
            let placed = || points.iter().map(|(x, y)| (across.place(*x), up.place(*y)));
            if mark != Mark::Cloud {
                chart.draw_series(LineSeries::new(placed(), color.stroke_width(2 * FINE)))?;
            }
            if mark != Mark::Line {
                let size = if mark == Mark::Cloud {
                    2 * FINE
                } else {
                    3 * FINE
                };
                chart.draw_series(placed().map(|at| Circle::new(at, size, color.filled())))?;
            }
        }
        Ok(())
    })?;
    Ok(finish(svg, size, plot.title, plot.description))
}

/// An axis from one number to another.
struct Scale {
    start: f64,
    end: f64,
    /// Whether the axis is drawn from 0 to 1. Plotters steps from one round number to the next,
    /// and never arrives where a step is too small to move a number, or too large to be one.
    unit: bool,
}

impl Scale {
    fn of(start: f64, end: f64) -> Self {
        let (start, end) = match end > start {
            true => (start, end),
            false => {
                let half = (start.abs() * 0.01).max(0.5);
                ((start - half).max(f64::MIN), (start + half).min(f64::MAX))
            }
        };
        let (span, size) = (end - start, start.abs().max(end.abs()));
        let steps_move = span > 1e-9 * size && (1e-99..1e99).contains(&span);
        Self {
            start,
            end,
            unit: !steps_move,
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        match self.unit {
            true => 0.0..1.0,
            false => self.start..self.end,
        }
    }

    fn place(&self, value: f64) -> f64 {
        match self.unit {
            // Halves, so that no span overflows.
            true => (value / 2.0 - self.start / 2.0) / (self.end / 2.0 - self.start / 2.0),
            false => value,
        }
    }

    fn value(&self, place: f64) -> f64 {
        match self.unit {
            true => self.start * (1.0 - place) + self.end * place,
            false => place,
        }
    }

    /// The number at a place, with as many digits as tell it from its neighbours.
    fn label(&self, place: f64) -> String {
        let value = self.value(place);
        let step = (self.end - self.start) / 5.0;
        let is_told = figures::short(value) != figures::short(value + step);
        match is_told || !(1e-9..1.0).contains(&step) {
            true => figures::short(value),
            false => format!("{value:.0$}", (1.0 - step.log10().floor()) as usize),
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Axes =
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>;
/// What drawing can fail with: memory is written to, so nothing is expected to.
type Refused<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw(
    (width, height): (u32, u32),
    content: impl for<'a> FnOnce(&Area<'a>) -> Result<(), Refused<'a>>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let root =
            SVGBackend::with_string(&mut svg, (width * FINE, height * FINE)).into_drawing_area();
        let refused = |e| anyhow!("a chart cannot be drawn: {e}");
        content(&root).map_err(refused)?;
        root.present().map_err(refused)?;
    }
    Ok(svg)
}

/// Axes with a few labels and lines across; `names` are theirs.
fn frame<'a, 'b>(
    root: &'b Area<'a>,
    x: &Scale,
    y: &Scale,
    left: u32,
    names: Option<(&str, &str)>,
) -> Result<ChartContext<'b, SVGBackend<'a>, Axes>, Refused<'a>> {
    let mut chart = ChartBuilder::on(root)
        .margin_top(6 * FINE)
        .margin_right(14 * FINE)
        .margin_left(4 * FINE)
        .x_label_area_size(if names.is_some() { 38 } else { 20 } * FINE)
        .y_label_area_size((left + if names.is_some() { 16 } else { 0 }) * FINE)
        .build_cartesian_2d(x.range(), y.range())?;
    let label = ("sans-serif", 15 * FINE).into_font().color(&Ink::Text.color());
    let (x_name, y_name) = names.unwrap_or_default();
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .axis_desc_style(label.clone())
        .disable_x_mesh()
        .x_labels(5)
        .y_labels(3)
        .x_label_formatter(&|at| x.label(*at))
        .y_label_formatter(&|at| y.label(*at))
        .label_style(label)
        .axis_style(Ink::Axis.color().stroke_width(FINE))
        .bold_line_style(Ink::Grid.color().stroke_width(FINE))
        .light_line_style(TRANSPARENT)
        .set_all_tick_mark_size(2 * FINE)
        .draw()?;
    Ok(chart)
}

/// Classes in the place of colours, a size that follows the page, and words for who cannot see it.
fn finish(svg: String, (width, height): (u32, u32), title: &str, description: &str) -> String {
    let mut svg = svg.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "");
    let inks = [Ink::Text, Ink::Axis, Ink::Grid]
        .into_iter()
        .chain((0..SERIES).map(Ink::Series));
    for ink in inks {
        let color = format!("#0707{:02X}", ink.number());
        let class = match ink {
            Ink::Text => "text".to_string(),
            Ink::Axis => "axis".to_string(),
            Ink::Grid => "grid".to_string(),
            Ink::Series(i) => format!("s{}", i + 1),
        };
        svg = svg
            .replace(&format!("fill=\"{color}\""), &format!("class=\"fill-{class}\""))
            .replace(&format!("stroke=\"{color}\""), &format!("class=\"line-{class}\""));
    }
    let body = svg.split_once('>').map_or("", |(_, body)| body.trim_start());
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" style=\"--width: {width}px\">\n<title>{}</title>\n<desc>{}</desc>\n{body}",
        width * FINE,
        height * FINE,
        escape(title),
        escape(title),
        escape(description)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_classes_for_colours_and_words() {
        let svg = histogram("<script>", 0.0, 3.0, &[1, 0, 2]).unwrap();
        assert!(
            svg.starts_with("<svg class=\"chart\"") && svg.trim_end().ends_with("</svg>"),
            "{svg}"
        );
        assert!(svg.contains("<title>&lt;script&gt;</title>") && !svg.contains("<script"), "{svg}");
        assert!(
            svg.contains("3 values in 3 bins from 0 to 3; the fullest bin begins at 2 and holds 2")
        );
        assert_eq!(svg.matches("fill-s1").count(), 2);
        assert!(!svg.contains("=\"#"), "a colour is left: {svg}");
    }

    #[test]
    fn series_leave_out_what_is_not_finite() {
        let plot = |range| Plot {
            title: "loss",
            description: "it falls",
            x: "epoch",
            y: "loss",
            range,
        };
        let points = [vec![(0.0, 2.0), (1.0, f64::NAN), (2.0, 1.0)], vec![]];
        for range in [Range::Free, Range::Shares, Range::Diagonal, Range::Same] {
            for mark in [Mark::Line, Mark::Dots, Mark::Cloud] {
                let svg = series(&plot(range), mark, &points).unwrap();
                assert!(svg.contains("-s1\"") && svg.contains(">\nepoch\n<"), "{svg}");
                assert!(!svg.contains("NaN") && !svg.contains("=\"#"), "{svg}");
                assert!(series(&plot(range), mark, &[]).is_ok());
            }
        }
    }

    #[test]
    fn labels_of_a_narrow_axis_differ() {
        let scale = Scale::of(2388.01, 2388.11);
        assert_eq!([2388.02, 2388.04].map(|at| scale.label(at)), ["2388.020", "2388.040"]);
        assert_eq!(Scale::of(0.0, 50_000.0).label(10_000.0), "10k");
        assert_eq!(Scale::of(5.0, 8.0).label(5.5), "5.5");
    }

    #[test]
    fn a_histogram_of_extremes_is_drawn() {
        for (start, end) in [
            (5.0, 5.0),
            (-1e300, 1e300),
            (0.0, 5e-324),
            (f64::MIN, f64::MAX),
            (1e300, 1e300),
            (1e15, 1e15 + 0.25),
        ] {
            assert!(histogram("t", start, end, &[1, 2]).is_ok(), "{start} {end}");
        }
    }
}
