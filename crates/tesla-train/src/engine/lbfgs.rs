//! L-BFGS on all training rows at once: an epoch is one step, whose length is found in some passes over
//! the rows. They go through the network batch by batch, always in the same order.

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use tesla_core::Network;

use super::checkpoint::{Tensors, part};
use super::goal::read;
use super::optimizer::weights;
use super::{Ready, Run, batches, order};
use crate::solve::Search;
use crate::{Error, Observer, Result};

/// The most passes over the rows to find the length of a step.
const PASSES: usize = 20;
/// No entry of the gradient is larger at the bottom (PyTorch's `tolerance_grad`).
const FLAT: f64 = 1e-7;

impl Run<'_> {
    /// One step. Interrupted, it is as if it had not begun.
    pub(super) fn step_of_all(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if self.is_due() {
            self.save()?;
        }
        // A clone would share the running statistics of its norms.
        let before = self.network().valid();
        let mut search = self.search.take();
        let is_first = search.is_none();
        let found = self.descend(&mut search, observer);
        self.search = search;
        if let Err(Error::Interrupted { .. }) = found {
            self.network = Some(before.train());
            self.search = self.search.take().filter(|_| !is_first);
            self.save()?;
        }
        found
    }

    fn descend(&mut self, search: &mut Option<Search>, observer: &mut dyn Observer) -> Result<()> {
        let rows = self.job.train.len;
        let order = order(self.job.config.seed, 0, rows);
        let layout = layout(self.network());
        let search = match search {
            Some(search) => search,
            None => {
                let start = trained(self.network())?;
                let mut loss = |at: &[f64], gradient: &mut [f64]| {
                    self.loss_of_all(&order, &layout, at, gradient, true, observer)
                };
                search.insert(Search::start(start, &mut loss)?)
            }
        };
        let first_loss = search.value;
        let mut loss = |at: &[f64], gradient: &mut [f64]| {
            self.loss_of_all(&order, &layout, at, gradient, false, observer)
        };
        let (mut fell, _) = search.step(PASSES, &mut loss)?;
        if !fell && !search.memory.is_empty() {
            // What is remembered may be worn out by rounding: straight down, then.
            search.memory.clear();
            (fell, _) = search.step(PASSES, &mut loss)?;
        }
        round(search);
        self.is_settled = !fell || search.steepest() <= FLAT;
        self.set_trained(&search.at);
        self.progress.first_loss.get_or_insert(first_loss);
        (self.progress.loss_sum, self.progress.loss_weight) = (search.value, 1.0);
        self.optimizer.steps += 1;
        self.pace.advance(rows);
        Ok(())
    }

    /// The mean loss of all rows with these weights, the penalty of the weights included, and its
    /// gradient. `must_be` a number, or the run ends.
    fn loss_of_all(
        &mut self,
        order: &[usize],
        layout: &[Part],
        at: &[f64],
        gradient: &mut [f64],
        must_be: bool,
        observer: &mut dyn Observer,
    ) -> Result<f64> {
        self.set_trained(at);
        let job = self.job;
        let total = self.weight(order);
        gradient.fill(0.0);
        let mut sum = 0.0;
        for (step, rows) in batches(order, job.config.batch_size).into_iter().enumerate() {
            if observer.should_stop() {
                return Err(Error::Interrupted {
                    epoch: self.progress.epoch,
                    step: 0,
                    saved: job.checkpoints.is_some(),
                });
            }
            let targets = self.goal.targets(&job.train.target, job.weights, rows);
            let share = self.weight(rows) / total;
            let ready = Ready {
                rows,
                values: job.train.inputs.gather(rows)?,
                targets,
            };
            let (loss, found) = self.guarded(|run| run.backward(ready, share, step))?;
            let loss = f64::from(host(loss)?[0]);
            if must_be && !loss.is_finite() {
                return Err(self.diverged(loss, step, rows));
            }
            sum += share * loss;
            let mut left = &mut *gradient;
            for (part, found) in std::iter::zip(layout, found.0) {
                let (own, rest) = left.split_at_mut(part.trained);
                if let Some(found) = found {
                    std::iter::zip(own, host(found)?).for_each(|(own, g)| *own += f64::from(g));
                }
                left = rest;
            }
        }
        let decay = job.config.weight_decay();
        let mut start = 0;
        for part in layout {
            let own = start..start + part.trained;
            start = own.end;
            if part.is_matrix {
                for (g, w) in std::iter::zip(&mut gradient[own.clone()], &at[own]) {
                    *g += decay * w;
                    sum += decay * w * w / 2.0;
                }
            }
        }
        Ok(sum)
    }

    fn set_trained(&mut self, at: &[f64]) {
        struct Set<'a>(&'a [f64]);
        impl ModuleMapper for Set<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|old| {
                    if !old.is_require_grad() {
                        return old;
                    }
                    let shape = old.shape();
                    let (own, rest) = self.0.split_at(shape.num_elements());
                    self.0 = rest;
                    let own: Vec<f32> = own.iter().map(|w| *w as f32).collect();
                    let device = old.inner().device();
                    let new = Tensor::from_data(TensorData::new(own, shape), &device);
                    Tensor::from_inner(new).require_grad()
                })
            }
        }
        self.network = self.network.take().map(|network| network.map(&mut Set(at)));
    }

    /// What a checkpoint keeps beside the weights.
    pub(super) fn save_search(&self, tensors: &mut Tensors) {
        let Some(search) = &self.search else { return };
        let mut keep = |name: String, values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            let data = TensorData::new(values, [search.at.len()]);
            tensors.insert(format!("lbfgs.{name}"), Tensor::from_data(data, &self.plain));
        };
        keep("gradient".into(), &search.gradient);
        for (i, (moved, turned)) in search.memory.iter().enumerate() {
            keep(format!("{i}.moved"), moved);
            keep(format!("{i}.turned"), turned);
        }
    }

    pub(super) fn restore_search(&mut self, value: f64, tensors: &Tensors) -> Result<()> {
        let part = part(tensors, "lbfgs");
        let read = |name: &str| -> Result<Option<Vec<f64>>> {
            let values = part.get(name).map(|tensor| host(tensor.clone())).transpose()?;
            Ok(values.map(|values| values.into_iter().map(f64::from).collect()))
        };
        let Some(gradient) = read("gradient")? else {
            return Ok(());
        };
        let mut memory = VecDeque::new();
        while let (i, Some(moved)) = (memory.len(), read(&format!("{}.moved", memory.len()))?) {
            memory.push_back((moved, read(&format!("{i}.turned"))?.unwrap_or_default()));
        }
        self.search = Some(Search {
            at: trained(self.network())?,
            gradient,
            value,
            memory,
        });
        Ok(())
    }
}

