//! Texts as bags of weighted terms.

use serde::{Deserialize, Serialize};

use super::config::{Norm, TextConfig};
use super::ngrams::{Ngrams, Pieces};
use super::terms::{Counts, Terms};

/// The terms of one kind that training saw, and how much one occurrence of each weighs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Weighted {
    #[serde(flatten)]
    kind: Ngrams,
    terms: Terms,
    /// The inverse document frequency, `ln((1 + rows) / (1 + rows with the term)) + 1`: that of
    /// scikit-learn's `smooth_idf`.
    idf: Vec<f64>,
}

impl Weighted {
    pub(super) fn new(kind: Ngrams, counts: &Counts, rows: u64, config: &TextConfig) -> Self {
        let most = config.max_share * rows as f64;
        let kept = counts.keep(config.min_count, most, config.max_terms);
        let idf = |n: &usize| ((1 + rows) as f64 / (1 + counts.rows[*n]) as f64).ln() + 1.0;
        Self {
            kind,
            idf: kept.iter().map(idf).collect(),
            terms: kept.into_iter().map(|n| counts.terms.term(n)).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.terms.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.terms.iter().map(|term| format!("{}:{term}", self.kind.name()))
    }

    /// Puts the weights of a normalised text behind `row`, with columns that start at `first`.
    pub(super) fn weigh(
        &self,
        text: &str,
        sublinear: bool,
        norm: Norm,
        first: usize,
        bag: &mut Bag,
        row: &mut Vec<(u32, f64)>,
    ) {
        let Bag { pieces, sums } = bag;
        self.kind.each(text, pieces, &mut |term| {
            if let Some(number) = self.terms.find(term) {
                sums.add(number, 1.0);
            }
        });
        let weight = |number: usize, count: f64| match sublinear {
            true => (1.0 + count.ln()) * self.idf[number],
            false => count * self.idf[number],
        };
        sums.drain(weight, norm, first, row);
    }
}

/// Puts the counts of a normalised text's hashed terms behind `row`, as scikit-learn's
/// `HashingVectorizer` does: MurmurHash3 tells the column, and its sign whether an occurrence counts
/// up or down, so that terms that share a column tend to cancel out.
pub(super) fn hash(
    kind: &Ngrams,
    text: &str,
    size: usize,
    norm: Norm,
    first: usize,
    bag: &mut Bag,
    row: &mut Vec<(u32, f64)>,
) {
    let Bag { pieces, sums } = bag;
    kind.each(text, pieces, &mut |term| {
        let hash = murmur3(term.as_bytes()) as i32;
        sums.add(hash.unsigned_abs() as usize % size, if hash < 0 { -1.0 } else { 1.0 });
    });
    sums.drain(|_, count| count, norm, first, row);
}

/// MurmurHash3 of 32 bits with the seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = 0u32;
    for word in words {
        hash ^= mix(u32::from_le_bytes(*word));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
    hash ^= mix(tail) ^ bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// What is used again from text to text.
pub(super) struct Bag {
    pieces: Pieces,
    sums: Sums,
}

impl Bag {
    /// Room for numbers below `size`.
    pub(super) fn new(size: usize) -> Self {
        let sums = Sums {
            sums: vec![0.0; size],
            seen: vec![false; size],
            touched: Vec::new(),
        };
        Self {
            pieces: Pieces::default(),
            sums,
        }
    }
}

/// Sums by number, of which few are not zero: memory is bounded by the vocabulary, however long
/// the text.
struct Sums {
    sums: Vec<f64>,
    seen: Vec<bool>,
    touched: Vec<u32>,
}

impl Sums {
    fn add(&mut self, number: usize, value: f64) {
        self.sums[number] += value;
        if !self.seen[number] {
            self.seen[number] = true;
            self.touched.push(number as u32);
        }
    }

    /// Weighs, normalises and takes out all sums, in the order of their numbers.
    fn drain(
        &mut self,
        weight: impl Fn(usize, f64) -> f64,
        norm: Norm,
        first: usize,
        row: &mut Vec<(u32, f64)>,
    ) {
        let start = row.len();
        self.touched.sort_unstable();
        for number in self.touched.drain(..) {
            let at = number as usize;
            self.seen[at] = false;
            let sum = std::mem::take(&mut self.sums[at]);
            if sum != 0.0 {
                row.push((first as u32 + number, weight(at, sum)));
            }
        }
        let weights = &mut row[start..];
        let size = match norm {
            Norm::L2 => weights.iter().map(|(_, w)| w * w).sum::<f64>().sqrt(),
            Norm::L1 => weights.iter().map(|(_, w)| w.abs()).sum(),
            Norm::None => 1.0,
        };
        // A text without a known term has no size, and stays zero.
        weights.iter_mut().for_each(|(_, w)| *w /= size);
    }
}

#[cfg(test)]
mod tests {
    use super::murmur3;

    #[test]
    fn the_hash_is_that_of_scikit_learn() {
        // sklearn.utils.murmurhash3_32(text, seed=0, positive=True)
        for (text, expected) in [
            ("", 0),
            ("a", 1009084850),
            ("free", 1363043438),
            ("to be", 1422154135),
            ("日本語", 2779017879),
        ] {
            assert_eq!(murmur3(text.as_bytes()), expected, "{text}");
        }
    }
}
