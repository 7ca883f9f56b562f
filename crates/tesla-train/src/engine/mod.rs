//! The mini-batch loop: one loop for every network and every device.

mod checkpoint;
mod goal;
mod lbfgs;
mod optimizer;
mod pace;
mod pairs;
mod schedule;
#[cfg(all(test, feature = "flex"))]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device as BurnDevice, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tesla_core::bundle::Provenance;
use tesla_core::{Batch, Device, Network};
use tesla_data::augment::Augment;
use tesla_data::prepare::FittedTarget;
use tesla_data::{Inputs, Samples};

use crate::evaluate::Metrics;
use crate::solve::Search;
use crate::train::Fitted;
use crate::{Error, Event, Observer, Optimizer as Rule, Result, TrainConfig};
use checkpoint::{Progress, Tensors, part};
use goal::{Goal, Targets};
use optimizer::{Gradients, Optimizer, weights, with_weights};
use pace::Pace;

pub use checkpoint::Checkpoints;
pub(crate) use goal::row_weights;
pub(crate) use pairs::Pairs;
pub use schedule::Schedule;

/// What a network is trained on and how.
pub(crate) struct Job<'a> {
    pub(crate) config: &'a TrainConfig,
    /// The figure that decides on the best epoch, by its name in reports; `None` for the loss.
    pub(crate) stop: Option<&'static str>,
    pub(crate) train: &'a Samples,
    pub(crate) valid: Option<&'a Samples>,
    /// What each validation row weighs; `None` when all weigh the same.
    pub(crate) valid_weights: Option<&'a [f64]>,
    pub(crate) target: &'a FittedTarget,
    /// What each training row weighs; `None` when all weigh the same.
    pub(crate) weights: Option<&'a [f64]>,
    /// What ranking is learned from, where the model ranks.
    pub(crate) pairs: Option<Arc<Pairs>>,
    /// The penalty of vectors and of numbers of ids, where the model has one.
    pub(crate) penalty: Option<[f64; 2]>,
    /// How training images are changed by chance.
    pub(crate) augment: Option<&'a Augment>,
    pub(crate) device: &'a Device,
    pub(crate) checkpoints: Option<&'a Checkpoints>,
    /// Says which run it is; see [`run_id`].
    pub(crate) run: &'a str,
    /// Where a training row stands in its source, for a message.
    pub(crate) place: &'a dyn Fn(usize) -> String,
}

/// Batches that are made ready while the network is busy with another one.
const AHEAD: usize = 2;
/// Losses that are left on a GPU before they are read: reading waits for it.
const UNREAD: usize = 32;

/// Trains `network` and keeps the weights that do best on the validation rows.
pub(crate) fn fit(network: Network, job: &Job<'_>, observer: &mut dyn Observer) -> Result<Fitted> {
    let Job { config, train, .. } = *job;
    let _buffers = tesla_core::ops::Reuse::start();
    let goal = match &job.pairs {
        Some(pairs) => Goal::Pairs(pairs.clone()),
        None => Goal::new(job.target, config),
    };
    let mut run = Run::start(network, job, &goal)?;
    if run.progress.step > 0 || run.progress.epoch > 1 {
        observer.event(Event::Resumed {
            epoch: run.progress.epoch,
            step: run.progress.step,
            history: run.progress.history.clone(),
        });
    }
    let per_epoch = steps(train.len, config.batch_size);
    let left = config.epochs + 1 - run.progress.epoch.min(config.epochs + 1);
    run.pace = Pace::new((train.len * left).saturating_sub(run.progress.step * config.batch_size));
    while run.progress.epoch <= config.epochs {
        match config.optimizer {
            Rule::Lbfgs => run.step_of_all(observer)?,
            _ => run.epoch(per_epoch, observer)?,
        }
        if run.end_of_epoch(observer)? {
            break;
        }
    }
    if let (Some(name), Some((_, f64::MAX))) = (job.stop, run.progress.best) {
        return Err(Error::Config(format!(
            "`train.early_stop.metric`: the validation rows define `{name}` in no epoch, such as where they have one class: choose `loss`"
        )));
    }
    let network = match (run.best.take(), run.progress.best) {
        (Some(best), Some(_)) => best,
        _ => run.judged(),
    };
    let Progress {
        first_loss,
        history,
        ..
    } = run.progress;
    Ok(Fitted {
        network,
        first_loss,
        history: json!({ "first_loss": first_loss, "epochs": history }),
    })
}

