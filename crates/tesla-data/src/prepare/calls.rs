//! Preparation as single calls, without a model: on a table, or on images.

use std::sync::Arc;

use super::image::ImageFit;
use super::numeric::NumericFit;
use crate::arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use crate::arrow::datatypes::DataType;
use crate::augment::{Augment, AugmentConfig};
use crate::config::{ColumnConfig, Scale};
use crate::contract::column;
use crate::frame::downcast;
use crate::samples::ImageSet;
use crate::source::IMAGE_KEY;
use crate::{Error, Frame, Result};

/// Every column of numbers with a mean of 0 and a deviation of 1; see [`scale`].
///
/// # Errors
/// When the rows cannot be read.
pub fn normalize(frame: &Frame) -> Result<Frame> {
    let fields = frame.schema().fields().iter();
    let numbers = fields.filter(|field| field.data_type() == &DataType::Float64);
    let names: Vec<String> = numbers.map(|field| field.name().clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scale(frame, &names, Scale::Standard)
}

/// The named columns of numbers, scaled by what is learned from all rows of the table. Missing values
/// stay missing, other columns stay as they are.
///
/// To train a model, say it in [`ColumnConfig`] instead: then only training rows teach it, and the
/// bundle does the same to what it predicts.
///
/// # Errors
/// When a column does not exist, is not of numbers, or cannot be scaled in this way.
pub fn scale(frame: &Frame, columns: &[&str], scale: Scale) -> Result<Frame> {
    let config = ColumnConfig {
        scale: Some(scale),
        ..Default::default()
    };
    let numbers = |rows: &RecordBatch, name: &str| -> Result<ArrayRef> {
        let (at, field) = column(rows, name)?;
        match field.data_type() {
            DataType::Float64 => Ok(rows.column(at).clone()),
            _ => Err(Error::Config(format!(
                "column `{name}` holds no numbers, which alone can be scaled: leave it out"
            ))),
        }
    };
    let mut fits = columns
        .iter()
        .map(|name| NumericFit::new(name, &config, columns.len()))
        .collect::<Result<Vec<_>>>()?;
    for batch in frame.batches()? {
        let batch = batch?;
        for (name, fit) in std::iter::zip(columns, &mut fits) {
            let values = numbers(&batch, name)?;
            // What is missing stays so, and teaches nothing.
            let there = downcast::<Float64Array>(&values)?.iter().flatten();
            fit.update(&(Arc::new(Float64Array::from_iter_values(there)) as ArrayRef))?;
        }
    }
    let fitted = fits.into_iter().map(NumericFit::finish).collect::<Result<Vec<_>>>()?;
    frame.map(|batch| {
        let mut arrays = batch.columns().to_vec();
        for (name, fitted) in std::iter::zip(columns, &fitted) {
            let values = numbers(&batch, name)?;
            let values = downcast::<Float64Array>(&values)?;
            let mut out = vec![0.0; values.len()];
            fitted.transform(values, values, &mut out, 1, 0);
            let scaled = Float64Array::new(out.into(), values.nulls().cloned());
            arrays[column(&batch, name)?.0] = Arc::new(scaled);
        }
        Ok(RecordBatch::try_new(batch.schema(), arrays)?)
    })
}

/// The images of a table, decoded and brought to one size as `config` says; their means and
/// deviations are those of all of them.
///
/// # Errors
/// When the table has no images, or one cannot be decoded.
pub fn images(frame: &Frame, config: &ColumnConfig) -> Result<ImageSet> {
    let is_image =
        |field: &&crate::arrow::datatypes::FieldRef| field.metadata().contains_key(IMAGE_KEY);
    let Some(field) = frame.schema().fields().iter().find(is_image) else {
        return Err(Error::Config(format!("`{}` holds no images", frame.name())));
    };
    let mut fit = ImageFit::new(field.name(), config);
    let mut start = 0;
    for batch in frame.batches()? {
        let batch = batch?;
        let (at, own) = column(&batch, field.name())?;
        fit.update(own, batch.column(at), &|row| frame.place(start + row))?;
        start += batch.num_rows();
    }
    let fitted = fit.finish()?;
    let mut all: Option<ImageSet> = None;
    let mut start = 0;
    for batch in frame.batches()? {
        let batch = batch?;
        let (at, own) = column(&batch, field.name())?;
        let set = fitted.transform(own, batch.column(at), &|row| frame.place(start + row))?;
        match &mut all {
            Some(all) => all.pixels.extend(set.pixels),
            None => all = Some(set),
        }
        start += batch.num_rows();
    }
    all.ok_or_else(|| Error::Config(format!("`{}` holds no images", frame.name())))
}

/// Images changed by chance, each once, as the first epoch of a run with this seed sees them. Mixing
/// two images (`mixup`, `cutmix`) changes their targets too, and is left to training.
///
/// # Errors
/// When a number of the configuration makes no sense: names its key.
pub fn augment(images: &ImageSet, config: &AugmentConfig, seed: u64) -> Result<ImageSet> {
    let augment = Augment::new(config, images.channels, images.height, images.width)?;
    let size = images.channels * images.height * images.width;
    let mut changed = images.clone();
    let pairs = std::iter::zip(images.pixels.chunks(size), changed.pixels.chunks_mut(size));
    for (row, (image, out)) in pairs.enumerate() {
        augment.apply(image, out, seed, 0, row as u64)?;
    }
    Ok(changed)
}
