//! Texts as sequences of words and parts of words.

use std::collections::{BTreeMap, BinaryHeap};

use rayon::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::{AddedToken, Model};

use super::normal::{Normal, is_space, is_word};
use super::percentile_99;
use super::terms::Counts;
use crate::{Error, Result};

/// The bytes, and the ids for padding and for what is unknown.
const BYTES: usize = 256;
/// The smallest vocabulary: without a single merge.
pub(super) const LEAST: usize = BYTES + 2;
/// The most characters that are merged with each other: longer words are cut, so that no text takes
/// time with the square of its length.
const MAX_PIECE: usize = 64;
/// How many texts tell the length of sequences, and how much of each.
const SAMPLE: usize = 10_000;
const SAMPLE_BYTES: usize = 8192;

/// The pieces of a normalised text that parts of words do not cross: runs of letters and digits,
/// and single other characters. The first after a blank has a blank in front. Bytes are written as
/// the visible characters that GPT-2 uses for them.
fn pieces(text: &str, mut see: impl FnMut(&str) -> bool) {
    let mut piece = String::new();
    for chunk in text.split(is_space).filter(|chunk| !chunk.is_empty()) {
        let mut rest = chunk;
        let mut blank = true;
        while let Some(first) = rest.chars().next() {
            let end = match is_word(first) {
                true => rest
                    .char_indices()
                    .enumerate()
                    .find(|(n, (_, c))| *n == MAX_PIECE || !is_word(*c))
                    .map_or(rest.len(), |(_, (at, _))| at),
                false => first.len_utf8(),
            };
            piece.clear();
            piece.extend(blank.then(|| visible(b' ')));
            piece.extend(rest[..end].bytes().map(visible));
            if !see(&piece) {
                return;
            }
            rest = &rest[end..];
            blank = false;
        }
    }
}

/// GPT-2's character for a byte: itself where it is visible, else one from 256 on.
fn visible(byte: u8) -> char {
    let hidden = match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => return char::from(byte),
        0..=b' ' => u32::from(byte),
        0x7f..=0xa0 => 33 + u32::from(byte - 0x7f),
        0xad => 67,
    };
    char::from_u32(256 + hidden).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// What is known of the pieces after some rows.
#[derive(Default)]
pub(super) struct SubwordFit {
    counts: Counts,
    /// The rows whose numbers hash smallest, whichever batch they came in.
    sample: BinaryHeap<(u64, String)>,
    rows: u64,
}

impl SubwordFit {
    pub(super) fn update(&mut self, normal: &Normal, texts: &[&str]) {
        for part in super::count(normal, texts, |text, _, counts| {
            pieces(text, |piece| {
                counts.see(piece);
                true
            });
        }) {
            self.counts.merge(&part);
        }
        for text in texts {
            self.rows += 1;
            let key = scatter(self.rows);
            if self.sample.len() < SAMPLE || self.sample.peek().is_some_and(|top| key < top.0) {
                let start = &text[..text.floor_char_boundary(SAMPLE_BYTES)];
                self.sample.push((key, start.to_string()));
                if self.sample.len() > SAMPLE {
                    self.sample.pop();
                }
            }
        }
    }

    /// The trained model, and the length of sequences that its training texts ask for.
    pub(super) fn finish(
        self,
        normal: &Normal,
        vocabulary: usize,
        longest: usize,
    ) -> Result<(BPE, usize)> {
        let special = |name: &str| AddedToken::from(name, true);
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocabulary)
            .initial_alphabet((0..=255).map(visible).collect())
            // No piece of a text has these names: `<` is a piece by itself.
            .special_tokens(vec![special("<pad>"), special("<unknown>")])
            .build();
        let pieces = std::iter::zip(self.counts.terms.iter(), self.counts.all);
        let pieces = pieces.map(|(piece, count)| (piece.into(), count)).collect();
        let mut model = BPE::default();
        trainer.do_train(&pieces, &mut model).map_err(internal)?;
        let lengths = self.sample.into_vec().into_par_iter().map(|(_, text)| {
            let mut buffer = String::new();
            let text = normal.apply(&text, &mut buffer);
            Ok(encode(&model, text, longest)?.len())
        });
        let mut rows = BTreeMap::new();
        for length in lengths.collect::<Result<Vec<usize>>>()? {
            *rows.entry(length).or_default() += 1;
        }
        Ok((model, percentile_99(&rows)))
    }
}

/// The first `length` ids of a normalised text.
pub(super) fn encode(model: &BPE, text: &str, length: usize) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut failed = None;
    pieces(text, |piece| {
        match model.tokenize(piece) {
            Ok(tokens) => ids.extend(tokens.into_iter().map(|token| token.id)),
            Err(e) => failed = Some(internal(e)),
        }
        ids.len() < length && failed.is_none()
    });
    ids.truncate(length);
    failed.map_or(Ok(ids), Err)
}

fn internal(error: tokenizers::Error) -> Error {
    Error::Config(format!("the vocabulary of parts of words cannot be used: {error}"))
}

/// A number's place in a fixed random order (SplitMix64).
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pieces_end_where_words_do() {
        let cut = |text: &str| {
            let mut all = Vec::new();
            pieces(text, |piece| {
                all.push(piece.to_string());
                true
            });
            all
        };
        assert_eq!(cut("it's  free!! é"), ["Ġit", "'", "s", "Ġfree", "!", "!", "ĠÃ©"]);
        assert_eq!(cut(" \n"), [""; 0]);
        assert_eq!(cut(&"x".repeat(100))[1], "x".repeat(100 - MAX_PIECE));
    }

    #[test]
    fn every_byte_has_its_own_visible_character() {
        let all: HashSet<char> = (0..=255).map(visible).collect();
        assert_eq!(all.len(), 256);
        assert_eq!((visible(b' '), visible(0xad), visible(0xa0)), ('Ġ', 'Ń', 'ł'));
    }
}
