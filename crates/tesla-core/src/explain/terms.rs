//! The words of a text that the terms of a bag come from.

use std::collections::{BTreeMap, BTreeSet};

use tesla_data::prepare::FittedColumn;

/// Gives what each term of a row added to the words that have it: a pair of words to both, a piece of
/// a word to the words it is part of, evenly. What no word has, such as a hashed term, stands for
/// itself. Sums do not change.
///
/// `texts` are the texts by column; `terms` are named as the pipeline names its features.
pub(super) fn by_word(texts: &[(String, String)], terms: &[(&str, f64)]) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let several = texts.len() > 1;
    let texts: Vec<(String, Words)> = texts
        .iter()
        .map(|(column, text)| (format!("{column}:"), Words::of(text, longest(terms))))
        .collect();
    for (term, amount) in terms {
        let own = |(column, words): &(String, Words)| match several {
            true => Some((column.clone(), words.with(term.strip_prefix(column.as_str())?))),
            false => Some((String::new(), words.with(term))),
        };
        let (column, words) = texts.iter().find_map(own).unwrap_or_default();
        match words.is_empty() {
            true => *sums.entry((*term).to_string()).or_default() += amount,
            false => {
                for word in &words {
                    let name = format!("{column}{word}");
                    *sums.entry(name).or_default() += amount / words.len() as f64;
                }
            }
        }
    }
    sums.into_iter().collect()
}

/// The columns that hold texts.
pub(super) fn text_columns(features: &[FittedColumn]) -> impl Iterator<Item = &str> {
    let texts = features.iter().filter(|f| matches!(f, FittedColumn::Text(_)));
    texts.map(FittedColumn::name)
}

/// The most characters of a piece of a word.
fn longest(terms: &[(&str, f64)]) -> usize {
    let pieces = terms.iter().filter_map(|(term, _)| term.split_once("char"));
    pieces
        .filter_map(|(_, rest)| Some(rest.split_once(':')?.1.chars().count()))
        .max()
        .unwrap_or(0)
}

/// What stands between blanks in a text, by the words and pieces that are in it.
#[derive(Default)]
struct Words {
    by_word: BTreeMap<String, BTreeSet<String>>,
    by_piece: BTreeMap<String, BTreeSet<String>>,
}

impl Words {
    fn of(text: &str, longest: usize) -> Self {
        let mut found = Words::default();
        let text = text.to_lowercase();
        let whole: BTreeSet<&str> = text.split_whitespace().collect();
        for whole in whole {
            let name = match whole.trim_matches(|c: char| !c.is_alphanumeric()) {
                "" => whole,
                bare => bare,
            };
            for word in whole.split(|c: char| !c.is_alphanumeric() && c != '_') {
                found
                    .by_word
                    .entry(word.to_string())
                    .or_default()
                    .insert(name.to_string());
            }
            let padded: Vec<char> = format!(" {whole} ").chars().collect();
            for long in 1..=longest.min(padded.len()) {
                for piece in padded.windows(long) {
                    let piece = piece.iter().collect();
                    found.by_piece.entry(piece).or_default().insert(name.to_string());
                }
            }
        }
        found
    }

    /// The words that have a term, such as `word:see you` or `char_wb: se`.
    fn with(&self, term: &str) -> BTreeSet<String> {
        let of_word = |word: &str| self.by_word.get(word).cloned().unwrap_or_default();
        match term.split_once(':') {
            Some(("word", words)) => words.split(' ').flat_map(of_word).collect(),
            Some(("char" | "char_wb", piece)) => {
                self.by_piece.get(piece).cloned().unwrap_or_default()
            }
            _ => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_go_to_the_words_that_have_them() {
        let texts = [("text".to_string(), "FREE prize, free  lunch!".to_string())];
        let terms = [
            ("word:free", 1.0),
            ("word:free prize", 2.0),
            ("char_wb: lu", 4.0),
            ("char_wb:e", 8.0),
            ("char:h! x", 16.0),
            ("hash:3", 32.0),
        ];
        let found = by_word(&texts, &terms);
        let expected =
            [("char:h! x", 16.0), ("free", 6.0), ("hash:3", 32.0), ("lunch", 4.0), ("prize", 5.0)];
        assert_eq!(found, expected.map(|(name, amount)| (name.to_string(), amount)));
        let two = [texts[0].clone(), ("more".into(), "free".into())];
        assert_eq!(by_word(&two, &[("more:word:free", 1.0)]), [("more:free".to_string(), 1.0)]);
    }
}
