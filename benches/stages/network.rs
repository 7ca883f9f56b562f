use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use tesla::{AuditLevel, Batch, Config, Dataset, Event, Observer};

use crate::{BATCHES, config, device, load, shipped, train};

/// A model with data for it, and what `tesla.toml` says of it.
const MODELS: [(&str, &str, &str); 6] = [
    (
        "linear",
        "diabetes/diabetes.csv",
        "data.target = 'progression'\nmodel = { kind = 'linear', solver = 'mini_batch' }",
    ),
    (
        "mlp",
        "machines/machines.csv",
        "data.target = 'failure'\nmodel = { kind = 'mlp', hidden = [128, 64] }",
    ),
    (
        "cnn",
        "digits/digits-images-idx3-ubyte",
        "model = { kind = 'cnn', blocks = [{ filters = 32 }, { filters = 64 }], hidden = [128] }",
    ),
    (
        "textcnn",
        "messages/messages.csv",
        "data.target = 'label'\nmodel.kind = 'textcnn'\ncolumns.text.text.length = 32",
    ),
    (
        "lstm",
        "engines/train.csv",
        "data.sequence = { group = 'engine', order = 'cycle', length = 30, stride = 5, remaining_life = {} }\nmodel.kind = 'lstm'",
    ),
    (
        "mf",
        "ratings/ratings.csv",
        "data.interactions = { user = 'user', item = 'film', rating = 'stars' }\nmodel = { kind = 'mf', solver = 'mini_batch' }",
    ),
];

fn models() -> impl Iterator<Item = (&'static str, Config, Dataset)> {
    MODELS.into_iter().map(|(name, path, text)| {
        let mut config = config(text);
        config.audit.level = AuditLevel::Off;
        config.data.source = shipped(path).display().to_string().into();
        let data = Dataset::load(&config.data, Path::new(""));
        (name, config, data.expect("the file ships with the project"))
    })
}

/// One pass, from numbers in the host's memory to scores there.
pub(crate) fn forward(c: &mut Criterion) {
    let device = device();
    let mut group = c.benchmark_group("forward");
    for (name, config, data) in models() {
        let bundle = train(&config, &data);
        let network = bundle
            .model
            .init(&bundle.signature, config.train.seed, &device)
            .expect("the network of the bundle");
        let width: usize = bundle.signature.input.iter().product();
        for rows in BATCHES {
            // Zeros are ids and words too.
            let batch = || {
                Batch::new(vec![0.0; rows * width], rows, &bundle.signature.input, device.burn())
            };
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(name, rows), |b| {
                b.iter_batched(
                    batch,
                    |batch| black_box(network.forward(batch).into_data()),
                    BatchSize::SmallInput,
                )
            });
        }
    }
}

/// One step of training: gather, forward, loss, backward, optimiser.
pub(crate) fn step(c: &mut Criterion) {
    let device = device();
    let mut group = c.benchmark_group("step");
    for (name, mut config, data) in models() {
        // Until the clock stops it.
        config.train.epochs = 1_000_000;
        for rows in BATCHES {
            config.train.batch_size = rows;
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(name, rows), |b| {
                b.iter_custom(|steps| {
                    let mut clock = Clock::new(steps);
                    let ended = tesla::train::train(&config, &data, &device, &mut clock);
                    assert!(clock.left == 0, "{:?}", ended.err());
                    clock.took
                })
            });
        }
    }
}

/// Times steps after the first, and then ends training.
struct Clock {
    /// The first step is slower than the others.
    asked: u64,
    since: Instant,
    left: u64,
    took: Duration,
}

impl Clock {
    fn new(steps: u64) -> Self {
        Self {
            asked: 0,
            since: Instant::now(),
            left: steps,
            took: Duration::ZERO,
        }
    }
}

impl Observer for Clock {
    fn event(&mut self, _: Event) {}

    /// Asked once before the first step, and after each.
    fn should_stop(&mut self) -> bool {
        self.asked += 1;
        match self.asked {
            1 => {}
            2 => self.since = Instant::now(),
            _ => {
                self.left -= 1;
                self.took = self.since.elapsed();
            }
        }
        self.left == 0
    }
}

/// Models that are solved, from a table in memory to a sealed model.
pub(crate) fn solve(c: &mut Criterion) {
    let mut group = c.benchmark_group("solve");
    for (name, path, text) in [
        (
            "linear/442x10",
            "diabetes/diabetes.csv",
            "data.target = 'progression'\nmodel.kind = 'linear'",
        ),
        (
            "logistic/569x30",
            "breast-cancer/breast-cancer.csv",
            "data.target = 'diagnosis'\nmodel.kind = 'logistic'",
        ),
    ] {
        let (config, data) = (config(text), load(path));
        group.throughput(Throughput::Elements(data.frame.len() as u64));
        group.bench_function(name, |b| b.iter(|| train(black_box(&config), &data)));
    }
}
