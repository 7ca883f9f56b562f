/// Characters of a word that may be misspelt, at most.
const LONGEST: usize = 100;

/// The candidate closest to `word`, if one is close enough to be a likely misspelling.
///
/// Distance is Damerau-Levenshtein without regard to case; a word may be off by a third of its
/// length. Very long words are nobody's misspelling, and would take memory of many times their size.
pub fn nearest<'a, S>(word: &str, candidates: &'a [S]) -> Option<&'a str>
where
    S: AsRef<str>,
{
    let is_long = |word: &str| word.chars().nth(LONGEST).is_some();
    if is_long(word) {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .iter()
        .map(AsRef::as_ref)
        .filter(|c| !is_long(c))
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_lowercase()), c))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, c)| *distance <= c.chars().count() / 3)
        .map(|(_, c)| c)
}

/// What serde says of a value of the wrong kind, without the names of Rust's types.
pub fn in_plain_words(message: &str) -> String {
    if message.starts_with("data did not match any variant") {
        return "the value has none of the forms that it may have here".into();
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.into();
    };
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    let Some(kind) = kinds.iter().find(|kind| found.starts_with(**kind)) else {
        return message.into();
    };
    let found = found[kind.len()..]
        .trim_end_matches(" as i128")
        .trim_end_matches(" as u128");
    let found = match found.split_once(' ') {
        _ if *kind == "invalid length " => format!("a list of {found}"),
        Some(("string" | "integer" | "boolean" | "character", value)) => {
            format!("`{}`", value.trim_matches('`'))
        }
        _ if found.starts_with("floating point ") => {
            format!("`{}`", found["floating point ".len()..].trim_matches('`'))
        }
        _ if found == "sequence" => "a list".into(),
        _ if found == "map" => "a table".into(),
        _ => found.into(),
    };
    let whole = ["usize", "u8", "u16", "u32", "u64", "u128", "a nonzero usize"];
    let expected = match expected {
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        "a string" => "a text in quotes".into(),
        "a boolean" => "`true` or `false`".into(),
        unsigned if whole.contains(&unsigned) => "a whole number, 0 or more".into(),
        other => match other.strip_prefix("an array of length ") {
            Some(length) => format!("a list of {length}"),
            None if other.starts_with("struct ") => "a table of keys and values".into(),
            None => other.to_string(),
        },
    };
    format!("{found} cannot stand here: expected {expected}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{in_plain_words, nearest};

    #[test]
    fn no_name_of_a_type_is_told() {
        fn check<T: for<'a> Deserialize<'a> + std::fmt::Debug>(text: &str, expected: &str) {
            let error = toml::from_str::<std::collections::BTreeMap<String, T>>(text).unwrap_err();
            assert_eq!(in_plain_words(error.message()), expected);
        }
        let whole = "cannot stand here: expected a whole number, 0 or more";
        check::<usize>("x = \"many\"", &format!("`\"many\"` {whole}"));
        check::<u32>("x = -3", &format!("`-3` {whole}"));
        check::<u64>("x = 1.5", &format!("`1.5` {whole}"));
        check::<usize>(
            "x = 99999999999999999999999",
            &format!("`99999999999999999999999` {whole}"),
        );
        check::<f64>("x = \"a\"", "`\"a\"` cannot stand here: expected a number");
        check::<Vec<f64>>("x = 3", "`3` cannot stand here: expected a list");
        check::<[f64; 2]>("x = [1]", "a list of 1 cannot stand here: expected a list of 2");
        check::<bool>("x = [1]", "a list cannot stand here: expected `true` or `false`");
        check::<String>("x = {}", "a table cannot stand here: expected a text in quotes");
        check::<char>("x = \";;\"", "`\";;\"` cannot stand here: expected a character");
        // What is no such sentence stays.
        assert_eq!(in_plain_words("missing field `kind`"), "missing field `kind`");
    }

    #[test]
    fn finds_a_misspelling_and_refuses_a_stranger() {
        let columns = ["income", "age", "workclass"];
        assert_eq!(nearest("incme", &columns), Some("income"));
        assert_eq!(nearest("Age", &columns), Some("age"));
        assert_eq!(nearest("zzz", &columns), None);
        assert_eq!(nearest("y", &["x", "z"]), None);
        // As long as a word may be, and longer than can be compared.
        let (long, longer) = ("é".repeat(100), "é".repeat(1 << 20));
        assert_eq!(nearest(&format!("{}e", &long[2..]), &[&longer, &long]), Some(&*long));
        assert_eq!(nearest(&longer, &[&longer, &long]), None);
    }
}
