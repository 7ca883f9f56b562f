//! Reads one source into memory and prints how long it took, as one line of JSON:
//! `cargo run --release -p tesla-data --example read -- FILE`. `benches/peers/ingest.py` calls it.

use std::path::Path;
use std::time::Instant;

use tesla_data::{DataConfig, source};

/// As in the program `tesla`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> tesla_data::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "-".into());
    let start = Instant::now();
    let source = source::open(Path::new(&path), &DataConfig::default())?;
    let schema = source.schema()?;
    let inferred = start.elapsed().as_secs_f64();
    let batches = source.scan(&schema)?.collect::<tesla_data::Result<Vec<_>>>()?;
    let seconds = start.elapsed().as_secs_f64();
    let rows: usize = batches.iter().map(|b| b.rows.num_rows()).sum();
    let bad: usize = batches.iter().map(|b| b.bad.len()).sum();
    println!(
        "{{\"rows\": {rows}, \"bad\": {bad}, \"columns\": {}, \"inferred\": {inferred:.3}, \"seconds\": {seconds:.3}}}",
        schema.fields().len()
    );
    Ok(())
}
