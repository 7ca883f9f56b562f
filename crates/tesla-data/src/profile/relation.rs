//! How a column relates to the target.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::ColumnProfile;
use super::cells::{Cells, Seen};
use crate::contract::{ColumnKind, Task};

/// How strongly a column relates to the target, over the rows where both have a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// What was measured.
    pub measure: Measure,
    /// In -1..1 for [`Measure::Pearson`], in 0..1 for the others; 0 is no relation.
    pub value: f64,
}

/// A measure of association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A number against a number: Pearson's r, the covariance over the product of the standard
    /// deviations (K. Pearson, Proc. R. Soc. London 58, 1895).
    Pearson,
    /// A number against groups: the correlation ratio η, the root of the share of variance that
    /// lies between the groups, with T. L. Kelley's correction for their number (PNAS 21, 1935):
    /// η² = 1 - (SS_within / (n - k)) / (SS_total / (n - 1)).
    CorrelationRatio,
    /// Groups against groups: Cramér's V, the root of (χ² / n) / (min(r, k) - 1), with W. Bergsma's
    /// correction for the size of the table (J. Korean Stat. Soc. 42, 2013).
    CramersV,
}

impl Measure {
    /// The letter it goes by.
    pub fn symbol(self) -> &'static str {
        match self {
            Measure::Pearson => "r",
            Measure::CorrelationRatio => "η",
            Measure::CramersV => "V",
        }
    }
}

/// The target, ready to be compared with every column.
pub(crate) enum Target<'a> {
    Classes {
        /// Each row's class.
        codes: Vec<Option<u32>>,
        /// The rows of each class.
        counts: Vec<usize>,
    },
    Values(&'a Cells),
}

impl<'a> Target<'a> {
    pub(crate) fn of(cells: &'a Cells, task: Option<Task>) -> Self {
        if task == Some(Task::Regression) {
            return Target::Values(cells);
        }
        let (codes, counts) = match Seen::of(cells).levels {
            Some(levels) => {
                ((0..cells.len()).map(|row| levels.code(cells, row)).collect(), levels.counts)
            }
            // Classes beyond counting: nothing can be said.
            None => (vec![None; cells.len()], Vec::new()),
        };
        Target::Classes { codes, counts }
    }
}

/// The measure that suits the two kinds; none for texts and images.
pub(super) fn relate(
    cells: &Cells,
    seen: &Seen,
    kind: ColumnKind,
    target: &Target<'_>,
) -> Option<Relation> {
    let rows = 0..cells.len();
    let level = |row: usize| seen.levels.as_ref()?.code(cells, row);
    let (measure, value) = match (kind, target) {
        (ColumnKind::Numeric, Target::Values(y)) => {
            let pairs = rows.filter_map(|row| Some((cells.number(row)?, y.number(row)?)));
            (Measure::Pearson, pearson(pairs))
        }
        (ColumnKind::Numeric, Target::Classes { codes, .. }) => {
            let pairs = rows.filter_map(|row| Some((codes[row]?, cells.number(row)?)));
            (Measure::CorrelationRatio, correlation_ratio(pairs))
        }
        (ColumnKind::Category, Target::Values(y)) => {
            let pairs = rows.filter_map(|row| Some((level(row)?, y.number(row)?)));
            (Measure::CorrelationRatio, correlation_ratio(pairs))
        }
        (ColumnKind::Category, Target::Classes { codes, .. }) => {
            let pairs = rows.filter_map(|row| Some((level(row)?, codes[row]?)));
            (Measure::CramersV, cramers_v(&Table::of(pairs)))
        }
        _ => return None,
    };
    value.map(|value| Relation { measure, value })
}

/// Fewer rows than this prove nothing.
const MIN_ROWS: usize = 20;
/// A level must on average have this many rows before it can be said to tell the class.
const ROWS_PER_LEVEL: usize = 5;
/// The share of errors that a column which tells the class must avoid.
const SURE: f64 = 0.99;
/// A correlation this strong is no coincidence.
const SAME: f64 = 0.999;
/// Ranks are compared on this many rows, evenly spread.
const RANKED: usize = 10_000;

