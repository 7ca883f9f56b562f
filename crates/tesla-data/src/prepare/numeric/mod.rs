//! Numbers: clipped, imputed, bent, scaled or put into bins.

mod curve;
mod moments;
mod normal;
mod order;

use crate::arrow::array::{Array, ArrayRef, Float64Array};
use serde::{Deserialize, Serialize};

use crate::config::{BinStrategy, Bins, Bounds, ColumnConfig, Constant, Impute, Scale};
use crate::frame::downcast;
use crate::{Error, Result};

pub use curve::{Curve, QUANTILE_THRESHOLD};
pub(super) use moments::Moments;
pub use normal::NORMAL_QUANTILE;
pub(crate) use normal::normal_quantile;
use order::Sorted;
pub(super) use order::Values;

/// A number: clipped, a missing value becomes `fill`, then `(curve(x) - mean) / scale`, or one
/// number per bin.
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
    /// The smallest and the largest value of the training rows, where they had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Whether a missing value becomes the last one before, where there is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward_fill: bool,
    /// Whether a 0/1 number says that the value is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub indicator: bool,
    /// The bounds that values are moved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<[f64; 2]>,
    /// The curve that values follow before they are scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// Where one bin ends and the next begins, when there is one number per bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<Vec<f64>>,
}

/// A curve whose values deviate by less than this share of their mean is not used: rounding would be
/// all that is left.
const FEWEST_DIGITS: f64 = 1e-12;

/// What is known of a numeric column after some batches.
pub(super) struct NumericFit {
    name: String,
    config: ColumnConfig,
    moments: Moments,
    /// The moments of `ln(1 + x)`, where they are asked for and the values are not held.
    logs: Option<Moments>,
    missing: u64,
    /// Whether the last value stands in for missing ones.
    pub(super) carries: bool,
    last: Option<f64>,
    /// The values, where what is asked for has no smaller exact summary.
    values: Option<Values>,
}

