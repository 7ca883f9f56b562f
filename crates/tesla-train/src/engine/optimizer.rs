//! Optimisers: what turns gradients into steps.
//!
//! Burn's own keep their state in records and clip each tensor for itself. A run here is resumed to
//! the bit, clips by the norm of all gradients together and decays matrices only, so the rules are
//! written out; each is a few lines.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients as Recorded, Tensor};
use tesla_core::{Network, ops};

use crate::{Optimizer as Rule, TrainConfig};

/// The gradients of all weights, flat, in the order of the network's weights. `None` for what
/// has none, such as running statistics.
pub(super) struct Gradients(pub(super) Vec<Option<Tensor<1>>>);

impl Gradients {
    pub(super) fn of(network: &Network, mut recorded: Recorded) -> Self {
        let mut found = Collect {
            recorded: &mut recorded,
            found: Vec::new(),
        };
        network.visit(&mut found);
        Self(found.found)
    }

    /// The sum of both, for several batches in one step.
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = |(a, b): (Option<Tensor<1>>, Option<Tensor<1>>)| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Self(std::iter::zip(self.0, other.0).map(sum).collect())
    }

    /// Scales all gradients so that their norm, taken together, is at most `most`.
    pub(super) fn clip(self, most: f64) -> Self {
        let squares = self.0.iter().flatten().map(|g| (g.clone() * g.clone()).sum());
        let Some(sum) = squares.reduce(|a, b| a + b) else {
            return self;
        };
        // As PyTorch's `clip_grad_norm_`: never scaled up.
        let scale = (sum.sqrt() + 1e-6).recip().mul_scalar(most).clamp_max(1.0);
        let clip = |g: Tensor<1>| {
            let n = g.dims();
            g * scale.clone().expand(n)
        };
        Self(self.0.into_iter().map(|g| g.map(clip)).collect())
    }
}

struct Collect<'a> {
    recorded: &'a mut Recorded,
    found: Vec<Option<Tensor<1>>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(self.recorded);
        self.found.push(gradient.map(|g| g.reshape([-1])));
    }
}

/// An optimiser with its state.
pub(super) struct Optimizer {
    rule: Rule,
    decay: f64,
    momentum: f64,
    /// Steps done.
    pub(super) steps: u64,
    /// What the rule remembers of each weight, by the weight's path.
    pub(super) state: BTreeMap<String, Vec<Tensor<1>>>,
}

impl Optimizer {
    pub(super) fn new(config: &TrainConfig) -> Self {
        Self {
            rule: config.optimizer,
            decay: config.weight_decay(),
            momentum: config.momentum,
            steps: 0,
            state: BTreeMap::new(),
        }
    }

    pub(super) fn step(&mut self, network: Network, gradients: Gradients, rate: f64) -> Network {
        self.steps += 1;
        network.map(&mut Step {
            optimizer: self,
            gradients: gradients.0.into_iter(),
            rate,
            path: Vec::new(),
        })
    }

    /// [`Optimizer::update`] in one pass over the memory of the host, for the rules that are used most.
    /// The same sums in the same order; gives the tensors back where it is not for them.
    fn update_in_place(
        &self,
        w: Tensor<1>,
        g: Tensor<1>,
        state: &mut Vec<Tensor<1>>,
        rate: f64,
        decay: f64,
    ) -> Result<Tensor<1>, Box<(Tensor<1>, Tensor<1>)>> {
        let remembered = match self.rule {
            Rule::Sgd => usize::from(self.momentum > 0.0),
            Rule::Adam | Rule::AdamW => 2,
            Rule::RmsProp | Rule::Lion | Rule::Lbfgs => return Err(Box::new((w, g))),
        };
        let is_new = state.is_empty();
        state.resize_with(remembered, || w.zeros_like());
        let mut taken = std::mem::take(state).into_iter();
        let found = match (self.rule, taken.next(), taken.next()) {
            (Rule::Sgd, None, _) => ops::in_place(
                [w],
                &g,
                #[inline(always)]
                |[w], g| {
                    sgd(w, g, rate as f32, decay as f32);
                },
            )
            .map(|[w]| (w, vec![]))
            .map_err(|[w]| (w, vec![])),
            (Rule::Sgd, Some(m), _) => ops::in_place(
                [w, m],
                &g,
                #[inline(always)]
                |[w, m], g| {
                    let (rate, decay, momentum) = (rate as f32, decay as f32, self.momentum as f32);
                    sgd_momentum(w, m, g, rate, decay, momentum);
                },
            )
            .map(|[w, m]| (w, vec![m]))
            .map_err(|[w, m]| (w, vec![m])),
            (_, Some(m), Some(v)) => {
                let adam = Adam::new(self.rule, self.steps, rate, decay);
                ops::in_place(
                    [w, m, v],
                    &g,
                    #[inline(always)]
                    |tensors, g| adam.step(tensors, g),
                )
                .map(|[w, m, v]| (w, vec![m, v]))
                .map_err(|[w, m, v]| (w, vec![m, v]))
            }
            _ => Err((w, vec![])),
        };
        match found {
            Ok((w, kept)) => {
                ops::reuse(g);
                *state = kept;
                Ok(w)
            }
            Err((w, kept)) => {
                *state = if is_new { vec![] } else { kept };
                Err(Box::new((w, g)))
            }
        }
    }

