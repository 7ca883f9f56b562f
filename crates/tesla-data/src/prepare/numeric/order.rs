//! The values of a column in order: all of them, or beyond a limit a summary of bounded size.

use rayon::slice::ParallelSliceMut;

/// The most values of one column that are held.
const MOST: usize = 16 << 20;
/// The most values that are held of all columns together, where these are few enough.
const MOST_TOGETHER: usize = 128 << 20;
/// The fewest values of one column that are held, however many columns there are.
const FEWEST: usize = 16 << 10;
/// A level above the first has this share of the places of the first.
const SHARE: usize = 16;

/// Values of a column on their way to being sorted.
///
/// Up to a limit (16 Mi values, fewer from the ninth such column on, never fewer than 16 Ki) every
/// value is held, and what is read off them is exact. Beyond it values are compacted as in KLL: a
/// full level is sorted, and every second value goes up a level, where it stands for two. Odd and
/// even places take turns, so that the result repeats. Each of `h` levels moves a rank by at most
/// one in `limit / 16` places: the rank of a value is off by at most `16 h / limit` of all rows,
/// which for four thousand million rows is below 0.002 %.
pub(in crate::prepare) struct Values {
    limit: usize,
    /// `levels[h]` holds values that stand for `2^h` each.
    levels: Vec<Vec<f64>>,
    /// Whether the next compaction of a level keeps the odd places.
    odd: Vec<bool>,
}

impl Values {
    /// Room for one of `columns` columns.
    pub(in crate::prepare) fn new(columns: usize) -> Self {
        Self::with_limit((MOST_TOGETHER / columns.max(1)).clamp(FEWEST, MOST))
    }

    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            levels: vec![Vec::new()],
            odd: vec![false],
        }
    }

    pub(in crate::prepare) fn push(&mut self, value: f64) {
        self.levels[0].push(value);
        if self.levels[0].len() >= self.limit {
            self.compact();
        }
    }

    fn compact(&mut self) {
        for level in 0.. {
            let places = match level {
                0 => self.limit,
                _ => (self.limit / SHARE).max(2),
            };
            if self.levels[level].len() < places {
                return;
            }
            if level + 1 == self.levels.len() {
                self.levels.push(Vec::new());
                self.odd.push(false);
            }
            let mut values = std::mem::take(&mut self.levels[level]);
            // Of an odd number the last one waits for the next time.
            let kept = (values.len() % 2 == 1).then(|| values.pop()).flatten();
            values.par_sort_unstable_by(f64::total_cmp);
            let first = usize::from(self.odd[level]);
            self.odd[level] ^= true;
            self.levels[level + 1].extend(values.iter().skip(first).step_by(2));
            self.levels[level].extend(kept);
        }
    }

    /// The values in order.
    pub(in crate::prepare) fn sort(mut self) -> Sorted {
        if self.levels.len() == 1 {
            let mut values = self.levels.remove(0);
            values.par_sort_unstable_by(f64::total_cmp);
            return Sorted { values, ends: None };
        }
        let levels = self.levels.into_iter().enumerate();
        let mut all: Vec<(f64, u64)> = levels
            .flat_map(|(h, level)| level.into_iter().map(move |v| (v, 1 << h)))
            .collect();
        all.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut end = 0;
        let ends = all.iter().map(|(_, weight)| {
            end += weight;
            end
        });
        Sorted {
            ends: Some(ends.collect()),
            values: all.into_iter().map(|(value, _)| value).collect(),
        }
    }
}

/// Values in ascending order.
pub(in crate::prepare) struct Sorted {
    values: Vec<f64>,
    /// How many rows the values up to and with each stand for, where that is not one each.
    ends: Option<Vec<u64>>,
}

impl Sorted {
    /// The number of rows.
    pub(super) fn len(&self) -> u64 {
        match &self.ends {
            Some(ends) => ends.last().copied().unwrap_or(0),
            None => self.values.len() as u64,
        }
    }

