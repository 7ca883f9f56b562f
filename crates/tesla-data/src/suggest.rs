/// The candidate closest to `word`, if one is close enough to be a likely misspelling.
///
/// Distance is Damerau-Levenshtein without regard to case; a word may be off by a third of its
/// length.
pub fn nearest<'a, S>(word: &str, candidates: &'a [S]) -> Option<&'a str>
where
    S: AsRef<str>,
{
    let lower = word.to_lowercase();
    candidates
        .iter()
        .map(AsRef::as_ref)
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_lowercase()), c))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, c)| *distance <= c.chars().count() / 3)
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_a_misspelling_and_refuses_a_stranger() {
        let columns = ["income", "age", "workclass"];
        assert_eq!(nearest("incme", &columns), Some("income"));
        assert_eq!(nearest("Age", &columns), Some("age"));
        assert_eq!(nearest("zzz", &columns), None);
        assert_eq!(nearest("y", &["x", "z"]), None);
    }
}
