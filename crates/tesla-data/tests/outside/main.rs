//! What needs something that is not in the repository: a PostgreSQL server, or the data sets and
//! the files that break readers in the folder `$TESLA_TEST_DATA`, which may not be shipped. Where it
//! is missing, a test counts as ignored, not as passed.

mod csv_spectrum;
mod json_test_suite;
mod real_prepare;
mod real_sets;
#[cfg(feature = "postgres")]
mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use tesla_data::Source;
use tesla_data::arrow::array::AsArray;
use tesla_data::source::ImageFolder;

fn main() {
    let args = Arguments::from_args();
    let data = std::env::var_os("TESLA_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        println!("`TESLA_TEST_DATA` is not set: the tests on its files are skipped");
    }
    let trial = |name: &str, test: fn(&Path) -> Result<(), Failed>| {
        let folder = data.clone();
        let run = move || test(&folder.ok_or("no test data")?);
        Trial::test(name, run).with_ignored_flag(data.is_none())
    };
    // These say what is wrong by a panic.
    type Check = fn(&Path);
    let checks: [(&str, Check); 12] = [
        ("csv_spectrum_equals_its_json", csv_spectrum::equals_its_json),
        ("json_test_suite", json_test_suite::what_is_json_is_told_from_what_is_not),
        ("real_set_adult", real_sets::adult),
        ("real_set_california_housing", real_sets::california_housing),
        ("real_set_ai4i2020", real_sets::ai4i2020),
        ("real_set_clinc150", real_sets::clinc150),
        ("real_set_sms_spam", real_sets::sms_spam),
        ("real_set_jester", real_sets::jester),
        ("real_set_cmapss", real_sets::cmapss),
        ("prepared_adult_equals_scikit_learn", real_prepare::adult),
        ("prepared_california_housing_equals_scikit_learn", real_prepare::california_housing),
        ("prepared_ai4i2020_equals_scikit_learn", real_prepare::ai4i2020),
    ];
    let mut trials = vec![trial("png_suite_decodes_and_its_broken_files_are_set_apart", png_suite)];
    for (name, check) in checks {
        let folder = data.clone();
        let run = move || {
            check(&folder.ok_or("no test data")?);
            Ok(())
        };
        trials.push(Trial::test(name, run).with_ignored_flag(data.is_none()));
    }
    #[cfg(feature = "postgres")]
    trials.extend(server::trials());
    libtest_mimic::run(&args, trials).exit();
}

/// In the suite, a file whose name starts with `x` is broken, and every other one is valid.
fn png_suite(data: &Path) -> Result<(), Failed> {
    let is_broken = |path: &str| {
        let name = PathBuf::from(path);
        name.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('x'))
    };
    let source = ImageFolder::open(&data.join("torture/images/pngsuite"))?;
    let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
    for scanned in source.scan(&source.schema()?)? {
        let scanned = scanned?;
        let paths = scanned.rows.column(0).as_string::<i32>().iter().flatten();
        good.extend(paths.map(String::from));
        bad.extend(scanned.bad.into_iter().map(|bad| bad.into_error().to_string()));
    }
    let accepted: Vec<_> = good.iter().filter(|path| is_broken(path)).collect();
    let refused: Vec<_> = bad
        .iter()
        .filter(|message| !is_broken(message.split('`').nth(1).unwrap_or_default()))
        .collect();
    assert!(!good.is_empty() && !bad.is_empty());
    match accepted.is_empty() && refused.is_empty() {
        true => Ok(()),
        false => {
            Err(format!("broken, but accepted: {accepted:#?}; valid, but refused: {refused:#?}")
                .into())
        }
    }
}
