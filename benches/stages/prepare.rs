use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tesla::ingest::Contract;
use tesla::prepare::Pipeline;

use crate::{config, load};

/// A table of numbers and categories: what preparation learns from it, and what it makes of it.
pub(crate) fn bench(c: &mut Criterion) {
    let config = config("data.target = 'failure'\ncolumns.torque.degree = 2\n");
    let data = load("machines/machines.csv");
    let contract = Contract::infer(&data.frame, &config.data, &config.columns)
        .expect("the table has the target");
    let data = data
        .settle(&contract, &config.data.bad_policy())
        .expect("the rows are good");
    let rows = data.frame.all();
    let pipeline = Pipeline::new(&contract, &config.columns).expect("the columns are there");
    let fitted = pipeline.fit(&rows).expect("the rows are good");
    let mut group = c.benchmark_group("prepare");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("fit/4000x6", |b| b.iter(|| pipeline.fit(black_box(&rows))));
    group.bench_function("transform/4000x6", |b| b.iter(|| fitted.collect(black_box(&rows))));
}