/// To what a checkpoint can keep, so that a run that goes on is the one that never stopped.
fn round(search: &mut Search) {
    let Search {
        at,
        gradient,
        memory,
        ..
    } = search;
    let remembered = memory.iter_mut().flat_map(|(moved, turned)| [moved, turned]);
    for values in [at, gradient].into_iter().chain(remembered) {
        values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
    }
}

/// One tensor of a network.
struct Part {
    /// How many of its numbers are trained: all or none.
    trained: usize,
    /// Biases and the scales of norms have one dimension; decay is for matrices.
    is_matrix: bool,
}

fn layout(network: &Network) -> Vec<Part> {
    struct Visit(Vec<Part>);
    impl ModuleVisitor for Visit {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            self.0.push(Part {
                trained: match value.is_require_grad() {
                    true => value.shape().num_elements(),
                    false => 0,
                },
                is_matrix: D > 1,
            });
        }
    }
    let mut visit = Visit(Vec::new());
    network.visit(&mut visit);
    visit.0
}

/// All numbers that are trained, in order.
fn trained(network: &Network) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for (part, (_, values)) in std::iter::zip(layout(network), weights(network)) {
        if part.trained > 0 {
            all.extend(host(values)?.into_iter().map(f64::from));
        }
    }
    Ok(all)
}

fn host(tensor: Tensor<1>) -> Result<Vec<f32>> {
    read(tensor.unsqueeze_dim(0))
}
