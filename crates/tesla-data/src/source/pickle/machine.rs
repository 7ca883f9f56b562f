//! The pickle machine: all opcodes of protocols 0 to 5, as Python's `pickletools` describes them.
//! It builds values and calls nothing.

use std::borrow::Cow;
use std::collections::HashMap;

use super::globals::{Global, call};
use super::reader::Reader;
use super::strings;
use super::value::{Heap, Id, Node, Read, invalid};

/// Compressed files by their first bytes, and what undoes them.
const PACKED: [(&[u8], &str, &str); 4] = [
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"PK\x03\x04", "zip", "unzip"),
];

/// Reads one pickle, which must fill `input`.
pub(super) fn load(input: &[u8]) -> Read<(Heap<'_>, Id)> {
    if let Some((_, format, tool)) = PACKED.iter().find(|p| input.starts_with(p.0)) {
        return Err(format!("is compressed with {format}: decompress it with `{tool}`"));
    }
    let mut machine = Machine {
        input: Reader {
            bytes: input,
            at: 0,
        },
        heap: Heap::new(input.len()),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = loop {
        if let Some(root) = machine.step()? {
            break root;
        }
    };
    let left = input.len() - machine.input.at;
    if left > 0 {
        return Err(format!(
            "holds {left} more bytes after its first pickle: expected one pickle a file"
        ));
    }
    machine.heap.check_depth(root)?;
    Ok((machine.heap, root))
}

struct Machine<'a> {
    input: Reader<'a>,
    heap: Heap<'a>,
    stack: Vec<Id>,
    /// The heights of the stack where a list, tuple or dict begins.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    /// Carries out one opcode; gives the value when it is the last.
    fn step(&mut self) -> Read<Option<Id>> {
        let opcode = self.input.take(1)?[0];
        match opcode {
            b'.' => return self.pop().map(Some),
            b'\x80' => {
                let protocol = self.input.take(1)?[0];
                if protocol > 5 {
                    return Err(format!(
                        "is a pickle of protocol {protocol}: expected 0 to 5, write it with `protocol=5`"
                    ));
                }
            }
            b'\x95' => {
                // Frames only tell a reader how much to buffer.
                let length = self.input.length(8)?;
                self.input.fits(length)?;
            }

            // The stack and the memo.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => {
                    self.marks.pop();
                }
                _ => {
                    self.pop()?;
                }
            },
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'g' => {
                let index = self.input.decimal()?;
                self.recall(index)?;
            }
            b'h' | b'j' => {
                let index = self.input.length(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(index as u64)?;
            }
            b'p' => {
                let index = self.input.decimal()?;
                self.memoize(index)?;
            }
            b'q' | b'r' => {
                let index = self.input.length(if opcode == b'q' { 1 } else { 4 })?;
                self.memoize(index as u64)?;
            }
            b'\x94' => self.memoize(self.memo.len() as u64)?,

            // Numbers.
            b'N' => self.stack.push(Heap::NONE),
            b'\x88' => self.stack.push(Heap::TRUE),
            b'\x89' => self.stack.push(Heap::FALSE),
            b'I' => match self.input.line()? {
                b"00" => self.stack.push(Heap::FALSE),
                b"01" => self.stack.push(Heap::TRUE),
                line => self.push(strings::integer(line)?)?,
            },
            b'L' => {
                let line = self.input.line()?;
                self.push(strings::integer(line.strip_suffix(b"L").unwrap_or(line))?)?;
            }
            b'J' => {
                let bytes = self.input.fixed::<4>()?;
                self.push(Node::Int(i32::from_le_bytes(bytes).into()))?;
            }
            b'K' | b'M' => {
                let value = self.input.length(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(value as i64))?;
            }
            b'\x8a' | b'\x8b' => {
                let bytes = self.input.counted(if opcode == b'\x8a' { 1 } else { 4 })?;
                self.push(strings::long(bytes))?;
            }
            b'F' => {
                let line = self.input.line()?;
                self.push(Node::Float(strings::number(line)?))?;
            }
            b'G' => {
                let bytes = self.input.fixed::<8>()?;
                self.push(Node::Float(f64::from_be_bytes(bytes)))?;
            }

            // Texts and bytes. Python 2 wrote both as `str`.
            b'S' => {
                let line = self.input.line()?;
                self.push(Node::Bytes(strings::quoted(line)?.into()))?;
            }
            b'V' => {
                let line = self.input.line()?;
                self.push(Node::Str(strings::escaped_unicode(line).into()))?;
            }
            b'U' | b'T' | b'C' | b'B' | b'\x8e' | b'\x96' => {
                let bytes = self.input.counted(match opcode {
                    b'U' | b'C' => 1,
                    b'T' | b'B' => 4,
                    _ => 8,
                })?;
                self.push(Node::Bytes(Cow::Borrowed(bytes)))?;
            }
            b'\x8c' | b'X' | b'\x8d' => {
                let bytes = self.input.counted(match opcode {
                    b'\x8c' => 1,
                    b'X' => 4,
                    _ => 8,
                })?;
                self.push(Node::Str(String::from_utf8_lossy(bytes)))?;
            }

            // Containers.
            b']' => self.push(Node::List(Vec::new()))?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b'\x8f' => self.push(Node::Set(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items))?;
            }
            b'd' => {
                let entries = pairs(&self.pop_mark()?)?;
                self.push(Node::Dict(entries))?;
            }
            b'\x91' => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items))?;
            }
            b'\x85' | b'\x86' | b'\x87' => {
                let items = self.pop_many(usize::from(opcode - b'\x84'))?;
                self.push(Node::Tuple(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | b'\x90' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let entry = self.pop_many(2)?;
                self.set_items(&entry)?;
            }
            b'u' => {
                let entries = self.pop_mark()?;
                self.set_items(&entries)?;
            }

            // Objects: looked up in the closed list, and written down.
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                let global = find(module, name)?;
                self.push(Node::Global(global))?;
            }
            b'\x93' => {
                let names = self.pop_many(2)?;
                let [Some(module), Some(name)] = [names[0], names[1]].map(|id| self.heap.text(id))
                else {
                    return Err(invalid("the name of a constructor is not a text"));
                };
                let global = Global::find(&module, &name)?;
                self.push(Node::Global(global))?;
            }
            b'i' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                let global = find(module, name)?;
                let args = self.pop_mark()?;
                let args = self.heap.push(Node::Tuple(args))?;
                self.call(global, args)?;
            }
            b'o' => {
                let items = self.pop_mark()?;
                let (class, args) = items.split_first().ok_or_else(underflow)?;
                let global = self.constructor(*class)?;
                let args = self.heap.push(Node::Tuple(args.to_vec()))?;
                self.call(global, args)?;
            }
            b'R' | b'\x81' => {
                let args = self.pop()?;
                let function = self.pop()?;
                let function = self.constructor(function)?;
                self.call(function, args)?;
            }
            b'\x92' => {
                let parts = self.pop_many(3)?;
                let function = self.constructor(parts[0])?;
                match self.heap.get(parts[2]) {
                    Node::Dict(named) if named.is_empty() => self.call(function, parts[1])?,
                    _ => return Err(invalid("a constructor has named arguments")),
                }
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }

            b'P' | b'Q' => {
                return Err(
                    "refers to values outside of itself (a persistent id): write the data again \
                     with `df.to_parquet(…)` or `np.savez(…)`"
                        .into(),
                );
            }
            b'\x82' | b'\x83' | b'\x84' => {
                return Err(
                    "uses Python's extension registry, which only the program that wrote it knows: \
                     write the data again with `df.to_parquet(…)` or `np.savez(…)`"
                        .into(),
                );
            }
            b'\x97' | b'\x98' => {
                return Err(
                    "keeps its arrays outside of itself (out-of-band buffers): write it again \
                     without `buffer_callback`"
                        .into(),
                );
            }
            _ => {
                return Err(format!(
                    "is not a pickle: byte {} is {opcode:#04x}, which is no opcode of protocols 0 to 5",
                    self.input.at - 1
                ));
            }
        }
        Ok(None)
    }

    fn push(&mut self, node: Node<'a>) -> Read<()> {
        let id = self.heap.push(node)?;
        self.stack.push(id);
        Ok(())
    }

    /// The lowest height that may be popped to.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Read<Id> {
        match self.stack.len() > self.floor() {
            true => self.stack.pop().ok_or_else(underflow),
            false => Err(underflow()),
        }
    }

    fn pop_many(&mut self, count: usize) -> Read<Vec<Id>> {
        match self.stack.len() >= self.floor() + count {
            true => Ok(self.stack.split_off(self.stack.len() - count)),
            false => Err(underflow()),
        }
    }

    fn pop_mark(&mut self) -> Read<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Read<Id> {
        match self.stack.len() > self.floor() {
            true => self.stack.last().copied().ok_or_else(underflow),
            false => Err(underflow()),
        }
    }

    fn recall(&mut self, index: u64) -> Read<()> {
        let id = self.memo.get(&index).ok_or_else(|| {
            invalid(&format!("it recalls memo entry {index}, which it never wrote"))
        })?;
        self.stack.push(*id);
        Ok(())
    }

    fn memoize(&mut self, index: u64) -> Read<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Read<()> {
        let target = self.top()?;
        match self.heap.get_mut(target) {
            Node::List(list) | Node::Set(list) => list.extend_from_slice(items),
            _ => return Err(invalid("it appends to what is not a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Read<()> {
        let entries = pairs(items)?;
        let target = self.top()?;
        match self.heap.get_mut(target) {
            Node::Dict(dict) => dict.extend(entries),
            _ => return Err(invalid("it sets an entry of what is not a dict")),
        }
        Ok(())
    }

    fn constructor(&self, id: Id) -> Read<Global> {
        match self.heap.get(id) {
            Node::Global(global) => Ok(*global),
            _ => Err(format!(
                "is not a valid pickle: it calls {}, which is not a constructor",
                self.heap.describe(id)
            )),
        }
    }

    fn call(&mut self, function: Global, args: Id) -> Read<()> {
        let id = call(&mut self.heap, function, args)?;
        self.stack.push(id);
        Ok(())
    }

    fn build(&mut self, new: Id) -> Read<()> {
        let target = self.top()?;
        match self.heap.get_mut(target) {
            Node::Call { state, .. } => *state = Some(new),
            // Attributes of a subclass of dict, list or set are not data.
            Node::Dict(_) | Node::List(_) | Node::Set(_) => {}
            _ => return Err(invalid("it gives a state to what is not an object")),
        }
        Ok(())
    }
}

fn find(module: &[u8], name: &[u8]) -> Read<Global> {
    Global::find(&String::from_utf8_lossy(module), &String::from_utf8_lossy(name))
}

fn pairs(items: &[Id]) -> Read<Vec<(Id, Id)>> {
    match items.len() % 2 {
        0 => Ok(items.chunks_exact(2).map(|p| (p[0], p[1])).collect()),
        _ => Err(invalid("a key of a dict has no value")),
    }
}

fn underflow() -> String {
    invalid("an opcode takes more values than there are")
}
