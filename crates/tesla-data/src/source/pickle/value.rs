//! What a pickle builds: nodes in one arena. A node refers to others by number, so that shared
//! values cost nothing, a cycle is only a number, and dropping never recurses.

use std::borrow::Cow;
use std::cell::Cell;

use super::globals::Global;
use crate::source::ndarray::text;

pub(super) use crate::source::dtype::Read;

/// The number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// One Python value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    /// Integers beyond 64 bits are read as the nearest [`Node::Float`].
    Int(i64),
    Float(f64),
    Str(Cow<'a, str>),
    /// `bytes`, `bytearray`, and the `str` of Python 2.
    Bytes(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    /// In the order of insertion; a later entry with the same key wins.
    Dict(Vec<(Id, Id)>),
    /// A constructor from the closed list.
    Global(Global),
    /// A constructor with its arguments, written down and not carried out. What it means is
    /// decided where a table is made of it.
    Call {
        function: Global,
        args: Id,
        state: Option<Id>,
    },
}

/// All values of one pickle.
pub(super) struct Heap<'a> {
    nodes: Vec<Node<'a>>,
    budget: Cell<u64>,
}

/// Nodes that one pickle may build; a node takes 32 bytes.
const MAX_NODES: usize = 1 << 26;
/// Values inside values. Data frames need about 12.
const MAX_DEPTH: u16 = 100;
/// Bytes of a text that is a name.
const MAX_NAME: usize = 4096;
/// Entries of a dict that are searched for a name: an object's state has a handful.
const MAX_STATE: usize = 256;

impl<'a> Heap<'a> {
    pub(super) const NONE: Id = Id(0);
    pub(super) const FALSE: Id = Id(1);
    pub(super) const TRUE: Id = Id(2);

