use std::collections::VecDeque;
use std::convert::Infallible;

/// Where minimisation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    /// The place.
    pub at: Vec<f64>,
    /// The value there.
    pub value: f64,
    /// How often the function was evaluated.
    pub evaluations: usize,
    /// Whether the gradient fell below the tolerance.
    pub converged: bool,
}

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 10;
const ARMIJO: f64 = 1e-4;
const WOLFE: f64 = 0.9;

/// Minimises a smooth convex function by L-BFGS (Nocedal & Wright 2006, algorithms 7.4 and 3.5).
///
/// `f` writes the gradient into its second argument and returns the value. Stops when no entry
/// of the gradient is larger than `tolerance`, or after `limit` evaluations.
pub fn minimise(
    start: Vec<f64>,
    tolerance: f64,
    limit: usize,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Minimum {
    let mut f = |x: &[f64], gradient: &mut [f64]| Ok::<f64, Infallible>(f(x, gradient));
    let Ok(mut search) = Search::start(start, &mut f);
    let mut evaluations = 1;
    while search.steepest() > tolerance && evaluations < limit {
        let Ok((fell, more)) = search.step(limit - evaluations, &mut f);
        evaluations += more;
        if !fell {
            break;
        }
    }
    Minimum {
        converged: search.steepest() <= tolerance,
        at: search.at,
        value: search.value,
        evaluations,
    }
}

/// L-BFGS between two steps.
#[derive(Clone)]
pub(crate) struct Search {
    pub(crate) at: Vec<f64>,
    pub(crate) gradient: Vec<f64>,
    pub(crate) value: f64,
    /// What the last steps moved, and how they turned the gradient; the oldest first.
    pub(crate) memory: VecDeque<(Vec<f64>, Vec<f64>)>,
}

impl Search {
    pub(crate) fn start<E>(
        at: Vec<f64>,
        f: &mut impl FnMut(&[f64], &mut [f64]) -> Result<f64, E>,
    ) -> Result<Self, E> {
        let mut gradient = vec![0.0; at.len()];
        Ok(Self {
            value: f(&at, &mut gradient)?,
            at,
            gradient,
            memory: VecDeque::new(),
        })
    }

    /// The largest entry of the gradient.
    pub(crate) fn steepest(&self) -> f64 {
        self.gradient.iter().fold(0.0, |max, v| v.abs().max(max))
    }

    /// Goes one step down, with at most `limit` evaluations. Says whether it fell, and how often it
    /// evaluated. Where it did not fall, no progress is left at this precision, and it stays.
    pub(crate) fn step<E>(
        &mut self,
        limit: usize,
        f: &mut impl FnMut(&[f64], &mut [f64]) -> Result<f64, E>,
    ) -> Result<(bool, usize), E> {
        let direction = self.direction();
        let slope = dot(&direction, &self.gradient);
        let first = match self.memory.is_empty() {
            true => 1.0 / self.steepest().max(1.0),
            false => 1.0,
        };
        // Bisection on the weak Wolfe conditions: each trial narrows or doubles the bracket.
        let (mut low, mut high, mut step) = (0.0, f64::INFINITY, first);
        let mut next = self.at.clone();
        let mut gradient = vec![0.0; self.at.len()];
        let mut value;
        let mut evaluations = 0;
        loop {
            for ((next, at), d) in next.iter_mut().zip(&self.at).zip(&direction) {
                *next = at + step * d;
            }
            value = f(&next, &mut gradient)?;
            evaluations += 1;
            let falls = value <= self.value + ARMIJO * step * slope;
            if !falls {
                high = step;
            } else if dot(&gradient, &direction) < WOLFE * slope {
                low = step;
            } else {
                break;
            }
            if evaluations >= limit || high - low < 1e-14 * high.min(1.0) {
                break;
            }
            step = match high.is_finite() {
                true => (low + high) / 2.0,
                false => 2.0 * low,
            };
        }
        let fell = value < self.value;
        if !fell {
            return Ok((false, evaluations));
        }
        let moved: Vec<f64> = next.iter().zip(&self.at).map(|(a, b)| a - b).collect();
        let turned: Vec<f64> = gradient.iter().zip(&self.gradient).map(|(a, b)| a - b).collect();
        if dot(&moved, &turned) > 0.0 {
            if self.memory.len() == MEMORY {
                self.memory.pop_front();
            }
            self.memory.push_back((moved, turned));
        }
        (self.at, self.gradient, self.value) = (next, gradient, value);
        Ok((true, evaluations))
    }

    /// The two-loop recursion: minus the gradient times the inverse Hessian that memory implies.
    fn direction(&self) -> Vec<f64> {
        let mut q: Vec<f64> = self.gradient.iter().map(|g| -g).collect();
        let inverse: Vec<f64> = self.memory.iter().map(|(m, t)| 1.0 / dot(m, t)).collect();
        let mut alphas = Vec::with_capacity(self.memory.len());
        for ((moved, turned), rho) in self.memory.iter().zip(&inverse).rev() {
            let alpha = rho * dot(moved, &q);
            q.iter_mut().zip(turned).for_each(|(q, t)| *q -= alpha * t);
            alphas.push(alpha);
        }
        if let (Some((_, turned)), Some(rho)) = (self.memory.back(), inverse.last()) {
            let gamma = 1.0 / (rho * dot(turned, turned));
            q.iter_mut().for_each(|q| *q *= gamma);
        }
        let oldest_first = self.memory.iter().zip(&inverse).zip(alphas.iter().rev());
        for (((moved, turned), rho), alpha) in oldest_first {
            let beta = rho * dot(turned, &q);
            q.iter_mut().zip(moved).for_each(|(q, m)| *q += (alpha - beta) * m);
        }
        q
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_bottom_of_a_narrow_bowl() {
        let minimum = minimise(vec![5.0, -3.0, 2.0], 1e-10, 500, |x, g| {
            let scales = [1.0, 100.0, 1e4];
            let mut value = 0.0;
            for i in 0..3 {
                let d = x[i] - i as f64;
                value += scales[i] * d * d / 2.0;
                g[i] = scales[i] * d;
            }
            value
        });
        assert!(minimum.converged, "{minimum:?}");
        for (i, x) in minimum.at.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-9, "{minimum:?}");
        }
    }
}
