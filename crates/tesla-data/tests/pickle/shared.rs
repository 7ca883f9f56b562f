//! Files that are not part of the project, in the folder that `TESLA_TEST_DATA` names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tesla_data::arrow::array::{Array, AsArray, RecordBatch};
use tesla_data::arrow::datatypes::DataType;
use tesla_data::source::IMAGE_KEY;

use super::{load, names, same, texts};

/// The folder, or a word on standard error that the test is skipped.
fn folder(below: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TESLA_TEST_DATA").map(|f| Path::new(&f).join(below));
    let found = folder.filter(|f| f.is_dir());
    if found.is_none() {
        eprintln!("skipped: TESLA_TEST_DATA names no folder with {below}");
    }
    found
}

#[test]
fn every_file_of_other_pythons_is_equal_or_refused() {
    let Some(folder) = folder("torture/pickle") else {
        return;
    };
    let csv = |name: &str| load(&folder.join(name)).unwrap();
    let (iris, titanic) = (csv("iris.csv"), csv("titanic.csv"));
    let mut table = BTreeMap::new();
    let mut failed = Vec::new();
    for writer in std::fs::read_dir(&folder).unwrap().flatten() {
        if !writer.path().is_dir() {
            continue;
        }
        for file in std::fs::read_dir(writer.path()).unwrap().flatten() {
            let name = file.file_name().into_string().unwrap();
            let stem = name.split('.').next().unwrap().to_string();
            let outcome = match (load(&file.path()), expected(&name)) {
                (Ok(rows), Expected::Read | Expected::Either) => {
                    check(&stem, &rows, &iris, &titanic)
                }
                (Err(error), Expected::Refused | Expected::Either)
                    if error.to_string().contains(": ") =>
                {
                    Ok(format!("refused: {error}"))
                }
                (Ok(_), Expected::Refused) => Err("read, and should not be".into()),
                (Err(error), _) => Err(error.to_string()),
            };
            let place = format!("{}/{name}", writer.file_name().to_string_lossy());
            match outcome {
                Ok(outcome) => drop(table.insert(place, outcome)),
                Err(reason) => failed.push(format!("{place}: {reason}")),
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(table.len() > 150, "{} files", table.len());
    if let Some(out) = std::env::var_os("TESLA_WRITE_TABLE") {
        std::fs::write(out, grouped(table)).unwrap();
    }
}

/// The files with one outcome in one row of a Markdown table.
fn grouped(table: BTreeMap<String, String>) -> String {
    let mut rows: BTreeMap<(String, String), (usize, BTreeSet<String>)> = BTreeMap::new();
    for (place, outcome) in table {
        let (_, name) = place.split_once('/').unwrap();
        let (stem, ending) = name.split_once('.').unwrap();
        let outcome = outcome.replace(&format!("`{name}` "), "it ");
        let (count, endings) = rows.entry((stem.to_string(), outcome)).or_default();
        *count += 1;
        endings.insert(format!("`.{ending}`"));
    }
    let mut text = String::from("| name | endings | files | outcome |\n|---|---|---|---|\n");
    for ((stem, outcome), (count, endings)) in rows {
        let endings: Vec<_> = endings.into_iter().collect();
        writeln!(text, "| `{stem}` | {} | {count} | {outcome} |", endings.join(" ")).unwrap();
    }
    text
}

enum Expected {
    Read,
    Refused,
    /// Packed in a way that may or may not be undone.
    Either,
}

fn expected(name: &str) -> Expected {
    match name.split('.').next() {
        Some("nested_self_ref" | "plain_python") => Expected::Refused,
        _ if name.ends_with(".bz2") || name.ends_with(".xz") => Expected::Either,
        _ => Expected::Read,
    }
}

/// What the file holds, in a few words, when it is what its name says.
fn check(
    stem: &str,
    rows: &RecordBatch,
    iris: &RecordBatch,
    titanic: &RecordBatch,
) -> Result<String, String> {
    const SEPAL: [&str; 4] = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    const X: [&str; 4] = ["x1", "x2", "x3", "x4"];
    let n = rows.num_rows();
    let classes: Vec<String> = texts(iris, "species");
    let numbers: Vec<String> = classes
        .iter()
        .map(|c| {
            ["setosa", "versicolor", "virginica"]
                .iter()
                .position(|s| s == c)
                .unwrap()
                .to_string()
        })
        .collect();
    let column = |name: &str, expected: &[String]| equal(&texts(rows, name), expected, name);
    let features = |names: &[&str]| {
        let pairs = std::iter::zip(names, SEPAL);
        pairs
            .into_iter()
            .try_for_each(|(name, original)| column(name, &texts(iris, original)))
    };
    match stem {
        "iris_dict_f8_i8" | "iris_tuple_f4_list" | "bigendian_f4_i2" | "iris" | "iris_c" => {
            features(&X)?;
            column("label", &numbers)?;
            Ok("equals iris: `x1`…`x4`, `label`".into())
        }
        "fortran_f8" | "iris_f8" | "fortran" => {
            features(&["c1", "c2", "c3", "c4"])?;
            Ok("equals iris: `c1`…`c4`".into())
        }
        "df_float_only" => {
            features(&SEPAL)?;
            Ok("equals iris: its four columns".into())
        }
        "bool_and_nan" => {
            expect(rows.column(0).data_type() == &DataType::Boolean, rows)?;
            let mut missing = 0;
            for (at, original) in SEPAL.iter().enumerate() {
                let found = texts(rows, &format!("c2_{}", at + 1));
                let given = |(_, value): &(_, &String)| !value.is_empty();
                let (expected, found): (Vec<String>, Vec<String>) =
                    std::iter::zip(texts(iris, original), &found)
                        .filter(given)
                        .map(|(e, f)| (e, f.clone()))
                        .unzip();
                equal(&found, &expected, original)?;
                missing += n - found.len();
            }
            expect(missing > 0, rows)?;
            Ok(format!(
                "equals iris: `c1` of booleans, `c2_1`…`c2_4` with {missing} missing values"
            ))
        }
        "iris_list_of_dicts" => {
            features(&["sl", "sw", "pl", "pw"])?;
            column("species", &classes)?;
            Ok("equals iris: `sl`, `sw`, `pl`, `pw`, `species`".into())
        }
        "object_array_strings" | "unicode_array_U" => {
            column("c1", &classes)?;
            Ok("equals iris: `c1` is its species".into())
        }
        "series_species" => {
            column("species", &classes)?;
            Ok("equals iris: `species`".into())
        }
        "df_titanic_mixed" | "df_titanic" => {
            expect(n == 200, rows)?;
            for name in names(titanic) {
                let expected = &texts(titanic, &name)[..200];
                column(&name, expected)?;
            }
            let when = texts(rows, "when");
            equal(
                &when[..2],
                &["1912-04-10T00:00:00".into(), "1912-04-10T01:00:00".into()],
                "when",
            )?;
            expect(texts(rows, "note")[0] == "naïve café ☃", rows)?;
            Ok("equals titanic, with `when` (times) and `note` (text)".into())
        }
        "df_empty" => {
            expect(n == 0 && names(rows).len() == 17, rows)?;
            Ok("17 columns, no rows".into())
        }
        "df_multiindex" => {
            expect(names(rows) == ["species", "petal_width", "n"], rows)?;
            equal(&texts(rows, "n")[..2], &["5".into(), "29".into()], "n")?;
            Ok("`species` and `petal_width` from the index, `n`".into())
        }
        "datetime64_ns" => {
            expect(n == 200, rows)?;
            equal(&texts(rows, "c1")[1..2], &["1912-04-10T01:00:00".into()], "c1")?;
            Ok("200 times in `c1`".into())
        }
        "images_u1_4d" => {
            let schema = rows.schema();
            expect(schema.field(0).metadata()[IMAGE_KEY] == "8x8x3" && n == 5, rows)?;
            expect(rows.column(0).as_binary::<i64>().value(0)[..4] == [0, 1, 2, 3], rows)?;
            equal(&texts(rows, "label")[..2], &["0".into(), "1".into()], "label")?;
            Ok("5 images of 8x8x3, `label`".into())
        }
        "numpy_scalars" => {
            equal(&texts(rows, "c1"), &["1.5".into(), "-7".into(), "true".into()], "c1")?;
            Ok("three values of mixed types, as text, in `c1`".into())
        }
        "structured" => {
            column("id", &["1".into(), "2".into()])?;
            column("v", &["2.5".into(), "-1".into()])?;
            column("s", &["abc".into(), "xy".into()])?;
            Ok("2 rows: `id`, `v`, `s`".into())
        }
        _ => Err("no expectation is written for this file".into()),
    }
}

fn expect(holds: bool, rows: &RecordBatch) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(format!("{} rows of {:?}", rows.num_rows(), rows.schema())),
    }
}

fn equal(found: &[String], expected: &[String], name: &str) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} rows in {name}, not {}", found.len(), expected.len()));
    }
    let differ = std::iter::zip(found, expected).position(|(a, b)| !same(a, b));
    match differ {
        None => Ok(()),
        Some(at) => Err(format!("{name} row {at}: {:?}, not {:?}", found[at], expected[at])),
    }
}

#[test]
fn cifar_10_batches_are_images() {
    let Some(folder) = folder("cifar10-6k") else {
        return;
    };
    for batch in ["data_batch_1", "data_batch_5", "test_batch"] {
        let rows = load(&folder.join(batch)).unwrap();
        let schema = rows.schema();
        let image = schema.index_of("image").unwrap();
        assert_eq!(schema.field(image).metadata()[IMAGE_KEY], "32x32x3");
        assert_eq!(rows.num_rows(), 1000);
        assert!(
            texts(&rows, "label")
                .iter()
                .all(|l| (0..10).contains(&l.parse::<i32>().unwrap()))
        );
        // Planes become pixels: the file holds 1024 reds, then greens, then blues.
        let bytes = std::fs::read(folder.join(batch)).unwrap();
        let pixels = rows.column(image).as_binary::<i64>().value(0);
        let planes: Vec<u8> = (0..3)
            .flat_map(|c| pixels.iter().skip(c).step_by(3).copied())
            .collect();
        assert_eq!(planes.len(), 3072);
        assert!(bytes.windows(3072).any(|w| w == planes));
    }
    let error = load(&folder.join("batches.meta")).err().unwrap().to_string();
    assert!(error.contains("columns of one length"), "{error}");
}
