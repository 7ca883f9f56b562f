//! Numbers: moments, exact quantiles without sorting, and a histogram.

use serde::{Deserialize, Serialize};

/// What the numbers of a column look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of a sample (divided by n - 1); none of one number.
    pub std: Option<f64>,
    /// The smallest number.
    pub min: f64,
    /// The quantile at 1 %: linear between the two nearest ranks, as in NumPy and pandas.
    pub p1: f64,
    /// The quantile at 5 %.
    pub p5: f64,
    /// The quantile at 25 %.
    pub p25: f64,
    /// The median.
    pub p50: f64,
    /// The quantile at 75 %.
    pub p75: f64,
    /// The quantile at 95 %.
    pub p95: f64,
    /// The quantile at 99 %.
    pub p99: f64,
    /// The largest number.
    pub max: f64,
    /// Whether all are whole.
    pub whole: bool,
    /// How they are distributed.
    pub histogram: Histogram,
}

/// Counts in bins of one width. A bin holds its lower edge, the last one both of its edges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The lower edge of the first bin.
    pub start: f64,
    /// The upper edge of the last bin.
    pub end: f64,
    /// The numbers in each bin.
    pub counts: Vec<usize>,
}

/// The most bins of a histogram.
const MAX_BINS: usize = 50;
/// The shares of the quantiles.
const SHARES: [f64; 9] = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];

impl Numbers {
    /// Looks at finite numbers; none of no numbers.
    pub(super) fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        // Welford's update: one pass, and a large mean cancels nothing away.
        let (mut n, mut mean, mut squares, mut whole) = (0usize, 0.0, 0.0, true);
        for value in values.clone() {
            n += 1;
            let off = value - mean;
            mean += off / n as f64;
            squares += off * (value - mean);
            whole &= value.fract() == 0.0;
        }
        if n == 0 {
            return None;
        }
        let [min, p1, p5, p25, p50, p75, p95, p99, max] = quantiles(values.clone(), n);
        Some(Self {
            mean,
            std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
            min,
            p1,
            p5,
            p25,
            p50,
            p75,
            p95,
            p99,
            max,
            whole,
            histogram: histogram(values, n, [min, max], p75 - p25, whole),
        })
    }
}

/// Equal bins as wide as Freedman and Diaconis advise, 2 IQR / n^(1/3) ("On the histogram as a
/// density estimator", 1981), where that is not too many of them. Bins of whole numbers hold
/// whole numbers of whole numbers, so that none is high only for spanning one more.
fn histogram(
    values: impl Iterator<Item = f64>,
    n: usize,
    [min, max]: [f64; 2],
    iqr: f64,
    whole: bool,
) -> Histogram {
    let span = max - min;
    let advised = match 2.0 * iqr / (n as f64).cbrt() {
        width if width > 0.0 => span / width,
        _ => MAX_BINS as f64,
    };
    // A bin for each of a few whole numbers is clearer than any rule.
    let few_whole = whole && span < MAX_BINS as f64;
    let mut bins = match advised.ceil() {
        _ if span == 0.0 => 1,
        _ if few_whole => span as usize + 1,
        // An infinite span over an infinite width is no number.
        bins if bins.is_nan() || bins > MAX_BINS as f64 => MAX_BINS,
        bins => (bins as usize).max(1),
    };
    let mut end = max;
    if whole && span.is_finite() {
        let width = ((span + 1.0) / bins as f64).ceil().max(1.0);
        bins = (((span + 1.0) / width).ceil() as usize).clamp(1, bins);
        end = min + width * bins as f64;
    }
    // Halves, so that no difference of finite numbers overflows.
    let scale = bins as f64 / (end / 2.0 - min / 2.0);
    let mut counts = vec![0; bins];
    for value in values {
        let at = ((value / 2.0 - min / 2.0) * scale) as usize;
        counts[at.min(bins - 1)] += 1;
    }
    Histogram {
        start: min,
        end,
        counts,
    }
}

