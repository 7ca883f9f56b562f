//! Users and items: what a table of interactions says, and what is kept of it with a model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrow::array::Float64Array;
use crate::prepare::{FittedCategory, FittedColumn, FittedPipeline};
use crate::{Error, Frame, Inputs, Result, Samples, Target};

/// The name of the target where no rating is said: 1 in each row.
pub const INTERACTION: &str = "interaction";

/// `[data.interactions]`: users and items, and what a row says of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InteractionsConfig {
    /// The column that names the user.
    pub user: String,
    /// The column that names the item.
    pub item: String,
    /// The column of ratings (explicit feedback). Without it each row is an interaction and nothing
    /// more (implicit feedback).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<String>,
    /// The column of times, for splits by time and `leave_one_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// `bpr`: the least rating that counts as a positive. Default: each row is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Whether the model file keeps, as ids, which items each user has in the training rows, so that
    /// lists leave them out by themselves. Whoever has the file can read them; not kept by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_seen: bool,
}

impl InteractionsConfig {
    /// The columns that are said.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        [Some(&self.user), Some(&self.item), self.time.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    pub(crate) fn names(&self, column: &str) -> bool {
        self.columns().any(|name| name == column)
    }

    /// Whether the column names users or items.
    pub(crate) fn is_side(&self, column: &str) -> bool {
        column == self.user || column == self.item
    }

    /// What is predicted, where `said` is the configured target.
    pub(crate) fn target<'a>(&'a self, said: Option<&'a str>) -> Result<&'a str> {
        let refuse = |message: String| Err(Error::Config(message));
        if self.user == self.item {
            return refuse(format!(
                "`data.interactions` names `{}` as user and as item: expected two columns",
                self.user
            ));
        }
        let target = self.rating.as_deref().unwrap_or(INTERACTION);
        if self.is_side(target) {
            return refuse(format!(
                "`data.interactions` names `{target}` as rating and as user or item: expected a column of its own"
            ));
        }
        if self.threshold.is_some() && self.rating.is_none() {
            return refuse(
                "`data.interactions.threshold` needs `data.interactions.rating`: the column it is held against".into(),
            );
        }
        match said {
            Some(said) if said != target => refuse(format!(
                "`target = \"{said}\"` and `[data.interactions]` both say what to predict: say `rating = \"{said}\"` there, or remove `target`"
            )),
            _ => Ok(target),
        }
    }
}

impl Frame {
    /// The rows with one more column, `interaction`, that is 1 in each, where `interactions` names no
    /// rating.
    ///
    /// # Errors
    /// When there is a column of this name.
    pub fn with_interaction(self, interactions: &InteractionsConfig) -> Result<Self> {
        if interactions.rating.is_some() {
            return Ok(self);
        }
        if self.schema().column_with_name(INTERACTION).is_some() {
            return Err(Error::Config(format!(
                "`{}` has a column `{INTERACTION}` already: say `rating = \"{INTERACTION}\"` in `[data.interactions]`, or drop it",
                self.name()
            )));
        }
        let ones = Float64Array::from(vec![1.0; self.len()]);
        self.with_column(INTERACTION, ones)
    }
}

/// What a model keeps of the interactions it was trained on: sums over users, no row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedInteractions {
    /// The column of users.
    pub user: String,
    /// The column of items.
    pub item: String,
    /// The least rating that counts as a positive; each row counts when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The smallest and the largest rating.
    pub range: [f64; 2],
    /// The positives of each item id: what users who are unknown are shown first.
    pub popularity: Vec<u32>,
    /// The item ids of each user id, ascending, where `keep_seen` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<Vec<u32>>>,
}

/// Ids as 32-bit floats are exact up to here.
const MOST_IDS: usize = 1 << 24;

