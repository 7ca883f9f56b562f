use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde_json::json;
use tesla_core::model::{Factors, Mf, MfConfig};
use tesla_core::{Device, Network};
use tesla_data::prepare::FittedTarget;
use tesla_data::{Inputs, Samples};

use crate::train::Fitted;
use crate::{Error, Event, Observer, Result};

/// The sum has settled once a pass lowers it by less than this share.
const SETTLED: f64 = 1e-4;

/// The ratings of one side's ids, each with the other side's id.
struct Ratings {
    /// Where the ratings of each id start, and the end.
    starts: Vec<usize>,
    others: Vec<u32>,
    values: Vec<f64>,
    /// What each weighs; `None` when all weigh the same.
    weights: Option<Vec<f64>>,
}

/// Vectors and numbers of one side, in full precision.
struct Side {
    vectors: Vec<f64>,
    levels: Vec<f64>,
}

/// Factorises the ratings by alternating least squares: with the items held, each user's vector and
/// number are a ridge regression of their own, and the other way round. Every id is solved from its own
/// ratings alone and in their order, so that threads change nothing. A rating that weighs 2 counts as two
/// that are alike, in the penalty too.
pub(super) fn solve(
    config: &MfConfig,
    first: &Mf,
    target: &FittedTarget,
    (train, weights): (&Samples, Option<&[f64]>),
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    let Inputs::Dense(ids) = &train.inputs else {
        return Err(Error::Config("`mf` learns from rows of a user and an item".into()));
    };
    let pairs: Vec<[u32; 2]> = ids.with(0..train.len, |ids| {
        let (pairs, _) = ids.as_chunks::<2>();
        pairs.iter().map(|pair| pair.map(|id| id as u32)).collect()
    })?;
    let values: Vec<f64> = train.target.values().unwrap_or_default().to_vec();
    let values: Vec<f64> = values.into_iter().map(|y| target.encode(y)).collect();
    let factors = first.factors()?;
    let width = first.width();
    let wide = |values: &Vec<f32>| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let mut sides = [0, 1].map(|at| Side {
        vectors: wide(&factors.vectors[at]),
        levels: wide(&factors.levels[at]),
    });
    let ratings =
        [0, 1].map(|at| Ratings::of(at, sides[at].levels.len(), &pairs, &values, weights));
    let whole = weights.map_or(values.len() as f64, |weights| weights.iter().sum());
    let (mut passes, mut sum) = (0, f64::INFINITY);
    let mut history = Vec::new();
    loop {
        let [users, items] = &mut sides;
        update(users, items, &ratings[0], width, config)?;
        update(items, users, &ratings[1], width, config)?;
        passes += 1;
        let now = objective(&sides, &ratings[0], width, config);
        history.push(now / whole);
        let settled = sum - now <= SETTLED * now;
        if settled || passes == config.passes {
            observer.event(Event::Solved {
                passes,
                converged: settled,
            });
            break;
        }
        sum = now;
        if observer.should_stop() {
            return Err(Error::Interrupted {
                epoch: passes,
                step: 0,
                saved: false,
            });
        }
    }
    let narrow = |values: &Vec<f64>| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    let [users, items] = &sides;
    let found = Factors {
        vectors: [narrow(&users.vectors), narrow(&items.vectors)],
        levels: [narrow(&users.levels), narrow(&items.levels)],
    };
    Ok(Fitted {
        network: Network::Mf(first.clone().with_factors(found, device.burn())),
        first_loss: None,
        history: json!({ "passes": passes, "loss": history }),
    })
}

impl Ratings {
    fn of(
        side: usize,
        ids: usize,
        pairs: &[[u32; 2]],
        values: &[f64],
        weights: Option<&[f64]>,
    ) -> Self {
        let mut starts = vec![0; ids + 1];
        pairs.iter().for_each(|pair| starts[pair[side] as usize + 1] += 1);
        for id in 0..ids {
            starts[id + 1] += starts[id];
        }
        let mut next = starts.clone();
        let mut others = vec![0; pairs.len()];
        let mut sorted = vec![0.0; pairs.len()];
        let mut sorted_weights = weights.map(|weights| vec![0.0; weights.len()]);
        for (row, (pair, value)) in std::iter::zip(pairs, values).enumerate() {
            let at = &mut next[pair[side] as usize];
            (others[*at], sorted[*at]) = (pair[1 - side], *value);
            if let (Some(sorted), Some(weights)) = (&mut sorted_weights, weights) {
                sorted[*at] = weights[row];
            }
            *at += 1;
        }
        Self {
            starts,
            others,
            values: sorted,
            weights: sorted_weights,
        }
    }

