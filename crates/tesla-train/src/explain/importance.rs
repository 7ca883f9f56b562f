//! Permutation importance (Breiman 2001): what a column is worth to the predictions.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tesla_core::Predictor;
use tesla_core::explain::{taken, with_column};
use tesla_data::ColumnKind;

use super::{Sample, loss};
use crate::Result;

/// What each column is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importances {
    /// What is measured: `log loss` or `RMSE`; smaller is better.
    pub metric: String,
    /// The figure of the rows as they are.
    pub base: f64,
    /// The rows that were looked at.
    pub rows: usize,
    /// How often each column was shuffled.
    pub repeats: usize,
    /// The columns, the most important first.
    pub columns: Vec<Importance>,
}

/// What one column is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The column.
    pub column: String,
    /// By how much the figure grows when the values of the column change places among the rows, on
    /// average; about 0 for a column that the model does not need.
    pub mean: f64,
    /// The standard deviation over the repeats.
    pub spread: f64,
}

/// What the columns of a sample are worth. `None` where the model sees one column only, which is worth
/// all there is.
///
/// # Errors
/// When the rows break the contract.
pub fn importance(
    predictor: &Predictor,
    sample: &Sample,
    repeats: usize,
    seed: u64,
) -> Result<Option<Importances>> {
    let features: Vec<_> = predictor.bundle().contract.features().collect();
    if features.len() < 2 || features.iter().any(|rule| rule.kind == ColumnKind::Image) {
        return Ok(None);
    }
    let (metric, base) = loss(predictor, sample)?;
    let mut columns = Vec::new();
    for rule in &features {
        let Ok(at) = sample.batch.schema().index_of(&rule.name) else {
            continue;
        };
        let mut losses = Vec::new();
        for repeat in 0..repeats.max(1) {
            // One order for all columns: their worths differ by the columns, not by chance.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(repeat as u64);
            let mut order: Vec<usize> = (0..sample.len()).collect();
            order.shuffle(&mut rng);
            let shuffled = Sample {
                batch: with_column(&sample.batch, at, taken(&sample.batch, at, &order)?)?,
                rows: sample.rows.clone(),
            };
            losses.push(loss(predictor, &shuffled)?.1 - base);
        }
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let squares: f64 = losses.iter().map(|loss| (loss - mean).powi(2)).sum();
        columns.push(Importance {
            column: rule.name.clone(),
            mean,
            spread: (squares / (losses.len() as f64 - 1.0).max(1.0)).sqrt(),
        });
    }
    columns.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    Ok(Some(Importances {
        metric: metric.into(),
        base,
        rows: sample.len(),
        repeats: repeats.max(1),
        columns,
    }))
}
