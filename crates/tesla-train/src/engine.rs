//! The mini-batch loop: one loop for every network and every device.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, MseLoss, Reduction};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device as BurnDevice, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tesla_core::{Batch, Device, Network};
use tesla_data::prepare::FittedTarget;
use tesla_data::{Samples, Target};

use crate::train::Fitted;
use crate::{Error, Event, Observer, Optimizer, Result, TrainConfig};

/// Time between two progress events.
const TICK: Duration = Duration::from_millis(200);
/// Rows per pass when only looking at the loss.
const VALID_ROWS: usize = 256;

/// Trains `network` on `train` and keeps the weights that do best on `valid`.
pub(crate) fn fit(
    network: Network,
    config: &TrainConfig,
    train: &Samples,
    valid: Option<&Samples>,
    target: &FittedTarget,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    let plain = device.burn().clone();
    let device = plain.clone().autodiff();
    let goal = Goal::new(target);
    let mut network = network.train();
    let mut optimizer = optimizer(config);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(1);
    let mut order: Vec<usize> = (0..train.len).collect();
    let mut pace = Pace::new(train.len * config.epochs);
    let mut best = Best::default();
    let mut first_loss = None;
    let mut history = Vec::new();

    for epoch in 1..=config.epochs {
        order.shuffle(&mut rng);
        let mut sum = LossSum::default();
        for (step, rows) in order.chunks(config.batch_size).enumerate() {
            let output = network.forward(Batch::gather(&train.inputs, rows, &device)?);
            let loss = goal.loss(output, &train.target, rows, &device);
            sum.add(loss.clone().inner(), rows.len());
            if first_loss.is_none() {
                first_loss = Some(sum.mean()?);
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(config.learning_rate, network, gradients);
            if pace.advance(rows.len()) {
                observer.event(Event::Progress {
                    epoch,
                    step: step + 1,
                    rows_per_second: pace.rows_per_second(),
                    seconds_left: pace.seconds_left(),
                });
            }
        }
        let loss = sum.mean()?;
        if !loss.is_finite() {
            return Err(Error::Diverged {
                loss,
                epoch,
                learning_rate: config.learning_rate,
            });
        }
        let (valid_loss, valid_metric) = match valid {
            Some(valid) => {
                let (loss, metric) = goal.evaluate(&network.valid(), valid, &plain)?;
                (Some(loss), Some(metric))
            }
            None => (None, None),
        };
        history.push(json!({
            "epoch": epoch, "loss": loss, "valid_loss": valid_loss, goal.metric(): valid_metric,
        }));
        observer.event(Event::Epoch {
            epoch,
            loss,
            valid_loss,
            metric: goal.metric(),
            valid_metric,
            rows_per_second: pace.rows_per_second(),
            seconds_left: pace.seconds_left(),
        });
        if let Some(valid_loss) = valid_loss.filter(|_| config.early_stop.patience > 0) {
            best.offer(epoch, valid_loss, &network);
            if epoch - best.epoch >= config.early_stop.patience {
                observer.event(Event::StoppedEarly {
                    best_epoch: best.epoch,
                });
                break;
            }
        }
    }
    Ok(Fitted {
        network: best.network.unwrap_or_else(|| network.valid()),
        first_loss,
        history: json!({ "first_loss": first_loss, "epochs": history }),
    })
}

fn optimizer(config: &TrainConfig) -> ModuleOptimizer {
    let decay = config.weight_decay as f32;
    let penalty = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
    match config.optimizer {
        Optimizer::AdamW => AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(decay).init(),
        Optimizer::Adam => AdamConfig::new().with_epsilon(1e-8).with_weight_decay(penalty).init(),
        Optimizer::Sgd => SgdConfig::new()
            .with_momentum(Some(MomentumConfig::new().with_momentum(0.9).with_dampening(0.0)))
            .with_weight_decay(penalty)
            .init(),
    }
}

/// What the network is pulled towards.
enum Goal {
    /// Cross-entropy over classes.
    Classes,
    /// Mean squared error of what the target is scaled to.
    Value(FittedTarget),
}

impl Goal {
    fn new(target: &FittedTarget) -> Self {
        match target {
            FittedTarget::Classes { .. } => Goal::Classes,
            FittedTarget::Value { .. } => Goal::Value(target.clone()),
        }
    }

    fn metric(&self) -> &'static str {
        match self {
            Goal::Classes => "accuracy",
            Goal::Value(FittedTarget::Value { log: true, .. }) => "rmsle",
            Goal::Value(_) => "rmse",
        }
    }

    /// The mean loss over a batch, shape `[1]`.
    fn loss(
        &self,
        output: Tensor<2>,
        target: &Target,
        rows: &[usize],
        device: &BurnDevice,
    ) -> Tensor<1> {
        match self {
            Goal::Classes => {
                let classes = classes(target, rows, device);
                CrossEntropyLoss::new(None, device).forward(output, classes)
            }
            Goal::Value(_) => {
                let values = self.scaled(target, rows, device);
                MseLoss::new().forward(output, values, Reduction::Mean)
            }
        }
    }

    fn scaled(&self, target: &Target, rows: &[usize], device: &BurnDevice) -> Tensor<2> {
        let scaled = |y: f64| match self {
            Goal::Value(target) => target.encode(y),
            Goal::Classes => y,
        };
        let all = target.values().unwrap_or_default();
        let values: Vec<f32> = rows.iter().map(|row| scaled(all[*row]) as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), 1]), device)
    }

    /// Mean loss and metric over all rows, without gradients.
    fn evaluate(
        &self,
        network: &Network,
        samples: &Samples,
        device: &BurnDevice,
    ) -> Result<(f64, f64)> {
        let order: Vec<usize> = (0..samples.len).collect();
        let mut losses = LossSum::default();
        let mut hits = LossSum::default();
        for rows in order.chunks(VALID_ROWS) {
            let output = network.forward(Batch::gather(&samples.inputs, rows, device)?);
            let loss = self.loss(output.clone(), &samples.target, rows, device);
            losses.add(loss, rows.len());
            if let Goal::Classes = self {
                let truth = classes(&samples.target, rows, device);
                let hit = output.argmax(1).flatten::<1>(0, 1).equal(truth);
                hits.add(hit.float().mean(), rows.len());
            }
        }
        let loss = losses.mean()?;
        let metric = match self {
            Goal::Classes => hits.mean()?,
            Goal::Value(FittedTarget::Value { scale, .. }) => loss.sqrt() * scale,
            Goal::Value(FittedTarget::Classes { .. }) => f64::NAN,
        };
        Ok((loss, metric))
    }
}

