use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mlp::check_widths;
use crate::device::to_host;
use crate::{Error, Result};

/// Matrix factorisation (Koren et al. 2009): a rating is the product of a user's and an item's vector
/// and a number of each. Minimises, over the ratings and in units of their standard deviation,
/// `Σ (r - p'q - b - c)² + l2 (|p|² + |q|²) + l2_bias (b² + c²)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MfConfig {
    /// Numbers in each vector.
    pub factors: usize,
    /// How the weights are found.
    pub solver: MfSolver,
    /// The penalty of vectors, once for each rating.
    pub l2: f64,
    /// The penalty of the numbers of users and items, once for each rating.
    pub l2_bias: f64,
    /// `als`: the most passes over the ratings.
    pub passes: usize,
}

impl Default for MfConfig {
    fn default() -> Self {
        Self {
            factors: 32,
            solver: MfSolver::default(),
            l2: 0.1,
            l2_bias: 0.02,
            passes: 100,
        }
    }
}

/// How a matrix is factorised. Both minimise the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MfSolver {
    /// Alternating least squares (Zhou et al. 2008), in 64-bit floats: all users exactly, then all
    /// items, until the sum hardly falls.
    #[default]
    Als,
    /// By mini-batches like every other network, with the settings of `[train]`.
    MiniBatch,
}

/// Bayesian personalised ranking (Rendle et al. 2009): items that a user has score above items drawn
/// by chance. Minimises the mean of `-ln sigmoid(score of the one - score of the other)`, and `l2`
/// times the mean of the squares of the weights that a pair of user and item looks up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BprConfig {
    /// Numbers in each vector.
    pub factors: usize,
    /// The penalty of the weights.
    pub l2: f64,
    /// Items drawn against each row in each epoch, none of them one of the user's.
    pub negatives: usize,
}

impl Default for BprConfig {
    fn default() -> Self {
        Self {
            factors: 64,
            l2: 0.01,
            negatives: 4,
        }
    }
}

/// Vectors and numbers of users and items. Id 0 is a user or item that training did not see: its
/// vector is never learned and its number stays near 0, so that the other side decides.
///
/// What is called users here is the first of the two columns.
#[derive(Module, Debug)]
pub struct Mf {
    users: Embedding,
    items: Embedding,
    user_levels: Embedding,
    item_levels: Embedding,
}

/// What some rows look up on one side: vectors and numbers.
type Side = (Tensor<2>, Tensor<2>);

/// Vectors, `[ids, factors]` row-major, and numbers of both sides, ids from 0.
pub struct Factors {
    /// The vectors of each side.
    pub vectors: [Vec<f32>; 2],
    /// The numbers of each side.
    pub levels: [Vec<f32>; 2],
}

impl MfConfig {
    pub(super) fn init(&self, ids: [usize; 2], device: &Device) -> Result<Mf> {
        check_penalty("l2", self.l2)?;
        check_penalty("l2_bias", self.l2_bias)?;
        if self.passes == 0 {
            return Err(Error::Model("`model.passes` is 0: expected at least 1".into()));
        }
        Mf::init(self.factors, ids, device)
    }
}

impl BprConfig {
    pub(super) fn init(&self, ids: [usize; 2], device: &Device) -> Result<Mf> {
        check_penalty("l2", self.l2)?;
        if !(1..=1000).contains(&self.negatives) {
            return Err(Error::Model(format!(
                "`model.negatives` is {}: expected 1 to 1000",
                self.negatives
            )));
        }
        Mf::init(self.factors, ids, device)
    }
}

fn check_penalty(key: &str, value: f64) -> Result<()> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(Error::Model(format!("`model.{key}` is {value}: expected 0 or more"))),
    }
}

impl Mf {
    fn init(factors: usize, [users, items]: [usize; 2], device: &Device) -> Result<Self> {
        check_widths("factors", &[factors])?;
        let table = |ids, width| EmbeddingConfig::new(ids, width).init(device);
        Ok(Self {
            users: table(users, factors),
            items: table(items, factors),
            user_levels: table(users, 1),
            item_levels: table(items, 1),
        })
    }

