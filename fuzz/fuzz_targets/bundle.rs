#![no_main]

use libfuzzer_sys::fuzz_target;
use tesla_core::{Bundle, Device, DeviceChoice};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::from_bytes("x", bytes) {
        let device = Device::open(DeviceChoice::Flex).unwrap();
        let _ = bundle.predictor(&device);
    }
});