/// A training run between two steps.
struct Run<'a> {
    job: &'a Job<'a>,
    goal: &'a Goal,
    /// The device, without and with a record of operations for gradients.
    plain: BurnDevice,
    recording: BurnDevice,
    /// Always there, but for the moment of a step.
    network: Option<Network>,
    optimizer: Optimizer,
    /// The moving average of the weights, where it is asked for.
    average: Option<Vec<Tensor<1>>>,
    best: Option<Network>,
    /// What L-BFGS remembers, where it is the optimiser.
    search: Option<Search>,
    /// Whether nothing is left to be gained.
    is_settled: bool,
    progress: Progress,
    pace: Pace,
    saved: Instant,
}

/// One batch, ready on the host.
struct Ready<'a> {
    rows: &'a [usize],
    values: Vec<f32>,
    targets: Targets,
}

impl<'a> Run<'a> {
    fn start(network: Network, job: &'a Job<'a>, goal: &'a Goal) -> Result<Self> {
        let config = job.config;
        let plain = job.device.burn().clone();
        let mut run = Self {
            goal,
            recording: plain.clone().autodiff(),
            plain,
            average: (config.average > 0.0).then(|| flat(&network)),
            network: Some(network.train()),
            optimizer: Optimizer::new(config),
            best: None,
            search: None,
            is_settled: false,
            progress: Progress {
                epoch: 1,
                ..Progress::default()
            },
            pace: Pace::new(0),
            saved: Instant::now(),
            job,
        };
        let stored = job
            .checkpoints
            .map(|c| c.load(job.run, &run.plain))
            .transpose()?
            .flatten();
        if let Some((progress, tensors)) = stored {
            run.restore(progress, &tensors)?;
        }
        Ok(run)
    }

