//! Rules that divide the rows of each user.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::keyed::{present, texts};
use super::{Key, Split, cut, times};
use crate::Result;
use crate::config::{SplitBy, SplitConfig};

/// Divides the rows of each user by the rule in `parts`. Users come in the order of their names, so that
/// the order of the rows decides nothing but among rows of one time.
pub(super) fn divide(
    config: &SplitConfig,
    user: Key<'_>,
    time: Option<Key<'_>>,
    rng: &mut ChaCha8Rng,
    parts: &mut Split,
) -> Result<()> {
    let rule = parts.by.name();
    let names = texts(user, rule)?;
    let times = match time.filter(|_| parts.by != SplitBy::UserRatio) {
        Some(key) => {
            let times = times(key)?;
            present(times.iter().map(Option::is_some), key, rule)?;
            Some(times.into_iter().flatten().collect::<Vec<i64>>())
        }
        None => None,
    };
    let mut members: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (row, name) in names.iter().flatten().enumerate() {
        members.entry(name).or_default().push(row as u32);
    }
    for mut rows in members.into_values() {
        match (&times, parts.by) {
            // Stable: rows of one time stay in their order.
            (Some(times), _) => rows.sort_by_key(|row| times[*row as usize]),
            (None, SplitBy::LeaveOneOut) => rows.shuffle(rng),
            (None, _) => {
                cut(rows, config.valid, config.test, rng, parts);
                continue;
            }
        }
        let count = rows.len();
        let (valid, test) = match parts.by {
            SplitBy::LeaveOneOut => {
                let one = |share: f64| usize::from(share > 0.0);
                let test = one(config.test).min(count.saturating_sub(1));
                (one(config.valid).min(count.saturating_sub(1 + test)), test)
            }
            _ => {
                let share = |share: f64| (count as f64 * share).round() as usize;
                let test = share(config.test);
                (share(config.valid).min(count - test), test)
            }
        };
        parts.test.extend(rows.drain(count - test..));
        parts.valid.extend(rows.drain(count - test - valid..));
        parts.train.extend(rows);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::arrow::array::{ArrayRef, Float64Array};
    use crate::config::{SplitBy, SplitConfig};
    use crate::split::{Key, Rows, Split, split};

    fn parts(by: SplitBy, users: &[u32], times: Option<&[u32]>, seed: u64) -> Split {
        let column = |values: &[u32]| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(values.iter().map(|v| f64::from(*v))))
        };
        let (user, time) = (column(users), times.map(column));
        let place = |row: usize| format!("row {}", row + 1);
        let key = |name, values| Key {
            name,
            values,
            place: &place,
        };
        let rows = Rows {
            len: users.len(),
            user: Some(key("user", &user)),
            time: time.as_ref().map(|values| key("time", values)),
            ..Default::default()
        };
        let config = SplitConfig {
            by: Some(by),
            ..Default::default()
        };
        split(&config, &rows, seed).unwrap()
    }

    proptest! {
        #[test]
        fn each_user_is_divided_alone(
            rows in prop::collection::vec((0u32..9, 0u32..50), 30..200),
            seed: u64,
        ) {
            let (users, times): (Vec<u32>, Vec<u32>) = rows.into_iter().unzip();
            for by in [SplitBy::UserRatio, SplitBy::UserTime, SplitBy::LeaveOneOut] {
                let found = parts(by, &users, Some(&times), seed);
                let mut all = [found.train.clone(), found.valid.clone(), found.test.clone()].concat();
                all.sort_unstable();
                prop_assert!(all.iter().copied().eq(0..users.len() as u32), "every row once");
                for user in 0..9 {
                    let own = |part: &[u32]| -> Vec<u32> {
                        part.iter().copied().filter(|row| users[*row as usize] == user).collect()
                    };
                    let sides = [own(&found.train), own(&found.valid), own(&found.test)];
                    let count: usize = sides.iter().map(Vec::len).sum();
                    if by != SplitBy::UserRatio {
                        let range = |rows: &Vec<u32>| {
                            let times = rows.iter().map(|row| times[*row as usize]);
                            times.clone().min().zip(times.max())
                        };
                        let ranges: Vec<_> = sides.iter().filter_map(range).collect();
                        prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
                    }
                    if by == SplitBy::LeaveOneOut {
                        let expected = [count.min(1).max(count.saturating_sub(2)),
                            usize::from(count > 2), usize::from(count > 1)];
                        prop_assert_eq!(sides.each_ref().map(Vec::len), expected);
                    } else {
                        let share = (count as f64 * 0.2).round() as usize;
                        prop_assert_eq!(sides[2].len(), share);
                    }
                }
            }
        }
    }

    #[test]
    fn one_row_is_left_out_by_the_seed_where_there_is_no_time() {
        let users = [1, 1, 1, 1, 1, 1, 1, 1, 2];
        let test = |seed| parts(SplitBy::LeaveOneOut, &users, None, seed).test;
        assert_eq!((test(0).len(), test(0)), (1, test(0)));
        assert!((1..20).any(|seed| test(seed) != test(0)));
    }
}
