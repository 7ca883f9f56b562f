use std::path::Path;

use serde_json::Value;
use tesla_core::{Bundle, Device, DeviceChoice, Predictions, Predictor, Ranked, Seen};
use tesla_data::arrow::array::RecordBatch;

use crate::{Dataset, Report, Result};

/// A trained model on a device: what `model.tesla` holds, ready to predict.
#[derive(Debug)]
pub struct Model {
    predictor: Predictor,
    test: Option<Report>,
}

impl Model {
    pub(crate) fn new(predictor: Predictor, test: Option<Report>) -> Self {
        Self { predictor, test }
    }

    /// Opens a `model.tesla`.
    ///
    /// # Errors
    /// When the file is not a bundle, is truncated or altered, or the device is not there.
    pub fn load(path: impl AsRef<Path>, device: DeviceChoice) -> Result<Self> {
        let device = Device::open(device)?;
        let bundle = Bundle::load(path.as_ref())?;
        Ok(Self::new(bundle.predictor(&device)?, None))
    }

    /// Writes a `model.tesla`; it appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.predictor.bundle().save(path.as_ref())?)
    }

    /// The figures on the test rows of the run that trained this model.
    pub fn test(&self) -> Option<&Report> {
        self.test.as_ref()
    }

    /// Predicts Arrow rows.
    ///
    /// # Errors
    /// When the rows break the model's contract.
    pub fn predict(&self, rows: &RecordBatch) -> Result<Predictions> {
        Ok(self.predictor.predict(rows)?)
    }

    /// Predicts JSON objects with one value per feature column.
    ///
    /// # Errors
    /// When a row is no object, or breaks the model's contract.
    pub fn predict_json(&self, rows: &[Value]) -> Result<Predictions> {
        let rows = rows
            .iter()
            .enumerate()
            .map(|(i, row)| {
                row.as_object().cloned().ok_or_else(|| {
                    tesla_data::Error::Config(format!("row {} is not a JSON object", i + 1)).into()
                })
            })
            .collect::<Result<Vec<_>>>()?;
        self.predict(&self.predictor.bundle().contract.from_json(&rows)?)
    }

    /// The best `n` items for each user, without those in `seen`; see [`Predictor::recommend`].
    ///
    /// # Errors
    /// When the model ranks no items.
    pub fn recommend(&self, users: &[String], n: usize, seen: &Seen) -> Result<Vec<Ranked>> {
        Ok(self.predictor.recommend(users, n, seen)?)
    }

    /// What users have in the rows of `data`, for [`Model::recommend`].
    ///
    /// # Errors
    /// When the rows have not the model's columns of users and items.
    pub fn seen(&self, data: &Dataset) -> Result<Seen> {
        tesla_train::seen_in(&self.predictor, &data.frame.all())
    }

    /// The `n` items most like `item`, by the cosine of their vectors; see [`Predictor::neighbours`].
    ///
    /// # Errors
    /// When the model knows no such item.
    pub fn neighbours(&self, item: &str, n: usize) -> Result<Vec<(String, f64)>> {
        Ok(self.predictor.neighbours(item, n)?)
    }

    /// The sealed model behind it.
    pub fn bundle(&self) -> &Bundle {
        self.predictor.bundle()
    }

    /// The predictor behind it.
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// The predictor, to hand to a server.
    pub fn into_predictor(self) -> Predictor {
        self.predictor
    }
}
