//! What a person sees while training.

use std::io::Write;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use tesla::Event;

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A live bar, for a terminal.
    Bar,
    /// One line per epoch.
    Lines,
    /// One JSON object per event.
    Json,
    /// Nothing.
    Quiet,
}

pub(crate) struct Progress {
    style: Style,
    bar: ProgressBar,
    epochs: usize,
    steps: usize,
}

impl Progress {
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            bar: ProgressBar::hidden(),
            epochs: 0,
            steps: 0,
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        match self.style {
            Style::Quiet => {}
            Style::Json => {
                if let Ok(line) = serde_json::to_string(&event) {
                    self.print(&line);
                }
            }
            Style::Bar | Style::Lines => self.text(event),
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn text(&mut self, event: Event) {
        match event {
            Event::ColumnUnused { column, reason } => {
                self.print(&format!("column `{column}` is not used: {reason}"));
            }
            Event::Rows {
                source,
                read,
                kept,
                quarantined,
                nulled,
            } if quarantined + nulled > 0 => {
                let mut line = format!(
                    "`{source}`: {read} rows read = {kept} kept + {quarantined} quarantined"
                );
                if nulled > 0 {
                    line += &format!("; {nulled} of those kept lost a value");
                }
                self.print(&line);
            }
            Event::Started {
                model,
                parameters,
                rows: [train, valid, test],
                device,
                steps,
                epochs,
            } => {
                self.print(&format!(
                    "{model} with {parameters} weights on {device}; rows: {train} train, {valid} validation, {test} test"
                ));
                (self.steps, self.epochs) = (steps, epochs);
                if self.style == Style::Bar && epochs > 0 {
                    self.bar = ProgressBar::new((steps * epochs) as u64);
                    let style = ProgressStyle::with_template("{bar:24.cyan/blue} {msg}");
                    self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                }
            }
            Event::Progress {
                epoch,
                step,
                rows_per_second,
                seconds_left,
            } => {
                self.bar.set_position(((epoch - 1) * self.steps + step) as u64);
                self.bar.set_message(format!(
                    "epoch {epoch}/{}  {}",
                    self.epochs,
                    pace(rows_per_second, seconds_left)
                ));
            }
            Event::Epoch {
                epoch,
                loss,
                valid_loss,
                metric,
                valid_metric,
                rows_per_second,
                seconds_left,
            } => {
                let valid = match (valid_loss, valid_metric) {
                    (Some(loss), Some(value)) => {
                        format!("  valid loss {loss:.4}  {metric} {value:.4}")
                    }
                    _ => String::new(),
                };
                self.bar.set_position((epoch * self.steps) as u64);
                self.print(&format!(
                    "epoch {epoch:>3}/{}  loss {loss:.4}{valid}  {}",
                    self.epochs,
                    pace(rows_per_second, seconds_left)
                ));
            }
            Event::StoppedEarly { best_epoch } => self.print(&format!(
                "stopped early: the validation loss was best in epoch {best_epoch}, whose weights are kept"
            )),
            Event::Solved {
                passes: 1,
                converged: true,
            } => self.print("solved in one pass over the rows"),
            Event::Solved {
                passes,
                converged: true,
            } => self.print(&format!("solved in {passes} passes over the rows")),
            Event::Solved { passes, .. } => self.print(&format!(
                "warning: not solved after {passes} passes over the rows: lower `c` in `[model]`, or drop columns that tell the classes apart alone"
            )),
            _ => {}
        }
    }

    fn print(&self, line: &str) {
        self.bar.suspend(|| {
            // A reader that went away, such as `head`, must not stop the training.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        });
    }
}

fn pace(rows_per_second: f64, seconds_left: f64) -> String {
    let left = Duration::from_secs_f64(seconds_left.clamp(0.0, 1e9));
    format!("{rows_per_second:.0} rows/s  {} left", HumanDuration(left))
}
