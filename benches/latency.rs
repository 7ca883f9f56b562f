//! How long predictions take in this process, for `peers/infer.py`.
//!
//! `latency MODEL.tesla ROWS COUNT ...` predicts the first COUNT of the rows in the file ROWS, for each COUNT again
//! and again, and prints the median of each kind of call as JSON, in seconds: `predict` is the whole way of a raw
//! row (contract, preparation, network), `network` starts behind the preparation, as an ONNX session or a
//! network of PyTorch does that gets a tensor.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tesla::{DeviceChoice, Model};

/// As in the program `tesla`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long each kind of call is repeated, after a tenth of it to warm up.
const TIME: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows, counts @ ..] = args.as_slice() else {
        return Err("usage: latency MODEL.tesla ROWS COUNT ...".into());
    };
    let model = Model::load(model, DeviceChoice::Flex)?;
    let predictor = model.predictor();
    let all = tesla::ingest::load(rows)?.frame.to_batch()?;
    let mut found = serde_json::Map::new();
    for count in counts {
        let part = all.slice(0, count.parse()?);
        let prepared = predictor.prepare(&part)?;
        let predict = median(|| predictor.predict(black_box(&part)).map(drop))?;
        let network = median(|| {
            let scores = predictor.scores(&[(black_box(&prepared), 0..prepared.len())])?;
            black_box(predictor.predictions(scores));
            Ok::<_, tesla::Error>(())
        })?;
        found.insert(count.clone(), serde_json::json!({ "predict": predict, "network": network }));
    }
    println!("{}", serde_json::Value::from(found));
    Ok(())
}

/// The median of the time that a call takes, in seconds.
fn median<E>(mut call: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut times = Vec::new();
    for time in [TIME / 10, TIME] {
        times.clear();
        let start = Instant::now();
        while start.elapsed() < time {
            let start = Instant::now();
            call()?;
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64())
}
