//! Dates and times: as a number of seconds, and as the parts of a calendar.

use std::f64::consts::TAU;

use crate::arrow::array::{ArrayRef, Float64Array};
use serde::{Deserialize, Serialize};

use super::numeric::Moments;
use crate::config::{ColumnConfig, TimePart};
use crate::dates::{Civil, civil};
use crate::frame::downcast;
use crate::{Error, Result};

/// A time as numbers. A part that comes round again, such as the month, is a place on a circle: its
/// sine and its cosine, so that December stands beside January. A missing time is 0 in each number:
/// the mean, or the middle of the circle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedTime {
    /// The column's name.
    pub name: String,
    /// The earliest and the latest time of the training rows, in seconds since 1970-01-01 UTC, where
    /// they had any.
    pub range: Option<[f64; 2]>,
    /// What is made of it.
    pub parts: Vec<FittedPart>,
    /// Whether a 0/1 number says that the time is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub indicator: bool,
}

/// A part of a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedPart {
    /// Which.
    pub part: TimePart,
    /// Whether it becomes a sine and a cosine. Otherwise it is `(part - mean) / scale`.
    pub cyclic: bool,
    /// What is subtracted.
    pub mean: f64,
    /// What is divided by.
    pub scale: f64,
}

/// What is known of a time after some batches.
pub(super) struct TimeFit {
    name: String,
    config: ColumnConfig,
    moments: Moments,
    parts: Vec<(TimePart, Moments)>,
    /// Whether a time was not at midnight, and whether one was not at a full hour.
    finer: [bool; 2],
}

impl TimeFit {
    /// # Errors
    /// When `parts` lists one twice.
    pub(super) fn new(name: &str, config: &ColumnConfig) -> Result<Self> {
        let parts = match config.parts.is_empty() {
            true => TimePart::ALL.to_vec(),
            false => config.parts.clone(),
        };
        if (1..parts.len()).any(|i| parts[..i].contains(&parts[i])) {
            return Err(Error::Config(format!(
                "column `{name}`: `parts` lists a part twice: name each once"
            )));
        }
        let parts = parts.into_iter().map(|part| (part, Moments::default()));
        Ok(Self {
            name: name.to_string(),
            config: config.clone(),
            moments: Moments::default(),
            parts: parts.collect(),
            finer: [false; 2],
        })
    }

    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        for time in downcast::<Float64Array>(values)?.iter().flatten() {
            let civil = civil(time);
            self.finer[0] |= time.rem_euclid(86_400.0) != 0.0;
            self.finer[1] |= time.rem_euclid(3600.0) != 0.0;
            self.moments.add(time);
            for (part, moments) in &mut self.parts {
                // What has passed since the first time deviates as the time itself does.
                if *part != TimePart::Elapsed {
                    moments.add(part.of(&civil));
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> FittedTime {
        let range = self.moments.seen();
        let (mean, scale) = (self.moments.mean(), self.moments.scale());
        let (said, cyclic) = (!self.config.parts.is_empty(), self.config.cyclic.unwrap_or(true));
        let [clock, minutes] = self.finer;
        let wanted = |part: &TimePart| match part {
            TimePart::Hour => said || clock,
            TimePart::Minute => said || minutes,
            _ => true,
        };
        let parts = self.parts.into_iter().filter(|(part, _)| wanted(part));
        let parts = parts.map(|(part, mut moments)| {
            let cyclic = cyclic && part.period().is_some();
            let (mean, scale) = match part {
                _ if cyclic => (0.0, 1.0),
                TimePart::Elapsed => (mean - range.map_or(0.0, |[first, _]| first), scale),
                _ => (moments.mean(), moments.scale()),
            };
            FittedPart {
                part,
                cyclic,
                mean,
                scale,
            }
        });
        FittedTime {
            name: self.name,
            range,
            parts: parts.collect(),
            indicator: self.config.indicator,
        }
    }
}

impl TimePart {
    /// All of them, the order of the numbers when nothing is said.
    const ALL: [TimePart; 7] = [
        TimePart::Elapsed,
        TimePart::Year,
        TimePart::Month,
        TimePart::Day,
        TimePart::Weekday,
        TimePart::Hour,
        TimePart::Minute,
    ];

    fn name(self) -> &'static str {
        match self {
            TimePart::Elapsed => "elapsed",
            TimePart::Year => "year",
            TimePart::Month => "month",
            TimePart::Day => "day",
            TimePart::Weekday => "weekday",
            TimePart::Hour => "hour",
            TimePart::Minute => "minute",
        }
    }

    /// The part of a calendar; 0 for what is none.
    fn of(self, civil: &Civil) -> f64 {
        let part = match self {
            TimePart::Elapsed => 0,
            TimePart::Year => civil.year,
            TimePart::Month => civil.month,
            TimePart::Day => civil.day,
            TimePart::Weekday => civil.weekday,
            TimePart::Hour => civil.hour,
            TimePart::Minute => civil.minute,
        };
        part as f64
    }

    /// The first of the values that come round again, and how many they are.
    fn period(self) -> Option<[f64; 2]> {
        match self {
            TimePart::Elapsed | TimePart::Year => None,
            TimePart::Month => Some([1.0, 12.0]),
            TimePart::Day => Some([1.0, 31.0]),
            TimePart::Weekday => Some([0.0, 7.0]),
            TimePart::Hour => Some([0.0, 24.0]),
            TimePart::Minute => Some([0.0, 60.0]),
        }
    }
}

impl FittedTime {
    /// Numbers per row.
    pub(super) fn width(&self) -> usize {
        let parts = self.parts.iter().map(|part| 1 + usize::from(part.cyclic));
        parts.sum::<usize>() + usize::from(self.indicator)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let name = &self.name;
        let mut names = Vec::new();
        for part in &self.parts {
            let inner = format!("{}({name})", part.part.name());
            match part.cyclic {
                true => names.extend([format!("sin({inner})"), format!("cos({inner})")]),
                false => names.push(inner),
            }
        }
        names.extend(self.indicator.then(|| format!("{name}=(missing)")));
        names
    }

    /// What was subtracted from and what divided each of the numbers.
    pub(super) fn units(&self) -> Vec<(f64, f64)> {
        let mut units = Vec::new();
        for part in &self.parts {
            let times = 1 + usize::from(part.cyclic);
            units.extend(std::iter::repeat_n((part.mean, part.scale), times));
        }
        units.extend(self.indicator.then_some((0.0, 1.0)));
        units
    }

    /// Writes the column from place `at` of each row of `out` on, which holds zeros.
    pub(super) fn transform(
        &self,
        values: &Float64Array,
        out: &mut [f64],
        width: usize,
        at: usize,
    ) {
        let first = self.range.map_or(0.0, |[first, _]| first);
        for (time, row) in values.iter().zip(out.chunks_exact_mut(width)) {
            let mut out = row[at..at + self.width()].iter_mut();
            let Some(time) = time else {
                if let Some(last) = out.next_back().filter(|_| self.indicator) {
                    *last = 1.0;
                }
                continue;
            };
            let civil = civil(time);
            let mut write = |value| {
                if let Some(out) = out.next() {
                    *out = value;
                }
            };
            for part in &self.parts {
                let value = match part.part {
                    TimePart::Elapsed => time - first,
                    other => other.of(&civil),
                };
                match part.part.period().filter(|_| part.cyclic) {
                    Some([start, period]) => {
                        let (sin, cos) = (TAU * (value - start) / period).sin_cos();
                        write(sin);
                        write(cos);
                    }
                    None => write((value - part.mean) / part.scale),
                }
            }
        }
    }
}
