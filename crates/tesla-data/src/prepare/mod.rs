//! Preparation: everything between a raw column and a tensor, learned from the training rows only.
//!
//! A [`Pipeline`] says what to do, a [`FittedPipeline`] has learned from rows how to do it. Only
//! the fitted one can transform, and it is what a bundle carries.

mod calls;
mod category;
mod image;
mod notice;
mod numeric;
mod outliers;
mod pass;
mod products;
mod sequence;
mod settings;
mod step;
mod target;
mod text;
mod time;

#[cfg(test)]
mod tests;

use crate::arrow::array::{ArrayRef, Float64Array, RecordBatch};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::{ColumnConfig, ColumnConfigs};
use crate::contract::{ColumnKind, ColumnRule, Contract, Need, Role, Task, column};
use crate::floats::FloatsBuilder;
use crate::frame::downcast;
use crate::samples::{ImageSet, Inputs, Samples, SparseRows, Target, TokenSet};
use crate::{Error, FittedInteractions, Result, Selection};
use category::CategoryFit;
use image::ImageFit;
use numeric::NumericFit;
use step::CustomFit;
use target::TargetFit;
use text::TextFit;
use time::TimeFit;

pub use calls::{augment, images, normalize, scale};
pub use category::FittedCategory;
pub use image::FittedImage;
pub(crate) use image::decode_file;
pub use notice::ColumnNotice;
pub(crate) use numeric::normal_quantile;
pub use numeric::{Curve, FittedNumeric, NORMAL_QUANTILE, QUANTILE_THRESHOLD};
pub use outliers::without_outliers;
pub use pass::Pass;
pub use sequence::{
    FittedSequence, REMAINING_LIFE, RemainingLife, Rolling, RollingStatistic, SequenceConfig,
};
pub(crate) use sequence::{Groups, read_numbers};
pub use step::{Cell, FittedCustom, FittedStep, Step, register};
pub use target::FittedTarget;
pub use text::{Accents, AlsoTerms, Analyzer, FittedText, Norm, TextConfig, TextEncoding};
pub use time::{FittedPart, FittedTime};

/// What will be done to each column. It has seen no row yet and cannot transform one.
pub struct Pipeline<'a> {
    contract: &'a Contract,
    columns: &'a ColumnConfigs,
    sequence: Option<FittedSequence>,
}