fn quantiles(values: impl Iterator<Item = f64> + Clone, n: usize) -> [f64; 9] {
    let at = SHARES.map(|share| share * (n - 1) as f64);
    let ranks: Vec<usize> = at
        .iter()
        .flat_map(|at| [at.floor() as usize, at.ceil() as usize])
        .collect();
    let found = order_statistics(values, &ranks);
    std::array::from_fn(|i| {
        let (low, high) = (found[2 * i], found[2 * i + 1]);
        let between = at[i].fract();
        match low == high {
            true => low,
            false => low * (1.0 - between) + high * between,
        }
    })
}

/// The numbers that would stand at `ranks` (from zero) if they were sorted. Four passes, each of
/// which counts 16 more bits of the numbers that share the bits known so far: nothing is sorted
/// and nothing copied.
fn order_statistics(values: impl Iterator<Item = f64> + Clone, ranks: &[usize]) -> Vec<f64> {
    /// The bits known so far of the number at a rank, and its rank among the numbers that begin so.
    struct Wanted {
        prefix: u64,
        rank: usize,
    }
    let mut wanted: Vec<Wanted> = ranks
        .iter()
        .map(|rank| Wanted {
            prefix: 0,
            rank: *rank,
        })
        .collect();
    for shift in [48, 32, 16, 0] {
        let mut prefixes: Vec<u64> = wanted.iter().map(|w| w.prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut counts = vec![vec![0usize; 1 << 16]; prefixes.len()];
        for value in values.clone() {
            let key = ordered(value) >> shift;
            if let Ok(at) = prefixes.binary_search(&(key >> 16)) {
                counts[at][(key & 0xffff) as usize] += 1;
            }
        }
        for wanted in &mut wanted {
            let at = prefixes.partition_point(|prefix| *prefix < wanted.prefix);
            let mut digit = 0;
            while digit < 0xffff && wanted.rank >= counts[at][digit] {
                wanted.rank -= counts[at][digit];
                digit += 1;
            }
            wanted.prefix = wanted.prefix << 16 | digit as u64;
        }
    }
    wanted.iter().map(|w| unordered(w.prefix)).collect()
}

const SIGN: u64 = 1 << 63;

/// Bits that sort as the numbers do.
fn ordered(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn unordered(bits: u64) -> f64 {
    f64::from_bits(if bits & SIGN == 0 {
        !bits
    } else {
        bits & !SIGN
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Numbers {
        Numbers::of(values.iter().copied()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn quantiles_are_those_of_the_sorted_numbers(values in prop::collection::vec(-1e300..1e300f64, 1..12)) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let ranks: Vec<usize> = (0..values.len()).collect();
            prop_assert_eq!(order_statistics(values.iter().copied(), &ranks), sorted);
            let numbers = of(&values);
            prop_assert_eq!(numbers.histogram.counts.iter().sum::<usize>(), values.len());
        }
    }

    #[test]
    fn by_hand() {
        let n = of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!((n.mean, n.min, n.p25, n.p50, n.p75, n.max), (2.5, 1.0, 1.75, 2.5, 3.25, 4.0));
        assert!((n.std.unwrap() - (5.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(
            n.histogram,
            Histogram {
                start: 1.0,
                end: 5.0,
                counts: vec![1; 4]
            }
        );
        let one = of(&[0.5]);
        assert_eq!((one.std, one.p1, one.histogram.counts.clone()), (None, 0.5, vec![1]));
        assert_eq!(Numbers::of([].into_iter()), None);
    }

    #[test]
    fn extremes_do_not_overflow_the_histogram() {
        let n = of(&[f64::MIN, 0.25, f64::MAX]);
        assert_eq!(n.histogram.counts.iter().sum::<usize>(), 3);
        assert_eq!((n.min, n.max), (f64::MIN, f64::MAX));
        assert_eq!(of(&[5e-324, 0.0]).histogram.counts.iter().sum::<usize>(), 2);
        assert_eq!(of(&[1e300, 0.0]).histogram.counts.iter().sum::<usize>(), 2);
    }

    #[test]
    fn whole_numbers_share_bins_evenly() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let counts = of(&values).histogram.counts;
        let full = counts[0];
        assert!(counts[..counts.len() - 1].iter().all(|c| *c == full), "{counts:?}");
    }
}
