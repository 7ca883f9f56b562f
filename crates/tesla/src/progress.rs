//! What a person sees while training.

use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use tesla::{Dataset, Event};
use tesla_data::Sources;
use tesla_data::source::Reading;

/// How often the bar of reading moves.
const TICK: Duration = Duration::from_millis(200);

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

    /// Reads the rows and shows, on a terminal, how far reading is.
    pub(crate) fn read(&self, sources: &Sources<'_>) -> tesla_data::Result<Dataset> {
        if self.style != Style::Bar {
            return sources.read();
        }
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("{bar:24.cyan/blue} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let start = Instant::now();
        let shown = bar.clone();
        let data = std::thread::scope(|scope| {
            scope.spawn(move || {
                while wait.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    let Reading { bytes, of, rows } = sources.reading();
                    // A few bytes are read twice to see what a file is; a second pass reads all.
                    let pass = bytes.saturating_sub(of / 50) / of.max(1);
                    let position = (bytes - pass * of).min(of);
                    let rate = bytes as f64 / start.elapsed().as_secs_f64().max(1e-9);
                    let left = (of - position) as f64 / rate.max(1.0);
                    shown.set_length(of.max(1));
                    shown.set_position(position);
                    shown.set_message(format!(
                        "reading  {rows} rows  {} of {}  {}/s  {} left",
                        HumanBytes(position),
                        HumanBytes(of),
                        HumanBytes(rate as u64),
                        HumanDuration(Duration::from_secs_f64(left.min(1e9))),
                    ));
                }
            });
            let data = sources.read();
            drop(done);
            data
        });
        bar.finish_and_clear();
        data
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
            Event::Outliers { removed, kept } => self.print(&format!(
                "{removed} training rows are left out as outliers, {kept} are kept"
            )),
            Event::Started {
                model,
                parameters,
                rows: [train, valid, test],
                device,
                steps,
                epochs,
                ..
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
            Event::NotAudited => self.print(
                "the rows exceed `memory` in `[data]`: leaks were not looked for; `tesla audit` does that with all rows in memory",
            ),
            Event::Fold { fold, folds } => self.print(&format!("fold {fold} of {folds}")),
            Event::Finding(finding) => self.print(&format!("auditor: {finding}")),
            Event::Resumed { epoch, step, .. } => {
                let after = match step {
                    0 => String::new(),
                    step => format!(" after step {step}"),
                };
                self.print(&format!("going on in epoch {epoch}{after}"));
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
                "stopped early: epoch {best_epoch} was best on the validation rows, its weights are kept"
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
                "warning: not solved after {passes} passes over the rows: raise `passes` (mf), lower `c` (logistic) or raise `l1` or `l2` (linear) in `[model]`, or drop columns that tell the classes apart alone"
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
