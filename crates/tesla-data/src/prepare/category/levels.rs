//! Levels by name, fast: the hottest loop of a table with categories.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::OnceLock;

/// Names in the order they were first seen.
#[derive(Default)]
pub(super) struct Names {
    ids: Map,
}

type Map = HashMap<Box<str>, u32, BuildHasherDefault<Folded>>;

impl Names {
    /// The number of a name; a new one gets the next.
    pub(super) fn id(&mut self, name: &str) -> usize {
        match self.ids.get(name) {
            Some(id) => *id as usize,
            None => {
                let id = self.ids.len();
                self.ids.insert(name.into(), id as u32);
                id
            }
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    /// The names in alphabetical order, each with its number.
    pub(super) fn sorted(self) -> Vec<(String, usize)> {
        let mut names: Vec<(String, usize)> = self
            .ids
            .into_iter()
            .map(|(name, id)| (name.into(), id as usize))
            .collect();
        names.sort_unstable();
        names
    }
}

/// The place of each level, made when it is first asked for and no part of what a bundle holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(OnceLock<Map>);

impl Places {
    /// The place of `name` among `levels`.
    pub(super) fn of(&self, name: &str, levels: &[String]) -> Option<usize> {
        let places = self.0.get_or_init(|| {
            let places = levels.iter().enumerate();
            places
                .map(|(place, level)| (level.as_str().into(), place as u32))
                .collect()
        });
        places.get(name).map(|place| *place as usize)
    }
}

/// It follows from the levels, which are compared themselves.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Eight bytes at a time, multiplied and folded. The standard hasher withstands chosen keys at
/// several times the cost; here the levels are few beside the rows.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_u8(&mut self, _: u8) {
        // The end mark of a text: its length is hashed already.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
