use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tesla::evaluate::{classification, regression};

const ROWS: usize = 100_000;

/// All figures of a report, of made-up predictions.
pub(crate) fn bench(c: &mut Criterion) {
    let noise = |i: usize| (i as f64 * 12.9898).sin() / 2.0 + 0.5;
    let labels = ["no".to_string(), "yes".to_string()];
    let truth: Vec<u32> = (0..ROWS).map(|i| u32::from(noise(i) > 0.6)).collect();
    let probabilities: Vec<f64> = (0..ROWS)
        .map(|i| (noise(i) + noise(i + ROWS)) / 2.0)
        .flat_map(|p| [1.0 - p, p])
        .collect();
    let values: Vec<f64> = (0..ROWS).map(noise).collect();
    let predicted: Vec<f64> = (0..ROWS).map(|i| noise(i) + noise(i + 1) / 9.0).collect();
    let mut group = c.benchmark_group("metrics");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("classification/100000x2", |b| {
        b.iter(|| classification(&labels, black_box(&truth), &probabilities).expect("sound rows"))
    });
    group.bench_function("regression/100000", |b| {
        b.iter(|| regression(black_box(&values), &predicted).expect("sound rows"))
    });
}