    /// The ratings of an id: the other id, the value and the weight of each.
    fn of_id(&self, id: usize) -> impl Iterator<Item = (usize, f64, f64)> {
        (self.starts[id]..self.starts[id + 1]).map(|at| {
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[at]);
            (self.others[at] as usize, self.values[at], weight)
        })
    }

    /// What the ratings of an id weigh together.
    fn weight(&self, id: usize) -> f64 {
        let range = self.starts[id]..self.starts[id + 1];
        match &self.weights {
            Some(weights) => weights[range].iter().sum(),
            None => range.len() as f64,
        }
    }
}

/// Solves every id of `own` while `other` is held. Ids without ratings, as that of what training did not
/// see, are 0.
fn update(
    own: &mut Side,
    other: &Side,
    ratings: &Ratings,
    width: usize,
    config: &MfConfig,
) -> Result<()> {
    let vectors = own.vectors.par_chunks_mut(width);
    let ids = vectors.zip(own.levels.par_iter_mut()).enumerate();
    let solved = ids.map(|(id, (vector, level))| {
        let weight = ratings.weight(id);
        if id == 0 || weight == 0.0 {
            vector.fill(0.0);
            *level = 0.0;
            return true;
        }
        // The last place stands for the number: its feature is 1.
        let mut gram = DMatrix::<f64>::zeros(width + 1, width + 1);
        let mut moment = DVector::<f64>::zeros(width + 1);
        let mut x = DVector::<f64>::from_element(width + 1, 1.0);
        for (at, value, weight) in ratings.of_id(id) {
            let features = &other.vectors[at * width..][..width];
            x.rows_mut(0, width).copy_from_slice(features);
            gram.syger(weight, &x, &x, 1.0);
            moment.axpy(weight * (value - other.levels[at]), &x, 1.0);
        }
        for place in 0..=width {
            let l2 = if place < width {
                config.l2
            } else {
                config.l2_bias
            };
            gram[(place, place)] += l2 * weight;
        }
        let Some(cholesky) = gram.cholesky() else {
            return false;
        };
        let solution = cholesky.solve(&moment);
        vector.copy_from_slice(&solution.as_slice()[..width]);
        *level = solution[width];
        true
    });
    match solved.all(|solved| solved) {
        true => Ok(()),
        false => Err(Error::Config(
            "the ratings do not determine the factors: raise `l2` and `l2_bias` in `[model]`, such as to 0.1 and 0.02".into(),
        )),
    }
}

