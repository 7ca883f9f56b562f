//! What is said of single columns.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::ColumnKind;
use crate::prepare::TextConfig;

/// `[columns.NAME]`: what is said about one column instead of inferred.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnConfig {
    /// What the column holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnKind>,
    /// Numbers: the smallest and the largest that is valid, at training and at prediction. A row with
    /// another is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Categories: the names that are valid, at training and at prediction. A row with another is bad.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Whether a row without a value is bad, at training and at prediction.
    #[serde(skip_serializing_if = "is_false")]
    pub required: bool,
    /// What stands in for a missing value. Numbers: `mean`; categories: `missing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impute: Option<Impute>,
    /// Numbers: adds a column `NAME=(missing)` that is 1 where the value is missing, else 0.
    #[serde(skip_serializing_if = "is_false")]
    pub indicator: bool,
    /// Numbers: values beyond bounds learned from the training rows are moved to the bound, before
    /// anything else is learned of the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Bounds>,
    /// Numbers, the target too: training rows with a value beyond bounds learned from the training
    /// rows are left out, counted and listed in the run's `quarantine.jsonl`. Other rows never are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_outliers: Option<Bounds>,
    /// How a number is scaled. Default: `standard`. For a target that is a number, `standard`,
    /// `log1p` or `none`; predictions are turned back into its own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Numbers: one 0/1 column per interval, instead of a scaled number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<Bins>,
    /// Numbers: adds the products of up to this many of the prepared columns that say so too, a
    /// column with itself included: 2 or 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degree: Option<usize>,
    /// Times: what is made of them. Default: all parts that the training rows tell apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<TimePart>,
    /// Times: whether parts that come round again become a sine and a cosine. Default: `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cyclic: Option<bool>,
    /// The name of a step that the program has registered. It prepares the column alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Categories: how levels become numbers. Default: `one_hot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode: Option<Encode>,
    /// Categories: levels with fewer training rows than this are one level, `(rare)`, which unknown
    /// levels join. Default: every level is one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_count: Option<usize>,
    /// Categories with `encode = "hash"`: the number of columns. Default: 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_size: Option<usize>,
    /// Height and width in pixels that every image is brought to. Default: the first image's, scaled until
    /// no side is longer than 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// 1 for grey, 3 for colour. Default: the first image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// How a text becomes numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
    /// What happens to an image whose proportions are not those of `size`. Default: `stretch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
}

/// `[columns]`, by column name.
pub type ColumnConfigs = BTreeMap<String, ColumnConfig>;

fn is_false(value: &bool) -> bool {
    !value
}

/// What happens to an image of other proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It is stretched.
    #[default]
    Stretch,
    /// It is scaled until it covers the size; what stands out is cut off, half on each side.
    Cover,
    /// It is scaled until it fits into the size, in the middle; the rest is black.
    Contain,
}

impl Fit {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What stands in for a missing value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Impute {
    /// The mean of the training rows (numbers).
    Mean,
    /// The median of the training rows (numbers).
    Median,
    /// The most frequent value of the training rows; of several, the smallest.
    Mode,
    /// The last value before: with `[data.sequence]` in the same group and by its `order`, otherwise
    /// in the rows as they stand. Where there is none yet: the mean of a number, the most frequent
    /// category.
    ForwardFill,
    /// A level of its own (categories).
    Missing,
    /// This value.
    Constant(Constant),
}

/// A value to put in the place of a missing one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Constant {
    /// For a number.
    Number(f64),
    /// For a category.
    Text(String),
}

/// How the bounds of a number are learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bounds {
    /// So many interquartile ranges below the first and above the third quartile; 1.5 is usual.
    Iqr(f64),
    /// So many standard deviations around the mean; 3 is usual.
    Z(f64),
    /// These two quantiles, such as `[0.01, 0.99]`.
    Quantiles([f64; 2]),
}

/// A part of a date or time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimePart {
    /// Seconds since the earliest training time, scaled by mean and deviation.
    Elapsed,
    /// The year, scaled by mean and deviation.
    Year,
    /// 1 to 12.
    Month,
    /// The day of the month, 1 to 31.
    Day,
    /// 0 for Monday to 6 for Sunday.
    Weekday,
    /// 0 to 23. By default only where a training time is not at midnight.
    Hour,
    /// 0 to 59. By default only where a training time is not at a full hour.
    Minute,
}

/// How a number is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Subtract the mean, divide by the standard deviation of the training rows.
    #[default]
    Standard,
    /// The smallest training value becomes 0, the largest 1.
    MinMax,
    /// Divide by the largest absolute training value.
    MaxAbs,
    /// Subtract the median, divide by the interquartile range.
    Robust,
    /// The share of training rows below the value, interpolated between 1000 quantiles.
    QuantileUniform,
    /// The same share as a quantile of the normal distribution, within 5.2 of 0.
    QuantileNormal,
    /// Yeo and Johnson's power transform with the most likely exponent, then `standard`.
    YeoJohnson,
    /// `ln(1 + x)`, then `standard`. Training values must be above -1.
    Log1p,
    /// Leave the number as it is.
    None,
}

/// How the range of a number is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bins {
    /// The number of intervals, 2 or more; where quantiles coincide there are fewer.
    pub count: usize,
    /// Where one interval ends and the next begins.
    pub strategy: BinStrategy,
}

impl Default for Bins {
    fn default() -> Self {
        Self {
            count: 5,
            strategy: BinStrategy::Quantile,
        }
    }
}

/// Where one interval of a number ends and the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinStrategy {
    /// Every interval has as many training rows.
    Quantile,
    /// Every interval is equally wide.
    Uniform,
}

/// How the levels of a category become numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encode {
    /// One 0/1 column per level.
    #[default]
    OneHot,
    /// The place of the level in alphabetical order, from 0; -1 for an unknown one.
    Ordinal,
    /// 1 or -1 in one of `hash_size` columns, chosen by the level's hash; no level is stored.
    Hash,
    /// The level's share of the training rows; 0 for an unknown one.
    Frequency,
    /// The mean of the target over the level's training rows, drawn towards the mean of all rows
    /// where they are few: one column, or one per class where there are more than two. A training
    /// row is encoded without the fifth of the rows it is in.
    Target,
    /// A number of its own per level, from 1, that a network looks a learned vector up by; 0 for
    /// an unknown or missing one.
    Embedding,
}
