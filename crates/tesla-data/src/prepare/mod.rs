//! Preparation: everything between a raw column and a tensor, learned from the training rows only.
//!
//! A [`Pipeline`] says what to do, a [`FittedPipeline`] has learned from rows how to do it. Only
//! the fitted one can transform, and it is what a bundle carries.

mod category;
mod image;
mod numeric;
mod target;

use crate::arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::config::{ColumnConfigs, Impute};
use crate::contract::{ColumnKind, Contract, Need, Role, column};
use crate::samples::{Inputs, Samples, Target};
use crate::{Error, Result};

pub use category::FittedCategory;
pub use image::FittedImage;
pub(crate) use image::decode_file;
pub use numeric::FittedNumeric;
pub use target::FittedTarget;

/// What will be done to each column. It has seen no row yet and cannot transform one.
pub struct Pipeline<'a> {
    contract: &'a Contract,
    columns: &'a ColumnConfigs,
}

/// What was learned from the training rows: means, scales, levels and class labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedPipeline {
    /// The feature columns, in the order of the contract.
    pub features: Vec<FittedColumn>,
    /// The target column.
    pub target: FittedTarget,
}

/// One fitted feature column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FittedColumn {
    /// Imputed and scaled.
    Numeric(FittedNumeric),
    /// Imputed and one-hot encoded.
    Category(FittedCategory),
    /// Decoded, resized and normalised per channel.
    Image(FittedImage),
}

impl<'a> Pipeline<'a> {
    /// The steps that follow from the contract, except where `columns` says otherwise.
    ///
    /// # Errors
    /// When images and other features are mixed, which no model takes yet.
    pub fn new(contract: &'a Contract, columns: &'a ColumnConfigs) -> Result<Self> {
        let images = contract
            .features()
            .filter(|f| f.kind == ColumnKind::Image)
            .count();
        if images > 0 && contract.features().count() > 1 {
            let message = "images cannot be combined with other feature columns: drop one or the other";
            return Err(Error::Config(message.into()));
        }
        Ok(Self { contract, columns })
    }

    /// Learns from the training rows.
    ///
    /// # Errors
    /// When the rows break the contract, or an image cannot be decoded.
    pub fn fit(&self, train: &RecordBatch, place: &(dyn Fn(usize) -> String + Sync)) -> Result<FittedPipeline> {
        let rows = self.contract.conform(train, Need::Target, place)?;
        let mut features = Vec::new();
        let mut fitted_target = None;
        for (rule, values) in std::iter::zip(
            self.contract.columns.iter().filter(|c| c.role != Role::Unused),
            rows.columns(),
        ) {
            if rule.role == Role::Target {
                fitted_target = Some(FittedTarget::fit(self.contract.task, rule, values)?);
                continue;
            }
            let config = self.columns.get(&rule.name).cloned().unwrap_or_default();
            let invalid = |valid: &str| {
                Error::Config(format!(
                    "column `{}`: this `impute` does not apply to its kind: expected {valid}",
                    rule.name
                ))
            };
            features.push(match rule.kind {
                ColumnKind::Numeric => {
                    if !matches!(config.impute, None | Some(Impute::Mean | Impute::Median)) {
                        return Err(invalid("`mean` or `median`"));
                    }
                    FittedColumn::Numeric(FittedNumeric::fit(&rule.name, values, &config)?)
                }
                ColumnKind::Category => {
                    if !matches!(config.impute, None | Some(Impute::Mode | Impute::Missing)) {
                        return Err(invalid("`mode` or `missing`"));
                    }
                    FittedColumn::Category(FittedCategory::fit(&rule.name, values, config.impute)?)
                }
                ColumnKind::Image => {
                    let field = rows.schema().field_with_name(&rule.name)?.clone();
                    FittedColumn::Image(FittedImage::fit(&field, values, &config, place)?)
                }
                ColumnKind::Text => {
                    return Err(Error::Config(format!(
                        "column `{}` holds free text, which no model takes yet: drop it or say `kind = \"category\"`",
                        rule.name
                    )));
                }
            });
        }
        let target = fitted_target
            .ok_or_else(|| Error::Config("the contract has no target column".into()))?;
        Ok(FittedPipeline { features, target })
    }
}

impl FittedPipeline {
    /// Rows that conform to the contract as samples; the target is taken along when it is there.
    ///
    /// # Errors
    /// When an image cannot be decoded or a class is unknown.
    pub fn samples(
        &self,
        rows: &RecordBatch,
        place: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Samples> {
        let inputs = match self.features.as_slice() {
            [FittedColumn::Image(image)] => {
                let (at, field) = column(rows, &image.name)?;
                Inputs::Images(image.transform(field, rows.column(at), place)?)
            }
            _ => Inputs::Dense {
                width: self.width(),
                values: self.matrix(rows)?.into_iter().map(|v| v as f32).collect(),
            },
        };
        Ok(Samples {
            len: rows.num_rows(),
            inputs,
            target: self.target_values(rows)?,
        })
    }

    /// The target of rows that conform to the contract.
    ///
    /// # Errors
    /// When a class is unknown.
    pub fn target_values(&self, rows: &RecordBatch) -> Result<Target> {
        match rows.column_by_name(self.target.name()) {
            Some(values) => self.target.transform(values),
            None => Ok(Target::Absent),
        }
    }

    /// The tabular features in full precision, row-major, `[rows, width]`.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn matrix(&self, rows: &RecordBatch) -> Result<Vec<f64>> {
        let width = self.width();
        let mut out = vec![0.0; rows.num_rows() * width];
        let mut first = 0;
        for feature in &self.features {
            let (at, _) = column(rows, feature.name())?;
            match feature {
                FittedColumn::Numeric(f) => f.transform(rows.column(at), &mut out, width, first)?,
                FittedColumn::Category(f) => f.transform(rows.column(at), &mut out, width, first)?,
                FittedColumn::Image(f) => {
                    return Err(Error::Config(format!("column `{}` holds images", f.name)));
                }
            }
            first += feature.width();
        }
        Ok(out)
    }

    /// Numbers per row in [`FittedPipeline::matrix`]: one per numeric column, one per level of a
    /// category.
    pub fn width(&self) -> usize {
        self.features.iter().map(FittedColumn::width).sum()
    }

    /// The names of the numbers, such as `age` and `workclass=Private`.
    pub fn feature_names(&self) -> Vec<String> {
        self.features.iter().flat_map(FittedColumn::names).collect()
    }
}

impl FittedColumn {
    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            FittedColumn::Numeric(f) => &f.name,
            FittedColumn::Category(f) => &f.name,
            FittedColumn::Image(f) => &f.name,
        }
    }

    /// Numbers per row.
    pub fn width(&self) -> usize {
        match self {
            FittedColumn::Numeric(_) => 1,
            FittedColumn::Category(f) => f.width(),
            FittedColumn::Image(f) => f.height as usize * f.width as usize * f.channels as usize,
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            FittedColumn::Category(f) => f.names(),
            _ => vec![self.name().to_string()],
        }
    }
}