    /// One weight, flat. `decay` is 0 for biases and norms.
    fn update(
        &self,
        w: Tensor<1>,
        g: Tensor<1>,
        state: &mut Vec<Tensor<1>>,
        rate: f64,
        decay: f64,
    ) -> Tensor<1> {
        let t = self.steps as i32;
        let (w, g) = match self.update_in_place(w, g, state, rate, decay) {
            Ok(done) => return done,
            Err(inputs) => *inputs,
        };
        let zeros = |count: usize, state: &mut Vec<Tensor<1>>| {
            state.resize_with(count, || w.zeros_like());
        };
        match self.rule {
            Rule::Sgd => {
                let g = penalised(g, &w, decay);
                let step = match (self.momentum > 0.0, state.pop()) {
                    (true, Some(old)) => old.mul_scalar(self.momentum) + g,
                    _ => g,
                };
                if self.momentum > 0.0 {
                    state.push(step.clone());
                }
                w - step.mul_scalar(rate)
            }
            Rule::Adam | Rule::AdamW => {
                let (w, g) = match self.rule {
                    Rule::Adam => (w.clone(), penalised(g, &w, decay)),
                    _ => (shrunk(w.clone(), rate * decay), g),
                };
                zeros(2, state);
                let m = mixed(state[0].clone(), g.clone(), BETAS.0);
                let v = mixed(state[1].clone(), g.clone() * g, BETAS.1);
                let (m_scale, v_scale) = (1.0 - BETAS.0.powi(t), (1.0 - BETAS.1.powi(t)).sqrt());
                let size = v.clone().sqrt().div_scalar(v_scale).add_scalar(EPSILON);
                let step = (m.clone() / size).mul_scalar(rate / m_scale);
                *state = vec![m, v];
                w - step
            }
            Rule::RmsProp => {
                const ALPHA: f64 = 0.99;
                let g = penalised(g, &w, decay);
                zeros(1, state);
                let v = mixed(state[0].clone(), g.clone() * g.clone(), ALPHA);
                let step = g / v.clone().sqrt().add_scalar(EPSILON);
                *state = vec![v];
                w - step.mul_scalar(rate)
            }
            Rule::Lion => {
                const BETAS: (f64, f64) = (0.9, 0.99);
                zeros(1, state);
                let m = state[0].clone();
                let step = mixed(m.clone(), g.clone(), BETAS.0).sign();
                *state = vec![mixed(m, g, BETAS.1)];
                shrunk(w, rate * decay) - step.mul_scalar(rate)
            }
            // It takes all rows at once and does not come here.
            Rule::Lbfgs => w,
        }
    }
}

// The rules below are inlined where they are called, so that they are compiled for wide registers too.

const EPSILON: f64 = 1e-8;
/// How much Adam keeps of the mean of the gradients and of their squares.
const BETAS: (f64, f64) = (0.9, 0.999);

#[inline(always)]
fn sgd(w: &mut [f32], g: &[f32], rate: f32, decay: f32) {
    for (w, g) in std::iter::zip(w, g) {
        *w -= rate * (g + decay * *w);
    }
}

#[inline(always)]
fn sgd_momentum(w: &mut [f32], m: &mut [f32], g: &[f32], rate: f32, decay: f32, momentum: f32) {
    for ((w, m), g) in w.iter_mut().zip(m).zip(g) {
        *m = normal(*m * momentum + (g + decay * *w));
        *w -= rate * *m;
    }
}

/// 0 for what is too small for a float of full precision. What is remembered of a weight that gets no
/// gradient any more shrinks to such numbers and stays there, and CPUs take ten times as long for them.
#[inline(always)]
fn normal(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0 } else { x }
}

/// The numbers of one step of Adam.
struct Adam {
    /// Of an L2 penalty.
    penalty: f32,
    /// What is kept of a weight.
    keep: f32,
    rate: f32,
    /// Over the square root of what is left of the first zeros in `v`.
    v_scale: f32,
}

impl Adam {
    fn new(rule: Rule, steps: u64, rate: f64, decay: f64) -> Self {
        let t = steps as i32;
        let (m_scale, v_scale) = (1.0 - BETAS.0.powi(t), (1.0 - BETAS.1.powi(t)).sqrt());
        let (penalty, shrink) = match rule {
            Rule::Adam => (decay, 0.0),
            _ => (0.0, rate * decay),
        };
        Self {
            penalty: penalty as f32,
            keep: (1.0 - shrink) as f32,
            rate: (rate / m_scale) as f32,
            v_scale: (1.0 / v_scale) as f32,
        }
    }

