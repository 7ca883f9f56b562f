//! Lists of items for users: the same door as every prediction.

use std::cmp::Ordering;
use std::collections::HashMap;

use tesla_data::arrow::array::RecordBatch;
use tesla_data::{FittedInteractions, FittedPipeline};

use crate::device::to_host;
use crate::model::Mf;
use crate::{Error, Network, Predictor, Result};

/// Scores that are held at a time, about.
const SCORES: usize = 1 << 22;

/// The items that users have already, by user: their lists leave them out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen(HashMap<String, Vec<u32>>);

/// The list of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked<Item = String> {
    /// The user.
    pub user: String,
    /// Whether training saw the user. If not, the list is by popularity.
    pub known: bool,
    /// Items and their scores, best first: predicted ratings of `mf`, scores without a unit of `bpr`,
    /// and numbers of training rows where the user is unknown.
    pub items: Vec<(Item, f64)>,
}

impl Seen {
    /// Adds what another holds.
    pub fn extend(&mut self, other: Self) {
        for (user, items) in other.0 {
            let own = self.0.entry(user).or_default();
            own.extend(items);
            own.sort_unstable();
            own.dedup();
        }
    }

    /// Whether nothing was seen by anybody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, user: &str) -> &[u32] {
        self.0.get(user).map_or(&[], Vec::as_slice)
    }
}

impl Predictor {
    /// Reads who has what from rows with the columns of users and items, such as the ratings the model
    /// was trained on. Rows without one or the other, and items that the model does not know, say
    /// nothing.
    ///
    /// # Errors
    /// When the model knows no users and items, or a column is missing.
    pub fn seen(&self, rows: &RecordBatch) -> Result<Seen> {
        let side = self.side()?;
        let [_, items] = side.fitted.sides(side.pipeline)?;
        let column = |name: &str| {
            let names = rows.schema_ref().fields().iter();
            let values =
                rows.column_by_name(name)
                    .ok_or_else(|| tesla_data::Error::MissingColumn {
                        column: name.into(),
                        place: "the rows".into(),
                        valid: names.map(|field| field.name().clone()).collect(),
                    })?;
            self.bundle().contract.names(name, values)
        };
        let (user, item) = (column(&side.fitted.user)?, column(&side.fitted.item)?);
        let mut seen: HashMap<String, Vec<u32>> = HashMap::new();
        for (user, item) in std::iter::zip(&user, &item) {
            let id = item.map_or(0, |item| items.id(item));
            if let Some(user) = user.filter(|_| id > 0) {
                match seen.get_mut(user) {
                    Some(items) => items.push(id),
                    None => drop(seen.insert(user.into(), vec![id])),
                }
            }
        }
        for items in seen.values_mut() {
            items.sort_unstable();
            items.dedup();
        }
        Ok(Seen(seen))
    }

    /// Whether the model file holds what users have seen, so that their lists leave it out by
    /// themselves (`keep_seen` in `[data.interactions]`).
    pub fn keeps_seen(&self) -> bool {
        let fitted = self.bundle().pipeline.interactions.as_ref();
        fitted.is_some_and(|fitted| fitted.seen.is_some())
    }

    /// The best `n` items for each user, without those in `seen` and those that the model file itself
    /// says the user has. Fewer where fewer are left; of equal scores the first by name.
    ///
    /// # Errors
    /// When the model knows no users and items, or the device does not deliver the scores.
    pub fn recommend(&self, users: &[String], n: usize, seen: &Seen) -> Result<Vec<Ranked>> {
        let side = self.side()?;
        let [_, items] = side.fitted.sides(side.pipeline)?;
        let name = |id: u32| items.levels[id as usize - 1].clone();
        let named = |list: Ranked<u32>| Ranked {
            user: list.user,
            known: list.known,
            items: list.items.into_iter().map(|(id, score)| (name(id), score)).collect(),
        };
        Ok(self.rank(users, n, seen)?.into_iter().map(named).collect())
    }

