#![no_main]

use libfuzzer_sys::fuzz_target;
use tesla_data::config::CsvConfig;
use tesla_data::source::{CsvSource, Input, Source};

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the dialect, the rest is the file.
    let Some((choice, text)) = bytes.split_first() else { return };
    let config = CsvConfig {
        delimiter: [None, Some(' '), Some('\t'), Some(';')][usize::from(choice & 3)],
        header: choice & 4 == 0,
        quote: if choice & 8 == 0 { "\"".into() } else { String::new() },
        trim: choice & 16 == 0,
        ..CsvConfig::default()
    };
    let open = || CsvSource::open(Input::from_bytes("x", text), config.clone());
    let Ok(looked) = open() else { return };
    let Ok(schema) = looked.schema() else { return };
    // What was kept while looking is what a reading of its own gives.
    let kept = looked.scan(&schema).unwrap().map(|rows| rows.unwrap());
    let read = open().unwrap();
    let read = read.scan(&schema).unwrap().map(|rows| rows.unwrap());
    let rows = |scanned: tesla_data::source::Scanned| (scanned.rows, scanned.bad);
    assert!(kept.map(rows).eq(read.map(rows)));
});