/// A class with at most this share of the rows is rare.
pub(crate) const RARE: f64 = 0.1;

/// A value that gives a rare class away, by their places among the levels: see [`Tells::Some`].
pub(crate) fn gives_away(cells: &Cells, seen: &Seen, codes: &[Option<u32>]) -> Option<(u32, u32)> {
    let levels = seen.levels.as_ref()?;
    let pair = |row| Some((levels.code(cells, row)?, codes[row]?));
    Table::of((0..cells.len()).filter_map(pair)).gives_away()
}

/// How much a column tells of the target by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    /// The target of every row.
    All,
    /// That a row is of a rare class, where it has a certain value.
    Some,
}

/// Whether the column alone tells the target. For classes: its levels avoid 99 % of the errors of
/// always guessing the commonest class (the λ of L. Goodman and W. Kruskal, JASA 49, 1954), or
/// each class has a range of numbers for itself. For numbers: |r|, η or Spearman's rank
/// correlation is at least 0.999.
pub(crate) fn tells(
    cells: &Cells,
    seen: &Seen,
    column: &ColumnProfile,
    target: &Target<'_>,
) -> Option<Tells> {
    let rows = 0..cells.len();
    let strong = column.relation.is_some_and(|relation| relation.value.abs() >= SAME);
    let levels = seen.levels.as_ref();
    let levels = levels.filter(|levels| levels.counts.len() * ROWS_PER_LEVEL <= seen.present);
    let is_number = column.kind == ColumnKind::Numeric;
    if seen.present < MIN_ROWS || !(is_number || column.kind == ColumnKind::Category) {
        return None;
    }
    match target {
        Target::Values(y) if is_number => {
            let ranked = || {
                let step = cells.len().div_ceil(RANKED);
                let rows = rows.step_by(step.max(1));
                let pairs = rows.filter_map(|row| Some((cells.number(row)?, y.number(row)?)));
                spearman(&pairs.collect::<Vec<_>>()).is_some_and(|rho| rho.abs() >= SAME)
            };
            (strong || ranked()).then_some(Tells::All)
        }
        Target::Values(_) => (strong && levels.is_some()).then_some(Tells::All),
        Target::Classes { codes, counts } => {
            let large = counts.iter().filter(|count| **count >= ROWS_PER_LEVEL);
            if large.count() < 2 {
                return None;
            }
            let table = levels.map(|levels| {
                let pair = |row| Some((levels.code(cells, row)?, codes[row]?));
                Table::of(rows.clone().filter_map(pair))
            });
            let numbers = rows.filter_map(|row| Some((codes[row]?, cells.number(row)?)));
            match table {
                Some(table) if table.lambda() >= SURE => Some(Tells::All),
                _ if is_number && apart(numbers, counts.len()) => Some(Tells::All),
                Some(table) if table.gives_away().is_some() => Some(Tells::Some),
                _ => None,
            }
        }
    }
}

/// Pearson's r; none where one side is constant.
pub(crate) fn pearson(pairs: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (mut n, mut mx, mut my) = (0.0, 0.0, 0.0);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        n += 1.0;
        let (dx, dy) = (x - mx, y - my);
        mx += dx / n;
        my += dy / n;
        xx += dx * (x - mx);
        yy += dy * (y - my);
        xy += dx * (y - my);
    }
    let r = xy / (xx.sqrt() * yy.sqrt());
    r.is_finite().then_some(r.clamp(-1.0, 1.0))
}

