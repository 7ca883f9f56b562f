//! Free text: normalised, cut into terms, and made a bag of weights or a sequence of ids.

mod bags;
mod config;
mod ngrams;
mod normal;
mod subwords;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::models::bpe::BPE;

use crate::arrow::array::{ArrayRef, StringArray};
use crate::config::ColumnConfigs;
use crate::contract::{ColumnKind, ColumnRule, Contract};
use crate::frame::downcast;
use crate::samples::{SparseRows, TokenSet};
use crate::{Error, Result};
use bags::{Bag, Weighted, hash};
use ngrams::{Ngrams, Pieces, words};
use normal::Normal;
use subwords::SubwordFit;
use terms::{Counts, Terms};

pub use config::{Accents, AlsoTerms, Analyzer, Norm, TextConfig, TextEncoding};

/// Whether the text features can be learned from together: they stand alone, as bags side by side or
/// as one sequence.
pub(super) fn check_features(contract: &Contract, columns: &ColumnConfigs) -> Result<()> {
    let said = |rule: &ColumnRule| columns.get(&rule.name).and_then(|c| c.text.as_ref());
    if let Some(rule) = contract
        .features()
        .find(|rule| rule.kind != ColumnKind::Text && said(rule).is_some())
    {
        return Err(Error::Config(format!(
            "column `{}`: `text` applies to texts only: remove it, or say `kind = \"text\"`",
            rule.name
        )));
    }
    let texts: Vec<&ColumnRule> = contract
        .features()
        .filter(|rule| rule.kind == ColumnKind::Text)
        .collect();
    if texts.is_empty() {
        return Ok(());
    }
    if let Some(other) = contract.features().find(|rule| rule.kind != ColumnKind::Text) {
        return Err(Error::Config(format!(
            "text cannot be combined with other feature columns: put `{}` or `{}` in `drop`",
            texts[0].name, other.name
        )));
    }
    let sequence = |rule: &&&ColumnRule| {
        let encoding = said(rule).map_or(TextEncoding::Tfidf, TextConfig::encoding);
        matches!(encoding, TextEncoding::Words | TextEncoding::Subwords)
    };
    match texts.iter().find(sequence) {
        Some(rule) if texts.len() > 1 => Err(Error::Config(format!(
            "column `{}` becomes a sequence, which cannot stand beside another text: expected `encode = \"tfidf\"` or `\"hash\"`",
            rule.name
        ))),
        _ => Ok(()),
    }
}

/// A text as a bag of weighted terms or as a sequence of ids. A missing text is an empty one; a term
/// that training never saw is left out of a bag, and is 1 in a sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedText {
    /// The column's name.
    pub name: String,
    normal: Normal,
    encoder: Encoder,
}

/// How normalised texts become numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoder {
    Tfidf {
        kinds: Vec<Weighted>,
        sublinear: bool,
        norm: Norm,
    },
    Hash {
        kinds: Vec<Ngrams>,
        size: usize,
        norm: Norm,
    },
    Words {
        /// The most frequent first: the ids from 2 on.
        terms: Terms,
        length: usize,
    },
    Subwords {
        model: Box<BPE>,
        length: usize,
    },
}

/// Ids of sequences below this one are not words: 0 pads, 1 is unknown.
const FIRST_WORD: usize = 2;
const UNKNOWN: u32 = 1;
/// The longest sequence, where none is configured.
const MAX_LENGTH: usize = 512;
/// Rows that one thread takes at a time.
const PART: usize = 256;

/// What is known of a text column after some batches.
pub(super) struct TextFit {
    name: String,
    config: TextConfig,
    /// The counts of each kind of terms: for `tfidf` and `words`.
    kinds: Vec<(Ngrams, Counts)>,
    /// For `subwords`.
    subwords: SubwordFit,
    rows: u64,
    /// How many rows have how many words, all longer ones counted as `MAX_LENGTH`.
    lengths: BTreeMap<usize, u64>,
}

impl TextFit {
    pub(super) fn new(name: &str, config: &TextConfig) -> Result<Self> {
        config.check(name)?;
        let kinds = match config.encoding() {
            TextEncoding::Tfidf => config.kinds(),
            TextEncoding::Words => vec![Ngrams::WORDS],
            TextEncoding::Hash | TextEncoding::Subwords => Vec::new(),
        };
        Ok(Self {
            name: name.to_string(),
            config: config.clone(),
            kinds: kinds.into_iter().map(|kind| (kind, Counts::default())).collect(),
            subwords: SubwordFit::default(),
            rows: 0,
            lengths: BTreeMap::new(),
        })
    }

