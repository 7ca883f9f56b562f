//! `tesla train --dry-run`: a few batches through every stage, and what the whole would take.

use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::HumanDuration;
use serde::Serialize;
use tesla::{Config, Dataset, Device, Event, Observer};
use tesla_train::Error as TrainError;

use crate::show;

/// Steps that are taken at least and, where they take no time, at most. The first ones are slower than the others,
/// so only the last half is timed.
const STEPS: [usize; 2] = [4, 40];
/// How long steps are taken.
const TIME: Duration = Duration::from_millis(500);

/// Trains for a few steps, keeps nothing, and prints what was seen.
pub(super) fn run(config: &Config, data: &Dataset, device: &Device, json: bool) -> Result<()> {
    let mut seen = Rehearsal {
        accumulate: config.train.accumulate,
        ..Rehearsal::default()
    };
    match tesla_train::train(config, data, device, &mut seen) {
        // The rehearsal stopped it, or it was that short.
        Ok(_) | Err(TrainError::Interrupted { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    seen.peak = peak();
    match json {
        true => println!("{}", serde_json::to_string(&seen)?),
        false => print!("{}", seen.text(config)),
    }
    Ok(())
}

/// What happened on the way.
#[derive(Default, Serialize)]
struct Rehearsal {
    sources: Vec<(String, usize, usize)>,
    notes: Vec<String>,
    model: String,
    device: String,
    parameters: usize,
    /// The shape of one row that the network sees, and how many numbers come out.
    input: Vec<usize>,
    outputs: usize,
    /// Rows to train, validate and test on.
    rows: [usize; 3],
    /// In an epoch, of `accumulate` batches each.
    steps: usize,
    epochs: usize,
    seconds_per_step: Option<f64>,
    /// The most memory that the program had, in bytes, where the system says so.
    peak: Option<u64>,
    #[serde(skip)]
    accumulate: usize,
    /// When each step began.
    #[serde(skip)]
    began: Vec<Instant>,
}

impl Observer for Rehearsal {
    fn event(&mut self, event: Event) {
        match event {
            Event::Rows {
                source, read, kept, ..
            } => self.sources.push((source, read, kept)),
            Event::ColumnUnused { column, reason } => {
                self.notes.push(format!("column `{column}` is not used: {reason}"));
            }
            Event::Finding(finding) => self.notes.push(finding.to_string()),
            Event::Started {
                model,
                parameters,
                rows,
                device,
                steps,
                epochs,
                input,
                outputs,
            } => {
                (self.model, self.device, self.parameters) = (model, device, parameters);
                // The engine counts batches, and asks after each step whether to stop.
                self.steps = steps.div_ceil(self.accumulate.max(1));
                (self.rows, self.epochs) = (rows, epochs);
                (self.input, self.outputs) = (input, outputs);
            }
            _ => {}
        }
    }

    /// Asked once before the first step, and after each.
    fn should_stop(&mut self) -> bool {
        self.began.push(Instant::now());
        let done = self.began.len() - 1;
        let since = |step: usize| self.began[done] - self.began[step];
        let timed = done.div_ceil(2);
        if timed > 0 {
            self.seconds_per_step = Some(since(done - timed).as_secs_f64() / timed as f64);
        }
        // Exact solvers have no steps.
        let [least, most] = STEPS;
        self.steps == 0 || done >= most || (done >= least && since(0) >= TIME)
    }
}

impl Rehearsal {
    fn text(&self, config: &Config) -> String {
        let mut out = String::from("dry run: nothing is written\n");
        let mut line = |name: &str, text: String| out += &format!("  {name:<8} {text}\n");
        for (source, read, kept) in &self.sources {
            line("source", format!("`{source}`: {read} rows read, {kept} kept"));
        }
        for note in &self.notes {
            line("note", note.clone());
        }
        let [train, valid, test] = self.rows;
        line("rows", format!("{train} train, {valid} validation, {test} test"));
        line(
            "model",
            format!("{} with {} weights on {}", self.model, self.parameters, self.device),
        );
        let batch = config.train.batch_size.min(train);
        let shape = |inner: &[usize]| {
            let all: Vec<String> =
                [&[batch], inner].concat().iter().map(usize::to_string).collect();
            format!("[{}]", all.join(", "))
        };
        line(
            "batch",
            format!("{} goes in, {} comes out", shape(&self.input), shape(&[self.outputs])),
        );
        match (self.steps, self.seconds_per_step) {
            (0, _) => line("time", "solved exactly, in a few passes over the rows".into()),
            (steps, Some(seconds)) => {
                let whole =
                    Duration::from_secs_f64((seconds * (steps * self.epochs) as f64).min(1e9));
                line(
                    "time",
                    format!(
                        "{:.1} ms a step, {} an epoch, at most {}: {} at most, but for validation",
                        seconds * 1e3,
                        show::plural(steps, "step"),
                        show::plural(self.epochs, "epoch"),
                        HumanDuration(whole)
                    ),
                );
            }
            (steps, None) => {
                line("time", format!("{} an epoch: too few to time", show::plural(steps, "step")))
            }
        }
        // Weights, their gradients, and what an optimiser keeps of each: two numbers for `adamw`.
        let weights = self.parameters * 4;
        let mut memory = format!("{} of weights", show::bytes(weights));
        if self.steps > 0 {
            memory = format!(
                "{} of weights, at most {} with gradients and optimiser",
                show::bytes(weights),
                show::bytes(4 * weights)
            );
        }
        if let Some(peak) = self.peak {
            memory += &format!("; the program had {} at its peak", show::bytes(peak as usize));
        }
        line("memory", memory);
        out
    }
}

/// The most memory that this program ever had, in bytes; Linux alone says so in a file.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_that_are_timed() {
        let mut seen = Rehearsal {
            accumulate: 16,
            ..Rehearsal::default()
        };
        seen.event(Event::Started {
            model: "mlp".into(),
            parameters: 10,
            rows: [1600, 0, 0],
            device: "flex".into(),
            steps: 161,
            epochs: 2,
            input: vec![3],
            outputs: 1,
        });
        assert_eq!(seen.steps, 11);
        seen.seconds_per_step = Some(0.5);
        let text = seen.text(&Config::default());
        assert!(text.contains("11 steps an epoch, at most 2 epochs: 11 seconds at most"), "{text}");
    }
}
