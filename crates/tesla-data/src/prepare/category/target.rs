//! Target encoding: a level becomes the mean of the target over its rows.
//!
//! Micci-Barreca (2001), equations 5 and 6, with the empirical Bayes weight that scikit-learn's
//! `TargetEncoder(smooth="auto")` takes.

use crate::samples::Target;

/// The parts that training rows are dealt into, in turn. A row is encoded from the other parts.
pub(super) const FOLDS: usize = 5;

/// Count, mean and sum of squared deviations of the target over some rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Spread {
    rows: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, y: f64) {
        self.rows += 1.0;
        let off = y - self.mean;
        self.mean += off / self.rows;
        self.squares += off * (y - self.mean);
    }

    /// Both together (Chan, Golub and LeVeque 1979).
    fn merge(self, other: Self) -> Self {
        let rows = self.rows + other.rows;
        if rows == 0.0 {
            return self;
        }
        let off = other.mean - self.mean;
        Self {
            rows,
            mean: self.mean + off * other.rows / rows,
            squares: self.squares + other.squares + off * off * self.rows * other.rows / rows,
        }
    }

    /// `rows` rows of which `hits` are 1 and the others 0.
    fn of_hits(hits: u32, rows: u32) -> Self {
        let (hits, rows) = (f64::from(hits), f64::from(rows));
        match rows == 0.0 {
            true => Self::default(),
            false => Self {
                rows,
                mean: hits / rows,
                squares: hits * (rows - hits) / rows,
            },
        }
    }

    /// The level's mean, drawn towards that of `all`.
    fn encode(self, all: Self) -> f64 {
        let variance = all.squares / all.rows;
        let weight = variance * self.rows / (variance * self.rows + self.squares / self.rows);
        match weight.is_nan() {
            true => all.mean,
            false => weight * self.mean + (1.0 - weight) * all.mean,
        }
    }
}

/// The target over the rows of each level and part.
pub(super) enum Sums {
    /// Rows of each class, `[level][part][class]`.
    Classes { classes: usize, rows: Vec<u32> },
    /// `[level][part]`.
    Values(Vec<Spread>),
}

impl Sums {
    /// For a target with so many classes; 0 when it is a number.
    pub(super) fn new(classes: usize) -> Self {
        match classes {
            0 => Sums::Values(Vec::new()),
            classes => Sums::Classes {
                classes,
                rows: Vec::new(),
            },
        }
    }

    /// Counts row `row`, which is of level `level`; `target` holds it at place `at`.
    pub(super) fn add(&mut self, level: usize, row: usize, target: &Target, at: usize) {
        let place = level * FOLDS + row % FOLDS;
        match (self, target) {
            (Sums::Classes { classes, rows }, Target::Classes(ids)) => {
                let end = (level + 1) * FOLDS * *classes;
                rows.resize(rows.len().max(end), 0);
                rows[place * *classes + ids[at] as usize] += 1;
            }
            (Sums::Values(sums), Target::Values(values)) => {
                sums.resize(sums.len().max((level + 1) * FOLDS), Spread::default());
                sums[place].add(values[at]);
            }
            _ => {}
        }
    }

    /// Numbers per row that the encoding has.
    pub(super) fn outputs(&self) -> usize {
        match self {
            Sums::Classes { classes, .. } if *classes > 2 => *classes,
            _ => 1,
        }
    }

    /// The target over the rows of `level` in the parts that `part` holds of.
    fn spread(&self, level: usize, output: usize, part: &dyn Fn(usize) -> bool) -> Spread {
        let parts = (0..FOLDS).filter(|p| part(*p)).map(|p| level * FOLDS + p);
        match self {
            Sums::Classes { classes, rows } => {
                let class = if *classes > 2 { output } else { 1 };
                let counts = parts.filter_map(|p| rows.get(p * classes..(p + 1) * classes));
                let (hits, all) = counts.fold((0, 0), |(hits, all), counts| {
                    (hits + counts.get(class).unwrap_or(&0), all + counts.iter().sum::<u32>())
                });
                Spread::of_hits(hits, all)
            }
            Sums::Values(sums) => parts
                .filter_map(|p| sums.get(p))
                .fold(Spread::default(), |a, b| a.merge(*b)),
        }
    }

    /// The encoding of each place, which is made of the levels listed for it, and then of an
    /// unknown level: `[place][output]`. Part `without` is left out.
    pub(super) fn encode(&self, places: &[Vec<usize>], without: Option<usize>) -> Vec<f64> {
        let part = |p: usize| Some(p) != without;
        let outputs = self.outputs();
        let mut encoded = vec![0.0; (places.len() + 1) * outputs];
        for output in 0..outputs {
            let spread = |levels: &Vec<usize>| {
                let spreads = levels.iter().map(|level| self.spread(*level, output, &part));
                spreads.fold(Spread::default(), Spread::merge)
            };
            let spreads: Vec<Spread> = places.iter().map(spread).collect();
            let all = spreads.iter().fold(Spread::default(), |a, b| a.merge(*b));
            for (place, spread) in spreads.iter().enumerate() {
                encoded[place * outputs + output] = spread.encode(all);
            }
            encoded[places.len() * outputs + output] = all.mean;
        }
        encoded
    }

    /// What a number is standardised by, as the target itself is; nothing for classes.
    pub(super) fn units(&self, places: &[Vec<usize>]) -> Option<[f64; 2]> {
        if let Sums::Classes { .. } = self {
            return None;
        }
        let all = places
            .iter()
            .flatten()
            .map(|level| self.spread(*level, 0, &|_| true))
            .fold(Spread::default(), Spread::merge);
        let deviation = (all.squares / all.rows.max(1.0)).sqrt();
        Some([all.mean, if deviation > 0.0 { deviation } else { 1.0 }])
    }
}
