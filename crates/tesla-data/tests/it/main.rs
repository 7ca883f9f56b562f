//! The crate on files that others wrote: those that break readers, and real data sets.
//!
//! `TESLA_TEST_DATA` names the folder that holds them. They may not be shipped; without the
//! variable these tests say so and check nothing.

mod csv_spectrum;
mod json_test_suite;
mod leak;
mod real_sets;

use std::path::PathBuf;

/// The folder of test data, or `None` after saying that the test is skipped.
fn test_data() -> Option<PathBuf> {
    let folder = std::env::var_os("TESLA_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: `TESLA_TEST_DATA` does not name the folder of test data");
    }
    folder
}