/// What was learned from the training rows: means, scales, levels and class labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedPipeline {
    /// The feature columns, in the order of the contract.
    pub features: Vec<FittedColumn>,
    /// The target column.
    pub target: FittedTarget,
    /// Products that follow the features in each row: the places of their factors in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Vec<usize>>,
    /// How rows become windows, when the samples are windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<FittedSequence>,
    /// What is known of users and items, where rows are interactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactions: Option<FittedInteractions>,
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
    /// Seconds and parts of the calendar.
    Time(FittedTime),
    /// What a step of the program makes of it.
    Custom(FittedCustom),
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
        Ok(Self {
            contract,
            columns,
            sequence: None,
        })
    }

    /// With windows of rows as samples, where `[data.sequence]` is there.
    ///
    /// # Errors
    /// When a setting is out of its range, the contract has not its columns, or there are images or
    /// texts.
    pub fn with_sequence(mut self, config: Option<&SequenceConfig>) -> Result<Self> {
        let removes = |(_, column): &(&String, &ColumnConfig)| column.remove_outliers.is_some();
        if let (Some(_), Some((name, _))) = (config, self.columns.iter().find(removes)) {
            return Err(Error::Config(format!(
                "column `{name}`: `remove_outliers` would tear sequences apart: use `clip`, or remove `[data.sequence]`"
            )));
        }
        let fit = |config| FittedSequence::new(config, self.contract);
        self.sequence = config.map(fit).transpose()?;
        Ok(self)
    }

    /// Learns from the training rows, in one pass. The result does not depend on how the rows come
    /// in batches.
    ///
    /// # Errors
    /// When the rows break the contract, or an image cannot be decoded.
    pub fn fit(&self, train: &Selection<'_>) -> Result<FittedPipeline> {
        let came = self.contract.columns.iter().filter(|c| c.role != Role::Unused);
        let learned: Vec<(usize, &ColumnRule)> = came
            .enumerate()
            .filter(|(_, rule)| !matches!(rule.role, Role::Key | Role::Weight))
            .collect();
        let learned_at: Vec<usize> = learned.iter().map(|(at, _)| *at).collect();
        let mut fits = learned
            .iter()
            .map(|(_, rule)| self.column(rule))
            .collect::<Result<Vec<_>>>()?;
        let wants_target = fits.iter().any(|fit| match fit {
            Fit::Category(fit) => fit.wants_target(),
            _ => false,
        });
        let filled = self.filled(&mut fits, &learned, train)?;
        let mut start = 0;
        for batch in train.batches()? {
            let place = |row: usize| train.place(start + row);
            let rows = self.contract.conform(&batch?, Need::Target, &place)?;
            let rows = rows.project(&learned_at)?;
            let mut columns = rows.columns().to_vec();
            for (at, values) in &filled {
                columns[*at] = values.slice(start, rows.num_rows());
            }
            let schema = rows.schema();
            let target = match wants_target {
                true => self.target_of(&rows)?,
                false => Target::Absent,
            };
            let columns = schema.fields().par_iter().zip(&columns);
            fits.par_iter_mut()
                .zip(columns)
                .try_for_each(|(fit, (field, values))| match fit {
                    Fit::Numeric(fit) => fit.update(values),
                    Fit::Category(fit) => fit.update(values, &target),
                    Fit::Image(fit) => fit.update(field, values, &place),
                    Fit::Text(fit) => fit.update(values),
                    Fit::Time(fit) => fit.update(values),
                    Fit::Custom(fit) => fit.update(values),
                    Fit::Target(fit) => fit.update(values),
                })?;
            start += rows.num_rows();
        }
        let fitted = fits.into_par_iter().map(Fit::finish).collect::<Result<Vec<_>>>()?;
        let mut features = Vec::new();
        let mut target = None;
        for fitted in fitted {
            match fitted {
                Fitted::Feature(feature) => features.push(feature),
                Fitted::Target(fitted) => target = Some(fitted),
            }
        }
        if features.iter().all(|feature| feature.width() == 0) {
            let message =
                "no feature has a value in the training rows: there is nothing to learn from";
            return Err(Error::Config(message.into()));
        }
        let none = || Error::Config("the contract has no target column".into());
        Ok(FittedPipeline {
            products: products::products(&features, self.columns)?,
            features,
            target: target.ok_or_else(none)?,
            sequence: self.sequence.clone(),
            interactions: None,
        })
    }

    /// The training values of columns with `forward_fill`, each with its place among those that are
    /// learned from, once they are filled in the order of their groups. Nothing is carried from one
    /// row to the next then.
    fn filled(
        &self,
        fits: &mut [Fit],
        learned: &[(usize, &ColumnRule)],
        train: &Selection<'_>,
    ) -> Result<Vec<(usize, ArrayRef)>> {
        let Some(sequence) = &self.sequence else {
            return Ok(Vec::new());
        };
        let (mut places, mut names) = (Vec::new(), Vec::new());
        for (at, (fit, (_, rule))) in std::iter::zip(fits, learned).enumerate() {
            let carries = match fit {
                Fit::Numeric(fit) => &mut fit.carries,
                Fit::Category(fit) => &mut fit.carries,
                _ => continue,
            };
            if std::mem::take(carries) {
                places.push(at);
                names.push(rule.name.as_str());
            }
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut start = 0;
        let batches = train.batches()?.map(|batch| {
            let first = start;
            let place = |row: usize| train.place(first + row);
            let rows = self.contract.conform(&batch?, Need::Target, &place)?;
            start += rows.num_rows();
            Ok(rows)
        });
        let filled = sequence.filled(&names, batches, &|row| train.place(row))?;
        Ok(std::iter::zip(places, filled).collect())
    }

    /// The target of some rows, which conform.
    fn target_of(&self, rows: &RecordBatch) -> Result<Target> {
        if let Some(classes) = self.contract.class_ids(rows)? {
            return Ok(Target::Classes(classes));
        }
        let none = || Error::Config("the contract has no target column".into());
        let (at, _) = column(rows, &self.contract.target().ok_or_else(none)?.name)?;
        let values = downcast::<Float64Array>(rows.column(at))?;
        Ok(Target::Values(values.values().to_vec()))
    }

    /// How one column is learned from.
    fn column(&self, rule: &ColumnRule) -> Result<Fit> {
        let config = self.columns.get(&rule.name).cloned().unwrap_or_default();
        if rule.role == Role::Target {
            return TargetFit::new(self.contract.task, rule, &config).map(Fit::Target);
        }
        if let Some(step) = &config.step {
            return CustomFit::new(rule, step, &config).map(Fit::Custom);
        }
        settings::check(rule, &config)?;
        match rule.kind {
            ColumnKind::Numeric => {
                let columns = self.contract.features().filter(|rule| {
                    rule.kind == ColumnKind::Numeric
                        && self.columns.get(&rule.name).is_some_and(numeric::wants_values)
                });
                let fit = NumericFit::new(&rule.name, &config, columns.count())?;
                Ok(Fit::Numeric(Box::new(fit)))
            }
            ColumnKind::Category => {
                let classes = match self.contract.task {
                    Task::Classification => {
                        self.contract.target().map_or(0, |target| target.categories.len())
                    }
                    Task::Regression => 0,
                };
                CategoryFit::new(&rule.name, &config, classes).map(Fit::Category)
            }
            ColumnKind::Time => {
                TimeFit::new(&rule.name, &config).map(|fit| Fit::Time(Box::new(fit)))
            }
            ColumnKind::Image => Ok(Fit::Image(ImageFit::new(&rule.name, &config))),
            ColumnKind::Text => {
                Ok(Fit::Text(TextFit::new(&rule.name, &config.text.unwrap_or_default())?))
            }
        }
    }
}

