#![no_main]

use libfuzzer_sys::fuzz_target;
use tesla_data::source::{Input, Source, open_pickle};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(source) = open_pickle(Input::from_bytes("x", bytes)) {
        let schema = source.schema().unwrap();
        source.scan(&schema).unwrap().for_each(|rows| drop(rows.unwrap()));
    }
});
