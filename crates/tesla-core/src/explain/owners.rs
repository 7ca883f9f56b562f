//! Which columns each prepared number is made of.

use tesla_data::FittedPipeline;
use tesla_data::prepare::{FittedColumn, RollingStatistic};

/// The columns (places among the features) of each number of a prepared row, the mask of a window
/// last, which has none. A product has several, and what it adds is shared evenly.
pub(super) fn owners(pipeline: &FittedPipeline) -> Vec<Vec<usize>> {
    let mut owners: Vec<Vec<usize>> = Vec::new();
    for (at, feature) in pipeline.features.iter().enumerate() {
        owners.extend(std::iter::repeat_n(vec![at], feature.width()));
    }
    let of = |factors: &Vec<usize>| factors.iter().flat_map(|at| owners[*at].clone()).collect();
    let products: Vec<Vec<usize>> = pipeline.products.iter().map(of).collect();
    owners.extend(products);
    added(pipeline, &mut owners, |owners, at, _| owners[at].clone());
    if pipeline.sequence.is_some() {
        owners.push(Vec::new());
    }
    owners
}

/// A prepared row with what windows add to it, were all rows before it the same; no mask.
pub(super) fn with_added(pipeline: &FittedPipeline, mut row: Vec<f32>) -> Vec<f32> {
    added(pipeline, &mut row, |row, at, of| match of {
        Some(RollingStatistic::Std) => 0.0,
        _ => row[at],
    });
    row
}

/// Puts what lags and rolling statistics add behind `numbers`, in their order.
fn added<T>(
    pipeline: &FittedPipeline,
    numbers: &mut Vec<T>,
    make: impl Fn(&[T], usize, Option<RollingStatistic>) -> T,
) {
    let Some(sequence) = &pipeline.sequence else {
        return;
    };
    let mut of: Vec<Option<RollingStatistic>> = vec![None; sequence.lags.len()];
    if let Some(rolling) = &sequence.rolling {
        rolling
            .rows
            .iter()
            .for_each(|_| of.extend(rolling.of.iter().map(|of| Some(*of))));
    }
    let mut at = 0;
    let mut places = Vec::new();
    for feature in &pipeline.features {
        if let FittedColumn::Numeric(f) = feature {
            places.extend(f.bins.is_none().then_some(at));
        }
        at += feature.width();
    }
    for of in of {
        for at in &places {
            let value = make(numbers, *at, of);
            numbers.push(value);
        }
    }
}