    /// Like [`Predictor::recommend`], with items by their ids, which count from 1.
    ///
    /// # Errors
    /// As [`Predictor::recommend`].
    pub fn rank(&self, users: &[String], n: usize, seen: &Seen) -> Result<Vec<Ranked<u32>>> {
        let side = self.side()?;
        let [own, items] = side.fitted.sides(side.pipeline)?;
        // One more than the names: id 0 is no item, and a place for rare ones has no name.
        let count = items.levels.len() + 1;
        let ids: Vec<u32> = users.iter().map(|user| own.id(user)).collect();
        let kept = |id: u32| match &side.fitted.seen {
            Some(kept) => kept.get(id as usize).map_or(&[][..], Vec::as_slice),
            None => &[],
        };
        let mut lists: Vec<Ranked<u32>> = std::iter::zip(users, &ids)
            .map(|(user, id)| Ranked {
                user: user.clone(),
                known: *id > 0,
                items: Vec::new(),
            })
            .collect();
        let (known, unknown): (Vec<usize>, Vec<usize>) =
            (0..ids.len()).partition(|at| ids[*at] > 0);
        for at in unknown {
            lists[at].items = self.popular(&users[at], n, seen)?;
        }
        for part in known.chunks((SCORES / count).clamp(1, 1024)) {
            let wanted: Vec<u32> = part.iter().map(|at| ids[*at]).collect();
            let scores = side.network.scores(&wanted, side.user_at, self.device.burn());
            let width = scores.dims()[1];
            let scores = to_host(scores, "predictions")?;
            for (at, scores) in std::iter::zip(part, scores.chunks_exact(width)) {
                let skip = [seen.of(&users[*at]), kept(ids[*at])];
                // In the order of what the network says, which the range of ratings would make ties of.
                let mut items = best(scores, count, n, &skip);
                items.iter_mut().for_each(|(_, score)| *score = self.value(*score));
                lists[*at].items = items;
            }
        }
        Ok(lists)
    }

    /// The `n` items that most training rows have, without those in `seen` and those that the model file
    /// itself says the user has: what any user is shown without a model.
    ///
    /// # Errors
    /// When the model knows no users and items.
    pub fn popular(&self, user: &str, n: usize, seen: &Seen) -> Result<Vec<(u32, f64)>> {
        let side = self.side()?;
        let [own, items] = side.fitted.sides(side.pipeline)?;
        let kept = side.fitted.seen.as_ref();
        let kept = kept.and_then(|kept| kept.get(own.id(user) as usize));
        let skip = [seen.of(user), kept.map_or(&[][..], Vec::as_slice)];
        let counts: Vec<f32> = side.fitted.popularity.iter().map(|n| *n as f32).collect();
        Ok(best(&counts, items.levels.len() + 1, n, &skip))
    }

    /// The `n` items whose vectors point most nearly where that of `item` does, with the cosine of the
    /// angle, nearest first.
    ///
    /// # Errors
    /// When the model knows no such item.
    pub fn neighbours(&self, item: &str, n: usize) -> Result<Vec<(String, f64)>> {
        let side = self.side()?;
        let [_, items] = side.fitted.sides(side.pipeline)?;
        let all: Vec<u32> = (1..=items.levels.len() as u32).collect();
        self.nearest(item, &all, n)
    }

    /// Of the items `among`, such as those a user has, the `n` that are nearest to `item`: the reasons to
    /// recommend it. Items that the model does not know are none.
    ///
    /// # Errors
    /// As [`Predictor::neighbours`].
    pub fn reasons(&self, item: &str, among: &[String], n: usize) -> Result<Vec<(String, f64)>> {
        let side = self.side()?;
        let [_, items] = side.fitted.sides(side.pipeline)?;
        let known = among.iter().map(|item| items.id(item)).filter(|id| *id > 0);
        self.nearest(item, &known.collect::<Vec<_>>(), n)
    }