impl FittedInteractions {
    /// Learns from the training rows, which `pipeline` made.
    ///
    /// # Errors
    /// When there are too many ids, or they cannot be read.
    pub fn fit(
        config: &InteractionsConfig,
        pipeline: &FittedPipeline,
        train: &Samples,
    ) -> Result<Self> {
        let mut fitted = Self {
            user: config.user.clone(),
            item: config.item.clone(),
            threshold: config.threshold,
            range: [f64::INFINITY, f64::NEG_INFINITY],
            popularity: Vec::new(),
            seen: None,
        };
        let [users, items] = fitted.sides(pipeline)?.map(|side| side.levels.len() + 1);
        if let Some(many) = [users, items].into_iter().find(|ids| *ids > MOST_IDS) {
            return Err(Error::Config(format!(
                "{many} different users or items are too many: expected at most {MOST_IDS} of each"
            )));
        }
        fitted.popularity = vec![0; items];
        let pairs = fitted.pairs(pipeline, train)?;
        let ratings = train.target.values().unwrap_or_default();
        for ([_, item], rating) in std::iter::zip(&pairs, ratings) {
            fitted.range = [fitted.range[0].min(*rating), fitted.range[1].max(*rating)];
            if fitted.is_positive(*rating)
                && let Some(count) = fitted.popularity.get_mut(*item as usize)
            {
                *count += 1;
            }
        }
        if config.keep_seen {
            fitted.seen = Some(items_of_users(users, &pairs));
        }
        Ok(fitted)
    }

    /// Whether a rating makes its row a positive.
    pub fn is_positive(&self, rating: f64) -> bool {
        self.threshold.is_none_or(|threshold| rating >= threshold)
    }

    /// The columns of users and items as they were fitted.
    ///
    /// # Errors
    /// When the pipeline does not make ids of them.
    pub fn sides<'a>(&self, pipeline: &'a FittedPipeline) -> Result<[&'a FittedCategory; 2]> {
        let side = |name: &str| {
            let found = pipeline.features.iter().find(|feature| feature.name() == name);
            match found {
                Some(FittedColumn::Category(side)) if side.ids().is_some() => Ok(side),
                _ => Err(Error::Config(format!(
                    "column `{name}` of `[data.interactions]` does not become ids: remove its `[columns]` table"
                ))),
            }
        };
        Ok([side(&self.user)?, side(&self.item)?])
    }

    /// The ids of user and item of each row; 0 for one that training did not see.
    ///
    /// # Errors
    /// When the rows stand in a temporary file that cannot be read, or are none of ids.
    pub fn pairs(&self, pipeline: &FittedPipeline, rows: &Samples) -> Result<Vec<[u32; 2]>> {
        let user_first = pipeline.features.first().is_some_and(|f| f.name() == self.user);
        let Inputs::Dense(ids) = &rows.inputs else {
            return Err(Error::Config("interactions are rows of a user and an item".into()));
        };
        ids.with(0..rows.len, |ids| {
            let (pairs, _) = ids.as_chunks::<2>();
            let pair = |[a, b]: &[f32; 2]| match user_first {
                true => [*a as u32, *b as u32],
                false => [*b as u32, *a as u32],
            };
            pairs.iter().map(pair).collect()
        })
    }

    /// The rows that are positives; the others are left out.
    ///
    /// # Errors
    /// As [`FittedInteractions::pairs`].
    pub fn positives(&self, rows: &Samples) -> Result<(Samples, Vec<usize>)> {
        let ratings = rows.target.values().unwrap_or_default();
        let kept = (0..rows.len).filter(|row| self.is_positive(ratings[*row]));
        let kept: Vec<usize> = kept.collect();
        let ids = rows.inputs.gather(&kept)?;
        let positives = Samples {
            len: kept.len(),
            inputs: Inputs::Dense(crate::samples::Floats::new(2, ids)),
            target: Target::Values(kept.iter().map(|row| ratings[*row]).collect()),
        };
        Ok((positives, kept))
    }
}

