//! AUC, log loss and confusion matrix of scores in two files, batch by batch: `benches/peers/metrics.py
//! time` writes the files and compares.
//!
//! ```sh
//! cargo run --release --example scores -- truth.u8 scores.f64
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::time::Instant;

use tesla_train::metrics::Probabilities;

/// Rows that are in memory at a time.
const BATCH: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [truth, scores] = paths.as_slice() else {
        return Err("give two files: truth as bytes, scores as 64-bit floats".into());
    };
    let (mut truth, mut scores) =
        (BufReader::new(File::open(truth)?), BufReader::new(File::open(scores)?));
    let start = Instant::now();
    let mut all = Probabilities::new(2);
    let (mut classes, mut floats) = (vec![0; BATCH], vec![0; 8 * BATCH]);
    loop {
        let rows = fill(&mut truth, &mut classes)?;
        if rows == 0 {
            break;
        }
        scores.read_exact(&mut floats[..8 * rows])?;
        let batch: Vec<u32> = classes[..rows].iter().map(|class| u32::from(*class)).collect();
        let (numbers, _) = floats[..8 * rows].as_chunks::<8>();
        let p: Vec<f64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        all.update(&batch, &p, None)?;
    }
    let found = all.finish()?;
    let (rows, log_loss, confusion) = (found.rows, found.log_loss, found.confusion);
    let auc = found.scores.unwrap_or_default().finish().roc_auc()?;
    let seconds = start.elapsed().as_secs_f64();
    let cells = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(t, p)| confusion.cell(t, p));
    println!(
        "{{\"rows\": {rows}, \"seconds\": {seconds:.3}, \"roc_auc\": {auc}, \"log_loss\": {log_loss}, \"confusion\": {cells:?}, \"peak_mb\": {}}}",
        peak_mb()
    );
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut had = 0;
    while had < buffer.len() {
        match file.read(&mut buffer[had..])? {
            0 => break,
            more => had += more,
        }
    }
    Ok(had)
}

/// The most memory the process had, where Linux says so.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