    /// The steps of one epoch that are left.
    fn epoch(&mut self, per_epoch: usize, observer: &mut dyn Observer) -> Result<()> {
        let Job {
            config,
            train,
            augment,
            weights,
            ..
        } = *self.job;
        let (seed, epoch) = (config.seed, self.progress.epoch as u64);
        let order = order(config.seed, self.progress.epoch, train.len);
        let all = batches(&order, config.batch_size);
        let todo = &all[self.progress.step..];
        let goal = self.goal;
        let prepare = |rows: &'_ [usize]| -> Result<_> {
            let mut targets = goal.targets(&train.target, weights, rows);
            if let Goal::Pairs(pairs) = goal {
                let values = train.inputs.gather(rows)?;
                return Ok((pairs.with_negatives(values, rows, seed, epoch), targets));
            }
            let (Some(augment), Inputs::Images(set)) = (augment, &train.inputs) else {
                return Ok((train.inputs.gather(rows)?, targets));
            };
            let mut values = augment.batch(set, rows, seed, epoch)?;
            if let Some(mix) = augment.mix(rows, seed, epoch) {
                mix.apply(&mut values, set.width, set.width * set.height);
                targets.mix(&mix);
            }
            Ok((values, targets))
        };
        let (send, receive) = sync_channel(AHEAD);
        let mut losses = Losses::new(self.job.device.is_cpu());
        (losses.sum, losses.weight) = (self.progress.loss_sum, self.progress.loss_weight);
        losses.first = self.progress.first_loss;
        std::thread::scope(|scope| {
            // Gone when training stops, so that nobody waits to send to it.
            let receive = receive;
            scope.spawn(move || {
                for rows in todo {
                    let ready = prepare(rows).map(|(values, targets)| Ready {
                        rows,
                        values,
                        targets,
                    });
                    // Nobody waits for it any more when training was stopped.
                    if send.send(ready).is_err() {
                        return;
                    }
                }
            });
            for group in todo.chunks(config.accumulate) {
                let rows: usize = group.iter().map(|rows| rows.len()).sum();
                let total: f64 = group.iter().map(|rows| self.weight(rows)).sum();
                let mut gradients: Option<Gradients> = None;
                for _ in group {
                    let ready = receive.recv().unwrap_or_else(|_| {
                        unreachable!("a batch is sent for each that is waited for")
                    })?;
                    let weight = self.weight(ready.rows);
                    // A group of which no row weighs anything pulls nowhere.
                    let share = if total > 0.0 { weight / total } else { 0.0 };
                    let step = self.progress.step;
                    let (loss, found) = self.guarded(|run| run.backward(ready, share, step))?;
                    losses.add(loss, all[step], weight, step);
                    gradients = Some(match gradients.take() {
                        Some(sum) => sum.plus(found),
                        None => found,
                    });
                    self.progress.step += 1;
                }
                losses.read(false).map_err(|e| self.explain(e, &losses))?;
                if let Some(gradients) = gradients {
                    self.guarded(|run| run.update(gradients, per_epoch))?;
                }
                if self.progress.first_loss.is_none() {
                    losses.read(true).map_err(|e| self.explain(e, &losses))?;
                    self.progress.first_loss = losses.first;
                }
                if self.pace.advance(rows) {
                    observer.event(Event::Progress {
                        epoch: self.progress.epoch,
                        step: self.progress.step,
                        rows_per_second: self.pace.rows_per_second(),
                        seconds_left: self.pace.seconds_left(),
                    });
                }
                let stop = observer.should_stop();
                if stop || self.is_due() {
                    losses.read(true).map_err(|e| self.explain(e, &losses))?;
                    (self.progress.loss_sum, self.progress.loss_weight) =
                        (losses.sum, losses.weight);
                    self.save()?;
                }
                if stop {
                    return Err(Error::Interrupted {
                        epoch: self.progress.epoch,
                        step: self.progress.step,
                        saved: self.job.checkpoints.is_some(),
                    });
                }
            }
            losses.read(true).map_err(|e| self.explain(e, &losses))?;
            (self.progress.loss_sum, self.progress.loss_weight) = (losses.sum, losses.weight);
            Ok(())
        })
    }

    /// Runs a part of a step. A device that runs out of memory panics inside Burn; that is an error like
    /// any other, and the run folder keeps its last checkpoint.
    fn guarded<T>(&mut self, part: impl FnOnce(&mut Self) -> T) -> Result<T> {
        let step = self.progress.step + 1;
        let (epoch, batch_size) = (self.progress.epoch, self.job.config.batch_size);
        catch_unwind(AssertUnwindSafe(|| part(self))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let message = format!(
                "the device gave up in epoch {epoch}, step {step} ({}): if its memory ran out, say `batch_size = {}` in `[train]`",
                text.unwrap_or("it did not say why"),
                (batch_size / 2).max(1)
            );
            tesla_core::Error::Device(message).into()
        })
    }

    fn network(&self) -> &Network {
        self.network
            .as_ref()
            .unwrap_or_else(|| unreachable!("a step gives the network back"))
    }

    /// What rows weigh together.
    fn weight(&self, rows: &[usize]) -> f64 {
        match self.job.weights {
            Some(weights) => rows.iter().map(|row| weights[*row]).sum(),
            None => rows.len() as f64,
        }
    }

    /// The loss of a batch and its gradients, times `share`.
    fn backward(&self, ready: Ready<'_>, share: f64, step: usize) -> (Tensor<1>, Gradients) {
        let Job { config, train, .. } = *self.job;
        // Masks depend on where the run is, not on how it came there.
        let done = (self.progress.epoch as u64) << 32 | step as u64;
        self.network().reseed(config.seed, done);
        let shape = train.inputs.row_shape();
        // As many as rows, or more where others are drawn against each.
        let rows = ready.values.len() / shape.iter().product::<usize>().max(1);
        let batch = Batch::new(ready.values, rows, &shape, &self.recording);
        let (output, penalty) = self.network().forward_with_penalty(batch, self.job.penalty);
        let mut loss = self.goal.loss(output, ready.targets, &self.recording);
        if let Some(penalty) = penalty {
            loss = loss + penalty.mean();
        }
        let shown = loss.clone().inner();
        let loss = if share < 1.0 {
            loss.mul_scalar(share)
        } else {
            loss
        };
        (shown, Gradients::of(self.network(), loss.backward()))
    }

    fn update(&mut self, mut gradients: Gradients, batches: usize) {
        let config = self.job.config;
        if config.clip_norm > 0.0 {
            gradients = gradients.clip(config.clip_norm);
        }
        let steps = batches.div_ceil(config.accumulate) * config.epochs;
        let (done, epoch) = (self.optimizer.steps as usize, self.progress.epoch - 1);
        let factor = config
            .schedule
            .factor(done, steps, epoch, self.progress.plateau.drops);
        // Given away and taken back: what nobody else holds is changed where it lies.
        if let Some(network) = self.network.take() {
            let rate = config.learning_rate * factor;
            self.network = Some(self.optimizer.step(network, gradients, rate));
        }
        if let Some(average) = &mut self.average {
            // Young averages follow faster, so that the first weights do not linger.
            let steps = self.optimizer.steps as f64;
            let keep = config.average.min((1.0 + steps) / (10.0 + steps));
            let now = self.network.as_ref().map(weights).unwrap_or_default();
            for (average, (_, now)) in std::iter::zip(average, now) {
                *average = average.clone().mul_scalar(keep) + now.mul_scalar(1.0 - keep);
            }
        }
    }

    /// Judges the weights; true when training is over.
    fn end_of_epoch(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let Job {
            config,
            valid,
            valid_weights,
            ..
        } = *self.job;
        let epoch = self.progress.epoch;
        let loss = self.progress.loss_sum / self.progress.loss_weight;
        let judged = self.judged();
        let found = valid
            .map(|valid| {
                self.goal
                    .evaluate(&judged, valid, valid_weights, &self.plain, self.job.stop)
            })
            .transpose()?;
        let (valid_loss, valid_metric) = found.unzip();
        let metric = self.job.stop.unwrap_or(self.goal.metric());
        self.progress.history.push(json!({
            "epoch": epoch, "loss": loss, "valid_loss": valid_loss, metric: valid_metric,
        }));
        observer.event(Event::Epoch {
            epoch,
            loss,
            valid_loss,
            metric,
            valid_metric,
            rows_per_second: self.pace.rows_per_second(),
            seconds_left: self.pace.seconds_left(),
        });
        (self.progress.epoch, self.progress.step) = (epoch + 1, 0);
        (self.progress.loss_sum, self.progress.loss_weight) = (0.0, 0.0);
        let Some(valid_loss) = valid_loss else {
            return Ok(self.is_settled);
        };
        self.progress.plateau.offer(&config.schedule, valid_loss);
        let patience = config.early_stop.patience;
        if patience == 0 {
            return Ok(self.is_settled);
        }
        let score = match (self.job.stop, valid_metric) {
            (Some(name), Some(value)) if Metrics::more_is_better(name) => -value,
            (Some(_), Some(value)) => value,
            _ => valid_loss,
        };
        // What is not defined is better than nothing; a checkpoint holds numbers only.
        let score = if score.is_nan() { f64::MAX } else { score };
        if self.progress.best.is_none_or(|(_, best)| score < best) {
            self.progress.best = Some((epoch, score));
            self.best = Some(judged);
        }
        let best_epoch = self.progress.best.map_or(epoch, |(best, _)| best);
        let over = epoch - best_epoch >= patience;
        if over {
            observer.event(Event::StoppedEarly { best_epoch });
        }
        Ok(over || self.is_settled)
    }

    /// The network that predictions come from: the average's where there is one.
    fn judged(&self) -> Network {
        let network = self.network().valid();
        match &self.average {
            Some(average) => with_weights(network, average.clone()),
            None => network,
        }
    }

    fn is_due(&self) -> bool {
        let config = self.job.config.checkpoint;
        let steps = self.optimizer.steps as usize;
        self.job.checkpoints.is_some()
            && (config.every_steps > 0 && steps.is_multiple_of(config.every_steps)
                || config.every_minutes > 0.0
                    && self.saved.elapsed() >= Duration::from_secs_f64(config.every_minutes * 60.0))
    }

    fn save(&mut self) -> Result<()> {
        let Some(checkpoints) = self.job.checkpoints else {
            return Ok(());
        };
        let mut tensors = Tensors::new();
        let named = |prefix: &str, network: &Network| {
            let name = |(path, tensor)| (format!("{prefix}.{path}"), tensor);
            weights(network).into_iter().map(name).collect::<Vec<_>>()
        };
        let now = self.network().valid();
        tensors.extend(named("weights", &now));
        if let Some(best) = &self.best {
            tensors.extend(named("best", best));
        }
        if let Some(average) = &self.average {
            let paths = weights(&now).into_iter().map(|(path, _)| format!("average.{path}"));
            tensors.extend(paths.zip(average.iter().cloned()));
        }
        for (path, state) in &self.optimizer.state {
            for (i, tensor) in state.iter().enumerate() {
                tensors.insert(format!("optimizer.{i}.{path}"), tensor.clone());
            }
        }
        self.save_search(&mut tensors);
        self.progress.lbfgs_value = self.search.as_ref().map(|search| search.value);
        self.progress.run = self.job.run.into();
        self.progress.program = checkpoints.program.clone();
        self.progress.optimizer_steps = self.optimizer.steps;
        checkpoints.save(&self.progress, tensors)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn restore(&mut self, progress: Progress, tensors: &Tensors) -> Result<()> {
        let paths: Vec<String> =
            weights(self.network()).into_iter().map(|(path, _)| path).collect();
        let all = |prefix: &str| -> Option<Vec<Tensor<1>>> {
            let part = part(tensors, prefix);
            paths.iter().map(|path| part.get(path).cloned()).collect()
        };
        let network = self.network().clone();
        if let Some(stored) = all("weights") {
            self.network = Some(with_weights(network.clone(), stored));
        }
        self.best = all("best").map(|stored| with_weights(network.valid(), stored));
        if self.average.is_some() {
            self.average = all("average");
        }
        for i in 0.. {
            let state = part(tensors, &format!("optimizer.{i}"));
            if state.is_empty() {
                break;
            }
            for (path, tensor) in state {
                self.optimizer.state.entry(path).or_default().push(tensor);
            }
        }
        if let Some(value) = progress.lbfgs_value {
            self.restore_search(value, tensors)?;
        }
        self.optimizer.steps = progress.optimizer_steps;
        self.progress = progress;
        Ok(())
    }

    /// Says of a loss that is no number where it came from.
    fn explain(&self, error: LossError, losses: &Losses<'_>) -> Error {
        match error {
            LossError::Device(error) => error,
            LossError::Diverged { loss, step } => self.diverged(loss, step, losses.bad),
        }
    }

    fn diverged(&self, loss: f64, step: usize, rows: &[usize]) -> Error {
        let rows = rows.iter().take(3).map(|row| (self.job.place)(*row));
        Error::Diverged {
            loss,
            epoch: self.progress.epoch,
            step: step + 1,
            learning_rate: self.job.config.learning_rate,
            rows: rows.collect::<Vec<_>>().join(", "),
        }
    }
}

