use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::arrow::array::{Float64Array, StringArray};

fn config(by: SplitBy) -> SplitConfig {
    let keyed = matches!(by, SplitBy::Group | SplitBy::Time | SplitBy::Column | SplitBy::Hash);
    SplitConfig {
        by: Some(by),
        column: keyed.then(|| "key".into()),
        ..Default::default()
    }
}

fn keyed(config: &SplitConfig, values: ArrayRef, seed: u64) -> Result<Split> {
    let place = |row: usize| format!("row {}", row + 1);
    let rows = Rows {
        len: values.len(),
        key: Some(Key {
            name: "key",
            values: &values,
            place: &place,
        }),
        ..Default::default()
    };
    split(config, &rows, seed)
}

fn names(values: impl IntoIterator<Item = impl ToString>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values.into_iter().map(|v| v.to_string())))
}

fn numbers(values: &[u32]) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values.iter().map(|v| f64::from(*v))))
}

/// Which part each row is in, once it is sure that it is in one.
fn part_of(split: &Split) -> Vec<usize> {
    let mut parts = vec![None; split.rows];
    for (part, rows) in [&split.train, &split.valid, &split.test].into_iter().enumerate() {
        assert!(rows.is_sorted());
        for row in rows {
            assert_eq!(parts[*row as usize].replace(part), None, "row {row} is in two parts");
        }
    }
    parts
        .into_iter()
        .map(|part| part.expect("a row is in no part"))
        .collect()
}

prop_compose! {
    /// Shares that leave at least a tenth to train on.
    fn shares()(valid in 0.0..0.45f64, test in 0.0..0.45f64, none in 0..4u8) -> (f64, f64) {
        (if none == 1 { 0.0 } else { valid }, if none == 2 { 0.0 } else { test })
    }
}

