//! Texts as rows of numbers of which most are zero, or as sequences of ids.

/// Prepared texts, row behind row: bags of weighted terms, or sequences of token ids.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSet {
    /// `[rows + 1]`: row `i` has the ids `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<usize>,
    /// `[offsets[rows]]`. A bag's ids are sorted and differ; a sequence's stand in the order of the
    /// text, where 1 is a token that training did not see (0 is padding, which is not stored).
    pub ids: Vec<u32>,
    /// `[offsets[rows]]`, beside the ids of bags; `None` for sequences.
    pub weights: Option<Vec<f32>>,
    /// Every id is below this number.
    pub vocabulary: usize,
    /// The longest sequence, to which shorter ones are padded; 0 for bags.
    pub length: usize,
}

/// Rows of numbers of which most are zero, in full precision (compressed sparse rows).
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    /// `[rows + 1]`: row `i` has the values `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<usize>,
    /// `[offsets[rows]]`: the column of each value, ascending in a row.
    pub columns: Vec<u32>,
    /// `[offsets[rows]]`.
    pub values: Vec<f64>,
    /// Columns.
    pub width: usize,
}

impl TokenSet {
    /// No rows yet: bags of a vocabulary.
    pub fn bags(vocabulary: usize) -> Self {
        Self {
            offsets: vec![0],
            ids: Vec::new(),
            weights: Some(Vec::new()),
            vocabulary,
            length: 0,
        }
    }

    /// No rows yet: sequences of at most `length` ids.
    pub fn sequences(vocabulary: usize, length: usize) -> Self {
        Self {
            offsets: vec![0],
            ids: Vec::new(),
            weights: None,
            vocabulary,
            length,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The ids of a row, with their weights where rows are bags.
    pub fn row(&self, row: usize) -> (&[u32], Option<&[f32]>) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.ids[range.clone()], self.weights.as_ref().map(|w| &w[range]))
    }

    /// Puts a row behind the others; `weights` are given for bags and left out for sequences.
    pub fn push_row(&mut self, ids: &[u32], weights: Option<&[f32]>) {
        debug_assert_eq!(self.weights.is_some(), weights.is_some());
        self.ids.extend_from_slice(ids);
        if let (Some(all), Some(weights)) = (&mut self.weights, weights) {
            all.extend_from_slice(weights);
        }
        self.offsets.push(self.ids.len());
    }

    /// Puts the rows of `next`, of the same kind and vocabulary, behind these.
    pub fn append(&mut self, next: TokenSet) {
        debug_assert_eq!((self.vocabulary, self.length), (next.vocabulary, next.length));
        let before = self.ids.len();
        self.offsets.extend(next.offsets[1..].iter().map(|end| before + end));
        self.ids.extend(next.ids);
        if let (Some(all), Some(weights)) = (&mut self.weights, next.weights) {
            all.extend(weights);
        }
    }

    /// `[vocabulary]` for bags, `[length]` for sequences.
    pub fn row_shape(&self) -> Vec<usize> {
        match self.weights {
            Some(_) => vec![self.vocabulary],
            None => vec![self.length],
        }
    }

    /// Puts a row behind `batch`, dense: a bag's weight of every id, or a sequence's ids padded
    /// with zeros.
    pub fn read(&self, row: usize, batch: &mut Vec<f32>) {
        let start = batch.len();
        match self.row(row) {
            (ids, Some(weights)) => {
                batch.resize(start + self.vocabulary, 0.0);
                for (id, weight) in std::iter::zip(ids, weights) {
                    batch[start + *id as usize] = *weight;
                }
            }
            (ids, None) => {
                batch.extend(ids.iter().map(|id| *id as f32));
                batch.resize(start + self.length, 0.0);
            }
        }
    }
}

impl SparseRows {
    /// No rows yet.
    pub fn new(width: usize) -> Self {
        Self {
            offsets: vec![0],
            columns: Vec::new(),
            values: Vec::new(),
            width,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The columns of a row that are not zero, and their values.
    pub fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// Puts the rows of `next`, of the same width, behind these.
    pub fn append(&mut self, next: SparseRows) {
        debug_assert_eq!(self.width, next.width);
        let before = self.columns.len();
        self.offsets.extend(next.offsets[1..].iter().map(|end| before + end));
        self.columns.extend(next.columns);
        self.values.extend(next.values);
    }

    /// The columns of `next`, which has as many rows, to the right of these.
    pub(crate) fn beside(&self, next: &SparseRows) -> SparseRows {
        let mut both = SparseRows::new(self.width + next.width);
        for row in 0..self.rows() {
            for (set, shift) in [(self, 0), (next, self.width as u32)] {
                let (columns, values) = set.row(row);
                both.columns.extend(columns.iter().map(|column| shift + column));
                both.values.extend_from_slice(values);
            }
            both.offsets.push(both.columns.len());
        }
        both
    }
}

/// The same rows in single precision, as a network sees them.
impl From<SparseRows> for TokenSet {
    fn from(rows: SparseRows) -> Self {
        TokenSet {
            offsets: rows.offsets,
            ids: rows.columns,
            weights: Some(rows.values.into_iter().map(|v| v as f32).collect()),
            vocabulary: rows.width,
            length: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_dense() {
        let mut bags = TokenSet::bags(4);
        bags.push_row(&[1, 3], Some(&[0.5, 2.0]));
        bags.push_row(&[], Some(&[]));
        bags.append(bags.clone());
        assert_eq!((bags.rows(), bags.row_shape()), (4, vec![4]));
        assert_eq!(bags.row(2), (&[1, 3][..], Some(&[0.5, 2.0][..])));
        let mut batch = Vec::new();
        bags.read(2, &mut batch);
        bags.read(3, &mut batch);
        assert_eq!(batch, [0.0, 0.5, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]);

        let mut sequences = TokenSet::sequences(9, 3);
        sequences.push_row(&[5, 1], None);
        batch.clear();
        sequences.read(0, &mut batch);
        assert_eq!((batch, sequences.row_shape()), (vec![5.0, 1.0, 0.0], vec![3]));
    }

    #[test]
    fn columns_stand_beside_each_other() {
        let rows = |columns: &[u32], width| SparseRows {
            offsets: vec![0, columns.len()],
            columns: columns.to_vec(),
            values: vec![1.0; columns.len()],
            width,
        };
        assert_eq!(rows(&[0, 2], 3).beside(&rows(&[1], 2)), rows(&[0, 2, 4], 5));
    }
}
