//! Models that rank: lists of items for users, held against what the users chose.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tesla_core::{Predictor, Ranked, Seen};
use tesla_data::Selection;
use tesla_data::arrow::array::{AsArray, RecordBatch, StringArray};
use tesla_data::contract::Need;

use super::{Baseline, Curves, InteractionFigures, Intervals, Metrics, Report};
use crate::metrics::Undefined;
use crate::metrics::ranking::{Candidates, RankingSums};
use crate::{Error, Result};

/// The items of a list that count.
const TOP: usize = 10;

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
pub(super) fn rank_rows(
    predictor: &Predictor,
    rows: &Selection<'_>,
    seen: &Seen,
) -> Result<Report> {
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
    let popularity = Metrics::Ranking(popular.finish()?);
    let figures = popularity.figures().into_iter();
    let figures = figures
        .filter_map(|(name, value)| Some((name.to_string(), value?)))
        .collect();
    Ok(Report {
        rows: count,
        weight: None,
        threshold: None,
        metrics: Metrics::Ranking(sums.finish()?),
        undefined: Undefined::default(),
        intervals: Intervals::default(),
        baselines: vec![Baseline {
            name: "popularity".into(),
            fitted_on: None,
            figures,
        }],
        curves: Curves::default(),
        slices: Vec::new(),
        worst: Vec::new(),
        interactions: Some(cold.finish()),
    })
}

/// Users and items that training did not see.
#[derive(Default)]
pub(super) struct Cold {
    users: HashSet<String>,
    items: HashSet<String>,
    rows: usize,
}

impl Cold {
    /// Adds rows that conform.
    pub(super) fn add(&mut self, predictor: &Predictor, rows: &RecordBatch) -> Result<()> {
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

    pub(super) fn finish(self) -> InteractionFigures {
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