proptest! {
    #[test]
    fn every_row_lands_in_exactly_one_part(
        classes in prop::collection::vec(0u32..4, 40..200),
        (valid, test) in shares(),
        seed: u64,
    ) {
        for by in [SplitBy::Random, SplitBy::Stratified] {
            let config = SplitConfig { valid, test, ..config(by) };
            let rows = Rows { len: classes.len(), classes: Some(&classes), ..Default::default() };
            part_of(&split(&config, &rows, seed).unwrap());
        }
        let listed: Vec<u32> = (0..classes.len() as u32).filter(|row| row % 3 == 0).collect();
        let rows = Rows { len: classes.len(), listed: Some(&listed), ..Default::default() };
        let parts = split(&SplitConfig { valid, ..config(SplitBy::Rows) }, &rows, seed).unwrap();
        part_of(&parts);
        prop_assert_eq!(parts.test, listed);
    }

    #[test]
    fn groups_stay_together_whatever_the_order_of_rows(
        groups in prop::collection::vec(0u32..12, 60..300),
        (valid, test) in shares(),
        seed: u64,
    ) {
        let mut sizes = [0usize; 12];
        groups.iter().for_each(|group| sizes[*group as usize] += 1);
        prop_assume!(sizes.iter().filter(|size| **size > 0).count() >= 3);
        let config = SplitConfig { valid, test, ..config(SplitBy::Group) };
        let parts = keyed(&config, names(&groups), seed).unwrap();
        let part = part_of(&parts);
        let mut home = [None; 12];
        for (row, group) in groups.iter().enumerate() {
            let home = home[*group as usize].get_or_insert(part[row]);
            prop_assert_eq!(*home, part[row]);
        }
        // Each part that is asked for has rows, and no more than its share and the largest group.
        let largest = sizes.iter().max().copied().unwrap_or(0) as f64;
        for (rows, share) in [(&parts.valid, valid), (&parts.test, test)] {
            prop_assert_eq!(rows.is_empty(), share == 0.0);
            prop_assert!(rows.len() as f64 <= share * groups.len() as f64 + largest);
        }
        let backwards: Vec<u32> = groups.iter().rev().copied().collect();
        let mut again = part_of(&keyed(&config, names(&backwards), seed).unwrap());
        again.reverse();
        prop_assert_eq!(again, part);
    }

    #[test]
    fn no_part_reaches_into_the_time_of_a_later_one(
        times in prop::collection::vec(0u32..40, 40..200),
        (valid, test) in shares(),
    ) {
        let mut distinct = times.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assume!(distinct.len() >= 3);
        let config = SplitConfig { valid, test, ..config(SplitBy::Time) };
        let parts = keyed(&config, numbers(&times), 0).unwrap();
        part_of(&parts);
        let range = |rows: &[u32]| {
            let times = rows.iter().map(|row| times[*row as usize]);
            times.clone().min().zip(times.max())
        };
        let ranges: Vec<_> =
            [&parts.train, &parts.valid, &parts.test].iter().filter_map(|rows| range(rows)).collect();
        prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", ranges);
        prop_assert_eq!(parts.valid.is_empty(), valid == 0.0);
        prop_assert_eq!(parts.test.is_empty(), test == 0.0);
        // Days since 2020 as text give the same parts as the numbers.
        let day = |time: &u32| format!("2020-{:02}-{:02} 08:00", 1 + time / 28, 1 + time % 28);
        prop_assert_eq!(&keyed(&config, names(times.iter().map(day)), 0).unwrap(), &parts);
    }

    #[test]
    fn a_hashed_row_keeps_its_part_when_the_table_grows(
        keys in prop::collection::vec("[a-z]{0,6}", 60..120),
        more in prop::collection::vec("[a-z]{0,6}", 0..60),
        seeds: (u64, u64),
    ) {
        let config = config(SplitBy::Hash);
        // One row is sure to be trained on, so that no table is refused.
        let with = |keys: &[String]| names(keys.iter().cloned().chain(["train-0".to_string()]));
        let before = part_of(&keyed(&config, with(&keys), seeds.0).unwrap());
        let all = [keys.clone(), more].concat();
        let after = part_of(&keyed(&config, with(&all), seeds.1).unwrap());
        prop_assert_eq!(&before[..keys.len()], &after[..keys.len()]);
    }

    #[test]
    fn the_named_part_is_the_part(named in prop::collection::vec(0usize..3, 1..100)) {
        let words = [["train", "Training"], ["val", "dev"], ["test", " TEST "]];
        let named = [vec![0], named].concat();
        let values = named.iter().enumerate().map(|(row, part)| words[*part][row % 2]);
        let parts = keyed(&config(SplitBy::Column), names(values), 0).unwrap();
        prop_assert_eq!(part_of(&parts), named);
    }

    #[test]
    fn a_saved_split_is_repeated(rows in 10usize..300, seed: u64) {
        let parts = split(&config(SplitBy::Random), &Rows { len: rows, ..Default::default() }, seed);
        let parts = parts.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.json");
        parts.save(&path).unwrap();
        let saved = Split::load(&path).unwrap();
        let config = SplitConfig { file: Some("split.json".into()), ..Default::default() };
        let again = |len| {
            split(&config, &Rows { len, saved: Some(&saved), ..Default::default() }, seed ^ 1)
        };
        prop_assert_eq!(&again(rows).unwrap(), &parts);
        let error = again(rows + 1).unwrap_err().to_string();
        prop_assert!(error.contains(&format!("divides {rows} rows")), "{}", error);
        prop_assert_eq!(serde_json::to_value(&parts).unwrap(), serde_json::from_str::<serde_json::Value>(&parts.to_json()).unwrap());
    }
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let keys: Vec<u32> = (0..5000).map(|i| i % 97).collect();
    for by in [SplitBy::Random, SplitBy::Group, SplitBy::Time, SplitBy::Hash] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| match by {
                SplitBy::Random => split(
                    &config(by),
                    &Rows {
                        len: 5000,
                        ..Default::default()
                    },
                    3,
                )
                .unwrap(),
                _ => keyed(&config(by), numbers(&keys), 3).unwrap(),
            })
        };
        assert_eq!(on(1), on(4), "{by:?}");
    }
}

#[test]
fn stratified_keeps_proportions_and_repeats_with_its_seed() {
    let classes: Vec<u32> = (0..1000).map(|i| u32::from(i % 10 == 0)).collect();
    let rows = Rows {
        len: 1000,
        classes: Some(&classes),
        ..Default::default()
    };
    let with = |seed| split(&SplitConfig::default(), &rows, seed).unwrap();
    let parts = with(7);
    assert_eq!((parts.train.len(), parts.valid.len(), parts.test.len()), (700, 100, 200));
    assert_eq!(parts.test.iter().filter(|r| classes[**r as usize] == 1).count(), 20);
    assert_eq!(parts, with(7));
    assert_ne!(parts.test, with(8).test);
}

