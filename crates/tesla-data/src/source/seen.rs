use crate::arrow::datatypes::DataType;

/// What was seen of a column whose format has no types.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Values that are not missing.
    present: usize,
    /// Those among them that are numbers.
    numbers: usize,
    /// The numbers, as long as they are fewer than [`MANY`].
    few: Vec<f64>,
}

/// So many numbers speak for themselves.
const MANY: usize = 100;
/// Of fewer numbers than this, nobody can tell which value is the slip.
const FEWEST: usize = 10;

impl Seen {
    /// One value: the number that it is, if it is one.
    pub(super) fn add(&mut self, number: Option<f64>) {
        self.add_all(1, usize::from(number.is_some()), number);
    }

    /// Several values, of which `numbers` are numbers.
    pub(super) fn add_all(
        &mut self,
        present: usize,
        numbers: usize,
        values: impl IntoIterator<Item = f64>,
    ) {
        let room = MANY.saturating_sub(self.numbers);
        self.few.extend(values.into_iter().take(room));
        self.present += present;
        self.numbers += numbers;
    }

    /// What was seen of other rows of the same column.
    pub(super) fn merge(&mut self, other: Self) {
        self.add_all(other.present, other.numbers, other.few);
    }

    /// Whether there is a value that is not missing.
    pub(super) fn has_values(&self) -> bool {
        self.present > 0
    }

    /// A number when every value is one; when at least 99 % of them are and these are at least 100;
    /// or, of fewer rows, when only one value is none, beside ten numbers or more that hardly repeat:
    /// a slip of a finger in a column of numbers is a bad row, not a reason to read the column as
    /// text. Codes, such as 1, 2 and K, do repeat. Text otherwise.
    pub(super) fn data_type(&self) -> DataType {
        let Self {
            present, numbers, ..
        } = *self;
        let all = numbers == present && present > 0;
        let nearly_all = numbers >= MANY && numbers >= present - present / 100;
        let all_but_one = (FEWEST..MANY).contains(&numbers) && present == numbers + 1;
        match all || nearly_all || (all_but_one && 2 * self.distinct() >= numbers) {
            true => DataType::Float64,
            false => DataType::Utf8,
        }
    }

    /// How many of the few numbers differ.
    fn distinct(&self) -> usize {
        let mut sorted = self.few.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numbers` of which no more than `distinct` differ, and beside them `others`.
    fn is_number(numbers: usize, distinct: usize, others: usize) -> bool {
        let value = |i: usize| (i < numbers).then(|| (i % distinct) as f64);
        let (mut one, mut halves) = (Seen::default(), [Seen::default(), Seen::default()]);
        for i in 0..numbers + others {
            one.add(value(i));
            halves[i % 2].add(value(i));
        }
        let [mut merged, second] = halves;
        merged.merge(second);
        assert_eq!(merged.data_type(), one.data_type(), "the cut makes a difference");
        one.data_type() == DataType::Float64
    }

    #[test]
    fn one_in_a_hundred_may_be_wrong() {
        assert!(is_number(1, 1, 0) && is_number(100, 1, 1) && is_number(9_900, 3, 100));
        assert!(!is_number(0, 1, 0) && !is_number(0, 1, 1) && !is_number(9_899, 9_899, 101));
    }

    #[test]
    fn of_fewer_one_may_be_wrong_where_numbers_hardly_repeat() {
        assert!(is_number(10, 10, 1) && is_number(10, 5, 1) && is_number(99, 50, 1));
        // Too few to say, two that are none, and codes with a letter among them.
        assert!(!is_number(9, 9, 1) && !is_number(60, 60, 2) && !is_number(40, 6, 1));
    }
}
