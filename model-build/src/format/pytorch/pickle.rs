//! The pickle machine, protocols 0 to 5: reads opcodes into plain data and calls nothing.
//!
//! Every opcode costs a bounded share of three budgets (opcodes, stack, memory), so that a file's
//! cost does not depend on what it says.

mod scalar;

use super::globals;
use super::value::{Extra, Id, Node, Pickle, Value};
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// The most opcodes that are read.
const OPCODES: u32 = 10_000_000;
/// The most values that may stand on the stack.
const STACK: usize = 1 << 18;
/// The most bytes that nodes and what they refer to may take.
const MEMORY: u64 = 44 << 20;
/// The highest number of a memo.
const MEMO: usize = 1 << 20;
/// The longest name of a class or function.
const NAME: usize = 1 << 10;

/// What to do when a pickle is of a kind that is not read.
pub(super) const RESAVE: &str = "if you trust the file, load it in PyTorch and save its weights alone: `torch.save(model.state_dict(), \"pytorch_model.bin\")`";

struct Machine<'a> {
    cursor: Cursor<'a>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    memoized: usize,
    nodes: Vec<Node>,
    spent: u64,
}

/// The empty tuple is the first node of every pickle.
const EMPTY: Value = Value::Node(Id(0));

/// Reads the pickle that `data` starts with; also returns how many bytes it takes.
pub(super) fn read(data: &[u8]) -> Result<(Pickle<'_>, u64)> {
    let end = usize::try_from(u32::MAX).map_or(data.len(), |max| data.len().min(max));
    let data = data.get(..end).unwrap_or_default();
    let mut machine = Machine {
        cursor: Cursor::new(data),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        memoized: 0,
        nodes: vec![Node::Tuple(Box::default())],
        spent: 0,
    };
    let mut at = 0;
    let root = machine.run(&mut at).map_err(|e| e.item(format!("byte {at} of the pickle")))?;
    let end = machine.cursor.position();
    Ok((Pickle { data, nodes: machine.nodes, root }, end))
}

impl<'a> Machine<'a> {
    fn run(&mut self, at: &mut u64) -> Result<Value> {
        for _ in 0..OPCODES {
            *at = self.cursor.position();
            let [op] = self.cursor.array()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
            if self.stack.len() > STACK || self.marks.len() > STACK {
                return Err(Error::malformed(format!("more than {STACK} values on the stack")));
            }
        }
        Err(Error::unsupported(format!("a pickle of more than {OPCODES} opcodes")).hint(RESAVE))
    }

    fn step(&mut self, op: u8) -> Result<()> {
        match op {
            // Frames and protocol say nothing that is needed.
            0x95 => drop(self.cursor.take(8)?),
            0x80 => self.protocol()?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.take_marked()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'F' | b'G' | b'I' | b'J' | b'K' | b'L' | b'M' | 0x8a | 0x8b => self.number(op)?,
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 => {
                self.string(op)?;
            }
            b')' => self.stack.push(EMPTY),
            b't' | 0x85..=0x87 => self.tuple(op)?,
            b']' | b'l' | b'a' | b'e' => self.list(op)?,
            b'}' | b'd' | b's' | b'u' => self.dictionary(op)?,
            0x8f..=0x91 => self.set(op)?,
            b'c' | 0x93 => self.global(op)?,
            b'R' | 0x81 | 0x92 | b'o' | b'i' => self.instance(op)?,
            b'b' => self.build()?,
            b'P' | b'Q' => self.persistent(op)?,
            b'g' | b'h' | b'j' => self.get(op)?,
            b'p' | b'q' | b'r' | 0x94 => self.put(op)?,
            0x82..=0x84 => {
                return Err(
                    Error::unsupported("a reference to Python's extension registry").hint(RESAVE)
                );
            }
            0x97 | 0x98 => {
                return Err(
                    Error::unsupported("data in buffers outside of the pickle").hint(RESAVE)
                );
            }
            other => return Err(Error::malformed(format!("there is no opcode {other:#04x}"))),
        }
        Ok(())
    }

