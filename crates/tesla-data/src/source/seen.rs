use crate::arrow::datatypes::DataType;

/// What was seen of a column whose format has no types.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Values that are not missing.
    pub(super) present: usize,
    /// Those among them that are numbers.
    pub(super) numbers: usize,
}

impl Seen {
    /// A number when every value is one, or when at least 99 % of them are and these are at least
    /// 100: a slip of a finger in a column of numbers is a bad row, not a reason to read the
    /// column as text. Text otherwise.
    pub(super) fn data_type(self) -> DataType {
        let Self { present, numbers } = self;
        let all = numbers == present && present > 0;
        let nearly_all = numbers >= 100 && numbers >= present - present / 100;
        match all || nearly_all {
            true => DataType::Float64,
            false => DataType::Utf8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_may_be_wrong() {
        let is_number =
            |numbers, present| Seen { present, numbers }.data_type() == DataType::Float64;
        assert!(is_number(1, 1) && is_number(100, 101) && is_number(9_900, 10_000));
        assert!(!is_number(0, 0) && !is_number(99, 100) && !is_number(9_899, 10_000));
    }
}
