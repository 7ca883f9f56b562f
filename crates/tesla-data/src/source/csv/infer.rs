use super::blocks::{Block, Blocks, Mapped};
use super::dialect::Dialect;
use super::record::Fields;
use crate::Result;
use crate::source::Seen;

/// What the rows of a file show of each column.
pub(super) fn infer(blocks: Blocks, dialect: &Dialect, columns: usize) -> Result<Vec<Seen>> {
    let mut total = vec![Seen::default(); columns];
    for block in Mapped::new(blocks, |block| count(&block, dialect, columns)) {
        for (total, block) in std::iter::zip(&mut total, block?) {
            total.present += block.present;
            total.numbers += block.numbers;
        }
    }
    Ok(total)
}

fn count(block: &Block, dialect: &Dialect, columns: usize) -> Vec<Seen> {
    let mut seen = vec![Seen::default(); columns];
    let mut fields = Fields::default();
    for record in &block.records {
        let text = &block.text[record.start..record.end];
        dialect.split(text, &mut fields);
        // A ragged row says nothing about columns; the scan sets it apart.
        if fields.list.len() != columns {
            continue;
        }
        for (seen, field) in std::iter::zip(&mut seen, fields.iter(text)) {
            if dialect.number(field).is_some() {
                seen.present += 1;
                seen.numbers += 1;
            } else if !dialect.missing.has(field) {
                seen.present += 1;
            }
        }
    }
    seen
}