#[test]
fn listed_rows_are_the_test_rows() {
    let config = SplitConfig {
        valid: 0.0,
        ..Default::default()
    };
    let rows = Rows {
        len: 5,
        listed: Some(&[1, 3]),
        ..Default::default()
    };
    let parts = split(&config, &rows, 0).unwrap();
    assert_eq!(parts.test, [1, 3]);
    assert_eq!(parts.train, [0, 2, 4]);
}

#[test]
fn a_hash_is_what_the_documentation_says() {
    // SHA-256 of "abc" begins with ba7816bf: 0.7284 of 2^64.
    let keys = std::iter::once("abc".to_string()).chain((0..50).map(|i| i.to_string()));
    for (test, part) in [(0.7, 1), (0.73, 2)] {
        let shares = SplitConfig {
            valid: 0.2,
            test,
            ..config(SplitBy::Hash)
        };
        let parts = keyed(&shares, names(keys.clone()), 0).unwrap();
        assert_eq!(part_of(&parts)[0], part);
    }
}

#[test]
fn what_cannot_be_divided_is_refused_in_one_sentence() {
    let refused = |by, values: &[Option<&str>]| {
        let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        keyed(&config(by), values, 0).unwrap_err().to_string()
    };
    for (error, expected) in [
        (
            refused(SplitBy::Time, &[Some("2020-01-01"), None, None]),
            "2 of 3 rows have no value in column `key`, which `split.by = \"time\"` goes by (first row 2): fill it in, or remove those rows",
        ),
        (
            refused(SplitBy::Time, &[Some("2020-01-01"), Some("soon")]),
            "row 2, column `key`: `soon` is not a time: expected numbers throughout, or ISO dates such as `2024-01-31` or `2024-01-31T12:00:00Z`",
        ),
        (
            refused(SplitBy::Column, &[Some("train"), Some("holdout")]),
            "row 2, column `key`: `holdout` is no part of a split: expected `train`, `valid` or `test`",
        ),
        (
            refused(SplitBy::Group, &[Some("a"), Some("b"), Some("a")]),
            "column `key` has 2 different groups, too few for 3 parts: set `split.valid` or `split.test` to 0, or divide the rows by something else",
        ),
    ] {
        assert_eq!(error, expected);
    }
    let check = |config: SplitConfig| {
        let rows = Rows {
            len: 9,
            ..Default::default()
        };
        split(&config, &rows, 0).unwrap_err().to_string()
    };
    let column = Some("key".into());
    for (config, expected) in [
        (
            SplitConfig {
                column: column.clone(),
                ..Default::default()
            },
            "does not say how",
        ),
        (
            SplitConfig {
                column,
                ..config(SplitBy::Random)
            },
            "`split.column` has no meaning",
        ),
        (
            SplitConfig {
                column: None,
                ..config(SplitBy::Group)
            },
            "needs `split.column`",
        ),
        (config(SplitBy::Rows), "needs `split.test_rows`"),
        (config(SplitBy::File), "needs `split.file`"),
        (
            SplitConfig {
                test: 1.0,
                ..Default::default()
            },
            "`split.test` is 1",
        ),
        (
            SplitConfig {
                test: 0.5,
                valid: 0.5,
                ..Default::default()
            },
            "expected less than 1",
        ),
    ] {
        let error = check(config);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_saved_split_with_a_row_twice_or_nowhere_is_refused() {
    for (train, test) in [("[[0,3]]", "[[3,4]]"), ("[[0,2]]", "[[4,4]]"), ("[[0,2]]", "[[3,9]]")] {
        let text = format!(
            "{{\"by\":\"random\",\"seed\":0,\"rows\":5,\"train\":{train},\"valid\":[],\"test\":{test}}}"
        );
        let error = serde_json::from_str::<Split>(&text).unwrap_err().to_string();
        assert!(error.contains("exactly one"), "{error}");
    }
}
