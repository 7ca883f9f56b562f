use crate::arrow::array::{Array, ArrayRef, Float64Array};
use serde::{Deserialize, Serialize};
use xsum::{Xsum, XsumSmall};

use crate::Result;
use crate::config::{ColumnConfig, Impute, Scale};
use crate::frame::downcast;

/// A number: a missing value becomes `fill`, then `(x - mean) / scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedNumeric {
    /// The column's name.
    pub name: String,
    /// What stands in for a missing value, in the column's own unit.
    pub fill: f64,
    /// What is subtracted.
    pub mean: f64,
    /// What is divided by: the population standard deviation, or 1 for a constant column.
    pub scale: f64,
}

/// What is known of a numeric column after some batches.
pub(super) struct NumericFit {
    name: String,
    scale: Scale,
    moments: Moments,
    missing: usize,
    /// Every value, where the median is asked for: it has no smaller exact summary.
    values: Option<Vec<f64>>,
}

impl NumericFit {
    pub(super) fn new(name: &str, config: &ColumnConfig) -> Self {
        Self {
            name: name.to_string(),
            scale: config.scale.unwrap_or(Scale::Standard),
            moments: Moments::default(),
            missing: 0,
            values: (config.impute == Some(Impute::Median)).then(Vec::new),
        }
    }

    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        let values = downcast::<Float64Array>(values)?;
        values.iter().flatten().for_each(|v| self.moments.add(v));
        self.missing += values.null_count();
        if let Some(all) = &mut self.values {
            all.extend(values.iter().flatten());
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> FittedNumeric {
        let fill = match self.values {
            Some(values) => median(values),
            None => self.moments.mean(),
        };
        // The scaler sees the column after imputation, as it does in a scikit-learn pipeline.
        (0..self.missing).for_each(|_| self.moments.add(fill));
        let (mean, scale) = match self.scale {
            Scale::Standard => (self.moments.mean(), self.moments.scale()),
            Scale::None => (0.0, 1.0),
        };
        FittedNumeric {
            name: self.name,
            fill,
            mean,
            scale,
        }
    }
}

impl FittedNumeric {
    /// Writes the column into place `at` of each row of `out`.
    pub(super) fn transform(
        &self,
        values: &ArrayRef,
        out: &mut [f64],
        width: usize,
        at: usize,
    ) -> Result<()> {
        let values = downcast::<Float64Array>(values)?;
        for (value, row) in values.iter().zip(out.chunks_exact_mut(width)) {
            row[at] = (value.unwrap_or(self.fill) - self.mean) / self.scale;
        }
        Ok(())
    }
}

/// Count, sum and sum of squares, summed exactly: the result does not depend on the order of rows.
#[derive(Default)]
pub(super) struct Moments {
    count: usize,
    sum: XsumSmall,
    squares: XsumSmall,
    min: Option<f64>,
    max: Option<f64>,
}

impl Moments {
    pub(super) fn add(&mut self, x: f64) {
        self.count += 1;
        self.sum.add(x);
        // x * x as a rounded product and its exact rounding error.
        let square = x * x;
        self.squares.add(square);
        self.squares.add(x.mul_add(x, -square));
        self.min = Some(self.min.map_or(x, |m| m.min(x)));
        self.max = Some(self.max.map_or(x, |m| m.max(x)));
    }

    /// The arithmetic mean; 0 of nothing.
    pub(super) fn mean(&mut self) -> f64 {
        match self.count {
            0 => 0.0,
            n => self.sum.sum() / n as f64,
        }
    }

    /// The population standard deviation; 1 where it is 0, so that dividing is harmless.
    pub(super) fn scale(mut self) -> f64 {
        if self.count == 0 || self.min == self.max {
            return 1.0;
        }
        let n = self.count as f64;
        let mean = self.mean();
        // Sum of (x - mean)^2 = squares - 2 mean sum + n mean^2, each product exact and all of
        // them added exactly, so that a large mean cancels nothing away.
        let sum = self.sum.sum();
        let mut deviations = self.squares;
        for (a, b) in [(-2.0 * mean, sum), (n * mean, mean)] {
            let product = a * b;
            deviations.add(product);
            deviations.add(a.mul_add(b, -product));
        }
        match (deviations.sum() / n).sqrt() {
            s if s > 0.0 => s,
            _ => 1.0,
        }
    }
}

fn median(mut sorted: Vec<f64>) -> f64 {
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fit(values: &[Option<f64>], config: ColumnConfig) -> FittedNumeric {
        // Row by row: a statistic does not depend on how rows come in batches.
        let mut fit = NumericFit::new("x", &config);
        for value in values {
            let value: ArrayRef = Arc::new(Float64Array::from(vec![*value]));
            fit.update(&value).unwrap();
        }
        fit.finish()
    }

    #[test]
    fn imputes_then_scales() {
        let f = fit(&[Some(1.0), None, Some(3.0), Some(8.0)], ColumnConfig::default());
        assert_eq!((f.fill, f.mean), (4.0, 4.0));
        assert!((f.scale - (26.0f64 / 4.0).sqrt()).abs() < 1e-15);
        let median = ColumnConfig {
            impute: Some(Impute::Median),
            ..Default::default()
        };
        assert_eq!(fit(&[Some(1.0), None, Some(3.0), Some(8.0)], median).fill, 3.0);
    }

    #[test]
    fn a_constant_column_becomes_zero_and_a_large_mean_loses_nothing() {
        assert_eq!(fit(&[Some(0.1); 3], ColumnConfig::default()).scale, 1.0);
        let far: Vec<_> = [1.0, 2.0, 3.0].iter().map(|v| Some(v + 1e9)).collect();
        let f = fit(&far, ColumnConfig::default());
        assert!((f.scale - (2.0f64 / 3.0).sqrt()).abs() < 1e-9, "{}", f.scale);
    }
}
