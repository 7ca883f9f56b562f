//! How long it takes to fit a table's preparation and to prepare all rows, reading not included.
//!
//! `cargo run --release -p tesla-data --example prepare -- FILE TARGET [DROPPED ...]`

use std::time::Instant;

use tesla_data::config::{ColumnConfigs, CsvConfig};
use tesla_data::{Contract, DataConfig, Frame, Paths, Pipeline, source};

/// As in the program `tesla`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(target)) = (args.next(), args.next()) else {
        return Err("usage: prepare FILE TARGET [DROPPED ...]".into());
    };
    let data = DataConfig {
        source: Paths::from(file.as_str()),
        target: Some(target),
        drop: args.collect(),
        csv: CsvConfig::default(),
        ..Default::default()
    };
    let source = source::open_all(&data.source, std::path::Path::new("."), &data)?;
    let columns = ColumnConfigs::new();
    let frame = Frame::read_all(source)?;
    let contract = Contract::infer(&frame, &data, &columns)?;
    let frame = frame.settle(&contract, &data.bad_policy())?;

    let start = Instant::now();
    let fitted = Pipeline::new(&contract, &columns)?.fit(&frame.all())?;
    let fit = start.elapsed();
    // All rows are held at the end, in full precision, as scikit-learn does.
    let mut numbers: Vec<f64> = Vec::with_capacity(frame.len() * fitted.width());
    let mut pass = fitted.pass();
    for batch in frame.all().batches()? {
        numbers.extend(pass.matrix(&batch?)?);
    }
    let seconds = start.elapsed().as_secs_f64();
    let sum: f64 = numbers.iter().map(|x| x.abs()).sum();
    println!(
        "{{\"rows\": {}, \"width\": {}, \"fit\": {:.4}, \"seconds\": {seconds:.4}, \"sum\": {sum}}}",
        frame.len(),
        fitted.width(),
        fit.as_secs_f64()
    );
    Ok(())
}
