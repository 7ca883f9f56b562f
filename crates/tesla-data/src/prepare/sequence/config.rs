use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// `[data.sequence]`: rows that follow each other in time, such as the flights of an engine. The
/// network sees of each row a window: the rows of the same group that end with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SequenceConfig {
    /// The column that says which rows belong together: machines, patients, shops. No window has
    /// rows of two groups. It is no feature unless `[columns]` names it. When not said, all rows
    /// are one group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The column that orders the rows of a group: numbers, or ISO dates. It is no feature unless
    /// `[columns]` names it. When not said, rows stand in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Rows in a window. Where a group has fewer, zeros stand before them; the last number of each
    /// row, the mask, is 1 for a row and 0 for such a filling.
    pub length: usize,
    /// Every so many rows of a group end a training window, its last one always. Validation, test
    /// and prediction use every row.
    pub stride: usize,
    /// The target is taken from so many rows later; 0 for the window's last row.
    pub horizon: usize,
    /// Adds each number as it was so many rows before, such as `[1, 5]`. Where the group has no
    /// such row, the prepared number is 0, which is the mean of a column with
    /// `scale = "standard"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lags: Vec<usize>,
    /// Adds statistics of each number over its row and the rows before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling: Option<Rolling>,
    /// The target is made, not read: how long each row is before the last of its group. Its name is
    /// `remaining_life`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_life: Option<RemainingLife>,
    /// Whether the figures of the test rows count the last row of each group only.
    pub evaluate_last: bool,
}

impl Default for SequenceConfig {
    fn default() -> Self {
        Self {
            group: None,
            order: None,
            length: 30,
            stride: 1,
            horizon: 0,
            lags: Vec::new(),
            rolling: None,
            remaining_life: None,
            evaluate_last: false,
        }
    }
}

/// Statistics over the last rows of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rolling {
    /// How many rows each statistic goes over, such as `[5, 20]`; fewer at the start of a group.
    pub rows: Vec<usize>,
    /// Which statistics. Default: `["mean", "std"]`.
    #[serde(default = "mean_and_std")]
    pub of: Vec<RollingStatistic>,
}

fn mean_and_std() -> Vec<RollingStatistic> {
    vec![RollingStatistic::Mean, RollingStatistic::Std]
}

/// A statistic over the last rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RollingStatistic {
    /// The mean.
    Mean,
    /// The standard deviation of a sample (division by one less than the rows); 0 of one row.
    Std,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// How the remaining life of a row is counted: the difference between `order` in the last row of its
/// group and in the row itself, or the rows between them where there is no `order`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemainingLife {
    /// The most that a row is said to have left. What has not begun to wear cannot be told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// For a `test` source whose groups end early: a text file with what is left of each group
    /// after its last row, one number a line, in the order in which the groups appear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// No count of rows in a configuration is larger.
const MOST: usize = 100_000;

impl SequenceConfig {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// When one is not; the message names its key.
    pub fn check(&self) -> Result<()> {
        let rolling = self.rolling.iter().flat_map(|rolling| &rolling.rows);
        let counts = [("length", self.length, 1), ("stride", self.stride, 1)];
        let counts = counts.into_iter().chain([("horizon", self.horizon, 0)]);
        let counts = counts.chain(self.lags.iter().map(|lag| ("lags", *lag, 1)));
        for (key, count, least) in counts.chain(rolling.map(|rows| ("rolling.rows", *rows, 1))) {
            if !(least..=MOST).contains(&count) {
                return Err(Error::Config(format!(
                    "`data.sequence.{key}` is {count}: expected a number of rows from {least} to {MOST}"
                )));
            }
        }
        if let Some(rolling) = &self.rolling
            && (rolling.rows.is_empty() || rolling.of.is_empty())
        {
            let message = "`data.sequence.rolling` asks for nothing: expected numbers of rows, such as `rows = [5, 20]`, and `of` one or more of `mean`, `std`, `min` and `max`";
            return Err(Error::Config(message.into()));
        }
        if self.group.is_some() && self.group == self.order {
            return Err(Error::Config(format!(
                "`data.sequence.group` and `data.sequence.order` are both `{}`: the rows of a group need something else to be ordered by",
                self.group.as_deref().unwrap_or_default()
            )));
        }
        let cap = self.remaining_life.as_ref().and_then(|life| life.cap);
        match cap {
            Some(cap) if !(cap.is_finite() && cap > 0.0) => Err(Error::Config(format!(
                "`data.sequence.remaining_life.cap` is {cap}: expected a number above 0"
            ))),
            _ => Ok(()),
        }
    }

    /// The columns that windows are built by: they must be there even where they are no features.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.group.iter().chain(&self.order).map(String::as_str)
    }
}
