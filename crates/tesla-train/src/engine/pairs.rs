//! Bayesian personalised ranking: what a user has against what the user has not.

use burn::tensor::{Device, Tensor, activation};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tesla_core::{Batch, Network, best};
use tesla_data::interactions::items_of_users;
use tesla_data::{FittedInteractions, FittedPipeline, Samples};

use super::goal::{VALID_ROWS, read};
use crate::metrics::ranking::{Candidates, RankingSums};
use crate::{Error, Result};

/// The items of a list that count while training.
const TOP: usize = 10;
/// Draws before the next item that is free is taken.
const DRAWS: usize = 64;
/// Scores that are held at a time, about.
const SCORES: usize = 1 << 22;

/// Who has what, and how much is drawn against it.
pub(crate) struct Pairs {
    negatives: usize,
    /// The place of the user's id in a row.
    user_at: usize,
    /// Item ids are 1 to this.
    items: u32,
    /// The items of each user id in the training rows, ascending.
    own: Vec<Vec<u32>>,
    /// Users of the validation rows and their items there.
    valid: Vec<(u32, Vec<u32>)>,
}

impl Pairs {
    /// `train` and `valid` are positives.
    pub(crate) fn new(
        negatives: usize,
        fitted: &FittedInteractions,
        pipeline: &FittedPipeline,
        train: &Samples,
        valid: Option<&Samples>,
    ) -> Result<Self> {
        let [users, items] = fitted.sides(pipeline)?.map(|side| side.levels.len());
        if items < 2 {
            return Err(Error::Config(format!(
                "column `{}` has {items} item in the training rows: there is nothing to rank",
                fitted.item
            )));
        }
        let own = items_of_users(users + 2, &fitted.pairs(pipeline, train)?);
        let mut pairs = match valid {
            Some(valid) => fitted.pairs(pipeline, valid)?,
            None => Vec::new(),
        };
        // What training did not see cannot be ranked; the final figures count it.
        pairs.retain(|pair| pair.iter().all(|id| *id > 0));
        let valid = items_of_users(users + 2, &pairs).into_iter().enumerate();
        let first = pipeline.features.first().map(|feature| feature.name());
        Ok(Self {
            negatives,
            user_at: usize::from(first != Some(&fitted.user)),
            items: items as u32,
            own,
            valid: valid
                .filter(|(_, items)| !items.is_empty())
                .map(|(user, items)| (user as u32, items))
                .collect(),
        })
    }

    /// Rows `[rows, 2]` and behind them, `negatives` times, the same users with other items.
    pub(super) fn with_negatives(
        &self,
        mut values: Vec<f32>,
        rows: &[usize],
        seed: u64,
        epoch: u64,
    ) -> Vec<f32> {
        let (pairs, _) = values.as_chunks::<2>();
        let mut drawn = vec![0.0; self.negatives * values.len()];
        for (at, (pair, row)) in std::iter::zip(pairs, rows).enumerate() {
            let mut rng = generator(seed, epoch, *row as u64);
            let own = self
                .own
                .get(pair[self.user_at] as usize)
                .map_or(&[][..], Vec::as_slice);
            for turn in 0..self.negatives {
                let other = self.draw(own, pair[1 - self.user_at] as u32, &mut rng);
                let place = 2 * (turn * rows.len() + at);
                drawn[place + self.user_at] = pair[self.user_at];
                drawn[place + 1 - self.user_at] = other as f32;
            }
        }
        values.append(&mut drawn);
        values
    }

    /// An item that is none of `own`. A user who has all gets the positive itself, which cancels out.
    fn draw(&self, own: &[u32], positive: u32, rng: &mut ChaCha8Rng) -> u32 {
        let is_free = |item: &u32| *item != positive && own.binary_search(item).is_err();
        let mut item = positive;
        for _ in 0..DRAWS {
            item = rng.random_range(1..=self.items);
            if is_free(&item) {
                return item;
            }
        }
        let around = (item..=self.items).chain(1..item).find(is_free);
        around.unwrap_or(positive)
    }

    /// The mean loss of rows with their negatives behind them, shape `[1]`.
    pub(super) fn loss(&self, output: Tensor<2>) -> Tensor<1> {
        let [all, _] = output.dims();
        let rows = all / (1 + self.negatives);
        let positive = output.clone().narrow(0, 0, rows);
        let negative = output.narrow(0, rows, all - rows).reshape([self.negatives, rows]);
        let ahead = positive.transpose() - negative;
        activation::log_sigmoid(ahead).neg().mean()
    }