fn classes(target: &Target, rows: &[usize], device: &BurnDevice) -> Tensor<1, Int> {
    let all = target.classes().unwrap_or_default();
    let classes: Vec<i32> = rows.iter().map(|row| all[*row] as i32).collect();
    Tensor::from_data(TensorData::new(classes, [rows.len()]), device)
}

/// A mean over rows that stays on the device until it is asked for: reading it back waits for
/// the device.
#[derive(Default)]
struct LossSum {
    sum: Option<Tensor<1>>,
    rows: usize,
}

impl LossSum {
    fn add(&mut self, mean: Tensor<1>, rows: usize) {
        let part = mean.mul_scalar(rows as f32);
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum.add(part),
            None => part,
        });
        self.rows += rows;
    }

    fn mean(&self) -> Result<f64> {
        let Some(sum) = &self.sum else {
            return Ok(f64::NAN);
        };
        let sum: f32 = sum.clone().try_into_scalar().map_err(|e| {
            tesla_core::Error::Device(format!("the device did not deliver the loss: {e}"))
        })?;
        Ok(f64::from(sum) / self.rows as f64)
    }
}

/// The best weights so far.
#[derive(Default)]
struct Best {
    epoch: usize,
    loss: Option<f64>,
    network: Option<Network>,
}

impl Best {
    fn offer(&mut self, epoch: usize, loss: f64, network: &Network) {
        if self.loss.is_none_or(|best| loss < best) {
            self.epoch = epoch;
            self.loss = Some(loss);
            self.network = Some(network.valid());
        }
    }
}

/// How fast rows go by.
struct Pace {
    start: Instant,
    shown: Instant,
    done: usize,
    total: usize,
}

impl Pace {
    fn new(total: usize) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            shown: now,
            done: 0,
            total,
        }
    }

    /// Counts rows; true when it is time to show them.
    fn advance(&mut self, rows: usize) -> bool {
        self.done += rows;
        let now = Instant::now();
        let due = now - self.shown >= TICK;
        if due {
            self.shown = now;
        }
        due
    }

    fn rows_per_second(&self) -> f64 {
        self.done as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    fn seconds_left(&self) -> f64 {
        (self.total - self.done) as f64 / self.rows_per_second().max(1e-9)
    }
}