/// The order of the training rows in an epoch, a function of seed and epoch alone.
fn order(seed: u64, epoch: usize, rows: usize) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Stream 0 draws the weights; masks have generators of their own.
    rng.set_stream(epoch as u64);
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut rng);
    order
}

/// The rows of each step. A single row that is left goes with the step before it: it has no variance to
/// normalise by.
fn batches(order: &[usize], size: usize) -> Vec<&[usize]> {
    let (even, rest) = order.split_at(match order.len() % size {
        1 if order.len() > size && size > 1 => order.len() - size - 1,
        _ => order.len(),
    });
    let rest = Some(rest).filter(|rest| !rest.is_empty());
    even.chunks(size).chain(rest).collect()
}

/// The steps of an epoch.
pub(crate) fn steps(rows: usize, size: usize) -> usize {
    match rows % size {
        1 if rows > size && size > 1 => rows / size,
        _ => rows.div_ceil(size),
    }
}

fn flat(network: &Network) -> Vec<Tensor<1>> {
    weights(network).into_iter().map(|(_, tensor)| tensor).collect()
}

/// A loss this many times that of the first step, or 1 if that is more, has exploded.
const EXPLODED: f64 = 1e5;

/// The losses of an epoch. They stay on a GPU for a while: reading one waits for it.
struct Losses<'a> {
    /// With the rows of the step, what they weigh, and its number.
    unread: Vec<(Tensor<1>, &'a [usize], f64, usize)>,
    most: usize,
    sum: f64,
    weight: f64,
    /// That of the first step of the run.
    first: Option<f64>,
    /// The rows of the batch whose loss was no number.
    bad: &'a [usize],
}

