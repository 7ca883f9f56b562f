use std::collections::VecDeque;
use std::io::{BufRead, Read};

use memchr::memchr_iter;
use rayon::prelude::*;

use super::record::{End, Syntax};
use crate::{Error, Place, Result};

/// Some whole records of a file.
pub(super) struct Block {
    pub(super) text: Vec<u8>,
    pub(super) records: Vec<Record>,
    /// The number of the first record among all of the file.
    pub(super) first: usize,
    /// The number of the line that the text starts with, counted from 1.
    line: u64,
    newline: u8,
}

/// One record of a block.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) start: usize,
    /// Before the line end.
    pub(super) end: usize,
}

impl Block {
    /// The line that the text has at `start`. Counted when asked for: only messages need lines.
    pub(super) fn line(&self, start: usize) -> u64 {
        self.line + lines(self.newline, &self.text[..start])
    }
}

fn lines(newline: u8, text: &[u8]) -> u64 {
    memchr_iter(newline, text).count() as u64
}

/// A file in blocks. Comments and blank lines are left out.
pub(super) struct Blocks {
    reader: Box<dyn BufRead + Send>,
    syntax: Syntax,
    name: String,
    /// The start of a record that the last block did not hold to its end.
    rest: Vec<u8>,
    /// The number of the line that the next block starts with.
    line: u64,
    records: usize,
    skip: bool,
}

/// Bytes per block: fits a cache, and is long enough that starting a task costs nothing.
const BLOCK: usize = 1 << 20;
/// The longest record accepted, in bytes. A quote that never closes makes one of the whole file.
pub(super) const LONGEST: usize = 16 << 20;

impl Blocks {
    /// `line` is the number of the first line that `reader` gives.
    pub(super) fn new(
        reader: Box<dyn BufRead + Send>,
        syntax: Syntax,
        name: String,
        line: u64,
    ) -> Self {
        Self {
            reader,
            syntax,
            name,
            rest: Vec::new(),
            line,
            records: 0,
            skip: false,
        }
    }

    /// Leaves out the first record.
    pub(super) fn skip_record(&mut self) {
        self.skip = true;
    }

    /// The next block with at least one record.
    pub(super) fn read(&mut self) -> Result<Option<Block>> {
        let mut text = std::mem::take(&mut self.rest);
        let mut wanted = BLOCK;
        let mut records = Vec::new();
        let mut done = 0;
        loop {
            text.reserve(wanted.saturating_sub(text.len()) + 1);
            let more = wanted.saturating_sub(text.len()) as u64;
            let read = self.reader.by_ref().take(more).read_to_end(&mut text);
            read.map_err(|e| Error::io(&self.name, e))?;
            let ended = text.len() < wanted;
            let mut last = End::Open;
            while done < text.len() {
                last = self.syntax.record_end(&text[done..]);
                let end = match last {
                    End::At(length) => done + length,
                    End::Open if ended => text.len(),
                    _ => break,
                };
                self.record(&text, done, end, &mut records);
                done = end;
            }
            if done == text.len() && ended && records.is_empty() {
                return Ok(None);
            }
            let line = self.line;
            self.line += lines(self.syntax.newline, &text[..done]);
            if ended && last == End::InQuotes {
                return Err(self.too_long("a quote opens here and never closes"));
            }
            if text.len() - done > LONGEST {
                return Err(self.too_long("the row is longer than 16 MiB"));
            }
            if !records.is_empty() {
                self.rest = text.split_off(done);
                let first = self.records;
                self.records += records.len();
                return Ok(Some(Block {
                    text,
                    records,
                    first,
                    line,
                    newline: self.syntax.newline,
                }));
            }
            text.drain(..done);
            done = 0;
            // Doubling: a long record is looked at again a few times, not a thousand times.
            wanted = BLOCK.max(text.len() * 2);
        }
    }

    fn record(&mut self, text: &[u8], start: usize, mut end: usize, records: &mut Vec<Record>) {
        if text[start..end].last() == Some(&self.syntax.newline) {
            end -= 1;
            if end > start && text[end - 1] == b'\r' {
                end -= 1;
            }
        }
        if self.syntax.is_row(&text[start..end]) && !std::mem::take(&mut self.skip) {
            records.push(Record { start, end });
        }
    }

    fn too_long(&self, what: &str) -> Error {
        Error::Row {
            place: Place::line(&self.name, self.line).to_string(),
            reason: format!(
                "{what}: close the quote, or say `quote = \"\"` in `[data.csv]` if quotes are characters like any other"
            ),
        }
    }
}

/// What `map` makes of each block, in order. Blocks are mapped in parallel while the next ones
/// are read.
pub(super) struct Mapped<T, F> {
    blocks: Blocks,
    map: F,
    waiting: Vec<Block>,
    ready: VecDeque<T>,
    failed: Option<Error>,
}

impl<T: Send, F: Fn(Block) -> T + Sync> Mapped<T, F> {
    pub(super) fn new(blocks: Blocks, map: F) -> Self {
        Self {
            blocks,
            map,
            waiting: Vec::new(),
            ready: VecDeque::new(),
            failed: None,
        }
    }
}

impl<T: Send, F: Fn(Block) -> T + Sync> Iterator for Mapped<T, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            if self.failed.is_some() && self.waiting.is_empty() {
                return self.failed.take().map(Err);
            }
            let waiting = std::mem::take(&mut self.waiting);
            let (map, blocks, failed) = (&self.map, &mut self.blocks, &mut self.failed);
            let was_empty = waiting.is_empty();
            let (ready, next) = rayon::join(
                || waiting.into_par_iter().map(map).collect::<Vec<T>>(),
                || read_some(blocks, failed),
            );
            if was_empty && next.is_empty() && failed.is_none() {
                return None;
            }
            self.ready.extend(ready);
            self.waiting = next;
        }
        self.ready.pop_front().map(Ok)
    }
}

/// One block per thread; what fails is kept until the blocks before it are used.
fn read_some(blocks: &mut Blocks, failed: &mut Option<Error>) -> Vec<Block> {
    let mut some = Vec::new();
    while failed.is_none() && some.len() < rayon::current_num_threads() {
        match blocks.read() {
            Ok(Some(block)) => some.push(block),
            Ok(None) => break,
            Err(error) => *failed = Some(error),
        }
    }
    some
}
