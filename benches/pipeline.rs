//! The way of a row, stage by stage, on data that ships with the project.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tesla::ingest;
use tesla::train::{CnnConfig, LogisticConfig, MlpConfig, with_config};
use tesla::{Config, Dataset, DeviceChoice, Model, ModelConfig};

const SEED: u64 = 42;

fn dataset(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../datasets", path].iter().collect()
}

fn digits() -> Dataset {
    ingest::load(dataset("digits/digits-images-idx3-ubyte"))
        .expect("the digits ship with the project")
}

fn cancer() -> Dataset {
    ingest::load_csv(dataset("breast-cancer/breast-cancer.csv"))
        .expect("the table ships with the project")
}

fn train(data: &Dataset, target: &str, model: ModelConfig, epochs: usize) -> Model {
    let mut config = Config {
        model: Some(model),
        ..Config::default()
    };
    config.data.target = Some(target.into());
    config.train.epochs = epochs;
    config.train.seed = SEED;
    with_config(&config, data, DeviceChoice::Flex).expect("the model fits the data")
}

fn ingest_csv(c: &mut Criterion) {
    let path = dataset("breast-cancer/breast-cancer.csv");
    let bytes = std::fs::metadata(&path)
        .expect("the table ships with the project")
        .len();
    let mut group = c.benchmark_group("ingest");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("csv/569x31", |b| b.iter(|| ingest::load_csv(black_box(&path))));
}

fn fit(c: &mut Criterion) {
    let (cancer, digits) = (cancer(), digits());
    let target = cancer
        .frame
        .schema()
        .fields()
        .last()
        .expect("a column")
        .name()
        .clone();
    let mut group = c.benchmark_group("train");
    group.sample_size(10);
    group.throughput(Throughput::Elements(cancer.frame.len() as u64));
    group.bench_function("logistic/569x30", |b| {
        b.iter(|| train(&cancer, &target, ModelConfig::Logistic(LogisticConfig::default()), 1))
    });
    group.bench_function("mlp/569x30/1 epoch", |b| {
        b.iter(|| train(&cancer, &target, ModelConfig::Mlp(MlpConfig::default()), 1))
    });
    group.throughput(Throughput::Elements(digits.frame.len() as u64));
    group.bench_function("cnn/1797x8x8/1 epoch", |b| {
        b.iter(|| train(&digits, "label", ModelConfig::Cnn(CnnConfig::default()), 1))
    });
}

fn predict(c: &mut Criterion) {
    let digits = digits();
    let all = digits.frame.to_batch().expect("the digits fit in memory");
    let model = train(&digits, "label", ModelConfig::Cnn(CnnConfig::default()), 1);
    let mut group = c.benchmark_group("predict");
    for rows in [1, 64, 256] {
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("cnn/{rows}x8x8"), |b| {
            b.iter_batched(
                || all.slice(0, rows),
                |rows| model.predict(black_box(&rows)),
                BatchSize::SmallInput,
            )
        });
    }
}

criterion_group!(benches, ingest_csv, fit, predict);
criterion_main!(benches);
