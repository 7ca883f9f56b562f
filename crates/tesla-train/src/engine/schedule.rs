use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// `train.schedule`: how the learning rate changes while training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays as it is.
    #[default]
    #[serde(alias = "none")]
    Constant,
    /// Every so many epochs it is multiplied by a factor.
    Step {
        /// Epochs between two changes.
        epochs: usize,
        /// What it is multiplied by, in 0..1.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// It rises from 0 during the warm-up, then falls along half a cosine (Loshchilov & Hutter 2017).
    Cosine {
        /// The share of all steps that warm up, in 0..1.
        #[serde(default)]
        warmup: f64,
        /// The share of the learning rate that is left at the end, in 0..1.
        #[serde(default)]
        end: f64,
    },
    /// It rises along a cosine from 1/25 of itself and falls to a ten-thousandth of that (Smith &
    /// Topin 2018), as PyTorch's `OneCycleLR` has it.
    OneCycle {
        /// The share of all steps that it rises, in 0..1.
        #[serde(default = "third")]
        rise: f64,
    },
    /// Multiplied by a factor whenever the validation loss has not improved for some epochs.
    Plateau {
        /// Epochs without a better validation loss before it changes.
        #[serde(default = "patience")]
        patience: usize,
        /// What it is multiplied by, in 0..1.
        #[serde(default = "tenth")]
        factor: f64,
    },
}

fn tenth() -> f64 {
    0.1
}

fn third() -> f64 {
    0.3
}

fn patience() -> usize {
    5
}

impl Schedule {
    pub(crate) fn check(&self) -> Result<()> {
        let (key, value) = match *self {
            Schedule::Constant => return Ok(()),
            Schedule::Step { epochs: 0, .. } => {
                let message = "`train.schedule.epochs` is 0: expected at least 1";
                return Err(Error::Config(message.into()));
            }
            Schedule::Step { factor, .. } | Schedule::Plateau { factor, .. } => ("factor", factor),
            Schedule::Cosine { warmup, end } if (0.0..=1.0).contains(&warmup) => ("end", end),
            Schedule::Cosine { warmup, .. } => ("warmup", warmup),
            Schedule::OneCycle { rise } => ("rise", rise),
        };
        match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::Config(format!(
                "`train.schedule.{key}` is {value}: expected a number from 0 to 1"
            ))),
        }
    }

    /// What the learning rate is multiplied by at `step` of `steps` (counted from 0) in `epoch`
    /// (counted from 0), after `drops` plateaus.
    pub(crate) fn factor(&self, step: usize, steps: usize, epoch: usize, drops: u32) -> f64 {
        let share = |from: f64, to: f64| match to > from {
            true => ((step as f64 - from) / (to - from)).clamp(0.0, 1.0),
            false => 1.0,
        };
        let cosine =
            |from: f64, to: f64, share: f64| to + (from - to) * (1.0 + (PI * share).cos()) / 2.0;
        let last = (steps.max(1) - 1) as f64;
        match *self {
            Schedule::Constant => 1.0,
            Schedule::Step { epochs, factor } => factor.powi((epoch / epochs.max(1)) as i32),
            Schedule::Cosine { warmup, end } => {
                let top = warmup * steps as f64;
                match (step as f64) < top {
                    true => (step as f64 + 1.0) / (top + 1.0),
                    false => cosine(1.0, end, share(top, last)),
                }
            }
            Schedule::OneCycle { rise } => {
                const START: f64 = 1.0 / 25.0;
                let top = rise * steps as f64 - 1.0;
                match (step as f64) < top {
                    true => cosine(START, 1.0, share(0.0, top)),
                    false => cosine(1.0, START / 1e4, share(top, last)),
                }
            }
            Schedule::Plateau { factor, .. } => factor.powi(drops as i32),
        }
    }
}

/// Epochs since the validation loss was best, for [`Schedule::Plateau`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plateau {
    best: Option<f64>,
    waited: usize,
    pub(crate) drops: u32,
}

impl Plateau {
    pub(crate) fn offer(&mut self, schedule: &Schedule, loss: f64) {
        let Schedule::Plateau { patience, .. } = schedule else {
            return;
        };
        if self.best.is_none_or(|best| loss < best) {
            (self.best, self.waited) = (Some(loss), 0);
        } else {
            self.waited += 1;
            if self.waited > *patience {
                (self.drops, self.waited) = (self.drops + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_is_pytorchs() {
        // The formula of torch.optim.lr_scheduler.OneCycleLR with max_lr=1 and total_steps=10.
        let schedule = Schedule::OneCycle { rise: 0.3 };
        let expected = [
            0.04, 0.52, 1.0, 0.950_485, 0.811_746, 0.611_262, 0.388_742, 0.188_258, 0.049_519, 4e-6,
        ];
        for (step, expected) in expected.into_iter().enumerate() {
            let found = schedule.factor(step, 10, 0, 0);
            assert!((found - expected).abs() < 1e-5, "step {step}: {found} for {expected}");
        }
    }

    #[test]
    fn cosine_warms_up_and_ends_where_it_should() {
        let schedule = Schedule::Cosine {
            warmup: 0.1,
            end: 0.01,
        };
        let at = |step| schedule.factor(step, 100, 0, 0);
        assert!(at(0) > 0.0 && at(0) < at(5) && at(9) < at(10));
        assert_eq!((at(10), at(99)), (1.0, 0.01));
    }

    #[test]
    fn a_plateau_drops_the_rate_once_per_wait() {
        let schedule = Schedule::Plateau {
            patience: 1,
            factor: 0.5,
        };
        let mut plateau = Plateau::default();
        let rates: Vec<f64> = [1.0, 2.0, 2.0, 2.0, 2.0, 0.5]
            .into_iter()
            .map(|loss| {
                plateau.offer(&schedule, loss);
                schedule.factor(0, 1, 0, plateau.drops)
            })
            .collect();
        assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    }
}