/// Pearson's r of the ranks; equal numbers share the mean of their ranks.
pub(crate) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let ranks = |side: fn(&(f64, f64)) -> f64| {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|a, b| side(&pairs[*a]).total_cmp(&side(&pairs[*b])));
        let mut ranks = vec![0.0; pairs.len()];
        let mut first = 0;
        for same in order.chunk_by(|a, b| side(&pairs[*a]) == side(&pairs[*b])) {
            let rank = first as f64 + (same.len() - 1) as f64 / 2.0;
            same.iter().for_each(|at| ranks[*at] = rank);
            first += same.len();
        }
        ranks
    };
    pearson(std::iter::zip(ranks(|p| p.0), ranks(|p| p.1)))
}

/// The corrected correlation ratio; none where the numbers are constant or no group has two.
fn correlation_ratio(pairs: impl Iterator<Item = (u32, f64)>) -> Option<f64> {
    #[derive(Clone, Copy, Default)]
    struct Moments(f64, f64, f64);
    impl Moments {
        fn add(&mut self, x: f64) {
            let Moments(n, mean, squares) = self;
            *n += 1.0;
            let off = x - *mean;
            *mean += off / *n;
            *squares += off * (x - *mean);
        }
    }
    let mut all = Moments::default();
    let mut groups: Vec<Moments> = Vec::new();
    for (group, x) in pairs {
        all.add(x);
        let group = group as usize;
        if group >= groups.len() {
            groups.resize(group + 1, Moments::default());
        }
        groups[group].add(x);
    }
    let Moments(n, _, total) = all;
    let k = groups.iter().filter(|group| group.0 > 0.0).count() as f64;
    let within: f64 = groups.iter().map(|group| group.2).sum();
    let share = 1.0 - (within / (n - k)) / (total / (n - 1.0));
    (n > k && total > 0.0 && share.is_finite()).then(|| share.max(0.0).sqrt())
}

/// Whether the ranges of numbers that the classes have do not meet, and there are two or more.
fn apart(pairs: impl Iterator<Item = (u32, f64)>, classes: usize) -> bool {
    let mut ranges = vec![[f64::INFINITY, f64::NEG_INFINITY]; classes];
    for (class, x) in pairs {
        let [min, max] = &mut ranges[class as usize];
        *min = min.min(x);
        *max = max.max(x);
    }
    ranges.retain(|[min, max]| min <= max);
    ranges.sort_by(|a, b| a[0].total_cmp(&b[0]));
    ranges.len() >= 2 && ranges.windows(2).all(|pair| pair[0][1] < pair[1][0])
}

/// How often each pair of levels occurs.
struct Table {
    cells: HashMap<(u32, u32), f64>,
    rows: HashMap<u32, f64>,
    columns: HashMap<u32, f64>,
    n: f64,
}

impl Table {
    fn of(pairs: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut cells: HashMap<(u32, u32), f64> = HashMap::new();
        for pair in pairs {
            *cells.entry(pair).or_default() += 1.0;
        }
        let (mut rows, mut columns) = (HashMap::new(), HashMap::new());
        for ((row, column), count) in &cells {
            *rows.entry(*row).or_default() += count;
            *columns.entry(*column).or_default() += count;
        }
        // Counts are whole: no order of the cells changes their sum.
        let n = cells.values().sum();
        Self {
            cells,
            rows,
            columns,
            n,
        }
    }

    /// The share of errors that knowing the row avoids in guessing the column; 0 where there is
    /// only one column.
    fn lambda(&self) -> f64 {
        let largest = |counts: &HashMap<u32, f64>| counts.values().copied().fold(0.0, f64::max);
        let mut best: HashMap<u32, f64> = HashMap::new();
        for ((row, _), count) in &self.cells {
            let best = best.entry(*row).or_default();
            *best = best.max(*count);
        }
        let guess = largest(&self.columns);
        match self.n - guess {
            errors if errors > 0.0 => (best.values().sum::<f64>() - guess) / errors,
            _ => 0.0,
        }
    }

