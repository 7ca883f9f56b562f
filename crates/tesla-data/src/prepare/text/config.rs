use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ngrams::Ngrams;
use super::normal::Normal;
use crate::{Error, Result};

/// `text = { … }` in `[columns.NAME]`: how a text becomes numbers. Names and defaults are those of
/// scikit-learn's `TfidfVectorizer` and `HashingVectorizer`, where they have one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// What a text becomes. Default: `tfidf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode: Option<TextEncoding>,
    /// Whether letters become small.
    pub lowercase: bool,
    /// What becomes of accents.
    pub accents: Accents,
    /// What a term is made of (`tfidf` and `hash`).
    pub analyzer: Analyzer,
    /// The least and the most words or characters that make one term (`tfidf` and `hash`).
    pub ngrams: [usize; 2],
    /// Terms of a second kind, beside the first (`tfidf` and `hash`): words with `char_wb` of
    /// `[2, 5]` know an intent even where a word is misspelt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub also: Option<AlsoTerms>,
    /// Terms in fewer training rows are left out (`tfidf` and `words`).
    pub min_count: usize,
    /// Terms in a larger share of the training rows, in 0..1, are left out (`tfidf` and `words`).
    pub max_share: f64,
    /// The most terms that are kept, of each kind: the most frequent (`tfidf` and `words`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_terms: Option<usize>,
    /// Whether a term's count `n` in a text weighs `1 + ln(n)` (`tfidf`).
    pub sublinear: bool,
    /// What every text's weights are divided by (`tfidf` and `hash`).
    pub norm: Norm,
    /// How many numbers the terms of a kind are hashed to (`hash`).
    pub hash_size: usize,
    /// The longest sequence; the end of a longer text is left out (`words` and `subwords`). When not
    /// said: as long as 99 of 100 training texts, at most 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// How many parts of words are learned, with the 256 bytes and the ids for padding and for
    /// what is unknown among them (`subwords`).
    pub vocabulary: usize,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            encode: None,
            lowercase: true,
            accents: Accents::Keep,
            analyzer: Analyzer::Word,
            ngrams: [1, 1],
            also: None,
            min_count: 1,
            max_share: 1.0,
            max_terms: None,
            sublinear: false,
            norm: Norm::L2,
            hash_size: 1 << 18,
            length: None,
            vocabulary: 8000,
        }
    }
}

/// What a text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextEncoding {
    /// The weights of the terms that training saw: many where the text has them often and few
    /// texts have them.
    Tfidf,
    /// Counts of hashed terms: nothing is learned, and two terms may share a place.
    Hash,
    /// The sequence of its words.
    Words,
    /// The sequence of its words and parts of words, by byte-pair encoding: no text is unknown.
    Subwords,
}

/// What becomes of accents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accents {
    /// They stay.
    #[default]
    Keep,
    /// Characters are decomposed (NFKD) and combining marks left out: `é` becomes `e`.
    Strip,
}

/// What a term is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Analyzer {
    /// Words: two or more letters, digits or underscores.
    #[default]
    Word,
    /// Characters, blanks and punctuation included.
    Char,
    /// Characters of one word, with a blank before and after it.
    CharWb,
}

/// What every text's weights are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// The root of the sum of their squares.
    #[default]
    L2,
    /// The sum of their absolute values.
    L1,
    /// Nothing.
    None,
}

/// Terms of a second kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlsoTerms {
    /// What they are made of.
    pub analyzer: Analyzer,
    /// The least and the most words or characters that make one term.
    pub ngrams: [usize; 2],
}

/// The most words or characters in a term.
const MAX_NGRAM: usize = 20;
/// The most numbers a kind of terms is hashed to.
const MAX_HASH_SIZE: usize = 1 << 24;
/// The most ids a vocabulary of parts of words may have.
const MAX_VOCABULARY: usize = 1 << 20;
/// The longest sequence.
const MAX_LENGTH: usize = 1 << 16;

