//! A sample of rows that does not depend on how they come in batches.

/// The rows that are kept of many.
pub(super) const MOST: usize = 20_000;

/// The rows with the smallest hashes of their places: all of them while they are few.
pub(super) struct Sample<T> {
    most: usize,
    kept: Vec<(u64, usize, T)>,
}

impl<T> Sample<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            kept: Vec::new(),
        }
    }

    /// Adds the row at a place, which no other row has.
    pub(super) fn add(&mut self, place: usize, row: impl FnOnce() -> T) {
        self.kept.push((hash(place as u64), place, row()));
        if self.kept.len() >= 2 * self.most {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.most {
            self.kept
                .select_nth_unstable_by_key(self.most, |(hash, place, _)| (*hash, *place));
            self.kept.truncate(self.most);
        }
    }

    /// The rows, in their order.
    pub(super) fn finish(mut self) -> Vec<T> {
        self.cut();
        self.kept.sort_unstable_by_key(|(_, place, _)| *place);
        self.kept.into_iter().map(|(_, _, row)| row).collect()
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): one to one, and without a pattern.
fn hash(place: u64) -> u64 {
    let mut z = place.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_does_not_depend_on_the_order_it_is_taken_in() {
        let sample = |rows: &mut dyn Iterator<Item = usize>| {
            let mut sample = Sample::new(10);
            rows.for_each(|row| sample.add(row, || row));
            sample.finish()
        };
        let forward = sample(&mut (0..1000));
        assert_eq!(forward.len(), 10);
        assert_eq!(forward, sample(&mut (0..1000).rev()));
        assert_eq!(sample(&mut (0..7)), (0..7).collect::<Vec<_>>());
    }
}