    /// A row of the table that is all but one rare column: 99 % of twenty or more, of a column that
    /// has a tenth of all. The one with most.
    fn gives_away(&self) -> Option<(u32, u32)> {
        let sure = |((row, column), count): &(&(u32, u32), &f64)| {
            let all = self.rows[row];
            all >= MIN_ROWS as f64 && **count >= SURE * all && self.columns[column] <= RARE * self.n
        };
        let most = |a: &(&(u32, u32), &f64), b: &(&(u32, u32), &f64)| {
            a.1.total_cmp(b.1).then_with(|| b.0.cmp(a.0))
        };
        self.cells.iter().filter(sure).max_by(most).map(|(pair, _)| *pair)
    }
}

/// The corrected V; none where one side is constant.
fn cramers_v(table: &Table) -> Option<f64> {
    let n = table.n;
    let mut terms: Vec<f64> = table
        .cells
        .iter()
        .map(|((row, column), count)| count * count / (table.rows[row] * table.columns[column]))
        .collect();
    // A hash map has no order: sorted, the sum is the same in every run.
    terms.sort_unstable_by(f64::total_cmp);
    let phi = terms.iter().sum::<f64>() - 1.0;
    let (r, k) = (table.rows.len() as f64, table.columns.len() as f64);
    let phi = (phi - (r - 1.0) * (k - 1.0) / (n - 1.0)).max(0.0);
    let corrected = |size: f64| size - (size - 1.0) * (size - 1.0) / (n - 1.0);
    let most = corrected(r).min(corrected(k)) - 1.0;
    (n > 1.0 && most > 0.0).then(|| (phi / most).sqrt().min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.expect("a figure");
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn pearson_and_spearman_by_hand() {
        // Means 2 and 3; deviations (-1, 0, 1) and (-2, 1, 1): 3 / sqrt(2 * 6).
        close(pearson([(1.0, 1.0), (2.0, 4.0), (3.0, 4.0)].into_iter()), 3.0 / 12f64.sqrt());
        assert_eq!(pearson([(1.0, 2.0), (1.0, 3.0)].into_iter()), None);
        // Ranks (0, 1, 2) and (0, 1.5, 1.5), however far the numbers lie apart.
        close(spearman(&[(1.0, 1.0), (20.0, 4.0), (300.0, 4.0)]), 1.5 / 3f64.sqrt());
    }

    #[test]
    fn correlation_ratio_by_hand() {
        // Groups {1, 3} and {5, 7}: within 4, total 20; 1 - (4 / 2) / (20 / 3) = 0.7.
        let pairs = [(0, 1.0), (0, 3.0), (1, 5.0), (1, 7.0)];
        close(correlation_ratio(pairs.into_iter()), 0.7f64.sqrt());
        assert_eq!(correlation_ratio([(0, 1.0), (1, 2.0)].into_iter()), None);
    }

    #[test]
    fn cramers_v_and_lambda_by_hand() {
        // [[20, 10], [5, 25]]: χ² / n = (60 (20 * 25 - 10 * 5)²) / (30 * 30 * 25 * 35) / 60.
        let counts = [((0, 0), 20), ((0, 1), 10), ((1, 0), 5), ((1, 1), 25)];
        let pairs = counts
            .into_iter()
            .flat_map(|(pair, count)| std::iter::repeat_n(pair, count));
        let table = Table::of(pairs);
        let phi = 450f64 * 450.0 / (30.0 * 30.0 * 25.0 * 35.0) - 1.0 / 59.0;
        close(cramers_v(&table), (phi / (1.0 - 1.0 / 59.0)).sqrt());
        // 25 errors without the row, 15 with it.
        close(Some(table.lambda()), 10.0 / 25.0);
        assert_eq!(cramers_v(&Table::of([(0, 0), (0, 1)].into_iter())), None);
    }

    #[test]
    fn ranges_that_touch_are_not_apart() {
        assert!(apart([(0, 1.0), (1, 3.0), (0, 2.0)].into_iter(), 2));
        assert!(!apart([(0, 1.0), (1, 2.0), (0, 2.0)].into_iter(), 2));
        assert!(!apart([(0, 1.0)].into_iter(), 2));
    }
}
