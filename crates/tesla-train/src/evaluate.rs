//! Evaluation: raw rows with their truth go through the predictor, as every prediction does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tesla_core::{ModelConfig, Predictions, Predictor, Ranked, Seen};
use tesla_data::arrow::array::{AsArray, RecordBatch, StringArray};
use tesla_data::arrow::compute::concat_batches;
use tesla_data::contract::Need;
use tesla_data::prepare::FittedTarget;
use tesla_data::{Selection, Target, Task};

use crate::metrics::ranking::{Candidates, RankingFigures, RankingSums};
use crate::metrics::{self, Classification, Regression};
use crate::{Error, Result};

/// The figures of a model on some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The rows that were evaluated.
    pub rows: usize,
    /// The figures.
    pub metrics: Metrics,
    /// The figure of always predicting the same, for comparison: the accuracy of the most
    /// frequent class of these rows, the RMSE of their mean, or NDCG of the most popular items.
    pub baseline: f64,
    /// What is known of users and items, where rows are interactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactions: Option<InteractionFigures>,
}

/// How many users and items training did not see, and what only ratings have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InteractionFigures {
    /// Users of these rows that training did not see.
    pub cold_users: usize,
    /// Items of these rows that training did not see.
    pub cold_items: usize,
    /// Rows of such a user or item.
    pub cold_rows: usize,
    /// The mean absolute error divided by the range of the training ratings (Goldberg et al. 2001).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nmae: Option<f64>,
}

/// Figures by task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Metrics {
    /// The target is a class.
    Classification(Classification),
    /// The target is a number.
    Regression(Regression),
    /// The model ranks items for users.
    Ranking(RankingFigures),
}

/// The items of a list that count.
const TOP: usize = 10;

/// Evaluates a model on raw rows that carry the target, batch by batch.
///
/// # Errors
/// When the rows break the contract, a class is unknown to the model, there is no row, or a prediction
/// is not a number.
pub fn evaluate(predictor: &Predictor, rows: &Selection<'_>) -> Result<Report> {
    evaluate_seen(predictor, rows, &Seen::default())
}

/// Like [`evaluate`], where a model that ranks leaves out of each list what the user has in `seen`.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_seen(predictor: &Predictor, rows: &Selection<'_>, seen: &Seen) -> Result<Report> {
    match predictor.bundle().model {
        ModelConfig::Bpr(_) => rank_rows(predictor, rows, seen),
        _ => evaluate_rows(predictor, rows, false),
    }
}

/// What users have in some rows.
///
/// # Errors
/// When the rows cannot be read, or have no users and items.
pub fn seen_in(predictor: &Predictor, rows: &Selection<'_>) -> Result<Seen> {
    let mut all = Seen::default();
    for batch in rows.batches()? {
        all.extend(predictor.seen(&batch?)?);
    }
    Ok(all)
}

/// Users per pass when ranking.
const USERS: usize = 1024;

/// Ranks all items but those in `seen` for each user of the rows; the user's positives are relevant.
/// Items that training did not see are relevant and in no list.
fn rank_rows(predictor: &Predictor, rows: &Selection<'_>, seen: &Seen) -> Result<Report> {
    let bundle = predictor.bundle();
    let Some(fitted) = &bundle.pipeline.interactions else {
        return Err(Error::Config("the model knows no users and items".into()));
    };
    let [_, items] = fitted.sides(&bundle.pipeline)?;
    let mut cold = Cold::default();
    let mut unknown: HashMap<String, u32> = HashMap::new();
    let mut relevant: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let (mut count, mut start) = (0, 0);
    for batch in rows.batches()? {
        let batch = batch?;
        let place = |row: usize| rows.place(start + row);
        let conformed = bundle.contract.conform(&batch, Need::Target, &place)?;
        cold.add(predictor, &conformed)?;
        let ratings = bundle.pipeline.target_values(&conformed)?;
        let ratings = ratings.values().unwrap_or_default();
        let (users, names) = (text(&conformed, &fitted.user)?, text(&conformed, &fitted.item)?);
        for row in (0..conformed.num_rows()).filter(|row| fitted.is_positive(ratings[*row])) {
            let name = names.value(row);
            let item = match items.id(name) {
                // Numbered behind those that training saw.
                0 => match unknown.get(name) {
                    Some(item) => *item,
                    None => {
                        let item = (items.levels.len() + unknown.len()) as u32;
                        unknown.insert(name.into(), item);
                        item
                    }
                },
                id => id - 1,
            };
            let user = users.value(row);
            match relevant.get_mut(user) {
                Some(own) => drop(own.insert(item)),
                None => drop(relevant.insert(user.into(), BTreeSet::from([item]))),
            }
        }
        count += batch.num_rows();
        start += batch.num_rows();
    }
    let catalogue = items.levels.len() + unknown.len();
    let mut sums = RankingSums::new(TOP, catalogue, Candidates::AllUnseen)?;
    let mut popular = RankingSums::new(TOP, catalogue, Candidates::AllUnseen)?;
    let places =
        |list: Vec<(u32, f64)>| -> Vec<u32> { list.into_iter().map(|(id, _)| id - 1).collect() };
    let users: Vec<String> = relevant.keys().cloned().collect();
    for users in users.chunks(USERS) {
        for Ranked { user, items, .. } in predictor.rank(users, TOP, seen)? {
            let relevant: Vec<u32> = relevant[&user].iter().copied().collect();
            sums.update(&places(items), &relevant, None)?;
            let first = predictor.popular(&user, TOP, seen)?;
            popular.update(&places(first), &relevant, None)?;
        }
    }
    if users.is_empty() {
        return Err(Error::Config("there is no row to evaluate on".into()));
    }
    Ok(Report {
        rows: count,
        metrics: Metrics::Ranking(sums.finish()?),
        baseline: popular.finish()?.ndcg,
        interactions: Some(cold.finish()),
    })
}