impl TextConfig {
    /// What a text becomes.
    pub fn encoding(&self) -> TextEncoding {
        self.encode.unwrap_or(TextEncoding::Tfidf)
    }

    pub(super) fn normal(&self) -> Normal {
        Normal {
            lowercase: self.lowercase,
            accents: self.accents,
        }
    }

    /// The kinds of terms.
    pub(super) fn kinds(&self) -> Vec<Ngrams> {
        let first = Ngrams {
            analyzer: self.analyzer,
            ngrams: self.ngrams,
        };
        let second = self.also.iter().map(|also| Ngrams {
            analyzer: also.analyzer,
            ngrams: also.ngrams,
        });
        std::iter::once(first).chain(second).collect()
    }

    /// Whether every value is possible, and of use to the encoding.
    pub(super) fn check(&self, column: &str) -> Result<()> {
        let fail = |key: &str, reason: String| {
            Err(Error::Config(format!("column `{column}`: `text.{key}` {reason}")))
        };
        for Ngrams { ngrams, .. } in self.kinds() {
            if ngrams[0] < 1 || ngrams[0] > ngrams[1] || ngrams[1] > MAX_NGRAM {
                let reason = format!(
                    "is {ngrams:?}: expected the least and the most in a term, from 1 to {MAX_NGRAM}"
                );
                return fail("ngrams", reason);
            }
        }
        if !(self.max_share > 0.0 && self.max_share <= 1.0) {
            let reason = format!("is {}: expected a share above 0, at most 1", self.max_share);
            return fail("max_share", reason);
        }
        let least = super::subwords::LEAST;
        let numbers = [
            ("min_count", Some(self.min_count), 1, usize::MAX),
            ("max_terms", self.max_terms, 1, u32::MAX as usize / 4),
            ("hash_size", Some(self.hash_size), 1, MAX_HASH_SIZE),
            ("length", self.length, 1, MAX_LENGTH),
            ("vocabulary", Some(self.vocabulary), least, MAX_VOCABULARY),
        ];
        for (key, value, least, most) in numbers {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                let expected = match most {
                    usize::MAX => format!("at least {least}"),
                    most => format!("from {least} to {most}"),
                };
                return fail(key, format!("is {value}: expected {expected}"));
            }
        }
        self.check_use(fail)
    }

    /// A key that the encoding has no use for was meant to have an effect.
    fn check_use(&self, fail: impl Fn(&str, String) -> Result<()>) -> Result<()> {
        use TextEncoding::{Hash, Subwords, Tfidf, Words};
        let usual = Self::default();
        let keys = [
            ("analyzer", self.analyzer != usual.analyzer, &[Tfidf, Hash][..]),
            ("ngrams", self.ngrams != usual.ngrams, &[Tfidf, Hash]),
            ("also", self.also.is_some(), &[Tfidf, Hash]),
            ("min_count", self.min_count != usual.min_count, &[Tfidf, Words]),
            ("max_share", self.max_share != usual.max_share, &[Tfidf, Words]),
            ("max_terms", self.max_terms.is_some(), &[Tfidf, Words]),
            ("sublinear", self.sublinear, &[Tfidf]),
            ("norm", self.norm != usual.norm, &[Tfidf, Hash]),
            ("hash_size", self.hash_size != usual.hash_size, &[Hash]),
            ("length", self.length.is_some(), &[Words, Subwords]),
            ("vocabulary", self.vocabulary != usual.vocabulary, &[Subwords]),
        ];
        let name = |e: &TextEncoding| format!("`{}`", format!("{e:?}").to_lowercase());
        for (key, said, users) in keys {
            if said && !users.contains(&self.encoding()) {
                let users: Vec<String> = users.iter().map(name).collect();
                let reason = format!(
                    "has no effect where `encode` is {}: remove it, or encode by {}",
                    name(&self.encoding()),
                    users.join(" or ")
                );
                return fail(key, reason);
            }
        }
        Ok(())
    }
}