/// What is minimised; summed id by id, so that it has one order.
fn objective(
    [users, items]: &[Side; 2],
    ratings: &Ratings,
    width: usize,
    config: &MfConfig,
) -> f64 {
    let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let vector =
        |side: &Side, id: usize| -> Vec<f64> { side.vectors[id * width..][..width].to_vec() };
    let of_user = |id: usize| -> f64 {
        let own = vector(users, id);
        let level = users.levels[id];
        let rows = ratings.of_id(id).map(|(item, value, weight)| {
            let other = &items.vectors[item * width..][..width];
            let product: f64 = std::iter::zip(&own, other).map(|(a, b)| a * b).sum();
            let error = value - product - level - items.levels[item];
            let levels = level * level + items.levels[item] * items.levels[item];
            let penalty = config.l2 * (square(&own) + square(other)) + config.l2_bias * levels;
            weight * (error * error + penalty)
        });
        rows.sum()
    };
    let sums: Vec<f64> = (0..users.levels.len()).into_par_iter().map(of_user).collect();
    sums.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tesla_core::{DeviceChoice, ModelConfig, Signature};
    use tesla_data::samples::Floats;
    use tesla_data::{Target, Task};

    use super::*;

    /// Ratings `[user, item, rating]` of 6 users and 5 items that follow no model exactly.
    fn ratings() -> Vec<(u32, u32, f64)> {
        let all = (1..=6u32).flat_map(|user| (1..=5u32).map(move |item| (user, item)));
        all.filter(|(user, item)| (user * 3 + item * 7) % 4 != 0)
            .map(|(user, item)| (user, item, f64::from((user * item * item + 3 * user) % 7)))
            .collect()
    }

    fn fit(config: &MfConfig) -> (Factors, Vec<f64>) {
        fit_weighted(config, &ratings(), None)
    }

    fn fit_weighted(
        config: &MfConfig,
        rows: &[(u32, u32, f64)],
        weights: Option<&[f64]>,
    ) -> (Factors, Vec<f64>) {
        let ids = rows.iter().flat_map(|(user, item, _)| [*user as f32, *item as f32]);
        let train = Samples {
            len: rows.len(),
            inputs: Inputs::Dense(Floats::new(2, ids.collect())),
            target: Target::Values(rows.iter().map(|row| row.2).collect()),
        };
        let target = FittedTarget::Value {
            name: "r".into(),
            mean: 3.0,
            scale: 2.0,
            log: false,
        };
        let signature = Signature {
            input: vec![2],
            outputs: 1,
            task: Task::Regression,
            ids: vec![(0, 8), (1, 6)],
            vocabulary: 0,
        };
        let device = Device::open(DeviceChoice::Flex).unwrap();
        let network = ModelConfig::Mf(config.clone()).init(&signature, 3, &device).unwrap();
        let Network::Mf(first) = network else {
            panic!("factors")
        };
        let rows = (&train, weights);
        let fitted = solve(config, &first, &target, rows, &device, &mut crate::Silent).unwrap();
        let losses = fitted.history["loss"].as_array().unwrap().iter();
        let losses = losses.map(|loss| loss.as_f64().unwrap()).collect();
        let Network::Mf(network) = fitted.network else {
            panic!("factors")
        };
        (network.factors().unwrap(), losses)
    }

    #[test]
    fn each_pass_lowers_the_sum_and_the_last_leaves_items_at_their_optimum() {
        let config = MfConfig {
            factors: 3,
            l2: 0.05,
            l2_bias: 0.01,
            ..Default::default()
        };
        let (found, losses) = fit(&config);
        assert!(losses.len() > 2 && losses.windows(2).all(|pair| pair[1] <= pair[0]), "{losses:?}");
        let vector = |side: usize, id: u32| &found.vectors[side][id as usize * 3..][..3];
        for item in 1..=5 {
            // The gradient by the item's vector and number is 0.
            let mut gradient = [0.0; 4];
            for (user, _, rating) in ratings().into_iter().filter(|row| row.1 == item) {
                let (p, q) = (vector(0, user), vector(1, item));
                let levels = [found.levels[0][user as usize], found.levels[1][item as usize]];
                let product: f32 = std::iter::zip(p, q).map(|(a, b)| a * b).sum();
                let error = (rating - 3.0) / 2.0 - f64::from(product + levels[0] + levels[1]);
                for (place, sum) in gradient.iter_mut().enumerate() {
                    let (x, w, l2) = match place {
                        3 => (1.0, levels[1], config.l2_bias),
                        _ => (p[place], q[place], config.l2),
                    };
                    *sum += l2 * f64::from(w) - error * f64::from(x);
                }
            }
            assert!(gradient.iter().all(|g| g.abs() < 1e-5), "item {item}: {gradient:?}");
        }
        // Nobody rated with these ids.
        assert!(vector(0, 0).iter().chain(vector(0, 7)).all(|v| *v == 0.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_rating_that_weighs_two_counts_twice(times in vec(0usize..4, 23)) {
            let rows = ratings();
            prop_assume!(times.iter().sum::<usize>() > 8);
            let weights: Vec<f64> = times.iter().map(|times| *times as f64).collect();
            let repeated: Vec<_> = std::iter::zip(&rows, &times)
                .flat_map(|(row, times)| vec![*row; *times])
                .collect();
            let config = MfConfig { factors: 3, l2: 0.1, l2_bias: 0.05, passes: 4, ..Default::default() };
            let (weighted, losses) = fit_weighted(&config, &rows, Some(&weights));
            let (expected, expected_losses) = fit_weighted(&config, &repeated, None);
            let all = |factors: Factors| [factors.vectors.concat(), factors.levels.concat()].concat();
            for (a, b) in std::iter::zip(all(weighted), all(expected)) {
                prop_assert!((a - b).abs() < 1e-5, "{a} is not {b}");
            }
            for (a, b) in std::iter::zip(losses, expected_losses) {
                prop_assert!((a - b).abs() < 1e-9, "{a} is not {b}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_makes_no_difference() {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit(&MfConfig::default()).0.vectors)
        };
        assert_eq!(on(1), on(4));
    }
}