/// Users and items that training did not see.
#[derive(Default)]
struct Cold {
    users: HashSet<String>,
    items: HashSet<String>,
    rows: usize,
}

impl Cold {
    /// Adds rows that conform.
    fn add(&mut self, predictor: &Predictor, rows: &RecordBatch) -> Result<()> {
        let pipeline = &predictor.bundle().pipeline;
        let Some(fitted) = &pipeline.interactions else {
            return Ok(());
        };
        let [known_users, known_items] = fitted.sides(pipeline)?;
        let (users, items) = (text(rows, &fitted.user)?, text(rows, &fitted.item)?);
        for row in 0..rows.num_rows() {
            let (user, item) = (users.value(row), items.value(row));
            let (cold_user, cold_item) = (known_users.id(user) == 0, known_items.id(item) == 0);
            self.rows += usize::from(cold_user || cold_item);
            for (is_cold, name, names) in
                [(cold_user, user, &mut self.users), (cold_item, item, &mut self.items)]
            {
                if is_cold && !names.contains(name) {
                    names.insert(name.into());
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> InteractionFigures {
        InteractionFigures {
            cold_users: self.users.len(),
            cold_items: self.items.len(),
            cold_rows: self.rows,
            nmae: None,
        }
    }
}

/// A column of names of rows that conform.
fn text<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = rows.column_by_name(name).and_then(|column| column.as_string_opt());
    column.ok_or_else(|| Error::Config(format!("the rows have no names in column `{name}`")))
}

/// Like [`evaluate`]; with `only_last`, of each group of a sequence the last row is judged.
pub(crate) fn evaluate_rows(
    predictor: &Predictor,
    rows: &Selection<'_>,
    only_last: bool,
) -> Result<Report> {
    let bundle = predictor.bundle();
    let mut classes: Vec<u32> = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    // Probabilities of each class, or the predicted number.
    let mut predicted: Vec<f64> = Vec::new();
    let (mut count, mut start) = (0, 0);
    let mut cold = Cold::default();
    let mut batches = rows.batches()?;
    if bundle.pipeline.sequence.is_some() {
        // A window is made of rows that may stand in another batch.
        let all = batches.collect::<tesla_data::Result<Vec<_>>>()?;
        let whole = all
            .first()
            .map(|first| concat_batches(&first.schema(), &all))
            .transpose();
        batches = Box::new(whole.map_err(tesla_data::Error::from)?.into_iter().map(Ok));
    }
    for batch in batches {
        let batch = batch?;
        let place = |row: usize| rows.place(start + row);
        let conformed = bundle.contract.conform(&batch, Need::Target, &place)?;
        cold.add(predictor, &conformed)?;
        let (judged, truth) = bundle.pipeline.judged(&conformed, only_last)?;
        match truth {
            Target::Classes(truth) => classes.extend(truth),
            Target::Values(truth) => values.extend(truth),
            Target::Absent => unreachable!("`Need::Target` asks for the column"),
        }
        let (found, width) = match predictor.predict_at(&batch, &place)? {
            Predictions::Classes {
                probabilities,
                labels,
            } => (probabilities, labels.len()),
            Predictions::Values(values) => (values, 1),
        };
        for row in &judged {
            predicted.extend(&found[*row as usize * width..][..width]);
        }
        count += judged.len();
        start += batch.num_rows();
    }
    if count == 0 {
        return Err(Error::Config("there is no row to evaluate on".into()));
    }
    let (metrics, baseline) = match &bundle.pipeline.target {
        FittedTarget::Classes { labels, .. } => {
            let metrics = metrics::classification(labels, &classes, &predicted)?;
            let largest = metrics.classes.iter().map(|c| c.support).max();
            let baseline = largest.unwrap_or(0) as f64 / count as f64;
            (Metrics::Classification(metrics), baseline)
        }
        FittedTarget::Value { .. } => {
            let mean = values.iter().sum::<f64>() / count as f64;
            let baseline = metrics::regression(&values, &vec![mean; count])?.rmse;
            let metrics = metrics::regression(&values, &predicted)?;
            (Metrics::Regression(metrics), baseline)
        }
    };
    let interactions = bundle.pipeline.interactions.as_ref().map(|fitted| {
        let [low, high] = fitted.range;
        let mae = match &metrics {
            Metrics::Regression(metrics) if high > low => Some(metrics.mae),
            _ => None,
        };
        InteractionFigures {
            nmae: mae.map(|mae| mae / (high - low)),
            ..cold.finish()
        }
    });
    Ok(Report {
        rows: count,
        metrics,
        baseline,
        interactions,
    })
}

impl Report {
    /// The figure to look at first: its name and value.
    pub fn headline(&self) -> (&'static str, f64) {
        match &self.metrics {
            Metrics::Classification(m) => ("accuracy", m.accuracy),
            Metrics::Regression(m) => ("r2", m.r2),
            Metrics::Ranking(m) => ("ndcg@10", m.ndcg),
        }
    }

    /// The task.
    pub fn task(&self) -> Task {
        match &self.metrics {
            Metrics::Classification(_) => Task::Classification,
            Metrics::Regression(_) | Metrics::Ranking(_) => Task::Regression,
        }
    }
}
