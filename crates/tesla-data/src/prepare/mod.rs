//! Preparation: everything between a raw column and a tensor, learned from the training rows only.
//!
//! A [`Pipeline`] says what to do, a [`FittedPipeline`] has learned from rows how to do it. Only
//! the fitted one can transform, and it is what a bundle carries.

mod category;
mod image;
mod numeric;
mod target;
mod text;

use crate::arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::config::{ColumnConfigs, Impute};
use crate::contract::{ColumnKind, ColumnRule, Contract, Need, Role, column};
use crate::floats::FloatsBuilder;
use crate::samples::{Floats, ImageSet, Inputs, Samples, SparseRows, Target, TokenSet};
use crate::{Error, Result, Selection};
use category::CategoryFit;
use image::ImageFit;
use numeric::NumericFit;
use target::TargetFit;
use text::TextFit;

pub use category::FittedCategory;
pub use image::FittedImage;
pub(crate) use image::decode_file;
pub use numeric::FittedNumeric;
pub use target::FittedTarget;
pub use text::{Accents, AlsoTerms, Analyzer, FittedText, Norm, TextConfig, TextEncoding};

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
    /// A bag of weighted terms, or a sequence of ids.
    Text(FittedText),
}

impl<'a> Pipeline<'a> {
    /// The steps that follow from the contract, except where `columns` says otherwise.
    ///
    /// # Errors
    /// When images or texts are mixed with other features, which no model takes yet.
    pub fn new(contract: &'a Contract, columns: &'a ColumnConfigs) -> Result<Self> {
        let images = contract.features().filter(|f| f.kind == ColumnKind::Image).count();
        if images > 0 && contract.features().count() > 1 {
            let message =
                "images cannot be combined with other feature columns: drop one or the other";
            return Err(Error::Config(message.into()));
        }
        text::check_features(contract, columns)?;
        Ok(Self { contract, columns })
    }

    /// Learns from the training rows, in one pass. The result does not depend on how the rows come
    /// in batches.
    ///
    /// # Errors
    /// When the rows break the contract, or an image cannot be decoded.
    pub fn fit(&self, train: &Selection<'_>) -> Result<FittedPipeline> {
        let used = || self.contract.columns.iter().filter(|c| c.role != Role::Unused);
        let mut fits = used().map(|rule| self.column(rule)).collect::<Result<Vec<_>>>()?;
        let mut start = 0;
        for batch in train.batches()? {
            let place = |row: usize| train.place(start + row);
            let rows = self.contract.conform(&batch?, Need::Target, &place)?;
            let schema = rows.schema();
            let columns = std::iter::zip(schema.fields(), rows.columns());
            for (fit, (field, values)) in std::iter::zip(&mut fits, columns) {
                match fit {
                    Fit::Numeric(fit) => fit.update(values)?,
                    Fit::Category(fit) => fit.update(values)?,
                    Fit::Image(fit) => fit.update(field, values, &place)?,
                    Fit::Text(fit) => fit.update(values)?,
                    Fit::Target(fit) => fit.update(values)?,
                }
            }
            start += rows.num_rows();
        }
        let mut features = Vec::new();
        let mut target = None;
        for fit in fits {
            match fit {
                Fit::Numeric(fit) => features.push(FittedColumn::Numeric(fit.finish())),
                Fit::Category(fit) => features.push(FittedColumn::Category(fit.finish())),
                Fit::Image(fit) => features.push(FittedColumn::Image(fit.finish()?)),
                Fit::Text(fit) => features.push(FittedColumn::Text(fit.finish()?)),
                Fit::Target(fit) => target = Some(fit.finish()?),
            }
        }
        if features.iter().all(|feature| feature.width() == 0) {
            let message =
                "no feature has a value in the training rows: there is nothing to learn from";
            return Err(Error::Config(message.into()));
        }
        let none = || Error::Config("the contract has no target column".into());
        Ok(FittedPipeline {
            features,
            target: target.ok_or_else(none)?,
        })
    }

    /// How one column is learned from.
    fn column(&self, rule: &ColumnRule) -> Result<Fit> {
        if rule.role == Role::Target {
            return Ok(Fit::Target(TargetFit::new(self.contract.task, rule)));
        }
        let config = self.columns.get(&rule.name).cloned().unwrap_or_default();
        let invalid = |valid: &str| {
            Error::Config(format!(
                "column `{}`: this `impute` does not apply to its kind: expected {valid}",
                rule.name
            ))
        };
        match rule.kind {
            ColumnKind::Numeric => match config.impute {
                None | Some(Impute::Mean | Impute::Median) => {
                    Ok(Fit::Numeric(NumericFit::new(&rule.name, &config)))
                }
                _ => Err(invalid("`mean` or `median`")),
            },
            ColumnKind::Category => match config.impute {
                None | Some(Impute::Mode | Impute::Missing) => {
                    Ok(Fit::Category(CategoryFit::new(&rule.name, config.impute)))
                }
                _ => Err(invalid("`mode` or `missing`")),
            },
            ColumnKind::Image => Ok(Fit::Image(ImageFit::new(&rule.name, &config))),
            ColumnKind::Text => {
                Ok(Fit::Text(TextFit::new(&rule.name, &config.text.unwrap_or_default())?))
            }
        }
    }
}

