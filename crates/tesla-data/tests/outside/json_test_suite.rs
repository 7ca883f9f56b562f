use std::path::Path;

use tesla_data::Result;
use tesla_data::config::JsonConfig;
use tesla_data::source::{Input, JsonSource, Source};

/// How many rows are good and how many bad.
fn read(text: Vec<u8>) -> Result<(usize, usize)> {
    let input = Input::from_bytes("t.json", text);
    let source = JsonSource::open(input, JsonConfig::default())?;
    let schema = source.schema()?;
    let (mut good, mut bad) = (0, 0);
    for scanned in source.scan(&schema)? {
        let scanned = scanned?;
        good += scanned.rows.num_rows();
        bad += scanned.bad.len();
    }
    Ok((good, bad))
}

pub(crate) fn what_is_json_is_told_from_what_is_not(folder: &Path) {
    let folder = folder.join("torture/json/JSONTestSuite/test_parsing");
    let (mut valid, mut invalid, mut either) = (0, 0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let text = std::fs::read(file.path()).unwrap();
        let parsed = serde_json::from_slice::<serde_json::Value>(&text).is_ok();
        let read = read(text);
        match name.as_bytes()[0] {
            b'y' => {
                // Valid JSON need not be a table, but must not be called invalid.
                let is_json = match &read {
                    Ok(_) => true,
                    Err(e) => !e.to_string().contains("not JSON"),
                };
                assert!(parsed && is_json, "{name}: {read:?}");
                valid += 1;
            }
            b'n' => {
                let refused = !matches!(read, Ok((_, 0)));
                assert!(!parsed && refused, "{name}: {read:?}");
                invalid += 1;
            }
            _ => either += 1,
        }
    }
    assert!(valid >= 95 && invalid >= 187 && either >= 35, "{valid} {invalid} {either}");
}
