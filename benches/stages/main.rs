//! The way of a row, stage by stage, on data that ships with the project and on CPU kernels.
//!
//! ```sh
//! cargo bench --workspace --bench stages                # all
//! cargo bench --workspace --bench stages -- step/cnn    # those whose names hold this
//! ```

mod ingest;
mod metrics;
mod network;
mod predict;
mod prepare;

use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tesla::train::Silent;
use tesla::{Bundle, Config, Dataset, Device, DeviceChoice};

/// As in the program `tesla`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows that go through a network at a time.
const BATCHES: [usize; 3] = [1, 64, 256];

/// A file of `datasets/`.
fn shipped(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../datasets", path].iter().collect()
}

fn load(path: &str) -> Dataset {
    tesla::ingest::load(shipped(path)).expect("the file ships with the project")
}

/// A `tesla.toml`. All rows teach.
fn config(text: &str) -> Config {
    let mut config: Config = toml::from_str(text).expect("a valid tesla.toml");
    (config.data.split.valid, config.data.split.test) = (0.0, 0.0);
    config
}

fn device() -> Device {
    Device::open(DeviceChoice::Flex).expect("the CPU is there")
}

/// The model after one epoch.
fn train(config: &Config, data: &Dataset) -> Bundle {
    let mut config = config.clone();
    config.train.epochs = 1;
    tesla::train::train(&config, data, &device(), &mut Silent)
        .expect("the model fits the data")
        .bundle
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = ingest::bench, prepare::bench, network::forward, network::step, network::solve,
        metrics::bench, predict::bench, predict::serve
}
criterion_main!(benches);
