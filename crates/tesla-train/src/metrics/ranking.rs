//! Figures of ranked lists, one per user or query.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::sum::{Exact, Tally};
use super::{MetricError, Result, check_finite, check_length, invalid, share, undefined};

/// Which items a list was ranked from. Figures of different protocols cannot be compared: ranking
/// against a sample makes every model look better, and not by the same amount (Krichene & Rendle
/// 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidates {
    /// All items of the catalogue that the user has not seen in training.
    AllUnseen,
    /// The relevant items and this many others, drawn at random.
    Sampled {
        /// The items drawn per user.
        negatives: usize,
        /// The seed of the draw.
        seed: u64,
    },
}

/// Sums over ranked lists, user by user.
pub struct RankingSums {
    k: usize,
    catalogue: usize,
    candidates: Candidates,
    users: usize,
    without_relevant: usize,
    weight: Tally,
    precision: Exact,
    recall: Exact,
    hits: Exact,
    average_precision: Exact,
    reciprocal_rank: Exact,
    ndcg: Exact,
    recommended: HashSet<u32>,
}

/// The figures of ranked lists, each a mean over the users with a relevant item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankingFigures {
    /// How many items of a list count.
    pub k: usize,
    /// What the lists were ranked from.
    pub candidates: Candidates,
    /// The users, with the next.
    pub users: usize,
    /// The users without a relevant item: they are in no mean.
    pub users_without_relevant: usize,
    /// Relevant items among the first k, divided by k.
    pub precision: f64,
    /// Relevant items among the first k, divided by the relevant items.
    pub recall: f64,
    /// 1 where a relevant item is among the first k, else 0.
    pub hit_rate: f64,
    /// The sum of precision at the place of each relevant item among the first k, divided by the
    /// smaller of k and the number of relevant items.
    pub map: f64,
    /// 1 divided by the place of the first relevant item, 0 where it is not among the first k.
    pub mrr: f64,
    /// `DCG / ideal DCG`, with `DCG = Σ gain / log2(place + 1)` over the first k (Järvelin &
    /// Kekäläinen 2002). The gain is the grade itself, as in scikit-learn.
    pub ndcg: f64,
    /// The share of the catalogue that is among the first k of at least one user, of all users.
    pub coverage: f64,
}

impl RankingSums {
    /// No user yet. The items are `0..catalogue`, and the first `k` of each list count.
    ///
    /// # Errors
    /// When `k` is 0.
    pub fn new(k: usize, catalogue: usize, candidates: Candidates) -> Result<Self> {
        if k == 0 {
            return invalid("k is 0: give at least 1");
        }
        Ok(Self {
            k,
            catalogue,
            candidates,
            users: 0,
            without_relevant: 0,
            weight: Tally::default(),
            precision: Exact::default(),
            recall: Exact::default(),
            hits: Exact::default(),
            average_precision: Exact::default(),
            reciprocal_rank: Exact::default(),
            ndcg: Exact::default(),
            recommended: HashSet::new(),
        })
    }

    /// Adds a user: the items of the list, best first, and the relevant ones. A list shorter than k
    /// is as if filled with items that are not relevant.
    ///
    /// # Errors
    /// When an item is not in the catalogue, is twice in the list or among the relevant ones, or
    /// the weight is out of range.
    pub fn update(&mut self, ranked: &[u32], relevant: &[u32], weight: Option<f64>) -> Result<()> {
        let graded: Vec<(u32, f64)> = relevant.iter().map(|item| (*item, 1.0)).collect();
        self.update_graded(ranked, &graded, weight)
    }

    /// Adds a user with graded relevance; an item of grade 0 is not relevant.
    ///
    /// # Errors
    /// As [`update`](Self::update), and when a grade is negative or not finite.
    pub fn update_graded(
        &mut self,
        ranked: &[u32],
        relevant: &[(u32, f64)],
        weight: Option<f64>,
    ) -> Result<()> {
        let user = self.users;
        self.check(user, ranked.iter().copied(), "list")?;
        self.check(user, relevant.iter().map(|(item, _)| *item), "relevant items")?;
        if let Some((item, grade)) = relevant.iter().find(|(_, g)| !(g.is_finite() && *g >= 0.0)) {
            return invalid(format!(
                "the grade of item {item} for user {user} is {grade}: give a finite number that is not negative"
            ));
        }
        let w = weight.unwrap_or(1.0);
        if !(w.is_finite() && w >= 0.0) {
            return invalid(format!(
                "the weight of user {user} is {w}: give a finite number that is not negative"
            ));
        }
        self.users += 1;
        let first = &ranked[..ranked.len().min(self.k)];
        self.recommended.extend(first);
        let mut ideal: Vec<f64> = relevant
            .iter()
            .map(|(_, grade)| *grade)
            .filter(|grade| *grade > 0.0)
            .collect();
        if ideal.is_empty() {
            self.without_relevant += 1;
            return Ok(());
        }
        ideal.sort_unstable_by(|a, b| b.total_cmp(a));
        let gains: Vec<f64> = first
            .iter()
            .map(|item| {
                relevant
                    .iter()
                    .find(|(r, _)| r == item)
                    .map_or(0.0, |(_, grade)| *grade)
            })
            .collect();
        let hits = gains.iter().filter(|gain| **gain > 0.0).count() as f64;
        let mut found = 0.0;
        let precisions = gains
            .iter()
            .enumerate()
            .filter(|(_, gain)| **gain > 0.0)
            .map(|(i, _)| {
                found += 1.0;
                found / (i + 1) as f64
            });
        let precisions: f64 = precisions.sum();
        let rank = gains.iter().position(|gain| *gain > 0.0);
        self.weight.add(weight);
        self.precision.add(w * hits / self.k as f64);
        self.recall.add(w * hits / ideal.len() as f64);
        self.hits.add(if hits > 0.0 { w } else { 0.0 });
        self.average_precision
            .add(w * precisions / ideal.len().min(self.k) as f64);
        self.reciprocal_rank.add(rank.map_or(0.0, |i| w / (i + 1) as f64));
        self.ndcg
            .add(w * dcg(&gains) / dcg(&ideal[..ideal.len().min(self.k)]));
        Ok(())
    }

