use std::fmt;
use std::hash::{BuildHasher, RandomState};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Different terms, numbered in the order in which they came: one long text, and a table that finds
/// a term's number. As JSON it is the list of the terms.
///
/// The table's hash is seeded by the process, so that no text can be written to make it slow. No
/// number depends on it.
#[derive(Clone, Default)]
pub(super) struct Terms {
    text: String,
    /// Where each term ends in `text`.
    ends: Vec<usize>,
    /// Open addressing: a term's number, or `NONE`. A power of two, at least twice the terms.
    slots: Vec<u32>,
    hasher: RandomState,
}

const NONE: u32 = u32::MAX;

impl Terms {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn term(&self, number: usize) -> &str {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[number]]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| self.term(number))
    }

    /// The number of a term that is known.
    pub(super) fn find(&self, term: &str) -> Option<usize> {
        match self.slots.is_empty() {
            true => None,
            false => match self.slots[self.slot(term)] {
                NONE => None,
                number => Some(number as usize),
            },
        }
    }

    /// The number of a term, which becomes the next one where the term is new.
    pub(super) fn number(&mut self, term: &str) -> usize {
        if 2 * (self.len() + 1) > self.slots.len() {
            self.grow();
        }
        let slot = self.slot(term);
        if self.slots[slot] == NONE {
            self.slots[slot] = self.len() as u32;
            self.text.push_str(term);
            self.ends.push(self.text.len());
        }
        self.slots[slot] as usize
    }

    /// The slot that holds a term, or the free one where it belongs.
    fn slot(&self, term: &str) -> usize {
        let last = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(term) as usize & last;
        while self.slots[slot] != NONE && self.term(self.slots[slot] as usize) != term {
            slot = (slot + 1) & last;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![NONE; (4 * self.len()).next_power_of_two().max(16)];
        for number in 0..self.len() {
            let slot = self.slot(self.term(number));
            self.slots[slot] = number as u32;
        }
    }
}

impl<'a> FromIterator<&'a str> for Terms {
    fn from_iter<I: IntoIterator<Item = &'a str>>(terms: I) -> Self {
        let mut all = Terms::default();
        for term in terms {
            all.number(term);
        }
        all
    }
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends && self.text == other.text
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Terms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        let terms: Terms = list.iter().map(String::as_str).collect();
        match terms.len() == list.len() {
            true => Ok(terms),
            false => Err(D::Error::custom("the vocabulary has a term twice")),
        }
    }
}

/// How often each term was seen.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) terms: Terms,
    /// In how many rows.
    pub(super) rows: Vec<u64>,
    /// How often in all.
    pub(super) all: Vec<u64>,
    /// The last row that had it, counted from 1 within this part.
    last: Vec<usize>,
    row: usize,
}

impl Counts {
    pub(super) fn next_row(&mut self) {
        self.row += 1;
    }

    pub(super) fn see(&mut self, term: &str) {
        let number = self.number(term);
        self.all[number] += 1;
        if self.last[number] != self.row {
            self.last[number] = self.row;
            self.rows[number] += 1;
        }
    }

    /// Adds what was seen in other rows.
    pub(super) fn merge(&mut self, other: &Counts) {
        for (at, term) in other.terms.iter().enumerate() {
            let number = self.number(term);
            self.all[number] += other.all[at];
            self.rows[number] += other.rows[at];
        }
    }

    fn number(&mut self, term: &str) -> usize {
        let number = self.terms.number(term);
        if number == self.all.len() {
            self.all.push(0);
            self.rows.push(0);
            self.last.push(0);
        }
        number
    }

    /// The numbers of the terms in at least `min_count` rows and at most `most` of them, sorted by
    /// term; of these the `max_terms` most frequent, the first by term where several are.
    pub(super) fn keep(&self, min_count: usize, most: f64, max_terms: Option<usize>) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..self.terms.len())
            .filter(|n| self.rows[*n] >= min_count as u64 && self.rows[*n] as f64 <= most)
            .collect();
        kept.sort_unstable_by_key(|n| self.terms.term(*n));
        if let Some(max_terms) = max_terms.filter(|max| kept.len() > *max) {
            // A stable sort leaves equally frequent terms in their order.
            kept.sort_by_key(|n| std::cmp::Reverse(self.all[*n]));
            kept.truncate(max_terms);
            kept.sort_unstable_by_key(|n| self.terms.term(*n));
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_has_one_number() {
        let names: Vec<String> = (0..1000).map(|i| format!("t{i}")).collect();
        let terms: Terms = names.iter().chain(&names).map(String::as_str).collect();
        assert_eq!(terms.len(), 1000);
        assert!(names.iter().enumerate().all(|(i, name)| terms.find(name) == Some(i)));
        assert_eq!(
            (terms.find("t1000"), terms.find(""), Terms::default().find("")),
            (None, None, None)
        );
        let text = serde_json::to_string(&terms).unwrap();
        assert_eq!(serde_json::from_str::<Terms>(&text).unwrap(), terms);
        assert!(serde_json::from_str::<Terms>(r#"["a", "a"]"#).is_err());
    }

    #[test]
    fn keeps_the_most_frequent_and_the_first_of_equals() {
        let mut counts = Counts::default();
        for row in ["d c c", "d b a", "d a b x"] {
            counts.next_row();
            row.split(' ').for_each(|term| counts.see(term));
        }
        let keep = |min, most, max| -> Vec<&str> {
            let kept = counts.keep(min, most, max);
            kept.into_iter().map(|n| counts.terms.term(n)).collect()
        };
        assert_eq!(keep(1, 3.0, None), ["a", "b", "c", "d", "x"]);
        assert_eq!(keep(2, 3.0, None), ["a", "b", "d"]);
        assert_eq!(keep(1, 2.9, Some(2)), ["a", "b"]);
        assert_eq!(keep(1, 3.0, Some(2)), ["a", "d"]);
    }
}
