//! Which of the things in a pickle is the state dict, and its tensors by name.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::globals;
use super::pickle::RESAVE;
use super::tensor;
use super::value::{Node, Pickle, Value};
use crate::error::{Error, Result};

/// How deep things may be nested in a state dict.
const DEPTH: u32 = 64;
/// How deep a state dict may lie.
const LEVELS: u32 = 4;
/// How many things may be looked at.
const VISITS: usize = 1 << 20;
/// How many tensors there may be.
const TENSORS: usize = 1 << 18;
/// The longest name of a tensor.
const NAME: usize = 1 << 10;
/// How many bytes the names may take together.
const NAMES: usize = 16 << 20;

/// Keys that training scripts keep a state dict under.
const USUAL: &[&str] = &[
    "model",
    "model_state",
    "model_state_dict",
    "module",
    "net",
    "network",
    "params",
    "state_dict",
    "weights",
];

/// The path of the outermost dictionary itself.
const TOP: &str = ".";

/// Tensors of the chosen state dict by name. `path` is that of the state dict, else it is found.
pub(super) fn tensors<'a>(pickle: &Pickle<'a>, path: Option<&str>) -> Result<Vec<(String, Value)>> {
    let mut search = Search { pickle, visits: 0 };
    let chosen = match path {
        None => search.choose()?,
        Some(TOP) => pickle.root,
        Some(path) => search.resolve(path)?,
    };
    let mut found = Found { tensors: Vec::new(), names: 0 };
    if tensor::is_tensor(pickle, chosen) {
        found.push("tensor".to_owned(), chosen)?;
    } else {
        search.flatten(chosen, "", DEPTH, &mut found)?;
    }
    let mut seen = BTreeSet::new();
    for (name, _) in &found.tensors {
        if !seen.insert(name.as_str()) {
            return Err(Error::malformed("two tensors of this name").item(format!("`{name}`")));
        }
    }
    if found.tensors.is_empty() {
        return Err(Error::malformed("the file has no tensors").hint(RESAVE));
    }
    Ok(found.tensors)
}

struct Found {
    tensors: Vec<(String, Value)>,
    names: usize,
}

impl Found {
    fn push(&mut self, name: String, value: Value) -> Result<()> {
        self.names = self.names.saturating_add(name.len());
        if name.len() > NAME || self.names > NAMES || self.tensors.len() >= TENSORS {
            return Err(Error::unsupported(format!(
                "more than {TENSORS} tensors, or names of more than {NAME} bytes"
            )));
        }
        self.tensors.push((name, value));
        Ok(())
    }
}

struct Search<'p, 'a> {
    pickle: &'p Pickle<'a>,
    visits: usize,
}