    /// The mean loss of the validation rows against items drawn once and for all, and NDCG of their
    /// users, of all items but those that the user has in the training rows.
    pub(super) fn evaluate(
        &self,
        network: &Network,
        samples: &Samples,
        device: &Device,
    ) -> Result<(f64, f64)> {
        let order: Vec<usize> = (0..samples.len).collect();
        let mut loss = 0.0;
        for rows in order.chunks(VALID_ROWS) {
            let values = self.with_negatives(samples.inputs.gather(rows)?, rows, 0, 0);
            let count = values.len() / 2;
            let scores = read(network.forward(Batch::new(values, count, &[2], device)))?;
            let (positive, negative) = scores.split_at(rows.len());
            for negative in negative.chunks(rows.len()) {
                let pairs = std::iter::zip(positive, negative);
                loss += pairs.map(|(a, b)| softplus(f64::from(b - a))).sum::<f64>();
            }
        }
        loss /= (samples.len * self.negatives).max(1) as f64;
        let Network::Mf(mf) = network else {
            unreachable!("`ModelConfig::build` makes factors of a model that ranks")
        };
        let items = self.items as usize;
        let mut sums = RankingSums::new(TOP, items + 1, Candidates::AllUnseen)?;
        for users in self.valid.chunks((SCORES / (items + 1)).clamp(1, 1024)) {
            let ids: Vec<u32> = users.iter().map(|(user, _)| *user).collect();
            let scores = mf.scores(&ids, self.user_at, device);
            let width = scores.dims()[1];
            let scores = read(scores)?;
            for ((user, relevant), scores) in std::iter::zip(users, scores.chunks_exact(width)) {
                let list = best(scores, items + 1, TOP, &[&self.own[*user as usize]]);
                let list: Vec<u32> = list.into_iter().map(|(item, _)| item).collect();
                sums.update(&list, relevant, None)?;
            }
        }
        let ndcg = if self.valid.is_empty() {
            0.0
        } else {
            sums.finish()?.ndcg
        };
        Ok((loss, ndcg))
    }
}

/// `ln(1 + e^x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The chance of one row in one epoch: seed, epoch and row are the generator's key.
fn generator(seed: u64, epoch: u64, row: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    // The last says what for: nobody else shares this chance.
    for (part, number) in key.chunks_exact_mut(8).zip([seed, epoch, row, 0x7061_6972]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(user_at: usize) -> Pairs {
        Pairs {
            negatives: 3,
            user_at,
            items: 5,
            own: vec![vec![], vec![1, 2, 4], vec![1, 2, 3, 4, 5], vec![2]],
            valid: Vec::new(),
        }
    }

    #[test]
    fn nothing_is_drawn_that_the_user_has_whatever_the_batch() {
        for user_at in [0, 1] {
            let pairs = pairs(user_at);
            let row = |user: f32, item: f32| match user_at {
                0 => [user, item],
                _ => [item, user],
            };
            let values = [row(1.0, 4.0), row(3.0, 2.0), row(2.0, 5.0)];
            for epoch in 1..40 {
                let all = pairs.with_negatives(values.concat(), &[0, 1, 2], 7, epoch);
                let (all, _) = all.as_chunks::<2>();
                assert_eq!((all.len(), &all[..3]), (12, &values[..]));
                for (at, drawn) in all.iter().enumerate().skip(3) {
                    let (user, item) = (drawn[user_at], drawn[1 - user_at] as u32);
                    assert_eq!(user, values[at % 3][user_at]);
                    match user as usize {
                        // Has everything: the positive itself.
                        2 => assert_eq!(item, 5),
                        user => assert!(!pairs.own[user].contains(&item) && item >= 1),
                    }
                }
                // A batch of its own draws the same.
                let alone = pairs.with_negatives(values[1].to_vec(), &[1], 7, epoch);
                let (alone, _) = alone.as_chunks::<2>();
                assert_eq!(alone[1..], [all[4], all[7], all[10]]);
            }
        }
    }

    #[test]
    fn the_loss_is_that_of_the_differences() {
        let device = tesla_core::Device::open(tesla_core::DeviceChoice::Flex).unwrap();
        let values = [2.0f32, -1.0, 0.5, 3.0, 0.0, -2.0, 1.0, 4.0];
        let output = Tensor::<1>::from_floats(values, device.burn()).reshape([8, 1]);
        let found: f32 = pairs(0).loss(output).try_into_scalar().unwrap();
        let ahead = [2.0 - 0.5, -1.0 - 3.0, 2.0, -1.0 + 2.0, 2.0 - 1.0, -1.0 - 4.0];
        let expected = ahead.iter().map(|x| softplus(-x)).sum::<f64>() / 6.0;
        assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
    }
}
