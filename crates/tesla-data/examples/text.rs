//! Fits the text column of a data set and writes the matrix of all its rows as JSON:
//! `cargo run --release -p tesla-data --example text -- DATA CONFIG OUT`, where DATA is what `[data]`
//! holds and CONFIG what `text` holds, as JSON. `benches/peers/text.py` calls it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use tesla_data::config::ColumnConfig;
use tesla_data::contract::Need;
use tesla_data::samples::SparseRows;
use tesla_data::{ColumnKind, Contract, Dataset, Pipeline};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [data, config, out] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "expected DATA CONFIG OUT")?;
    let data = serde_json::from_str(&data)?;
    let frame = Dataset::load(&data, Path::new("."))?.frame;
    let contract = Contract::infer(&frame, &data, &BTreeMap::new())?;
    let text = contract.features().find(|rule| rule.kind == ColumnKind::Text);
    let column = ColumnConfig {
        text: Some(serde_json::from_str(&config)?),
        ..ColumnConfig::default()
    };
    let columns = [(text.ok_or("no text column")?.name.clone(), column)].into();

    let start = Instant::now();
    let fitted = Pipeline::new(&contract, &columns)?.fit(&frame.all())?;
    let fit = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut rows = SparseRows::new(fitted.width());
    for batch in frame.batches()? {
        let place = |row: usize| format!("row {row}");
        rows.append(fitted.sparse(&contract.conform(&batch?, Need::Features, &place)?)?);
    }
    let transform = start.elapsed().as_secs_f64();
    let matrix = serde_json::json!({
        "terms": fitted.feature_names(),
        "offsets": rows.offsets,
        "columns": rows.columns,
        "values": rows.values,
    });
    std::fs::write(out, matrix.to_string())?;
    println!("{{\"width\": {}, \"fit\": {fit:.3}, \"transform\": {transform:.3}}}", rows.width);
    Ok(())
}