enum LossError {
    Device(Error),
    Diverged { loss: f64, step: usize },
}

impl<'a> Losses<'a> {
    fn new(is_cpu: bool) -> Self {
        Self {
            unread: Vec::new(),
            most: if is_cpu { 1 } else { UNREAD },
            sum: 0.0,
            weight: 0.0,
            first: None,
            bad: &[],
        }
    }

    fn add(&mut self, loss: Tensor<1>, rows: &'a [usize], weight: f64, step: usize) {
        self.unread.push((loss, rows, weight, step));
    }

    fn read(&mut self, all: bool) -> Result<(), LossError> {
        if !all && self.unread.len() < self.most {
            return Ok(());
        }
        for (loss, rows, weight, step) in self.unread.drain(..) {
            let loss: f32 = loss.try_into_scalar().map_err(|e| {
                let message = format!("the device did not deliver the loss: {e}");
                LossError::Device(tesla_core::Error::Device(message).into())
            })?;
            let loss = f64::from(loss);
            let first = *self.first.get_or_insert(loss);
            if !loss.is_finite() || loss > EXPLODED * first.max(1.0) {
                self.bad = rows;
                return Err(LossError::Diverged { loss, step });
            }
            self.sum += loss * weight;
            self.weight += weight;
        }
        Ok(())
    }
}

/// What a run has to share with the one that goes on from its checkpoint.
pub(crate) fn run_id(provenance: &Provenance) -> String {
    let Provenance {
        config,
        data_sha256,
        apart_sha256,
        device,
        ..
    } = provenance;
    let apart: String = apart_sha256.values().map(|sha256| format!("{sha256}\n")).collect();
    tesla_data::hex_sha256(format!("{config}\n{data_sha256}\n{apart}{device}").as_bytes())
}