    /// # Shapes
    /// - input: `[rows, 2]` ids of a user and an item
    /// - output: `[rows, 1]`
    pub fn forward(&self, ids: Tensor<2>) -> Tensor<2> {
        score(self.look_up(ids))
    }

    /// Like [`Mf::forward`], and for each row the penalty of the weights that it looks up, where
    /// vectors weigh `l2` and numbers `l2_bias`.
    pub fn forward_with_penalty(
        &self,
        ids: Tensor<2>,
        [l2, l2_bias]: [f64; 2],
    ) -> (Tensor<2>, Tensor<2>) {
        let sides = self.look_up(ids);
        let square = |t: &Tensor<2>| (t.clone() * t.clone()).sum_dim(1);
        let [(user, user_level), (item, item_level)] = &sides;
        let vectors = (square(user) + square(item)).mul_scalar(l2);
        let levels = (square(user_level) + square(item_level)).mul_scalar(l2_bias);
        (score(sides), vectors + levels)
    }

    fn look_up(&self, ids: Tensor<2>) -> [Side; 2] {
        let known = ids.clone().greater_elem(0.5).float();
        let side = |at: usize, vectors: &Embedding, levels: &Embedding| -> Side {
            let own = ids.clone().narrow(1, at, 1).int();
            let known = known.clone().narrow(1, at, 1);
            let vector: Tensor<2> = vectors.forward(own.clone()).squeeze_dim(1);
            let level: Tensor<2> = levels.forward(own).squeeze_dim(1);
            (vector * known.clone(), level * known)
        };
        [side(0, &self.users, &self.user_levels), side(1, &self.items, &self.item_levels)]
    }

    /// The scores of some ids of one side with all ids of the other: `side` is 0 where `ids` are of the
    /// first column. The scores with id 0 mean nothing.
    ///
    /// # Shapes
    /// - input: ids above 0
    /// - output: `[ids, ids of the other side]`
    pub fn scores(&self, ids: &[u32], side: usize, device: &Device) -> Tensor<2> {
        let (own, own_levels, other, other_levels) = match side {
            0 => (&self.users, &self.user_levels, &self.items, &self.item_levels),
            _ => (&self.items, &self.item_levels, &self.users, &self.user_levels),
        };
        let values: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
        let values: Tensor<2> = Tensor::from_data(TensorData::new(values, [ids.len(), 1]), device);
        let values = values.int();
        let vector: Tensor<2> = own.forward(values.clone()).squeeze_dim(1);
        let level: Tensor<2> = own_levels.forward(values).squeeze_dim(1);
        let products = vector.matmul(other.weight.val().transpose());
        products + other_levels.weight.val().transpose() + level
    }

    /// Numbers in each vector.
    pub fn width(&self) -> usize {
        self.users.weight.val().dims()[1]
    }

    /// The weights on the host.
    ///
    /// # Errors
    /// When the device does not deliver them.
    pub fn factors(&self) -> Result<Factors> {
        let read = |table: &Embedding| to_host(table.weight.val(), "weights");
        Ok(Factors {
            vectors: [read(&self.users)?, read(&self.items)?],
            levels: [read(&self.user_levels)?, read(&self.item_levels)?],
        })
    }

    /// The same model with other weights, as [`Mf::factors`] gives them.
    pub fn with_factors(mut self, factors: Factors, device: &Device) -> Self {
        let [users, items] = factors.vectors;
        let [user_levels, item_levels] = factors.levels;
        for (table, values) in [
            (&mut self.users, users),
            (&mut self.items, items),
            (&mut self.user_levels, user_levels),
            (&mut self.item_levels, item_levels),
        ] {
            let shape = table.weight.val().dims();
            let data = TensorData::new(values, shape);
            table.weight = table.weight.clone().map(|_| Tensor::from_data(data, device));
        }
        self
    }
}

fn score([(user, user_level), (item, item_level)]: [Side; 2]) -> Tensor<2> {
    (user * item).sum_dim(1) + user_level + item_level
}