    /// `size` is the number of bytes of the pickle: what may be built is in proportion to it.
    pub(super) fn new(size: usize) -> Self {
        let budget = (64 << 20) + (64 * size as u64).min(8 << 30);
        Self {
            nodes: vec![Node::None, Node::Bool(false), Node::Bool(true)],
            budget: Cell::new(budget),
        }
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Read<Id> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!(
                "holds more than {MAX_NODES} Python values: write it again with `df.to_parquet(…)` or `np.savez(…)`"
            ));
        }
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn get(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node<'a> {
        &mut self.nodes[id.0 as usize]
    }

    /// Asks for memory. A value that is referred to a thousand times is stored once in a pickle
    /// but a thousand times in a table; this is what bounds it.
    pub(super) fn charge(&self, bytes: usize) -> Read<()> {
        match self.budget.get().checked_sub(bytes as u64) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(
                "repeats its values so often that it would take far more memory than its size: \
                 expected values that are written once each"
                    .into(),
            ),
        }
    }

    /// A short text, as names are: `str`, or `bytes` as UTF-8 and else latin-1. A longer one is
    /// none, so that a name that is referred to often costs little each time.
    pub(super) fn text(&self, id: Id) -> Option<Cow<'_, str>> {
        match self.get(id) {
            Node::Str(s) if s.len() <= MAX_NAME => Some(Cow::Borrowed(s)),
            Node::Bytes(b) if b.len() <= MAX_NAME => Some(text(b)),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Node::Int(i) => Some(*i),
            _ => None,
        }
    }

    /// A count or a length.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        usize::try_from(self.int(id)?).ok()
    }

    /// The items of a list or a tuple.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::List(items) | Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The function, arguments and state of an object.
    pub(super) fn call(&self, id: Id) -> Option<(Global, &[Id], Option<Id>)> {
        match self.get(id) {
            Node::Call {
                function,
                args,
                state,
            } => Some((*function, self.items(*args)?, *state)),
            _ => None,
        }
    }

    /// The value under the first of `names` that an object's state has.
    pub(super) fn entry(&self, dict: Id, names: &[&str]) -> Option<Id> {
        let Node::Dict(entries) = self.get(dict) else {
            return None;
        };
        let searched = &entries[..entries.len().min(MAX_STATE)];
        names.iter().find_map(|name| {
            let entry = searched.iter().rev().find(|(key, _)| match self.get(*key) {
                Node::Str(key) => key == name,
                Node::Bytes(key) => key.as_ref() == name.as_bytes(),
                _ => false,
            });
            entry.map(|(_, value)| *value)
        })
    }

    /// The value in a few words, for a message.
    pub(super) fn describe(&self, id: Id) -> String {
        match self.get(id) {
            Node::None => "`None`".into(),
            Node::Bool(_) => "a boolean".into(),
            Node::Int(_) | Node::Float(_) => "a number".into(),
            Node::Str(_) => "a text".into(),
            Node::Bytes(b) => format!("{} bytes", b.len()),
            Node::List(items) => format!("a list of {}", items.len()),
            Node::Tuple(items) => format!("a tuple of {}", items.len()),
            Node::Set(items) => format!("a set of {}", items.len()),
            Node::Dict(entries) => {
                let keys = entries.iter().take(6);
                let keys: Vec<String> = keys
                    .map(|(k, v)| format!("`{}`: {}", self.key(*k), self.kind(*v)))
                    .collect();
                let more = if entries.len() > 6 { ", …" } else { "" };
                format!("a dict of {} ({}{more})", entries.len(), keys.join(", "))
            }
            Node::Global(global) => format!("the type {global:?}"),
            Node::Call { function, .. } => format!("an object ({function:?})"),
        }
    }

    fn kind(&self, id: Id) -> String {
        match self.get(id) {
            Node::Dict(entries) => format!("a dict of {}", entries.len()),
            _ => self.describe(id),
        }
    }

    /// The key of a dict as the name of a column.
    pub(super) fn key(&self, id: Id) -> String {
        match self.get(id) {
            Node::Int(i) => i.to_string(),
            Node::Float(f) => f.to_string(),
            Node::Bool(b) => b.to_string(),
            _ => match self.text(id) {
                Some(text) => text.chars().take(200).collect(),
                None => self.kind(id),
            },
        }
    }

    /// Refuses values that contain themselves or nest too deep, so that whatever reads the arena
    /// afterwards may follow references without a count of its own.
    pub(super) fn check_depth(&self, root: Id) -> Read<()> {
        const OPEN: u16 = u16::MAX;
        // The height of each node above its deepest value; 0 is not yet visited.
        let mut heights = vec![0u16; self.nodes.len()];
        let mut path = vec![(root, 0usize)];
        let mut deepest = 0;
        heights[root.0 as usize] = OPEN;
        while let Some((id, next)) = path.last_mut() {
            let child = self.child(*id, *next);
            *next += 1;
            let id = *id;
            match child {
                Some(child) => match heights[child.0 as usize] {
                    0 => {
                        heights[child.0 as usize] = OPEN;
                        path.push((child, 0));
                    }
                    OPEN => {
                        return Err(
                            "holds a value that contains itself: expected a table, an array or rows"
                                .into(),
                        );
                    }
                    _ => {}
                },
                None => {
                    let below = |i| Some(heights[self.child(id, i)?.0 as usize]);
                    let height = 1 + (0..).map_while(below).max().unwrap_or(0);
                    heights[id.0 as usize] = height;
                    deepest = deepest.max(height);
                    path.pop();
                }
            }
            if path.len() > usize::from(MAX_DEPTH) || deepest > MAX_DEPTH {
                return Err(format!(
                    "nests values more than {MAX_DEPTH} deep: expected a table, an array or rows"
                ));
            }
        }
        Ok(())
    }

    fn child(&self, id: Id, n: usize) -> Option<Id> {
        match self.get(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => items.get(n).copied(),
            Node::Dict(entries) => entries
                .get(n / 2)
                .map(|(key, value)| if n.is_multiple_of(2) { *key } else { *value }),
            Node::Call { args, state, .. } => match n {
                0 => Some(*args),
                1 => *state,
                _ => None,
            },
            _ => None,
        }
    }
}

pub(super) fn invalid(reason: &str) -> String {
    format!("is not a valid pickle: {reason}")
}
