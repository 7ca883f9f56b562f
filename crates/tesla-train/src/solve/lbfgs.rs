use std::collections::VecDeque;

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
    let mut x = start;
    let mut gradient = vec![0.0; x.len()];
    let mut value = f(&x, &mut gradient);
    let mut evaluations = 1;
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    while largest(&gradient) > tolerance && evaluations < limit {
        let direction = direction(&gradient, &memory);
        let slope = dot(&direction, &gradient);
        let first = match memory.is_empty() {
            true => 1.0 / largest(&gradient).max(1.0),
            false => 1.0,
        };
        // Bisection on the weak Wolfe conditions: each trial narrows or doubles the bracket.
        let (mut low, mut high, mut step) = (0.0, f64::INFINITY, first);
        let mut next = x.clone();
        let mut next_gradient = vec![0.0; x.len()];
        let mut next_value;
        loop {
            for ((n, x), d) in next.iter_mut().zip(&x).zip(&direction) {
                *n = x + step * d;
            }
            next_value = f(&next, &mut next_gradient);
            evaluations += 1;
            let falls = next_value <= value + ARMIJO * step * slope;
            if !falls {
                high = step;
            } else if dot(&next_gradient, &direction) < WOLFE * slope {
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
        let falls = next_value < value;
        if !falls {
            // No progress is left at this precision.
            break;
        }
        let moved: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let turned: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&moved, &turned);
        if curvature > 0.0 {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((moved, turned, 1.0 / curvature));
        }
        (x, gradient, value) = (next, next_gradient, next_value);
    }
    Minimum {
        converged: largest(&gradient) <= tolerance,
        at: x,
        value,
        evaluations,
    }
}

/// The two-loop recursion: minus the gradient times the inverse Hessian that memory implies.
fn direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(memory.len());
    for (moved, turned, rho) in memory.iter().rev() {
        let alpha = rho * dot(moved, &q);
        q.iter_mut().zip(turned).for_each(|(q, t)| *q -= alpha * t);
        alphas.push(alpha);
    }
    if let Some((_, turned, rho)) = memory.back() {
        let gamma = 1.0 / (rho * dot(turned, turned));
        q.iter_mut().for_each(|q| *q *= gamma);
    }
    for ((moved, turned, rho), alpha) in memory.iter().zip(alphas.iter().rev()) {
        let beta = rho * dot(turned, &q);
        q.iter_mut().zip(moved).for_each(|(q, m)| *q += (alpha - beta) * m);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, v| v.abs().max(max))
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