impl NumericFit {
    /// `columns` is the number of columns whose values are held.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub(super) fn new(name: &str, config: &ColumnConfig, columns: usize) -> Result<Self> {
        check(name, config)?;
        let values = wants_values(config).then(|| Values::new(columns));
        let logs = config.scale == Some(Scale::Log1p) && values.is_none();
        Ok(Self {
            name: name.to_string(),
            config: config.clone(),
            moments: Moments::default(),
            logs: logs.then(Moments::default),
            missing: 0,
            carries: config.impute == Some(Impute::ForwardFill),
            last: None,
            values,
        })
    }

    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        let values = downcast::<Float64Array>(values)?;
        let forward = self.carries;
        if values.null_count() == 0 && !forward {
            values.values().iter().for_each(|v| self.add(*v));
            return Ok(());
        }
        for value in values {
            match value.or(self.last.filter(|_| forward)) {
                Some(value) => self.add(value),
                None => self.missing += 1,
            }
            self.last = value.or(self.last);
        }
        Ok(())
    }

    fn add(&mut self, value: f64) {
        self.moments.add(value);
        if let Some(logs) = &mut self.logs {
            logs.add(value.ln_1p());
        }
        if let Some(values) = &mut self.values {
            values.push(value);
        }
    }

    /// # Errors
    /// When a logarithm is asked for of a value that has none.
    pub(super) fn finish(self) -> Result<FittedNumeric> {
        let config = &self.config;
        let mut moments = self.moments;
        let range = moments.seen();
        let mut sorted = self.values.map(Values::sort);
        let clip = match (config.clip, &mut sorted) {
            (Some(clip), Some(sorted)) if sorted.len() > 0 => {
                let [low, high] = bounds(clip, sorted);
                sorted.map(|v| v.max(low).min(high));
                moments = sorted.iter().collect();
                Some([low, high])
            }
            _ => None,
        };
        // The scaler sees the column after imputation, as it does in a scikit-learn pipeline.
        let fill = match (&config.impute, &sorted) {
            (Some(Impute::Constant(Constant::Number(fill))), _) => *fill,
            (Some(Impute::Median), Some(sorted)) => sorted.quantile(0.5),
            (Some(Impute::Mode), Some(sorted)) => sorted.mode(),
            _ => moments.mean(),
        };
        (0..self.missing).for_each(|_| moments.add(fill));
        if let Some(sorted) = &mut sorted {
            sorted.insert(fill, self.missing);
        }
        let [min, max] = moments.range();
        let mut fitted = FittedNumeric {
            name: self.name,
            fill,
            mean: 0.0,
            scale: 1.0,
            range,
            forward_fill: config.impute == Some(Impute::ForwardFill),
            indicator: config.indicator,
            clip,
            curve: None,
            bins: config.bins.map(|bins| edges(bins, [min, max], sorted.as_ref())),
        };
        let scale = config.scale.unwrap_or_default();
        match (scale, &sorted) {
            _ if fitted.bins.is_some() => {}
            (Scale::None, _) => {}
            (Scale::Standard, _) => {
                (fitted.mean, fitted.scale) = (moments.mean(), moments.scale());
            }
            (Scale::MinMax, _) => (fitted.mean, fitted.scale) = (min, or_one(max - min)),
            (Scale::MaxAbs, _) => fitted.scale = or_one(min.abs().max(max.abs())),
            (Scale::Log1p, _) => {
                if min <= -1.0 {
                    return Err(no_logarithm(&fitted.name, min));
                }
                let mut logs = match (self.logs, &sorted) {
                    (Some(mut logs), _) => {
                        (0..self.missing).for_each(|_| logs.add(fill.ln_1p()));
                        logs
                    }
                    (None, sorted) => {
                        sorted.iter().flat_map(Sorted::iter).map(f64::ln_1p).collect()
                    }
                };
                fitted.curve = Some(Curve::Log1p { least: min });
                (fitted.mean, fitted.scale) = (logs.mean(), logs.scale());
            }
            (Scale::Robust, Some(sorted)) => {
                fitted.mean = sorted.quantile(0.5);
                fitted.scale = or_one(sorted.quantile(0.75) - sorted.quantile(0.25));
            }
            (Scale::QuantileUniform | Scale::QuantileNormal, Some(sorted)) => {
                fitted.curve = Some(Curve::quantile(sorted, scale == Scale::QuantileNormal));
            }
            (Scale::YeoJohnson, Some(sorted)) => {
                let mut curve = Curve::yeo_johnson(sorted);
                let units = |curve: &Curve| {
                    let mut bent: Moments = sorted.iter().map(|x| curve.apply(x)).collect();
                    let even = bent.seen().is_none_or(|[min, max]| min == max);
                    (bent.mean(), bent.scale(), even)
                };
                let even;
                (fitted.mean, fitted.scale, even) = units(&curve);
                // Of values far from 0 and close together, the likeliest curve leaves hardly a digit.
                if even || fitted.scale < FEWEST_DIGITS * fitted.mean.abs() {
                    curve = Curve::YeoJohnson { lambda: 1.0 };
                    (fitted.mean, fitted.scale, _) = units(&curve);
                }
                fitted.curve = Some(curve);
            }
            (Scale::Robust | Scale::QuantileUniform | Scale::QuantileNormal, None)
            | (Scale::YeoJohnson, None) => unreachable!("`wants_values` asks for the values"),
        }
        // A bundle cannot say infinity, and nothing could be learned beside it.
        let learned = [fitted.fill, fitted.mean, fitted.scale];
        let edges = fitted.clip.iter().flatten().chain(fitted.bins.iter().flatten());
        match learned.iter().chain(edges).all(|x| x.is_finite()) {
            true => Ok(fitted),
            false => Err(too_far(&fitted.name, range.unwrap_or_default())),
        }
    }
}

/// Whether what is asked of a column needs its values in order.
pub(super) fn wants_values(config: &ColumnConfig) -> bool {
    let by_order = matches!(
        config.scale,
        Some(Scale::Robust | Scale::QuantileUniform | Scale::QuantileNormal | Scale::YeoJohnson)
    );
    let by_rank = config.bins.is_some_and(|bins| bins.strategy == BinStrategy::Quantile);
    by_order
        || by_rank
        || config.clip.is_some()
        || matches!(config.impute, Some(Impute::Median | Impute::Mode))
}

fn check(name: &str, config: &ColumnConfig) -> Result<()> {
    let refuse = |what: String| Err(Error::Config(format!("column `{name}`: {what}")));
    if let Some(clip) = config.clip {
        clip.check(name, "clip")?;
    }
    match config.bins {
        Some(bins) if !(2..=10_000).contains(&bins.count) => {
            return refuse(format!("`bins` has `count = {}`: expected 2 to 10000", bins.count));
        }
        Some(_) if config.scale.is_some() || config.degree.is_some() => {
            return refuse("`bins` leaves no number to scale or multiply: remove `bins`, or `scale` and `degree`".into());
        }
        _ => {}
    }
    match &config.impute {
        Some(Impute::Constant(Constant::Number(fill))) if !fill.is_finite() => {
            refuse(format!("`impute` is {fill}: expected a finite number"))
        }
        _ => Ok(()),
    }
}

pub(super) fn no_logarithm(name: &str, value: f64) -> Error {
    Error::Config(format!(
        "column `{name}` holds {value}, of which `log1p` takes no logarithm: expected numbers above -1; use `scale = \"yeo_johnson\"`"
    ))
}

