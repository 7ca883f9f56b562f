use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

use super::config::Accents;

/// What is done to a text before it is cut into terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Normal {
    pub(super) lowercase: bool,
    pub(super) accents: Accents,
}

impl Normal {
    /// The text in small letters and without accents, as asked for; `buffer` may be used for it.
    pub(super) fn apply<'a>(&self, text: &'a str, buffer: &'a mut String) -> &'a str {
        buffer.clear();
        match (text.is_ascii(), self.lowercase, self.accents) {
            (true, true, _) => {
                buffer.push_str(text);
                buffer.make_ascii_lowercase();
            }
            (true, false, _) | (_, false, Accents::Keep) => return text,
            (false, true, Accents::Keep) => *buffer = text.to_lowercase(),
            (false, false, Accents::Strip) => strip(text, buffer),
            (false, true, Accents::Strip) => strip(&text.to_lowercase(), buffer),
        }
        buffer
    }
}

fn strip(text: &str, buffer: &mut String) {
    buffer.extend(text.nfkd().filter(|c| canonical_combining_class(*c) == 0));
}

/// Python's `\w`: letters, numbers and the underscore. Rust's "alphanumeric" also has the vowel
/// signs of some scripts, and letters in circles, which Unicode counts as marks and as symbols.
pub(super) fn is_word(c: char) -> bool {
    match c {
        _ if c.is_ascii() => c.is_ascii_alphanumeric() || c == '_',
        '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}' => false,
        _ => c.is_alphanumeric() && !is_combining_mark(c),
    }
}

/// Python's `\s`, which has four control characters more than Unicode's `White_Space`.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_become_small_and_lose_accents() {
        let apply = |lowercase, accents, text: &str| {
            let normal = Normal { lowercase, accents };
            normal.apply(text, &mut String::new()).to_string()
        };
        assert_eq!(apply(true, Accents::Keep, "Ärger ABC"), "ärger abc");
        assert_eq!(apply(true, Accents::Strip, "Ärger ﬁn Ångström"), "arger fin angstrom");
        assert_eq!(apply(false, Accents::Strip, "Ärger"), "Arger");
        assert_eq!(apply(false, Accents::Keep, "Ärger"), "Ärger");
        // The last sigma of a word, as Python has it.
        assert_eq!(apply(true, Accents::Keep, "ΟΔΟΣ"), "οδος");
    }

    #[test]
    fn words_and_blanks_are_those_of_python() {
        assert!("aZ9_éß中½ⅷ٣".chars().all(is_word));
        assert!(!"-. \u{301}ⓐ🙂€".chars().any(is_word));
        assert!(" \t\n\u{a0}\u{2003}\u{1f}\u{85}".chars().all(is_space));
        assert!(!is_space('\u{200b}'));
    }
}