    fn check(&self, user: usize, items: impl Iterator<Item = u32>, place: &str) -> Result<()> {
        let mut seen = HashSet::new();
        for item in items {
            if item as usize >= self.catalogue {
                return invalid(format!(
                    "item {item} in the {place} of user {user} is not in the catalogue: items are below {}",
                    self.catalogue
                ));
            }
            if !seen.insert(item) {
                return invalid(format!(
                    "item {item} is twice in the {place} of user {user}: give it once"
                ));
            }
        }
        Ok(())
    }

    /// Adds the users of another.
    ///
    /// # Errors
    /// When `k`, the catalogue or the protocol differ.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let own = (self.k, self.catalogue, self.candidates);
        if own != (other.k, other.catalogue, other.candidates) {
            return invalid(
                "ranked lists of a different k, catalogue or candidate protocol are not comparable",
            );
        }
        self.users += other.users;
        self.without_relevant += other.without_relevant;
        self.weight.merge(other.weight);
        self.precision.merge(other.precision);
        self.recall.merge(other.recall);
        self.hits.merge(other.hits);
        self.average_precision.merge(other.average_precision);
        self.reciprocal_rank.merge(other.reciprocal_rank);
        self.ndcg.merge(other.ndcg);
        self.recommended.extend(other.recommended);
        Ok(())
    }

    /// The figures.
    ///
    /// # Errors
    /// When no user of a weight above 0 has a relevant item.
    pub fn finish(self) -> Result<RankingFigures> {
        let weight = self.weight.value();
        if weight <= 0.0 {
            return undefined(
                "the ranking figures are undefined: no user of a weight above 0 has a relevant item",
            );
        }
        Ok(RankingFigures {
            k: self.k,
            candidates: self.candidates,
            users: self.users,
            users_without_relevant: self.without_relevant,
            precision: self.precision.value() / weight,
            recall: self.recall.value() / weight,
            hit_rate: self.hits.value() / weight,
            map: self.average_precision.value() / weight,
            mrr: self.reciprocal_rank.value() / weight,
            ndcg: self.ndcg.value() / weight,
            coverage: share("coverage", self.recommended.len() as f64, self.catalogue as f64)?,
        })
    }
}

fn discount(place: usize) -> f64 {
    1.0 / ((place + 2) as f64).log2()
}

fn dcg(gains: &[f64]) -> f64 {
    gains.iter().enumerate().map(|(i, gain)| gain * discount(i)).sum()
}

/// NDCG at k of one query whose items all have a grade and a score. Items that tie in score share
/// the mean of their gains, as in scikit-learn: the figure is the mean over all orders of the ties
/// (McSherry & Najork 2008).
///
/// # Errors
/// When lengths differ, a number is not finite, a grade is negative, `k` is 0, or no grade is above
/// 0, where scikit-learn says 0.
pub fn ndcg_at(k: usize, grades: &[f64], scores: &[f64]) -> Result<f64> {
    if k == 0 {
        return invalid("k is 0: give at least 1");
    }
    check_length("scores", scores.len(), grades.len())?;
    check_finite("grade", grades, 0)?;
    check_finite("score", scores, 0)?;
    if let Some(item) = grades.iter().position(|grade| *grade < 0.0) {
        return Err(MetricError::Invalid(format!(
            "the grade of row {item} is {}: give a number that is not negative",
            grades[item]
        )));
    }
    let mut ideal = grades.to_vec();
    ideal.sort_unstable_by(|a, b| b.total_cmp(a));
    let whole = dcg(&ideal[..k.min(ideal.len())]);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Within a tie by grade, so that the sum does not depend on the order of the items.
    order.sort_unstable_by(|a, b| {
        let by_score = (scores[*b] + 0.0).total_cmp(&(scores[*a] + 0.0));
        by_score.then(grades[*b].total_cmp(&grades[*a]))
    });
    let (mut sum, mut place) = (0.0, 0);
    for tie in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let gain = tie.iter().map(|i| grades[*i]).sum::<f64>() / tie.len() as f64;
        sum += gain * (place..(place + tie.len()).min(k)).map(discount).sum::<f64>();
        place += tie.len();
    }
    match whole > 0.0 {
        true => Ok(sum / whole),
        false => undefined("NDCG is undefined: no grade is above 0"),
    }
}