    /// The value of each row, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        self.weighted()
            .flat_map(|(value, n)| std::iter::repeat_n(value, n as usize))
    }

    /// The values, each with the number of rows it stands for.
    pub(super) fn weighted(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.values.iter().enumerate().map(|(i, value)| match &self.ends {
            Some(ends) => (*value, ends[i] - if i == 0 { 0 } else { ends[i - 1] }),
            None => (*value, 1),
        })
    }

    /// The values with each one changed by `change`, which keeps their order.
    pub(super) fn map(&mut self, change: impl Fn(f64) -> f64) {
        self.values.iter_mut().for_each(|value| *value = change(*value));
    }

    /// Puts in `count` rows of one value.
    pub(super) fn insert(&mut self, value: f64, count: u64) {
        if count == 0 {
            return;
        }
        let at = self.values.partition_point(|v| v.total_cmp(&value).is_lt());
        match &mut self.ends {
            None => {
                self.values.splice(at..at, std::iter::repeat_n(value, count as usize));
            }
            Some(ends) => {
                let before = if at == 0 { 0 } else { ends[at - 1] };
                ends[at..].iter_mut().for_each(|end| *end += count);
                ends.insert(at, before + count);
                self.values.insert(at, value);
            }
        }
    }

    /// The value of the row at a zero-based place in the order.
    fn at(&self, rank: u64) -> f64 {
        match &self.ends {
            Some(ends) => self.values[ends.partition_point(|end| *end <= rank)],
            None => self.values[rank as usize],
        }
    }

    /// The quantile `q` in 0..1, interpolated as `numpy.quantile` does by default; 0 of nothing.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let Some(last) = self.len().checked_sub(1) else {
            return 0.0;
        };
        let place = q * last as f64;
        let (low, t) = (place.floor(), place - place.floor());
        let (a, b) = (self.at(low as u64), self.at((low as u64 + 1).min(last)));
        // From the nearer of the two, as NumPy does.
        if t < 0.5 {
            a + (b - a) * t
        } else {
            b - (b - a) * (1.0 - t)
        }
    }

    /// The quantile `q` in 0..1 as `numpy.quantile(method="averaged_inverted_cdf")` has it: a value
    /// of the column, or the middle of two where `q` falls between them; 0 of nothing.
    pub(super) fn averaged_quantile(&self, q: f64) -> f64 {
        let n = self.len();
        let Some(last) = n.checked_sub(1) else {
            return 0.0;
        };
        let place = q * n as f64 - 1.0;
        let low = place.floor();
        let upper = self.at(((low + 1.0) as u64).min(last));
        match place == low {
            true => (self.at(low.max(0.0) as u64) + upper) / 2.0,
            false => upper,
        }
    }

    /// The most frequent value, of several the smallest; 0 of nothing.
    pub(super) fn mode(&self) -> f64 {
        let (mut best, mut most) = (0.0, 0);
        let (mut value, mut count) = (f64::NAN, 0);
        for (next, n) in self.weighted() {
            count = if next == value { count + n } else { n };
            value = next;
            if count > most {
                (best, most) = (value, count);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        let mut values = Values::new(1);
        [4.0, 1.0, 3.0, 2.0].into_iter().for_each(|v| values.push(v));
        let sorted = values.sort();
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| sorted.quantile(q)), [1.0, 1.75, 2.5, 4.0]);
        assert_eq!([0.0, 0.3, 0.5, 1.0].map(|q| sorted.averaged_quantile(q)), [1.0, 2.0, 2.5, 4.0]);
    }

    #[test]
    fn a_summary_keeps_count_and_rank_within_its_bound() {
        let limit = 4096;
        let rows = 300_000u64;
        let mut values = Values::with_limit(limit);
        // Every number below `rows` once, in an order that jumps about.
        (0..rows).for_each(|i| values.push((i * 7919 % rows) as f64));
        let levels = values.levels.len();
        assert!(values.levels.iter().map(Vec::len).sum::<usize>() < 2 * limit);
        let sorted = values.sort();
        assert_eq!(sorted.len(), rows);
        let bound = (SHARE * levels) as f64 / limit as f64 * rows as f64;
        for q in [0.0, 0.01, 0.25, 0.5, 0.9, 1.0] {
            let off = (sorted.quantile(q) - q * (rows - 1) as f64).abs();
            assert!(off <= bound, "{q}: {off} of {bound}");
        }
    }
}
