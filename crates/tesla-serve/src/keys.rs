//! API keys: who may ask.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The keys that open a server. Only their digests are kept.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    digests: Vec<[u8; 32]>,
}

impl Keys {
    /// The keys of a text: one a line or between commas. Blank lines and lines with `#` before them
    /// are left out.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let keys = lines.flat_map(|line| line.split(',')).map(str::trim);
        Self {
            digests: keys.filter(|key| !key.is_empty()).map(digest).collect(),
        }
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.digests.extend(other.digests);
        self
    }

    /// Whether there is no key, so that everybody may ask.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether a request carries a key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        let bearer = |text: &str| {
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_string())
        };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let given = text(header::AUTHORIZATION.as_str())
            .and_then(bearer)
            .or_else(|| text("x-api-key").map(str::to_string));
        self.is_empty() || given.is_some_and(|key| self.knows(&key))
    }

    /// Takes the same time whichever key is right, and however much of a wrong one is.
    fn knows(&self, key: &str) -> bool {
        let given = digest(key);
        let equal = |known: &[u8; 32]| known.as_slice().ct_eq(given.as_slice());
        let any = self
            .digests
            .iter()
            .fold(Choice::from(0), |any, known| any | equal(known));
        any.into()
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(keys: &Keys, name: &'static str, value: &str) -> bool {
        keys.admit(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
    }

    #[test]
    fn a_key_opens_and_nothing_else_does() {
        let keys = Keys::parse("# two teams\none, two\n\nthree\n");
        assert_eq!(keys.digests.len(), 3);
        assert!(admits(&keys, "authorization", "Bearer two"));
        assert!(admits(&keys, "x-api-key", "three"));
        for (name, value) in [
            ("authorization", "two"),
            ("authorization", "Bearer tw"),
            ("authorization", "Basic two"),
            ("x-api-key", "# two teams"),
            ("x-api-key", ""),
            ("cookie", "one"),
        ] {
            assert!(!admits(&keys, name, value), "{name}: {value}");
        }
        assert!(Keys::parse(" \n,").admit(&HeaderMap::new()));
    }
}
