//! Windows of rows that follow each other.

use crate::Result;
use crate::floats::Floats;

/// Windows over a table, which is held once: each sample is the rows of one group that end with
/// some row, at most `length` of them.
#[derive(Clone, Debug)]
pub struct SequenceSet {
    /// The prepared rows, by group and in order.
    pub(crate) rows: Floats,
    /// The number that the row at each place had when it came.
    pub(crate) order: Vec<u32>,
    /// For each place, where its group starts.
    pub(crate) starts: Vec<u32>,
    /// For each sample, the place of its window's last row.
    pub(crate) ends: Vec<u32>,
    /// Rows in a window.
    pub(crate) length: usize,
    /// Rows that are no sample since their group has no row `horizon` later.
    pub(crate) without_target: usize,
}

impl SequenceSet {
    /// The number of windows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no window.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Numbers per row, the mask among them.
    pub fn width(&self) -> usize {
        self.rows.width() + 1
    }

    /// `[length, width]`. The last number of each row is the mask.
    pub fn row_shape(&self) -> Vec<usize> {
        vec![self.length, self.width()]
    }

    /// The number that a window's last row had among those that came.
    pub fn last_row(&self, window: usize) -> usize {
        self.order[self.ends[window] as usize] as usize
    }

    /// How many rows are no sample since their group ends before the row that has their target.
    pub fn without_target(&self) -> usize {
        self.without_target
    }

    /// Puts a window behind `batch`, `[length, width]` row-major: zeros where the group has no row,
    /// then its rows, each with a 1 behind it.
    ///
    /// # Errors
    /// When the rows stand in a temporary file that cannot be read.
    pub fn read(&self, window: usize, batch: &mut Vec<f32>) -> Result<()> {
        let end = self.ends[window] as usize + 1;
        let start = (self.starts[end - 1] as usize).max(end.saturating_sub(self.length));
        let filling = (self.length - (end - start)) * self.width();
        batch.resize(batch.len() + filling, 0.0);
        let width = self.rows.width();
        self.rows.with(start..end, |rows| {
            for row in 0..end - start {
                batch.extend_from_slice(&rows[row * width..][..width]);
                batch.push(1.0);
            }
        })
    }
}
