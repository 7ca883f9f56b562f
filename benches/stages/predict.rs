use std::hint::black_box;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use criterion::{BenchmarkId, Criterion, Throughput};
use tesla::deploy::{ServedModel, router};
use tower::ServiceExt;

use crate::{BATCHES, config, device, load, shipped, train};

/// Raw rows in, predictions out: contract, preparation, network.
pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("predict");
    for (name, path, text) in [
        ("mlp", "machines/machines.csv", "data.target = 'failure'\nmodel.kind = 'mlp'"),
        ("cnn", "digits/digits-images-idx3-ubyte", "model.kind = 'cnn'"),
    ] {
        let data = load(path);
        let all = data.frame.to_batch().expect("the rows fit in memory");
        let bundle = train(&config(text), &data);
        let predictor = bundle.predictor(&device()).expect("the bundle is sound");
        for rows in BATCHES {
            let part = all.slice(0, rows);
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(name, rows), |b| {
                b.iter(|| predictor.predict(black_box(&part)).expect("the rows are good"))
            });
        }
    }
}

/// The routes of the server without a network: JSON in, queue, JSON out.
pub(crate) fn serve(c: &mut Criterion) {
    let data = load("machines/machines.csv");
    let bundle = train(&config("data.target = 'failure'\nmodel.kind = 'mlp'"), &data);
    let predictor = bundle.predictor(&device()).expect("the bundle is sound");
    let name = "machines".to_string();
    let routes = router(vec![ServedModel { name, predictor }]);
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let mut group = c.benchmark_group("serve");
    for rows in BATCHES {
        let body = json_rows(rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("json", rows), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let request = Request::post("/v1/models/machines/predict")
                        .header("content-type", "application/json")
                        .body(Body::from(body.clone()))
                        .expect("a request");
                    let answer = routes.clone().oneshot(request).await.expect("an answer");
                    assert!(answer.status().is_success(), "{}", answer.status());
                    to_bytes(answer.into_body(), usize::MAX).await.expect("a body")
                })
            })
        });
    }
}

/// The first machines as a request's body.
fn json_rows(rows: usize) -> String {
    let table = std::fs::read_to_string(shipped("machines/machines.csv"))
        .expect("the table ships with the project");
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let row = |line: &str| -> serde_json::Value {
        std::iter::zip(&names, line.split(','))
            .filter(|(name, _)| **name != "failure")
            .map(|(name, text)| match text.parse::<f64>() {
                Ok(number) => (name.to_string(), number.into()),
                Err(_) => (name.to_string(), text.into()),
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let rows: Vec<_> = lines.take(rows).map(row).collect();
    serde_json::json!({ "rows": rows }).to_string()
}