    pub(super) fn update(&mut self, values: &ArrayRef) -> Result<()> {
        let texts = texts(values)?;
        let normal = self.config.normal();
        self.rows += texts.len() as u64;
        for (kind, counts) in &mut self.kinds {
            let parts = count(&normal, &texts, |text, pieces, counts| {
                kind.each(text, pieces, &mut |term| counts.see(term));
            });
            parts.iter().for_each(|part| counts.merge(part));
        }
        match self.config.encoding() {
            TextEncoding::Subwords => self.subwords.update(&normal, &texts),
            TextEncoding::Words => {
                let length = |text: &&str| {
                    let mut buffer = String::new();
                    words(normal.apply(text, &mut buffer)).take(MAX_LENGTH).count()
                };
                for length in texts.par_iter().map(length).collect::<Vec<_>>() {
                    *self.lengths.entry(length).or_default() += 1;
                }
            }
            TextEncoding::Tfidf | TextEncoding::Hash => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<FittedText> {
        let config = &self.config;
        let encoder = match config.encoding() {
            TextEncoding::Tfidf => {
                let kinds: Vec<Weighted> = self
                    .kinds
                    .into_iter()
                    .map(|(kind, counts)| Weighted::new(kind, &counts, self.rows, config))
                    .collect();
                if kinds.iter().all(|kind| kind.len() == 0) {
                    return Err(no_terms(&self.name));
                }
                Encoder::Tfidf {
                    kinds,
                    sublinear: config.sublinear,
                    norm: config.norm,
                }
            }
            TextEncoding::Hash => Encoder::Hash {
                kinds: config.kinds(),
                size: config.hash_size,
                norm: config.norm,
            },
            TextEncoding::Words => {
                let counts = self.kinds.into_iter().map(|(_, counts)| counts).next();
                let counts = counts.unwrap_or_default();
                let most = config.max_share * self.rows as f64;
                let mut kept = counts.keep(config.min_count, most, config.max_terms);
                if kept.is_empty() {
                    return Err(no_terms(&self.name));
                }
                kept.sort_by_key(|n| std::cmp::Reverse(counts.all[*n]));
                Encoder::Words {
                    terms: kept.into_iter().map(|n| counts.terms.term(n)).collect(),
                    length: config.length.unwrap_or(percentile_99(&self.lengths)),
                }
            }
            TextEncoding::Subwords => {
                let (model, length) =
                    self.subwords
                        .finish(&config.normal(), config.vocabulary, MAX_LENGTH)?;
                Encoder::Subwords {
                    model: Box::new(model),
                    length: config.length.unwrap_or(length),
                }
            }
        };
        Ok(FittedText {
            normal: self.config.normal(),
            name: self.name,
            encoder,
        })
    }
}

impl FittedText {
    /// Whether texts become sequences of ids, in the order of the text, not bags of terms.
    pub fn is_sequence(&self) -> bool {
        matches!(self.encoder, Encoder::Words { .. } | Encoder::Subwords { .. })
    }

    /// Numbers per row: one per term of a bag, or the length of a sequence.
    pub fn width(&self) -> usize {
        match &self.encoder {
            Encoder::Tfidf { kinds, .. } => kinds.iter().map(Weighted::len).sum(),
            Encoder::Hash { kinds, size, .. } => kinds.len() * size,
            Encoder::Words { length, .. } | Encoder::Subwords { length, .. } => *length,
        }
    }

    /// The number of different ids: [`FittedText::width`] for bags; for sequences with those for
    /// padding and for what is unknown.
    pub fn vocabulary(&self) -> usize {
        match &self.encoder {
            Encoder::Words { terms, .. } => FIRST_WORD + terms.len(),
            Encoder::Subwords { model, .. } => tokenizers::Model::get_vocab_size(&**model),
            Encoder::Tfidf { .. } | Encoder::Hash { .. } => self.width(),
        }
    }

    /// The names of the numbers: `word:free` or `char:fr` for terms, `hash:17` for places of hashed
    /// terms, `NAME:0` for the first id of a sequence.
    pub(super) fn names(&self) -> Vec<String> {
        let numbered = |name: &str| (0..self.width()).map(|i| format!("{name}:{i}")).collect();
        match &self.encoder {
            Encoder::Tfidf { kinds, .. } => kinds.iter().flat_map(Weighted::names).collect(),
            Encoder::Hash { .. } => numbered("hash"),
            Encoder::Words { .. } | Encoder::Subwords { .. } => numbered(&self.name),
        }
    }

    /// Texts as bags, in full precision: `[texts, width]`.
    ///
    /// # Errors
    /// When the values are no texts, or the column becomes sequences.
    pub fn matrix(&self, values: &ArrayRef) -> Result<SparseRows> {
        if self.is_sequence() {
            return Err(Error::Config(format!(
                "column `{}` becomes sequences, which have no weights: expected `encode = \"tfidf\"` or `\"hash\"`",
                self.name
            )));
        }
        let texts = texts(values)?;
        let parts: Vec<SparseRows> =
            texts.par_chunks(PART).map(|texts| self.weigh(texts)).collect();
        let mut rows = SparseRows::new(self.width());
        parts.into_iter().for_each(|part| rows.append(part));
        Ok(rows)
    }

    /// Texts as a network sees them.
    ///
    /// # Errors
    /// When the values are no texts.
    pub fn transform(&self, values: &ArrayRef) -> Result<TokenSet> {
        if !self.is_sequence() {
            return Ok(self.matrix(values)?.into());
        }
        let ids = |text: &&str| {
            let mut buffer = String::new();
            self.ids(self.normal.apply(text, &mut buffer))
        };
        let mut tokens = TokenSet::sequences(self.vocabulary(), self.width());
        for ids in texts(values)?.par_iter().map(ids).collect::<Result<Vec<_>>>()? {
            tokens.push_row(&ids, None);
        }
        Ok(tokens)
    }

    /// The bags of some texts.
    fn weigh(&self, texts: &[&str]) -> SparseRows {
        let mut rows = SparseRows::new(self.width());
        let size = match &self.encoder {
            Encoder::Tfidf { kinds, .. } => kinds.iter().map(Weighted::len).max().unwrap_or(0),
            Encoder::Hash { size, .. } => *size,
            _ => 0,
        };
        let mut bag = Bag::new(size);
        let mut buffer = String::new();
        let mut row = Vec::new();
        for text in texts {
            let text = self.normal.apply(text, &mut buffer);
            row.clear();
            let mut first = 0;
            match &self.encoder {
                Encoder::Tfidf {
                    kinds,
                    sublinear,
                    norm,
                } => {
                    for kind in kinds {
                        kind.weigh(text, *sublinear, *norm, first, &mut bag, &mut row);
                        first += kind.len();
                    }
                }
                Encoder::Hash { kinds, size, norm } => {
                    for kind in kinds {
                        hash(kind, text, *size, *norm, first, &mut bag, &mut row);
                        first += size;
                    }
                }
                Encoder::Words { .. } | Encoder::Subwords { .. } => {}
            }
            rows.columns.extend(row.iter().map(|(column, _)| *column));
            rows.values.extend(row.iter().map(|(_, value)| *value));
            rows.offsets.push(rows.columns.len());
        }
        rows
    }

    /// The sequence of a normalised text.
    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        match &self.encoder {
            Encoder::Words { terms, length } => {
                let id = |word| terms.find(word).map_or(UNKNOWN, |n| (FIRST_WORD + n) as u32);
                Ok(words(text).take(*length).map(id).collect())
            }
            Encoder::Subwords { model, length } => subwords::encode(model, text, *length),
            Encoder::Tfidf { .. } | Encoder::Hash { .. } => Ok(Vec::new()),
        }
    }
}

fn texts(values: &ArrayRef) -> Result<Vec<&str>> {
    let values = downcast::<StringArray>(values)?;
    Ok(values.iter().map(Option::unwrap_or_default).collect())
}

/// Counts the terms of texts, part by part; the sum of the parts does not depend on where they are
/// cut.
fn count(
    normal: &Normal,
    texts: &[&str],
    see: impl Fn(&str, &mut Pieces, &mut Counts) + Sync,
) -> Vec<Counts> {
    // A thread's terms are looked up again when its part is added, so parts are as large as can be.
    let part = texts.len().div_ceil(rayon::current_num_threads()).max(PART);
    let parts = texts.par_chunks(part).map(|texts| {
        let mut counts = Counts::default();
        let mut pieces = Pieces::default();
        let mut buffer = String::new();
        for text in texts {
            counts.next_row();
            see(normal.apply(text, &mut buffer), &mut pieces, &mut counts);
        }
        counts
    });
    parts.collect()
}

/// The length that 99 of 100 texts do not exceed, from 1 to `MAX_LENGTH`.
fn percentile_99(lengths: &BTreeMap<usize, u64>) -> usize {
    let rows: u64 = lengths.values().sum();
    let mut left = rows - rows / 100;
    for (length, rows) in lengths {
        left = left.saturating_sub(*rows);
        if left == 0 {
            return (*length).clamp(1, MAX_LENGTH);
        }
    }
    1
}

fn no_terms(column: &str) -> Error {
    Error::Config(format!(
        "column `{column}`: no term is left of the training texts: lower `text.min_count`, raise `text.max_share`, or say another `text.analyzer`"
    ))
}