/// A column on its way to being fitted.
enum Fit {
    Numeric(Box<NumericFit>),
    Category(CategoryFit),
    Image(ImageFit),
    Text(TextFit),
    Time(Box<TimeFit>),
    Custom(CustomFit),
    Target(TargetFit),
}

/// A column that was fitted.
enum Fitted {
    Feature(FittedColumn),
    Target(FittedTarget),
}

impl Fit {
    fn finish(self) -> Result<Fitted> {
        Ok(match self {
            Fit::Numeric(fit) => Fitted::Feature(FittedColumn::Numeric(fit.finish()?)),
            Fit::Category(fit) => Fitted::Feature(FittedColumn::Category(fit.finish())),
            Fit::Image(fit) => Fitted::Feature(FittedColumn::Image(fit.finish()?)),
            Fit::Text(fit) => Fitted::Feature(FittedColumn::Text(fit.finish()?)),
            Fit::Time(fit) => Fitted::Feature(FittedColumn::Time(fit.finish())),
            Fit::Custom(fit) => Fitted::Feature(FittedColumn::Custom(fit.finish()?)),
            Fit::Target(fit) => Fitted::Target(fit.finish()?),
        })
    }
}

impl FittedPipeline {
    /// A plain number for a form or an example row: what stands in for a missing value of the column,
    /// or else the middle of its range; whole where both its ends are, otherwise to three digits.
    pub fn example(&self, rule: &ColumnRule) -> f64 {
        let fill = self.features.iter().find_map(|feature| match feature {
            FittedColumn::Numeric(f) if f.name == rule.name => Some(f.fill),
            _ => None,
        });
        let Some([low, high]) = rule.range else {
            return fill.unwrap_or(0.0);
        };
        let value = fill.filter(|fill| (low..=high).contains(fill));
        let value = value.unwrap_or(low / 2.0 + high / 2.0);
        if low.fract() == 0.0 && high.fract() == 0.0 {
            return value.round();
        }
        let plain = format!("{value:.2e}").parse().unwrap_or(value);
        plain.max(low).min(high)
    }