    #[inline(always)]
    fn step(&self, [w, m, v]: [&mut [f32]; 3], g: &[f32]) {
        const KEPT: (f32, f32) = (BETAS.0 as f32, BETAS.1 as f32);
        const NEW: (f32, f32) = ((1.0 - BETAS.0) as f32, (1.0 - BETAS.1) as f32);
        const SMALL: f32 = EPSILON as f32;
        for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let g = g + self.penalty * *w;
            *m = normal(KEPT.0 * *m + NEW.0 * g);
            *v = normal(KEPT.1 * *v + NEW.1 * (g * g));
            let size = v.sqrt() * self.v_scale + SMALL;
            *w = *w * self.keep - *m * self.rate / size;
        }
    }
}

/// `g + decay * w`: the gradient of an L2 penalty.
fn penalised(g: Tensor<1>, w: &Tensor<1>, decay: f64) -> Tensor<1> {
    match decay > 0.0 {
        true => g + w.clone().mul_scalar(decay),
        false => g,
    }
}

/// `w (1 - decay)`: decay apart from the gradient.
fn shrunk(w: Tensor<1>, decay: f64) -> Tensor<1> {
    match decay > 0.0 {
        true => w.mul_scalar(1.0 - decay),
        false => w,
    }
}

/// `share * old + (1 - share) * new`.
fn mixed(old: Tensor<1>, new: Tensor<1>, share: f64) -> Tensor<1> {
    old.mul_scalar(share) + new.mul_scalar(1.0 - share)
}

struct Step<'a> {
    optimizer: &'a mut Optimizer,
    gradients: std::vec::IntoIter<Option<Tensor<1>>>,
    rate: f64,
    path: Vec<String>,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.next().flatten() else {
            return param;
        };
        let path = self.path.join(".");
        let mut state = self.optimizer.state.remove(&path).unwrap_or_default();
        // Biases and the scales of norms have one dimension; decay is for matrices.
        let decay = if D > 1 { self.optimizer.decay } else { 0.0 };
        let (id, weight, mapper) = param.consume();
        let shape = weight.dims();
        let flat = weight.inner().reshape([-1]);
        let flat = self.optimizer.update(flat, gradient, &mut state, self.rate, decay);
        self.optimizer.state.insert(path, state);
        let weight = Tensor::from_inner(flat.reshape(shape)).require_grad();
        Param::from_mapped_value(id, weight, mapper)
    }
}

/// All weights, flat, by path and in order; running statistics too.
pub(super) fn weights(network: &Network) -> Vec<(String, Tensor<1>)> {
    struct Visit {
        path: Vec<String>,
        found: Vec<(String, Tensor<1>)>,
    }
    impl ModuleVisitor for Visit {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let weight = param.val();
            let weight = match weight.device().is_autodiff() {
                true => weight.inner(),
                false => weight,
            };
            self.found.push((self.path.join("."), weight.reshape([-1])));
        }
    }
    let mut visit = Visit {
        path: Vec::new(),
        found: Vec::new(),
    };
    network.visit(&mut visit);
    visit.found
}

/// The network with these weights, in the order of [`weights`].
pub(super) fn with_weights(network: Network, weights: Vec<Tensor<1>>) -> Network {
    struct Set(std::vec::IntoIter<Tensor<1>>);
    impl ModuleMapper for Set {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(weight) = self.0.next() else {
                return param;
            };
            param.map(|old| {
                let weight = weight.reshape(old.dims());
                match (old.device().is_autodiff(), old.is_require_grad()) {
                    (false, _) => weight,
                    (true, false) => Tensor::from_inner(weight),
                    (true, true) => Tensor::from_inner(weight).require_grad(),
                }
            })
        }
    }
    network.map(&mut Set(weights.into_iter()))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;

    /// One pass through memory gives what tensor by tensor gives, bit for bit but for a rounding.
    #[test]
    fn steps_in_place_are_those_of_tensors() {
        let values =
            |seed: f32| -> Vec<f32> { (0..40_000).map(|i| (i as f32 * seed).sin()).collect() };
        for (rule, momentum) in
            [(Rule::Sgd, 0.0), (Rule::Sgd, 0.9), (Rule::Adam, 0.0), (Rule::AdamW, 0.0)]
        {
            // Tensors of 64 bits do not go the short way.
            let run = |dtype: DType| {
                let on = |seed| {
                    Tensor::<1>::from_floats(values(seed).as_slice(), &Device::flex()).cast(dtype)
                };
                let mut optimizer = Optimizer {
                    rule,
                    decay: 0.01,
                    momentum,
                    steps: 0,
                    state: BTreeMap::new(),
                };
                let (mut w, mut state) = (on(0.1), Vec::new());
                for step in 0..3 {
                    optimizer.steps += 1;
                    w = optimizer.update(w, on(0.2 + step as f32), &mut state, 1e-2, 0.01);
                }
                w.cast(DType::F32).into_data().try_to_vec::<f32>().unwrap()
            };
            let (short, long) = (run(DType::F32), run(DType::F64));
            for (a, b) in std::iter::zip(short, long) {
                assert!((a - b).abs() < 1e-6, "{rule:?}: {a} is not {b}");
            }
        }
    }
}