/// A column on its way to being fitted.
enum Fit {
    Numeric(NumericFit),
    Category(CategoryFit),
    Image(ImageFit),
    Text(TextFit),
    Target(TargetFit),
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
            [FittedColumn::Text(_), ..] => Inputs::Tokens(self.tokens(rows)?),
            _ => {
                let values = self.matrix(rows)?.into_iter().map(|v| v as f32).collect();
                Inputs::Dense(Floats::new(self.width(), values))
            }
        };
        Ok(Samples {
            len: rows.num_rows(),
            inputs,
            target: self.target_values(rows)?,
        })
    }

    /// All rows of a selection that conforms to the contract; tables that exceed the frame's memory
    /// go to a temporary file.
    ///
    /// # Errors
    /// As [`FittedPipeline::samples`].
    pub fn collect(&self, rows: &Selection<'_>) -> Result<Samples> {
        let mut dense = FloatsBuilder::new(self.width(), rows.frame().memory());
        let mut images: Option<ImageSet> = None;
        let mut tokens: Option<TokenSet> = None;
        let mut target = Target::Absent;
        let mut start = 0;
        for batch in rows.batches()? {
            let batch = batch?;
            let place = |row: usize| rows.place(start + row);
            match self.features.as_slice() {
                [FittedColumn::Image(image)] => {
                    let (at, field) = column(&batch, &image.name)?;
                    let set = image.transform(field, batch.column(at), &place)?;
                    match &mut images {
                        Some(images) => images.pixels.extend(set.pixels),
                        None => images = Some(set),
                    }
                }
                [FittedColumn::Text(_), ..] => {
                    let set = self.tokens(&batch)?;
                    match &mut tokens {
                        Some(tokens) => tokens.append(set),
                        None => tokens = Some(set),
                    }
                }
                _ => dense.extend(self.matrix(&batch)?.into_iter().map(|v| v as f32))?,
            }
            target.extend(self.target_values(&batch)?);
            start += batch.num_rows();
        }
        Ok(Samples {
            len: start,
            inputs: match (images, tokens) {
                (Some(images), _) => Inputs::Images(images),
                (_, Some(tokens)) => Inputs::Tokens(tokens),
                _ => Inputs::Dense(dense.finish()?),
            },
            target,
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
    /// When a column is missing, or holds images or texts.
    pub fn matrix(&self, rows: &RecordBatch) -> Result<Vec<f64>> {
        let no_table =
            |f: &&FittedColumn| matches!(f, FittedColumn::Image(_) | FittedColumn::Text(_));
        if let Some(feature) = self.features.iter().find(no_table) {
            let message = format!("column `{}` holds images or texts", feature.name());
            return Err(Error::Config(message));
        }
        let width = self.width();
        let mut out = vec![0.0; rows.num_rows() * width];
        let mut first = 0;
        for feature in &self.features {
            let (at, _) = column(rows, feature.name())?;
            match feature {
                FittedColumn::Numeric(f) => f.transform(rows.column(at), &mut out, width, first)?,
                FittedColumn::Category(f) => {
                    f.transform(rows.column(at), &mut out, width, first)?
                }
                FittedColumn::Image(_) | FittedColumn::Text(_) => {}
            }
            first += feature.width();
        }
        Ok(out)
    }

    /// The bags of texts in full precision, `[rows, width]`: the terms of each text column, side by
    /// side.
    ///
    /// # Errors
    /// When a column is missing, or becomes anything but bags.
    pub fn sparse(&self, rows: &RecordBatch) -> Result<SparseRows> {
        let mut all: Option<SparseRows> = None;
        for feature in &self.features {
            let (at, _) = column(rows, feature.name())?;
            let FittedColumn::Text(text) = feature else {
                let message = format!("column `{}` holds no texts", feature.name());
                return Err(Error::Config(message));
            };
            let next = text.matrix(rows.column(at))?;
            all = Some(match all {
                Some(all) => all.beside(&next),
                None => next,
            });
        }
        all.ok_or_else(|| Error::Config("there is no text column".into()))
    }

    /// Texts as a network sees them.
    fn tokens(&self, rows: &RecordBatch) -> Result<TokenSet> {
        match self.features.as_slice() {
            [FittedColumn::Text(text)] if text.is_sequence() => {
                let (at, _) = column(rows, &text.name)?;
                text.transform(rows.column(at))
            }
            _ => Ok(self.sparse(rows)?.into()),
        }
    }

    /// Numbers per row in [`FittedPipeline::matrix`]: one per numeric column, one per level of a
    /// category.
    pub fn width(&self) -> usize {
        self.features.iter().map(FittedColumn::width).sum()
    }

    /// The names of the numbers, such as `age`, `workclass=Private` and `word:free`; with the column
    /// before them, `subject:word:free`, where there are several texts.
    pub fn feature_names(&self) -> Vec<String> {
        match self.features.as_slice() {
            [FittedColumn::Text(_), _, ..] => self
                .features
                .iter()
                .flat_map(|f| f.names().into_iter().map(move |name| format!("{}:{name}", f.name())))
                .collect(),
            features => features.iter().flat_map(FittedColumn::names).collect(),
        }
    }
}

impl FittedColumn {
    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            FittedColumn::Numeric(f) => &f.name,
            FittedColumn::Category(f) => &f.name,
            FittedColumn::Image(f) => &f.name,
            FittedColumn::Text(f) => &f.name,
        }
    }

    /// Numbers per row.
    pub fn width(&self) -> usize {
        match self {
            FittedColumn::Numeric(_) => 1,
            FittedColumn::Category(f) => f.width(),
            FittedColumn::Image(f) => f.height as usize * f.width as usize * f.channels as usize,
            FittedColumn::Text(f) => f.width(),
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            FittedColumn::Category(f) => f.names(),
            FittedColumn::Text(f) => f.names(),
            _ => vec![self.name().to_string()],
        }
    }
}