pub(super) fn too_far(name: &str, [min, max]: [f64; 2]) -> Error {
    Error::Config(format!(
        "column `{name}` goes from {min:e} to {max:e}, which is too far to be scaled: expected numbers whose squares can be summed; say `range` in `[columns.{name}]` to set such rows apart"
    ))
}

impl Bounds {
    /// Whether they can be; `key` says them for the column `name`.
    pub(super) fn check(self, name: &str, key: &str) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(format!("column `{name}`: {what}")));
        match self {
            Bounds::Iqr(k) | Bounds::Z(k) if !(k.is_finite() && k > 0.0) => {
                refuse(format!("`{key}` by {k}: expected a number above 0, such as 1.5"))
            }
            Bounds::Quantiles([low, high]) if !(0.0 <= low && low < high && high <= 1.0) => {
                refuse(format!(
                    "`{key}` at the quantiles {low} and {high}: expected two from 0 to 1, the smaller first"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The bounds as numbers, which stay finite, since JSON knows no others.
pub(super) fn bounds(by: Bounds, sorted: &Sorted) -> [f64; 2] {
    let bounds = match by {
        Bounds::Iqr(k) => {
            let (low, high) = (sorted.quantile(0.25), sorted.quantile(0.75));
            [low - k * (high - low), high + k * (high - low)]
        }
        Bounds::Z(k) => {
            let mut moments: Moments = sorted.iter().collect();
            let mean = moments.mean();
            let deviation = match moments.range() {
                [min, max] if min == max => 0.0,
                _ => moments.scale(),
            };
            [mean - k * deviation, mean + k * deviation]
        }
        Bounds::Quantiles(shares) => shares.map(|share| sorted.quantile(share)),
    };
    bounds.map(|bound: f64| bound.clamp(f64::MIN, f64::MAX))
}

/// Where one bin ends and the next begins, as scikit-learn's `KBinsDiscretizer` has it.
fn edges(bins: Bins, [min, max]: [f64; 2], sorted: Option<&Sorted>) -> Vec<f64> {
    let n = bins.count as f64;
    let edge = |i: usize| match (bins.strategy, sorted) {
        (BinStrategy::Quantile, Some(sorted)) => {
            sorted.averaged_quantile(i as f64 * (100.0 / n) / 100.0)
        }
        _ => min + i as f64 * ((max - min) / n),
    };
    if min == max {
        return Vec::new();
    }
    let mut edges: Vec<f64> = (0..bins.count).map(edge).chain([max]).collect();
    if bins.strategy == BinStrategy::Quantile {
        // An edge that is hardly above the one before is left out, whichever of the two stays.
        let narrow: Vec<bool> = edges.windows(2).map(|pair| pair[1] - pair[0] <= 1e-8).collect();
        let mut narrow = std::iter::once(false).chain(narrow);
        edges.retain(|_| !narrow.next().unwrap_or(false));
    }
    let inner = edges.len().saturating_sub(1);
    edges.truncate(inner);
    edges.into_iter().skip(1).collect()
}

fn or_one(scale: f64) -> f64 {
    match scale < 10.0 * f64::EPSILON {
        true => 1.0,
        false => scale,
    }
}

impl FittedNumeric {
    /// Numbers per row.
    pub(super) fn width(&self) -> usize {
        self.bins.as_ref().map_or(1, |edges| edges.len() + 1) + usize::from(self.indicator)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let name = &self.name;
        let mut names = match (&self.bins, &self.curve) {
            (Some(edges), _) => (0..=edges.len())
                .map(|i| match (i.checked_sub(1).map(|i| edges[i]), edges.get(i)) {
                    (None, None) => format!("{name}=any"),
                    (None, Some(high)) => format!("{name}<{high}"),
                    (Some(low), Some(high)) => format!("{low}<={name}<{high}"),
                    (Some(low), None) => format!("{name}>={low}"),
                })
                .collect(),
            (None, Some(Curve::Log1p { .. })) => vec![format!("log1p({name})")],
            (None, Some(Curve::YeoJohnson { .. })) => vec![format!("yeo_johnson({name})")],
            (None, Some(Curve::Quantile { .. })) => vec![format!("quantile({name})")],
            (None, None) => vec![name.clone()],
        };
        if self.indicator {
            names.push(format!("{name}=(missing)"));
        }
        names
    }

    /// What was subtracted from and what divided each of the column's numbers.
    pub(super) fn units(&self) -> Vec<(f64, f64)> {
        let mut units = vec![(0.0, 1.0); self.width()];
        if self.bins.is_none() {
            units[0] = (self.mean, self.scale);
        }
        units
    }

    /// The column with each missing value replaced by the one before it; `last` is the one before
    /// the first row.
    pub(super) fn filled(&self, values: &ArrayRef, last: &mut Option<f64>) -> Result<ArrayRef> {
        let values = downcast::<Float64Array>(values)?;
        let filled = values.iter().map(|value| {
            *last = value.or(*last);
            *last
        });
        Ok(std::sync::Arc::new(filled.collect::<Float64Array>()))
    }

    /// Writes the column from place `at` of each row of `out` on, which holds zeros. `present` is
    /// the column as it came, where `values` had its missing values replaced.
    pub(super) fn transform(
        &self,
        values: &Float64Array,
        present: &Float64Array,
        out: &mut [f64],
        width: usize,
        at: usize,
    ) {
        let mut column = values.values().to_vec();
        if let Some([low, high]) = self.clip {
            column.iter_mut().for_each(|x| *x = x.max(low).min(high));
        }
        if let Some(nulls) = values.nulls().filter(|nulls| nulls.null_count() > 0) {
            for (x, valid) in column.iter_mut().zip(nulls) {
                if !valid {
                    *x = self.fill;
                }
            }
        }
        let rows = out.chunks_exact_mut(width);
        match (&self.bins, &self.curve) {
            (Some(edges), _) => {
                for (x, row) in column.iter().zip(rows) {
                    row[at + edges.partition_point(|edge| edge <= x)] = 1.0;
                }
            }
            (None, curve) => {
                if let Some(curve) = curve {
                    column.iter_mut().for_each(|x| *x = curve.apply(*x));
                }
                for (x, row) in column.iter().zip(rows) {
                    row[at] = (x - self.mean) / self.scale;
                }
            }
        }
        if self.indicator {
            let at = at + self.width() - 1;
            for (i, row) in out.chunks_exact_mut(width).enumerate() {
                row[at] = f64::from(present.is_null(i));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fit(values: &[Option<f64>], config: ColumnConfig) -> FittedNumeric {
        // Row by row: a statistic does not depend on how rows come in batches.
        let mut fit = NumericFit::new("x", &config, 1).unwrap();
        for value in values {
            let value: ArrayRef = Arc::new(Float64Array::from(vec![*value]));
            fit.update(&value).unwrap();
        }
        fit.finish().unwrap()
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
    fn a_curve_that_would_leave_rounding_only_is_not_used() {
        let yeo_johnson = ColumnConfig {
            scale: Some(Scale::YeoJohnson),
            ..Default::default()
        };
        // Close together, far from 0, and skewed: the likeliest exponent is about -100.
        let far: Vec<_> = (0..40)
            .map(|i| Some(300.0 + (f64::from(i) / 5.0).exp() / 1000.0))
            .collect();
        let f = fit(&far, yeo_johnson);
        assert_eq!(f.curve, Some(Curve::YeoJohnson { lambda: 1.0 }));
        assert!(f.scale > 0.1, "{}", f.scale);
    }

    #[test]
    fn numbers_that_are_too_far_apart_are_refused_by_name() {
        let refused = |scale: Option<Scale>, values: [f64; 2]| {
            let config = ColumnConfig {
                scale,
                ..Default::default()
            };
            let mut fit = NumericFit::new("x", &config, 1).unwrap();
            let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
            fit.update(&values).unwrap();
            fit.finish().err().map(|error| error.to_string())
        };
        let message = refused(None, [-1e308, 1e308]).unwrap();
        assert!(
            message.starts_with("column `x` goes from -1e308 to 1e308, which is too far"),
            "{message}"
        );
        assert!(refused(Some(Scale::MinMax), [-1e308, 1e308]).is_some());
        // What can be computed is, and what a bundle stores can be read back.
        assert_eq!(refused(None, [1e150, -1e150]), None);
        assert_eq!(refused(Some(Scale::MaxAbs), [1e308, 1.0]), None);
    }

    #[test]
    fn a_constant_column_becomes_zero_and_a_large_mean_loses_nothing() {
        assert_eq!(fit(&[Some(0.1); 3], ColumnConfig::default()).scale, 1.0);
        let far: Vec<_> = [1.0, 2.0, 3.0].iter().map(|v| Some(v + 1e9)).collect();
        let f = fit(&far, ColumnConfig::default());
        assert!((f.scale - (2.0f64 / 3.0).sqrt()).abs() < 1e-9, "{}", f.scale);
        // A deviation of the last digits: 1, 2 and 3 units of them above 1, each 3,000 times.
        let close: Vec<_> = (0..9000)
            .map(|i| Some(1.0 + f64::from(i % 3 + 1) * f64::EPSILON))
            .collect();
        let f = fit(&close, ColumnConfig::default());
        let expected = (2.0f64 / 3.0).sqrt() * f64::EPSILON;
        assert!((f.scale / expected - 1.0).abs() < 1e-9, "{} {expected}", f.scale);
    }
}
