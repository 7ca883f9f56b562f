//! Sums that do not depend on the order of what is added.

use xsum::{Xsum, XsumSmall};

/// An exact sum of 64-bit floats, rounded once when it is read.
#[derive(Default)]
pub(super) struct Exact(XsumSmall);

impl Exact {
    pub(super) fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    /// Adds `a * b` without rounding the product.
    pub(super) fn add_product(&mut self, a: f64, b: f64) {
        let high = a * b;
        self.add(high);
        let low = a.mul_add(b, -high);
        if low != 0.0 && high.is_finite() {
            self.add(low);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        other.parts().into_iter().for_each(|part| self.add(part));
    }

    pub(super) fn value(mut self) -> f64 {
        // An empty sum is -0.
        self.0.sum() + 0.0
    }

    /// Numbers whose sum is the exact one, largest first: the sum, what rounding it left, and so on.
    pub(super) fn parts(mut self) -> Vec<f64> {
        let mut parts = Vec::new();
        loop {
            let part = self.0.sum();
            if part == 0.0 {
                return parts;
            }
            parts.push(part);
            if !part.is_finite() {
                return parts;
            }
            self.0.add(-part);
        }
    }
}

/// The total weight of some rows: a count where rows have no weights.
#[derive(Default)]
pub(super) struct Tally {
    rows: u64,
    weighted: Option<Box<Exact>>,
}

impl Tally {
    pub(super) fn add(&mut self, weight: Option<f64>) {
        match weight {
            None => self.rows += 1,
            Some(weight) => self.weighted.get_or_insert_default().add(weight),
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        if let Some(weighted) = other.weighted {
            self.weighted.get_or_insert_default().merge(*weighted);
        }
    }

    pub(super) fn value(self) -> f64 {
        self.exact().value()
    }

    pub(super) fn exact(self) -> Exact {
        let mut sum = self.weighted.map_or_else(Exact::default, |sum| *sum);
        sum.add(self.rows as f64);
        sum
    }
}

/// A running sum that carries what rounding lost. Its order is fixed by whoever adds (Neumaier 1974).
#[derive(Clone, Copy, Default)]
pub(super) struct Running {
    sum: f64,
    lost: f64,
}

impl Running {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += match self.sum.abs() >= value.abs() {
            true => (self.sum - sum) + value,
            false => (value - sum) + self.sum,
        };
        self.sum = sum;
    }

    pub(super) fn value(self) -> f64 {
        self.sum + self.lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_do_not_depend_on_cuts_or_order(
            values in prop::collection::vec((-1e3f64..1e3, -200i32..200), 0..40),
            cut in 0usize..40,
        ) {
            let values: Vec<f64> = values.iter().map(|(m, e)| m * 2f64.powi(*e)).collect();
            let sum = |values: &[f64]| {
                let mut sum = Exact::default();
                values.iter().for_each(|v| sum.add(*v));
                sum
            };
            let (a, b) = values.split_at(cut.min(values.len()));
            let mut merged = sum(b);
            merged.merge(sum(a));
            prop_assert_eq!(merged.value(), sum(&values).value());
        }
    }
}