    /// Rows that conform to the contract as samples, one each; the target is taken along when it is
    /// there and not some rows later.
    ///
    /// A window has rows of these only: with [`FittedPipeline::sequence`], give whole groups.
    ///
    /// # Errors
    /// When an image cannot be decoded, a class is unknown, or windows cannot be built.
    pub fn samples(
        &self,
        rows: &RecordBatch,
        place: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Samples> {
        self.pass().samples(rows, place)
    }

    /// All rows of a selection that conforms to the contract; tables that exceed the frame's memory
    /// go to a temporary file. Of sequences, a row that has its target is a sample, and
    /// [`SequenceSet::without_target`](crate::samples::SequenceSet::without_target) counts the others.
    ///
    /// # Errors
    /// As [`FittedPipeline::samples`], and when no row has its target.
    pub fn collect(&self, rows: &Selection<'_>) -> Result<Samples> {
        self.collect_in(self.pass(), rows, 1)
    }

    /// The rows the pipeline was fitted on, all of them and in the same order: like
    /// [`FittedPipeline::collect`], but no row is encoded by its own target, and of sequences only
    /// every `stride`-th row of a group is a sample.
    ///
    /// # Errors
    /// As [`FittedPipeline::collect`].
    pub fn collect_train(&self, rows: &Selection<'_>) -> Result<Samples> {
        self.collect_in(self.train_pass(), rows, self.sequence.as_ref().map_or(1, |s| s.stride))
    }

    fn collect_in(
        &self,
        mut pass: Pass<'_>,
        rows: &Selection<'_>,
        stride: usize,
    ) -> Result<Samples> {
        pass.look_ahead(rows.batches()?, &|row| rows.place(row))?;
        let mut keys = Vec::new();
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
                _ => dense.extend(pass.floats(&batch)?.into_iter())?,
            }
            if let Some(sequence) = &self.sequence {
                keys.push(sequence.keys(&batch)?);
            }
            target.extend(self.target_values(&batch)?);
            start += batch.num_rows();
        }
        if let Some(sequence) = &self.sequence {
            let groups = sequence.groups(&keys, &|row| rows.place(row))?;
            let memory = rows.frame().memory();
            let windows = sequence.windows(dense.finish()?, &groups, &self.numbers(), memory)?;
            return sequence.with_targets(windows, &groups, &target, stride);
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

    /// The rows that can be judged, ascending, and what should be said of each. Of sequences, those
    /// that have a row `horizon` later, whose target it is; with `only_last`, of each group the last
    /// of them. Otherwise all rows. They must conform to the contract, and be whole groups.
    ///
    /// # Errors
    /// When a class is unknown, or groups cannot be told.
    pub fn judged(&self, rows: &RecordBatch, only_last: bool) -> Result<(Vec<u32>, Target)> {
        let target = self.target_values(rows)?;
        let Some(sequence) = &self.sequence else {
            return Ok(((0..rows.num_rows() as u32).collect(), target));
        };
        let place = |row: usize| format!("row {}", row + 1);
        let groups = sequence.groups(&[sequence.keys(rows)?], &place)?;
        let stride = if only_last { usize::MAX } else { 1 };
        let truths = groups.truths(sequence.horizon, stride);
        let target = target.take(truths.iter().map(|[_, row]| *row));
        Ok((truths.into_iter().map(|[row, _]| row).collect(), target))
    }

    /// The places of the numbers that lags and rolling statistics are made of.
    fn numbers(&self) -> Vec<usize> {
        let mut at = 0;
        let mut found = Vec::new();
        for feature in &self.features {
            if let FittedColumn::Numeric(f) = feature {
                found.extend(f.bins.is_none().then_some(at));
            }
            at += feature.width();
        }
        found
    }

    /// The tabular features in full precision, row-major, `[rows, width]`.
    ///
    /// # Errors
    /// When a column is missing, or holds images or texts.
    pub fn matrix(&self, rows: &RecordBatch) -> Result<Vec<f64>> {
        self.pass().matrix(rows)
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

    /// A way through new rows, batch by batch: what goes from one row to the next goes from one
    /// batch to the next.
    pub fn pass(&self) -> Pass<'_> {
        Pass::new(self, None)
    }

    /// A way through the rows the pipeline was fitted on, from the first on.
    pub fn train_pass(&self) -> Pass<'_> {
        Pass::new(self, Some(0))
    }

