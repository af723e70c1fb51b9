//! What a pickle holds, as plain data: values, and nodes that values refer to by number.
//!
//! Nothing is an object of a class here: an instance is the name of its class or function, the
//! arguments it was made from, and what was put into it.

use std::borrow::Cow;

use super::globals;

/// A stretch of the pickle's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Span {
    pub(super) at: u32,
    pub(super) len: u32,
}

/// The number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(pub(super) u32);

/// A value: plain, or the number of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer past 64 bits.
    Long(Span),
    Float,
    Text(Span),
    Bytes(Span),
    Node(Id),
}

/// A value with an inside.
#[derive(Debug)]
pub(super) enum Node {
    /// The full name of a class or function.
    Global(Box<str>),
    Tuple(Box<[Value]>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Set(Vec<Value>),
    /// What the file refers to by an id of its own: a storage.
    Persistent(Value),
    /// An instance: who was called, and with what.
    Object {
        callee: Value,
        args: Value,
        extra: Option<Box<Extra>>,
    },
}

/// What was put into an instance after it was made.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) state: Option<Value>,
    pub(super) entries: Vec<(Value, Value)>,
    pub(super) items: Vec<Value>,
}

const _: () = assert!(size_of::<Value>() == 16 && size_of::<Node>() <= 40);

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) data: &'a [u8],
    pub(super) nodes: Vec<Node>,
    pub(super) root: Value,
}

impl<'a> Pickle<'a> {
    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(id) => usize::try_from(id.0).ok().and_then(|i| self.nodes.get(i)),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, span: Span) -> &'a [u8] {
        let range = usize::try_from(span.at).ok().zip(usize::try_from(span.len).ok());
        range.and_then(|(at, len)| self.data.get(at..at.checked_add(len)?)).unwrap_or_default()
    }

    /// The text of a string.
    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        match value {
            Value::Text(span) => std::str::from_utf8(self.bytes(span)).ok(),
            _ => None,
        }
    }

    /// A key of a dictionary as a part of a tensor's name.
    pub(super) fn key(&self, value: Value) -> Option<Cow<'a, str>> {
        match value {
            Value::Int(i) => Some(i.to_string().into()),
            value => self.text(value).map(Cow::Borrowed),
        }
    }

    /// The full name of a class or function.
    pub(super) fn global(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Global(name) => Some(name),
            // Old files say where a module's class was defined: ("module", class, file, source).
            Node::Persistent(id) => match self.tuple(*id)? {
                [tag, class, ..] if self.text(*tag) == Some("module") => match self.node(*class)? {
                    Node::Global(name) => Some(name),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// The name of who made an instance, and the arguments.
    pub(super) fn call(&self, value: Value) -> Option<(&str, &[Value])> {
        match self.node(value)? {
            Node::Object { callee, args, .. } => {
                Some((self.global(*callee)?, self.tuple(*args).unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// The elements of a tuple.
    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The elements of a tuple, a list or a `torch.Size`.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) => Some(items),
            Node::List(items) => Some(items),
            Node::Object { .. } => match self.call(value)? {
                ("torch.Size", [inner]) => match self.node(*inner)? {
                    Node::Tuple(items) => Some(items),
                    Node::List(items) => Some(items),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// The entries of a dictionary or an ordered one.
    pub(super) fn entries(&self, value: Value) -> Option<Cow<'_, [(Value, Value)]>> {
        match self.node(value)? {
            Node::Dict(entries) => Some(entries.into()),
            Node::Object { extra, .. } => {
                let (callee, args) = self.call(value)?;
                if !globals::is_dictionary(callee) {
                    return None;
                }
                let set = extra.as_ref().map(|e| e.entries.as_slice()).unwrap_or_default();
                let given = args.iter().filter_map(|arg| self.pairs(*arg));
                match given.reduce(|mut all, more| {
                    all.extend(more);
                    all
                }) {
                    None => Some(set.into()),
                    Some(mut given) => {
                        given.extend_from_slice(set);
                        Some(given.into())
                    }
                }
            }
            _ => None,
        }
    }

    /// How many values stand directly in a value; in a dictionary, also in what it was made from.
    pub(super) fn size(&self, value: Value) -> usize {
        let len = |value: Value| match self.node(value) {
            Some(Node::Tuple(items)) => items.len(),
            Some(Node::List(items) | Node::Set(items)) => items.len(),
            Some(Node::Dict(entries)) => entries.len(),
            _ => 0,
        };
        let Some(Node::Object { callee, args, extra }) = self.node(value) else {
            return len(value);
        };
        let made = self.global(*callee).filter(|name| globals::is_dictionary(name));
        let args = made.and_then(|_| self.tuple(*args)).unwrap_or_default();
        let args = args.iter().map(|arg| len(*arg)).sum::<usize>();
        let put = extra.as_ref().map_or(0, |extra| {
            let state = extra.state.map_or(0, |state| {
                let slots = self.tuple(state).and_then(|items| items.first());
                len(state) + slots.map_or(0, |slots| len(*slots))
            });
            extra.entries.len() + extra.items.len() + state
        });
        args.saturating_add(put)
    }

    /// What a dictionary's constructor takes: another dictionary, or a list of pairs.
    fn pairs(&self, value: Value) -> Option<Vec<(Value, Value)>> {
        match self.node(value)? {
            Node::Dict(entries) => Some(entries.clone()),
            Node::List(items) | Node::Set(items) => items
                .iter()
                .map(|item| match self.sequence(*item)? {
                    [key, value] => Some((*key, *value)),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// The attributes of an instance.
    pub(super) fn attributes(&self, value: Value) -> Option<&[(Value, Value)]> {
        let Node::Object { extra: Some(extra), .. } = self.node(value)? else { return None };
        let mut state = extra.state?;
        // With slots: (the dictionary or None, the slots).
        if let Some([dictionary, _]) = self.tuple(state) {
            state = *dictionary;
        }
        match self.node(state)? {
            Node::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// What a value is, for messages.
    pub(super) fn describe(&self, value: Value) -> String {
        match value {
            Value::None => "None".to_owned(),
            Value::Bool(_) => "a boolean".to_owned(),
            Value::Int(_) | Value::Long(_) => "an integer".to_owned(),
            Value::Float => "a number".to_owned(),
            Value::Text(_) => "a string".to_owned(),
            Value::Bytes(_) => "bytes".to_owned(),
            Value::Node(_) => match self.node(value) {
                Some(Node::Global(name)) => format!("`{name}`"),
                Some(Node::Tuple(_)) => "a tuple".to_owned(),
                Some(Node::List(_)) => "a list".to_owned(),
                Some(Node::Dict(_)) => "a dictionary".to_owned(),
                Some(Node::Set(_)) => "a set".to_owned(),
                Some(Node::Persistent(_)) => "a storage".to_owned(),
                _ => match self.call(value) {
                    Some((name, _)) => format!("an instance of `{name}`"),
                    None => "an instance".to_owned(),
                },
            },
        }
    }
}