/// The items of each of `users` users, ascending and each once.
pub fn items_of_users(users: usize, pairs: &[[u32; 2]]) -> Vec<Vec<u32>> {
    let mut items = vec![Vec::new(); users];
    for [user, item] in pairs {
        if let Some(items) = items.get_mut(*user as usize) {
            items.push(*item);
        }
    }
    for items in &mut items {
        items.sort_unstable();
        items.dedup();
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{CsvSource, Input};
    use crate::{Contract, DataConfig, Dataset, Pipeline};

    fn prepared(extra: &str) -> Result<(FittedPipeline, Samples, FittedInteractions)> {
        let text = "title,who,stars\nHeat,7,5\nAlien,7,2\nHeat,12,4\nBrazil,12,3\nHeat,7,5\n";
        let config: InteractionsConfig = serde_json::from_str(extra).unwrap();
        let input = Input::from_bytes("r.csv", text.as_bytes());
        let frame = Frame::read_all(Box::new(CsvSource::open(input, Default::default())?))?;
        let frame = frame.with_interaction(&config)?;
        let data = DataConfig {
            interactions: Some(config.clone()),
            ..Default::default()
        };
        let contract = Contract::infer(&frame, &data, &Default::default())?;
        let frame = frame.settle(&contract, &data.bad_policy())?;
        let embedding = |name: &str| {
            let config = crate::ColumnConfig {
                encode: Some(crate::config::Encode::Embedding),
                ..Default::default()
            };
            (name.to_string(), config)
        };
        let columns = ["who", "title"].map(embedding).into_iter().collect();
        let pipeline = Pipeline::new(&contract, &columns)?.fit(&frame.all())?;
        let samples = pipeline.collect(&frame.all())?;
        let fitted = FittedInteractions::fit(&config, &pipeline, &samples)?;
        Ok((pipeline, samples, fitted))
    }

    #[test]
    fn users_and_items_become_ids_whatever_their_order() {
        let config =
            r#"{"user":"who","item":"title","rating":"stars","threshold":4,"keep_seen":true}"#;
        let (pipeline, samples, fitted) = prepared(config).unwrap();
        let pairs = fitted.pairs(&pipeline, &samples).unwrap();
        // Levels are sorted as texts: 12 before 7; Alien, Brazil, Heat.
        assert_eq!(pairs, [[2, 3], [2, 1], [1, 3], [1, 2], [2, 3]]);
        assert_eq!(fitted.range, [2.0, 5.0]);
        assert_eq!(fitted.popularity, [0, 0, 0, 3]);
        assert_eq!(fitted.seen, Some(vec![vec![], vec![2, 3], vec![1, 3]]));
        let (positives, rows) = fitted.positives(&samples).unwrap();
        assert_eq!((positives.len, rows), (3, vec![0, 2, 4]));
        let [users, items] = fitted.sides(&pipeline).unwrap();
        assert_eq!([users.id("7"), users.id("8"), items.id("Heat")], [2, 0, 3]);
    }

    #[test]
    fn without_a_rating_each_row_is_a_positive_and_nothing_is_kept_of_users() {
        let (_, samples, fitted) = prepared(r#"{"user":"who","item":"title"}"#).unwrap();
        assert_eq!(samples.target, Target::Values(vec![1.0; 5]));
        assert_eq!((fitted.popularity, fitted.seen), (vec![0, 1, 1, 3], None));
    }

    #[test]
    fn what_does_not_suit_is_refused_in_one_sentence() {
        for (config, expected) in [
            (r#"{"user":"who","item":"who"}"#, "expected two columns"),
            (r#"{"user":"who","item":"title","threshold":3}"#, "needs `data.interactions.rating`"),
            (r#"{"user":"who","item":"titel"}"#, "did you mean `title`"),
        ] {
            let error = prepared(config).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn splits_take_user_and_time_from_the_interactions() {
        let text = "u,i,t\na,1,3\na,2,1\na,3,2\nb,1,5\nb,2,4\n";
        let input = Input::from_bytes("r.csv", text.as_bytes());
        let source = CsvSource::open(input, Default::default()).unwrap();
        let data = Dataset::from_frame(Frame::read_all(Box::new(source)).unwrap());
        let config: DataConfig = serde_json::from_str(
            r#"{"interactions":{"user":"u","item":"i","time":"t"},"split":{"by":"leave_one_out"}}"#,
        )
        .unwrap();
        let split = data.split(&config, None, 0).unwrap();
        assert_eq!((split.test, split.valid, split.train), (vec![0, 3], vec![2], vec![1, 4]));
    }
}
