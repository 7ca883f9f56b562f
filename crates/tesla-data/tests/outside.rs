//! What needs something that is not in the repository: a PostgreSQL server, or the files that
//! break readers, in the folder `$TESLA_TEST_DATA/torture`. Where it is missing, a test counts as
//! ignored, not as passed.

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
    let torture = std::env::var_os("TESLA_TEST_DATA").map(|data| Path::new(&data).join("torture"));
    if torture.is_none() {
        println!("`TESLA_TEST_DATA` is not set: the test of the PNG suite is skipped");
    }
    let missing = torture.is_none();
    let png = move || png_suite(&torture.ok_or("no torture files")?.join("images/pngsuite"));
    #[allow(unused_mut, reason = "features add to it")]
    let mut trials = vec![
        Trial::test("png_suite_decodes_and_its_broken_files_are_set_apart", png)
            .with_ignored_flag(missing),
    ];
    #[cfg(feature = "postgres")]
    trials.extend(server::trials());
    libtest_mimic::run(&args, trials).exit();
}

/// In the suite, a file whose name starts with `x` is broken, and every other one is valid.
fn png_suite(folder: &Path) -> Result<(), Failed> {
    let is_broken = |path: &str| {
        let name = PathBuf::from(path);
        name.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('x'))
    };
    let source = ImageFolder::open(folder)?;
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
