use serde::{Deserialize, Serialize};

use super::config::Analyzer;
use super::normal::{is_space, is_word};

/// Terms of one kind: runs of words or of characters, exactly as scikit-learn cuts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ngrams {
    pub(super) analyzer: Analyzer,
    /// The least and the most words or characters in a term.
    pub(super) ngrams: [usize; 2],
}

/// Where terms are put together before they are looked at.
#[derive(Default)]
pub(super) struct Pieces {
    text: String,
    /// Where each word starts and ends in `text`.
    words: Vec<(usize, usize)>,
    /// Where each character starts in `text`, and the last one ends.
    bounds: Vec<usize>,
}

impl Ngrams {
    pub(super) const WORDS: Ngrams = Ngrams {
        analyzer: Analyzer::Word,
        ngrams: [1, 1],
    };

    /// How the kind is called in the names of features.
    pub(super) fn name(&self) -> &'static str {
        match self.analyzer {
            Analyzer::Word => "word",
            Analyzer::Char => "char",
            Analyzer::CharWb => "char_wb",
        }
    }

    /// Calls `see` with every term of a normalised text, as often as the text has it.
    pub(super) fn each(&self, text: &str, pieces: &mut Pieces, see: &mut impl FnMut(&str)) {
        let [least, most] = self.ngrams;
        match self.analyzer {
            Analyzer::Word if most == 1 => words(text).for_each(see),
            Analyzer::Word => {
                pieces.join(words(text));
                for n in least..=most {
                    for run in pieces.words.windows(n) {
                        see(&pieces.text[run[0].0..run[n - 1].1]);
                    }
                }
            }
            Analyzer::Char => {
                pieces.collapse(text);
                for n in least..=most {
                    pieces.runs(n, see);
                }
            }
            Analyzer::CharWb => {
                for word in text.split(is_space).filter(|word| !word.is_empty()) {
                    pieces.pad(word);
                    for n in least..=most {
                        // A word shorter than the term counts once, as a whole.
                        if pieces.bounds.len() - 1 <= n {
                            see(&pieces.text);
                            break;
                        }
                        pieces.runs(n, see);
                    }
                }
            }
        }
    }
}

/// The words of a text: two or more letters, digits or underscores in a row, `\b\w\w+\b`.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c))
        .filter(|word| word.chars().nth(1).is_some())
}

impl Pieces {
    /// Words with one blank between them.
    fn join<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        self.text.clear();
        self.words.clear();
        for word in words {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            let start = self.text.len();
            self.text.push_str(word);
            self.words.push((start, self.text.len()));
        }
    }

    /// A text in which two blanks in a row or more are one.
    fn collapse(&mut self, text: &str) {
        self.text.clear();
        let mut rest = text;
        while let Some(start) = rest.find(is_space) {
            let (before, blanks) = rest.split_at(start);
            let after = blanks.trim_start_matches(is_space);
            let blanks = &blanks[..blanks.len() - after.len()];
            self.text.push_str(before);
            match blanks.chars().nth(1) {
                Some(_) => self.text.push(' '),
                None => self.text.push_str(blanks),
            }
            rest = after;
        }
        self.text.push_str(rest);
        self.bound();
    }

    fn pad(&mut self, word: &str) {
        self.text.clear();
        self.text.push(' ');
        self.text.push_str(word);
        self.text.push(' ');
        self.bound();
    }

    fn bound(&mut self) {
        self.bounds.clear();
        self.bounds.extend(self.text.char_indices().map(|(at, _)| at));
        self.bounds.push(self.text.len());
    }

    fn runs(&self, n: usize, see: &mut impl FnMut(&str)) {
        for run in self.bounds.windows(n + 1) {
            see(&self.text[run[0]..run[n]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(analyzer: Analyzer, ngrams: [usize; 2], text: &str, expected: &[&str]) {
        let mut seen = Vec::new();
        let kind = Ngrams { analyzer, ngrams };
        kind.each(text, &mut Pieces::default(), &mut |term| seen.push(term.to_string()));
        assert_eq!(seen, expected, "{kind:?}");
    }

    #[test]
    fn terms_are_those_of_scikit_learn() {
        check(Analyzer::Word, [1, 2], "a b's to-be", &["to", "be", "to be"]);
        check(Analyzer::Word, [2, 3], "to be or", &["to be", "be or", "to be or"]);
        check(Analyzer::Word, [1, 2], "", &[]);
        check(Analyzer::Char, [1, 2], "a\n \tb", &["a", " ", "b", "a ", " b"]);
        check(Analyzer::Char, [2, 3], "\né", &["\né"]);
        check(
            Analyzer::CharWb,
            [2, 4],
            "ab  c",
            &[" a", "ab", "b ", " ab", "ab ", " ab ", " c", "c ", " c "],
        );
        check(Analyzer::CharWb, [5, 6], "ab c", &[" ab ", " c "]);
    }
}
