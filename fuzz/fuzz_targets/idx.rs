#![no_main]

use libfuzzer_sys::fuzz_target;
use tesla_data::source::{IdxSource, Input, Source};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(source) = IdxSource::open(Input::from_bytes("x", bytes)) {
        let schema = source.schema().unwrap();
        source.scan(&schema).unwrap().for_each(drop);
    }
});
