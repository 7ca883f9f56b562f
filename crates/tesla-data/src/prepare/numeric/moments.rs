use xsum::{Xsum, XsumSmall};

/// Count, sum and sum of squares, summed exactly: the result does not depend on the order of rows.
#[derive(Default)]
pub(in crate::prepare) struct Moments {
    count: usize,
    sum: XsumSmall,
    squares: XsumSmall,
    range: Option<[f64; 2]>,
}

impl Moments {
    pub(in crate::prepare) fn add(&mut self, x: f64) {
        self.count += 1;
        self.sum.add(x);
        // x * x as a rounded product and its exact rounding error.
        let square = x * x;
        self.squares.add(square);
        self.squares.add(x.mul_add(x, -square));
        let [min, max] = self.range.unwrap_or([x, x]);
        self.range = Some([min.min(x), max.max(x)]);
    }

    /// The arithmetic mean; 0 of nothing.
    pub(in crate::prepare) fn mean(&mut self) -> f64 {
        match self.count {
            0 => 0.0,
            n => self.sum.sum() / n as f64,
        }
    }

    /// The smallest and the largest value, where there is one.
    pub(in crate::prepare) fn seen(&self) -> Option<[f64; 2]> {
        self.range
    }

    /// The smallest and the largest value; 0 of nothing.
    pub(super) fn range(&self) -> [f64; 2] {
        self.range.unwrap_or_default()
    }

    /// The population standard deviation; 1 where it is 0, so that dividing is harmless, and infinite
    /// where the squares are too large to be summed.
    pub(in crate::prepare) fn scale(mut self) -> f64 {
        if self.range.is_none_or(|[min, max]| min == max) {
            return 1.0;
        }
        let n = self.count as f64;
        let mean = self.mean();
        // Sum of (x - mean)^2 = squares - 2 mean sum + n mean^2, each factor in two parts that hold it
        // wholly, each product exact and all of them added exactly, so that a large mean cancels
        // nothing away.
        let sum = self.sum.sum();
        self.sum.add(-sum);
        let rest = self.sum.sum();
        let whole = n * mean;
        let whole_rest = n.mul_add(mean, -whole);
        let mut deviations = self.squares;
        let minus = -2.0 * mean;
        for (a, b) in [(minus, sum), (minus, rest), (whole, mean), (whole_rest, mean)] {
            let product = a * b;
            deviations.add(product);
            deviations.add(a.mul_add(b, -product));
        }
        match deviations.sum() / n {
            // An infinity less another.
            variance if variance.is_nan() => f64::INFINITY,
            variance if variance > 0.0 => variance.sqrt(),
            _ => 1.0,
        }
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Moments::default();
        values.into_iter().for_each(|x| moments.add(x));
        moments
    }
}