    fn protocol(&mut self) -> Result<()> {
        let [version] = self.cursor.array()?;
        if version > 5 {
            return Err(Error::unsupported(format!("pickle protocol {version}")).hint(RESAVE));
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        self.spent = self.spent.saturating_add(bytes as u64);
        if self.spent > MEMORY {
            return Err(Error::unsupported(format!(
                "a pickle whose contents take more than {MEMORY} bytes of memory"
            ))
            .hint(RESAVE));
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<()> {
        self.spend(size_of::<Node>())?;
        let id = u32::try_from(self.nodes.len()).map_err(|_| Error::bug("too many nodes"))?;
        put_all(&mut self.nodes, [node]);
        self.stack.push(Value::Node(Id(id)));
        Ok(())
    }

    fn bottom(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value> {
        if self.stack.len() <= self.bottom() {
            return Err(Error::malformed("an opcode wants a value, and the stack has none"));
        }
        self.stack.last().copied().ok_or_else(|| Error::bug("an empty stack above its bottom"))
    }

    fn pop(&mut self) -> Result<Value> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Drops the top of the stack, or the mark where that stands on top.
    fn discard(&mut self) -> Result<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// Takes what stands above the last mark, and the mark.
    fn take_marked(&mut self) -> Result<Vec<Value>> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| Error::malformed("an opcode wants a mark, and the stack has none"))?;
        if mark > self.stack.len() {
            return Err(Error::bug("a mark above the stack"));
        }
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, op: u8) -> Result<()> {
        let items = match op {
            b't' => self.take_marked()?,
            op => {
                let count = usize::from(op - 0x84);
                let from = self.stack.len().checked_sub(count).filter(|at| *at >= self.bottom());
                let from = from.ok_or_else(|| {
                    Error::malformed("an opcode wants values, and the stack has too few")
                })?;
                self.stack.split_off(from)
            }
        };
        if items.is_empty() {
            self.stack.push(EMPTY);
            return Ok(());
        }
        self.spend(items.len().saturating_mul(size_of::<Value>()))?;
        self.add(Node::Tuple(items.into()))
    }

    /// Appends values to the list or instance on top of the stack.
    fn append(&mut self, items: Vec<Value>) -> Result<()> {
        self.spend(items.len().saturating_mul(size_of::<Value>()))?;
        self.spend_extra()?;
        match self.top_node()? {
            Node::List(list) => put_all(list, items),
            Node::Object { extra, .. } => put_all(&mut extra.get_or_insert_default().items, items),
            _ => return Err(Error::malformed("items are appended to what is no list")),
        }
        Ok(())
    }

    fn top_node(&mut self) -> Result<&mut Node> {
        let top = self.top()?;
        let Value::Node(id) = top else {
            return Err(Error::malformed("something is put into a plain value"));
        };
        usize::try_from(id.0)
            .ok()
            .and_then(|i| self.nodes.get_mut(i))
            .ok_or_else(|| Error::bug("a value without its node"))
    }

    /// Accounts for what the instance on top of the stack has inside, once it has anything.
    fn spend_extra(&mut self) -> Result<()> {
        if let Node::Object { extra: None, .. } = self.top_node()? {
            self.spend(size_of::<Extra>())?;
        }
        Ok(())
    }

    fn list(&mut self, op: u8) -> Result<()> {
        match op {
            b']' => self.add(Node::List(Vec::new())),
            b'l' => {
                let items = self.take_marked()?;
                self.spend(items.len().saturating_mul(size_of::<Value>()))?;
                self.add(Node::List(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            _ => {
                let items = self.take_marked()?;
                self.append(items)
            }
        }
    }

    fn pairs(&mut self) -> Result<Vec<(Value, Value)>> {
        let items = self.take_marked()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Error::malformed("a key without its value"));
        }
        self.spend(pairs.len().saturating_mul(size_of::<[Value; 2]>()))?;
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn dictionary(&mut self, op: u8) -> Result<()> {
        let pairs = match op {
            b'}' => return self.add(Node::Dict(Vec::new())),
            b'd' => {
                let pairs = self.pairs()?;
                return self.add(Node::Dict(pairs));
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.spend(size_of::<[Value; 2]>())?;
                vec![(key, value)]
            }
            _ => self.pairs()?,
        };
        self.spend_extra()?;
        match self.top_node()? {
            Node::Dict(entries) => put_all(entries, pairs),
            Node::Object { extra, .. } => {
                put_all(&mut extra.get_or_insert_default().entries, pairs);
            }
            _ => return Err(Error::malformed("entries are set in what is no dictionary")),
        }
        Ok(())
    }

    fn set(&mut self, op: u8) -> Result<()> {
        if op == 0x8f {
            return self.add(Node::Set(Vec::new()));
        }
        let items = self.take_marked()?;
        self.spend(items.len().saturating_mul(size_of::<Value>()))?;
        if op == 0x91 {
            return self.add(Node::Set(items));
        }
        match self.top_node()? {
            Node::Set(set) => put_all(set, items),
            _ => return Err(Error::malformed("items are added to what is no set")),
        }
        Ok(())
    }

    fn global(&mut self, op: u8) -> Result<()> {
        let (module, name) = if op == b'c' {
            (self.text_line()?, self.text_line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            (self.name(module)?, self.name(name)?)
        };
        self.named(module, name)
    }

    fn name(&self, value: Value) -> Result<&'a str> {
        match value {
            Value::Text(span) => std::str::from_utf8(self.slice(span)).ok(),
            _ => None,
        }
        .ok_or_else(|| Error::malformed("the name of a class is no string"))
    }

    /// Pushes a class or function, unless the name is one that no model has.
    fn named(&mut self, module: &str, name: &str) -> Result<()> {
        if module.len().saturating_add(name.len()) > NAME {
            return Err(Error::malformed(format!("the name of a class takes over {NAME} bytes")));
        }
        let full = format!("{}.{name}", globals::modern_module(module));
        if globals::is_refused(&full) {
            return Err(refused(&full));
        }
        self.spend(full.len())?;
        self.add(Node::Global(full.into()))
    }

    /// The full name of a class or function, else an error.
    fn callee(&self, value: Value) -> Result<&str> {
        let node = |value| match value {
            Value::Node(Id(id)) => usize::try_from(id).ok().and_then(|i| self.nodes.get(i)),
            _ => None,
        };
        match node(value) {
            Some(Node::Global(name)) => return Ok(name),
            // ("module", class, file, source), as old files have it.
            Some(Node::Persistent(id)) => {
                if let Some(Node::Tuple(items)) = node(*id)
                    && let Some(Node::Global(name)) = items.get(1).and_then(|v| node(*v))
                {
                    return Ok(name);
                }
            }
            _ => {}
        }
        Err(Error::malformed("a call of what is no class or function").hint(RESAVE))
    }

    fn instance(&mut self, op: u8) -> Result<()> {
        let mut call = true;
        let (mut callee, mut args) = match op {
            b'R' | 0x81 => {
                call = op == b'R';
                let args = self.pop()?;
                (self.pop()?, args)
            }
            0x92 => {
                call = false;
                let named = self.pop()?;
                let args = self.pop()?;
                let class = self.pop()?;
                if !self.is_empty(named) {
                    return Err(
                        Error::unsupported("an instance made with named arguments").hint(RESAVE)
                    );
                }
                (class, args)
            }
            _ => self.old_instance(op)?,
        };
        if let "copyreg._reconstructor" | "copyreg.__newobj__" = self.callee(callee)? {
            let class = self.items(args).first().copied();
            callee = class.ok_or_else(|| Error::malformed("an instance without a class"))?;
            args = EMPTY;
            call = false;
        }
        let name = self.callee(callee)?;
        if call && !globals::is_callable(name) {
            return Err(refused(name));
        }
        self.add(Node::Object { callee, args, extra: None })
    }

    /// An instance of Python 2's kind: the class and the arguments above the mark.
    fn old_instance(&mut self, op: u8) -> Result<(Value, Value)> {
        let mut items = self.take_marked()?;
        let class = if op == b'o' {
            if items.is_empty() {
                return Err(Error::malformed("an instance without a class"));
            }
            items.remove(0)
        } else {
            let (module, name) = (self.text_line()?, self.text_line()?);
            self.named(module, name)?;
            self.pop()?
        };
        self.spend(items.len().saturating_mul(size_of::<Value>()))?;
        self.add(Node::Tuple(items.into()))?;
        Ok((class, self.pop()?))
    }

    fn items(&self, value: Value) -> &[Value] {
        match value {
            Value::Node(Id(id)) => match usize::try_from(id).ok().and_then(|i| self.nodes.get(i)) {
                Some(Node::Tuple(items)) => items,
                _ => &[],
            },
            _ => &[],
        }
    }

    fn is_empty(&self, value: Value) -> bool {
        match value {
            Value::Node(Id(id)) => matches!(
                usize::try_from(id).ok().and_then(|i| self.nodes.get(i)),
                Some(Node::Dict(entries)) if entries.is_empty()
            ),
            _ => false,
        }
    }

    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        self.spend_extra()?;
        let Node::Object { extra, .. } = self.top_node()? else {
            return Err(Error::malformed("a state is set on what is no instance").hint(RESAVE));
        };
        if extra.get_or_insert_default().state.replace(state).is_some() {
            return Err(Error::malformed("the state of an instance is set twice"));
        }
        Ok(())
    }

    fn persistent(&mut self, op: u8) -> Result<()> {
        if op == b'P' {
            return Err(Error::unsupported("a storage named by a line of text").hint(RESAVE));
        }
        let id = self.pop()?;
        self.add(Node::Persistent(id))
    }

    fn memo_index(&mut self, op: u8) -> Result<usize> {
        let index = match op {
            b'g' | b'p' => {
                let line = self.text_line()?;
                line.parse().map_err(|_| Error::malformed("the number of a memo is none"))?
            }
            b'h' | b'q' => u32::from(self.cursor.array::<1>()?[0]),
            _ => self.cursor.u32()?,
        };
        usize::try_from(index).ok().filter(|i| *i < MEMO).ok_or_else(|| {
            Error::unsupported(format!("memo {index}: {MEMO} is the most there may be"))
        })
    }

    fn get(&mut self, op: u8) -> Result<()> {
        let index = self.memo_index(op)?;
        let value = self.memo.get(index).copied().flatten();
        self.stack.push(value.ok_or_else(|| Error::malformed(format!("memo {index} is not set")))?);
        Ok(())
    }

    fn put(&mut self, op: u8) -> Result<()> {
        let index = if op == 0x94 { self.memoized } else { self.memo_index(op)? };
        if index >= MEMO {
            return Err(Error::unsupported(format!("more than {MEMO} memos")).hint(RESAVE));
        }
        let value = self.top()?;
        if index >= self.memo.len() {
            self.spend((index + 1 - self.memo.len()).saturating_mul(size_of::<Option<Value>>()))?;
            self.memo.resize(index + 1, None);
        }
        if let Some(place) = self.memo.get_mut(index)
            && place.replace(value).is_none()
        {
            self.memoized += 1;
        }
        Ok(())
    }
}

/// Appends values. What is too short grows by a quarter, not to twice the budget.
fn put_all<T, I>(to: &mut Vec<T>, items: I)
where
    I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
{
    let items = items.into_iter();
    if to.capacity() - to.len() < items.len() {
        to.reserve_exact(items.len().max(to.len() / 4).max(1));
    }
    to.extend(items);
}

/// The error for a call that is not read as data, or a name that no model has.
fn refused(name: &str) -> Error {
    Error::unsupported(format!(
        "the file wants `{}` to be called or named, which no weights need; nothing was run",
        name.escape_debug()
    ))
    .hint(RESAVE)
}