    fn nearest(&self, item: &str, among: &[u32], n: usize) -> Result<Vec<(String, f64)>> {
        let side = self.side()?;
        let [_, items] = side.fitted.sides(side.pipeline)?;
        let id = items.id(item);
        if id == 0 || id as usize > items.levels.len() {
            let near = tesla_data::nearest(item, &items.levels)
                .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            return Err(Error::Model(format!(
                "the model knows no item `{item}`{near}: expected one of the column `{}` that training saw",
                side.fitted.item
            )));
        }
        let directions = match self.directions.get() {
            Some(directions) => directions,
            None => {
                let [a, b] = side.network.factors()?.vectors;
                let vectors = if side.user_at == 0 { b } else { a };
                self.directions.get_or_init(|| unit(vectors, side.network.width()))
            }
        };
        let width = side.network.width();
        let vector = |id: u32| &directions[id as usize * width..][..width];
        let cosine = |other: u32| -> f64 {
            let pairs = std::iter::zip(vector(id), vector(other));
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let mut found: Vec<(u32, f64)> = among
            .iter()
            .filter(|other| **other != id && (**other as usize) <= items.levels.len())
            .map(|other| (*other, cosine(*other)))
            .collect();
        found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.dedup();
        found.truncate(n);
        let name = |id: u32| items.levels[id as usize - 1].clone();
        Ok(found.into_iter().map(|(id, cosine)| (name(id), cosine)).collect())
    }

    fn side(&self) -> Result<Side<'_>> {
        let pipeline = &self.bundle().pipeline;
        match (&self.network, &pipeline.interactions) {
            (Network::Mf(network), Some(fitted)) => {
                let first = pipeline.features.first().map(|f| f.name());
                Ok(Side {
                    network,
                    fitted,
                    pipeline,
                    user_at: usize::from(first != Some(&fitted.user)),
                })
            }
            _ => Err(Error::Model(format!(
                "the model `{}` ranks no items: expected one trained with `[data.interactions]` and `kind = \"bpr\"` or `\"mf\"`",
                self.bundle().model.kind()
            ))),
        }
    }
}

/// What a list is made of.
struct Side<'a> {
    network: &'a Mf,
    fitted: &'a FittedInteractions,
    pipeline: &'a FittedPipeline,
    /// The place of the user's id in a row.
    user_at: usize,
}

/// The `n` largest of `scores[1..count]` by place, largest first and of equals the first, without the
/// places in `skip`, which ascend in each list.
pub fn best(scores: &[f32], count: usize, n: usize, skip: &[&[u32]]) -> Vec<(u32, f64)> {
    let is_free = |id: &u32| skip.iter().all(|list| list.binary_search(id).is_err());
    let order = |a: &u32, b: &u32| -> Ordering {
        scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b))
    };
    let mut ids: Vec<u32> = (1..count.min(scores.len()) as u32).filter(is_free).collect();
    if n == 0 {
        return Vec::new();
    }
    if ids.len() > n {
        ids.select_nth_unstable_by(n - 1, order);
        ids.truncate(n);
    }
    ids.sort_unstable_by(order);
    ids.into_iter()
        .map(|id| (id, f64::from(scores[id as usize])))
        .collect()
}

/// Each vector with length 1; those without a direction stay 0.
fn unit(mut vectors: Vec<f32>, width: usize) -> Vec<f32> {
    for vector in vectors.chunks_exact_mut(width) {
        let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        if length > 0.0 {
            vector.iter_mut().for_each(|v| *v /= length);
        }
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_in_order_without_what_was_seen() {
        let scores = [9.0, 1.0, 5.0, 5.0, 7.0, 2.0];
        let found = |n, skip: &[&[u32]]| -> Vec<u32> {
            best(&scores, 6, n, skip).into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(found(3, &[]), [4, 2, 3]);
        assert_eq!(found(3, &[&[2], &[4, 5]]), [3, 1]);
        assert_eq!(found(0, &[]), [0; 0]);
        assert_eq!(found(99, &[]), [4, 2, 3, 5, 1]);
    }
}
