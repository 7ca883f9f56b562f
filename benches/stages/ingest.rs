use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput};

use crate::shipped;

/// One file each of the same size of thing: a table as CSV, JSON lines and `.npy`, and images.
pub(crate) fn bench(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let files = [
        ("csv/4000x7", shipped("machines/machines.csv")),
        ("json/4000x7", json_lines(folder.path())),
        ("npy/4000x30", npy(folder.path())),
        ("idx/1797x8x8", shipped("digits/digits-images-idx3-ubyte")),
    ];
    let mut group = c.benchmark_group("ingest");
    for (name, path) in &files {
        let bytes = std::fs::metadata(path).expect("the file was written").len();
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(*name, |b| {
            b.iter(|| tesla::ingest::load(black_box(path)).expect("the file can be read"))
        });
    }
}

/// The machines as JSON lines; numbers stay numbers.
fn json_lines(folder: &Path) -> PathBuf {
    let table = std::fs::read_to_string(shipped("machines/machines.csv"))
        .expect("the table ships with the project");
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let path = folder.join("machines.jsonl");
    let mut out = std::fs::File::create(&path).expect("a file can be made");
    for line in lines {
        let value = |text: &str| match text.parse::<f64>() {
            Ok(number) => number.into(),
            Err(_) => serde_json::Value::from(text),
        };
        let row: serde_json::Map<_, _> = std::iter::zip(&names, line.split(','))
            .map(|(name, text)| (name.to_string(), value(text)))
            .collect();
        writeln!(out, "{}", serde_json::Value::from(row)).expect("the file can be written");
    }
    path
}

/// A matrix of 64-bit floats.
fn npy(folder: &Path) -> PathBuf {
    let (rows, width) = (4000, 30);
    let mut header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    // The header ends with a line end, at a multiple of 64 bytes.
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    for i in 0..rows * width {
        bytes.extend((i as f64 * 0.7).sin().to_le_bytes());
    }
    let path = folder.join("matrix.npy");
    std::fs::write(&path, bytes).expect("the file can be written");
    path
}