/// What a value is to the search.
enum Kind<'p> {
    Tensor,
    /// A dictionary.
    Dictionary(Cow<'p, [(Value, Value)]>),
    /// A list or tuple.
    Sequence(&'p [Value]),
    /// A pickled `torch.nn.Module`, by its attributes.
    Module(&'p [(Value, Value)]),
    /// An object of a TorchScript archive, by its attributes.
    Script(&'p [(Value, Value)]),
    /// Another object, by its attributes.
    Object(&'p [(Value, Value)]),
    Other,
}

impl<'p, 'a> Search<'p, 'a> {
    /// Counts a value and what stands directly in it as looked at.
    fn visit(&mut self, value: Value) -> Result<()> {
        let size = 1 + self.pickle.size(value);
        self.visits = self.visits.saturating_add(size);
        if self.visits > VISITS {
            return Err(Error::unsupported(format!(
                "the file's contents refer to each other more than {VISITS} times"
            ))
            .hint(RESAVE));
        }
        Ok(())
    }

    fn kind(&self, value: Value) -> Kind<'p> {
        let pickle = self.pickle;
        if tensor::is_tensor(pickle, value) {
            return Kind::Tensor;
        }
        if let Some(entries) = pickle.entries(value) {
            return Kind::Dictionary(entries);
        }
        if let Some(items) = pickle.sequence(value) {
            return Kind::Sequence(items);
        }
        let Some(attributes) = pickle.attributes(value) else { return Kind::Other };
        if self.is_script(value) {
            return Kind::Script(attributes);
        }
        let has = |name| self.attribute(attributes, name).is_some();
        if has("_parameters") && has("_modules") {
            return Kind::Module(attributes);
        }
        Kind::Object(attributes)
    }

    fn attribute(&self, attributes: &[(Value, Value)], name: &str) -> Option<Value> {
        let found = attributes.iter().find(|(key, _)| self.pickle.text(*key) == Some(name));
        found.map(|(_, value)| *value)
    }

    /// Children of a container by key.
    fn children(&self, value: Value) -> Vec<(Cow<'a, str>, Value)> {
        let named = |entries: &[(Value, Value)]| {
            entries.iter().filter_map(|(k, v)| Some((self.pickle.key(*k)?, *v))).collect()
        };
        match self.kind(value) {
            Kind::Dictionary(entries) => named(&entries),
            Kind::Module(attributes) | Kind::Script(attributes) | Kind::Object(attributes) => {
                named(attributes)
            }
            Kind::Sequence(items) => {
                items.iter().enumerate().map(|(i, v)| (i.to_string().into(), *v)).collect()
            }
            Kind::Tensor | Kind::Other => Vec::new(),
        }
    }

    /// Whether it is a tensor or a list of them.
    fn is_weight(&self, value: Value) -> bool {
        let list = || self.pickle.sequence(value).and_then(|items| items.first());
        tensor::is_tensor(self.pickle, value)
            || list().is_some_and(|item| tensor::is_tensor(self.pickle, *item))
    }

    fn is_script(&self, value: Value) -> bool {
        self.pickle.call(value).is_some_and(|(callee, _)| globals::is_torchscript(callee))
    }

    /// Whether tensors stand directly in it.
    fn is_state(&self, value: Value) -> bool {
        match self.kind(value) {
            Kind::Module(_) | Kind::Script(_) => true,
            Kind::Dictionary(entries) => entries.iter().any(|(_, v)| self.is_weight(*v)),
            Kind::Sequence(items) => items.iter().any(|v| tensor::is_tensor(self.pickle, *v)),
            Kind::Tensor | Kind::Object(_) | Kind::Other => false,
        }
    }

    /// The state dicts in a container, by path. Those of optimizers are none.
    fn candidates(
        &mut self,
        value: Value,
        path: &str,
        levels: u32,
        out: &mut Vec<(String, Value)>,
    ) -> Result<()> {
        let indexed = matches!(self.kind(value), Kind::Sequence(_));
        for (key, child) in self.children(value) {
            self.visit(child)?;
            let number = key.bytes().all(|b| b.is_ascii_digit());
            if (number && !indexed) || key.starts_with("optim") || key.len() > NAME {
                continue;
            }
            if tensor::is_tensor(self.pickle, child) || !matches!(child, Value::Node(_)) {
                continue;
            }
            let path = if path.is_empty() { key.into_owned() } else { format!("{path}.{key}") };
            if self.is_state(child) {
                out.push((path, child));
            } else if let Some(levels) = levels.checked_sub(1) {
                self.candidates(child, &path, levels, out)?;
            }
        }
        Ok(())
    }

    /// Finds the one state dict that a file has.
    fn choose(&mut self) -> Result<Value> {
        let root = self.pickle.root;
        if matches!(self.kind(root), Kind::Tensor | Kind::Module(_) | Kind::Script(_)) {
            return Ok(root);
        }
        let mut nested = Vec::new();
        // A list of tensors is one; what is in it is none of its own.
        self.candidates(root, "", LEVELS, &mut nested)?;
        nested.retain(|(_, value)| *value != root && !self.is_weight(*value));
        let usual = |path: &str| USUAL.contains(&path.rsplit('.').next().unwrap_or(path));
        match (self.is_state(root), nested.as_slice()) {
            (true, []) => Ok(root),
            (false, [(_, one)]) => Ok(*one),
            (true, [(path, one)]) if usual(path) => Ok(*one),
            (false, []) => Err(Error::malformed("the file has no tensors").hint(RESAVE)),
            (top, _) => {
                let paths = nested.iter().map(|(path, _)| path.as_str());
                Err(several(&paths.chain(top.then_some(TOP)).collect::<Vec<_>>()))
            }
        }
    }

    /// Follows a path of keys and indices, parted by dots; keys may have dots inside.
    fn resolve(&mut self, path: &str) -> Result<Value> {
        if let Some(found) = self.follow(self.pickle.root, path)? {
            return Ok(found);
        }
        let mut nested = Vec::new();
        self.candidates(self.pickle.root, "", LEVELS, &mut nested)?;
        let error = Error::manifest(format!("the file has nothing under `{path}`"));
        let near = crate::error::nearest(path, nested.iter().map(|(path, _)| path.as_str()));
        Err(match near {
            Some(near) => error.hint(format!("did you mean `state-dict = \"{near}\"`?")),
            None => error.hint(format!(
                "the state dicts are: {}",
                list(nested.iter().map(|n| n.0.as_str()))
            )),
        })
    }

    fn follow(&mut self, value: Value, path: &str) -> Result<Option<Value>> {
        self.visit(value)?;
        let mut next: Vec<(&str, Value)> = Vec::new();
        for (key, child) in self.children(value) {
            match path.strip_prefix(key.as_ref()) {
                Some("") => return Ok(Some(child)),
                Some(rest) => next.extend(rest.strip_prefix('.').map(|rest| (rest, child))),
                None => {}
            }
        }
        for (rest, child) in next {
            if let Some(found) = self.follow(child, rest)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Collects the tensors of a state dict. What else stands in it is an error, except nothing.
    fn flatten(&mut self, value: Value, name: &str, left: u32, found: &mut Found) -> Result<()> {
        self.visit(value)?;
        let item = || format!("`{}`", if name.is_empty() { TOP } else { name });
        let left = left.checked_sub(1).ok_or_else(|| {
            Error::malformed(format!("things nested more than {DEPTH} deep")).item("the state dict")
        })?;
        match self.kind(value) {
            Kind::Tensor => found.push(name.to_owned(), value),
            Kind::Dictionary(entries) => {
                for (key, child) in entries.iter() {
                    let key = self.pickle.key(*key).ok_or_else(|| {
                        let what = self.pickle.describe(*key);
                        Error::unsupported(format!("{what} as a key of the state dict"))
                            .item(item())
                    })?;
                    self.flatten(*child, &join(name, &key)?, left, found)?;
                }
                Ok(())
            }
            Kind::Sequence(items) => {
                for (i, child) in items.iter().enumerate() {
                    self.flatten(*child, &join(name, &i.to_string())?, left, found)?;
                }
                Ok(())
            }
            Kind::Module(attributes) => self.module(attributes, name, left, found),
            Kind::Script(attributes) => self.script(attributes, name, left, found),
            Kind::Object(_) | Kind::Other if value == Value::None => Ok(()),
            Kind::Object(_) | Kind::Other => Err(Error::unsupported(format!(
                "{} in the state dict, which holds tensors alone",
                self.pickle.describe(value)
            ))
            .item(item())
            .hint(RESAVE)),
        }
    }

    /// A module's parameters and persistent buffers, then those of the modules in it.
    fn module(
        &mut self,
        attributes: &[(Value, Value)],
        name: &str,
        left: u32,
        found: &mut Found,
    ) -> Result<()> {
        let hidden = self.attribute(attributes, "_non_persistent_buffers_set");
        let hidden: BTreeSet<&str> =
            hidden.map(|set| self.members(set)).unwrap_or_default().into_iter().collect();
        for part in ["_parameters", "_buffers", "_modules"] {
            let Some(part_value) = self.attribute(attributes, part) else { continue };
            for (key, child) in self.children(part_value) {
                let skipped = part == "_buffers" && hidden.contains(key.as_ref());
                if !skipped && child != Value::None {
                    self.flatten(child, &join(name, &key)?, left, found)?;
                }
            }
        }
        Ok(())
    }

    /// The strings of a set.
    fn members(&self, set: Value) -> Vec<&'a str> {
        let items = match self.pickle.node(set) {
            Some(Node::Set(items)) => items.as_slice(),
            _ => match self.pickle.call(set) {
                Some((callee, [items])) if globals::is_set(callee) => {
                    self.pickle.sequence(*items).unwrap_or_default()
                }
                _ => &[],
            },
        };
        items.iter().filter_map(|item| self.pickle.text(*item)).collect()
    }

    /// The tensors among the attributes of a TorchScript object, and of the objects in it.
    fn script(
        &mut self,
        attributes: &[(Value, Value)],
        name: &str,
        left: u32,
        found: &mut Found,
    ) -> Result<()> {
        for (key, child) in attributes {
            let Some(key) = self.pickle.key(*key) else { continue };
            if self.is_script(*child) || self.is_weight(*child) {
                self.flatten(*child, &join(name, &key)?, left, found)?;
            }
        }
        Ok(())
    }
}

fn join(name: &str, key: &str) -> Result<String> {
    if name.len().saturating_add(key.len()) > NAME {
        return Err(Error::unsupported(format!("a tensor's name of more than {NAME} bytes")));
    }
    Ok(if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") })
}

/// Names for a message, the first few of them.
fn list<'n>(paths: impl Iterator<Item = &'n str>) -> String {
    let mut paths: Vec<String> = paths.take(9).map(|path| format!("`{path}`")).collect();
    if paths.len() == 9 {
        paths.pop();
        paths.push("…".to_owned());
    }
    paths.join(", ")
}

/// The error that asks which of several state dicts is meant.
fn several(paths: &[&str]) -> Error {
    let first = paths.first().copied().unwrap_or(TOP);
    Error::source_missing(format!(
        "the file has several state dicts: {}",
        list(paths.iter().copied())
    ))
    .hint(format!(
        "say which one is meant: `state-dict = \"{first}\"` in the manifest, `--state-dict {first}` on the command line"
    ))
}