    /// Numbers per row in [`FittedPipeline::matrix`].
    pub fn width(&self) -> usize {
        self.features.iter().map(FittedColumn::width).sum::<usize>() + self.products.len()
    }

    /// The names of the numbers, such as `age`, `workclass=Private`, `age*height` and `word:free`; with
    /// the column before them, `subject:word:free`, where there are several texts.
    pub fn feature_names(&self) -> Vec<String> {
        let labels = self.target.labels();
        let several = self.features.len() > 1;
        let names = |feature: &FittedColumn| match feature {
            FittedColumn::Text(f) if several => f
                .names()
                .into_iter()
                .map(|name| format!("{}:{name}", f.name))
                .collect(),
            feature => feature.names(labels),
        };
        let mut names: Vec<String> = self.features.iter().flat_map(names).collect();
        let products = self.products.iter().map(|factors| {
            let factors: Vec<&str> = factors.iter().map(|at| names[*at].as_str()).collect();
            factors.join("*")
        });
        let products: Vec<String> = products.collect();
        names.extend(products);
        names
    }

    /// What was subtracted from and what divided each of the numbers: `(0, 1)` where that is
    /// nothing. A number that follows a curve has the unit of the curve.
    pub fn units(&self) -> Vec<(f64, f64)> {
        let features = self.features.iter().flat_map(|feature| match feature {
            FittedColumn::Numeric(f) => f.units(),
            FittedColumn::Time(f) => f.units(),
            other => vec![(0.0, 1.0); other.width()],
        });
        features.chain(self.products.iter().map(|_| (0.0, 1.0))).collect()
    }

    /// The numbers that are ids, for a network to look vectors up by: the place of each in the row
    /// and the number of its ids, 0 included.
    pub fn embeddings(&self) -> Vec<(usize, usize)> {
        let mut at = 0;
        let mut found = Vec::new();
        for feature in &self.features {
            if let FittedColumn::Category(f) = feature {
                found.extend(f.ids().map(|ids| (at, ids)));
            }
            at += feature.width();
        }
        found
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
            FittedColumn::Time(f) => &f.name,
            FittedColumn::Custom(f) => &f.name,
        }
    }

    /// Numbers per row.
    pub fn width(&self) -> usize {
        match self {
            FittedColumn::Numeric(f) => f.width(),
            FittedColumn::Category(f) => f.width(),
            FittedColumn::Image(f) => f.height as usize * f.width as usize * f.channels as usize,
            FittedColumn::Text(f) => f.width(),
            FittedColumn::Time(f) => f.width(),
            FittedColumn::Custom(f) => f.width(),
        }
    }

    fn names(&self, labels: &[String]) -> Vec<String> {
        match self {
            FittedColumn::Text(f) => f.names(),
            FittedColumn::Numeric(f) => f.names(),
            FittedColumn::Category(f) => f.names(labels),
            FittedColumn::Time(f) => f.names(),
            FittedColumn::Custom(f) => f.names(),
            FittedColumn::Image(_) => vec![self.name().to_string()],
        }
    }
}
