use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mlp::check_widths;
use crate::Result;

/// Matrix factorisation (Koren et al. 2009): a rating is the product of a user's and an item's vector
/// and a number of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MfConfig {
    /// Numbers in each vector.
    pub factors: usize,
}

impl Default for MfConfig {
    fn default() -> Self {
        Self { factors: 32 }
    }
}

/// Matrix factorisation with weights. Id 0 is a user or item that training did not see: its vector is
/// never learned and its number stays near 0, so that the other side decides.
#[derive(Module, Debug)]
pub struct Mf {
    users: Embedding,
    items: Embedding,
    user_levels: Embedding,
    item_levels: Embedding,
}

impl MfConfig {
    pub(super) fn init(&self, [users, items]: [usize; 2], device: &Device) -> Result<Mf> {
        check_widths("factors", &[self.factors])?;
        let table = |ids, width| EmbeddingConfig::new(ids, width).init(device);
        Ok(Mf {
            users: table(users, self.factors),
            items: table(items, self.factors),
            user_levels: table(users, 1),
            item_levels: table(items, 1),
        })
    }
}

impl Mf {
    /// # Shapes
    /// - input: `[rows, 2]` ids of a user and an item
    /// - output: `[rows, 1]`
    pub fn forward(&self, ids: Tensor<2>) -> Tensor<2> {
        let known = ids.clone().greater_elem(0.5).float();
        let side = |at: usize, vectors: &Embedding, levels: &Embedding| -> (Tensor<2>, Tensor<2>) {
            let own = ids.clone().narrow(1, at, 1).int();
            let known = known.clone().narrow(1, at, 1);
            let vector: Tensor<2> = vectors.forward(own.clone()).squeeze_dim(1);
            let level: Tensor<2> = levels.forward(own).squeeze_dim(1);
            (vector * known.clone(), level * known)
        };
        let (user, user_level) = side(0, &self.users, &self.user_levels);
        let (item, item_level) = side(1, &self.items, &self.item_levels);
        (user * item).sum_dim(1) + user_level + item_level
    }
}
