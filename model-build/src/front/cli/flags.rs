//! Keys of the manifest as flags: `--precision fp16` is `precision = "fp16"`. The flags, their help
//! and their words come from the manifest's own description, so a new key is a new flag.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Command};

use crate::error::{Error, Result};
use crate::manifest::{Field, Kind, Target, Verify};

/// Keys of a target that mean nothing where no manifest is: each with the reason.
const NOT_HERE: &[(&str, &str)] = &[
    ("embed", "it says how an artifact gets into a binary, and this command writes a file"),
    (
        "when",
        "it chooses among the targets of a manifest, and this command makes the one it is told",
    ),
];

/// The keys of a target that were given as flags, and what was given.
#[derive(Debug)]
pub(super) struct TargetFlags(Vec<(String, String)>);

/// The keys of `verify` that were given as flags, named as keys of a target: `verify.cosine`.
#[derive(Debug)]
pub(super) struct VerifyFlags(Vec<(String, String)>);

impl TargetFlags {
    /// What was given, for [`target_from_flags`](crate::manifest::target_from_flags); an error for
    /// a key that has no place on a command line.
    pub(super) fn given(&self) -> Result<Vec<(&str, &str)>> {
        for (key, _) in &self.0 {
            let (outer, inside) = key.split_once('.').unwrap_or((key, ""));
            let field = Target::KEYS.iter().find(|field| field.name == outer);
            let inside = field.and_then(|f| inner(f).iter().find(|field| field.name == inside));
            if let Some(instead) = inside.or(field).and_then(|field| field.later) {
                return Err(
                    Error::unsupported(format!("`--{key}` is not supported yet")).hint(instead)
                );
            }
            if let Some((_, reason)) = NOT_HERE.iter().find(|(name, _)| name == key) {
                return Err(Error::manifest(format!("`--{key}` has no effect here: {reason}"))
                    .hint(format!("leave out `--{key}`")));
            }
        }
        Ok(self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
    }
}

impl VerifyFlags {
    /// What was given, for [`target_from_flags`](crate::manifest::target_from_flags).
    pub(super) fn given(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }
}

impl clap::FromArgMatches for TargetFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for field in Target::KEYS {
            collect(matches, field.name, &mut given);
            for inner in inner(field) {
                collect(matches, &format!("{}.{}", field.name, inner.name), &mut given);
            }
        }
        Ok(Self(given))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for TargetFlags {
    fn augment_args(command: Command) -> Command {
        let mut command = command;
        let heading = "What to make: the keys of a manifest's target";
        for field in Target::KEYS {
            let hidden =
                field.later.is_some() || NOT_HERE.iter().any(|(name, _)| *name == field.name);
            let mut flag = flag(field, field.name, field.name).help_heading(heading).hide(hidden);
            if field.name == "format" {
                let default = "by the ending of DST";
                flag = flag.help(brief(field.doc, default));
                flag = flag.long_help(with_default(field.doc, default));
            }
            command = command.arg(flag);
        }
        for field in Target::KEYS {
            for inner in inner(field) {
                let name = format!("{}.{}", field.name, inner.name);
                let heading = format!("The keys of `{}`, one by one", field.name);
                let flag = flag(inner, &name, &name).help_heading(heading);
                command = command.arg(flag.hide(inner.later.is_some()).hide_short_help(true));
            }
        }
        command
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for VerifyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for field in Verify::KEYS {
            collect(matches, &format!("verify.{}", field.name), &mut given);
        }
        Ok(Self(given))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for VerifyFlags {
    fn augment_args(command: Command) -> Command {
        let mut command = command;
        let heading = "The keys of a manifest's `verify`";
        for field in Verify::KEYS {
            let flag = flag(field, &format!("verify.{}", field.name), field.name);
            command = command.arg(flag.help_heading(heading).hide(field.later.is_some()));
        }
        command
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn collect(matches: &ArgMatches, id: &str, given: &mut Vec<(String, String)>) {
    if let Some(value) = matches.get_one::<String>(id) {
        given.push((id.to_owned(), value.clone()));
    }
}

/// The keys of the table that a key holds.
fn inner(field: &Field) -> &'static [Field] {
    match field.kind {
        Kind::Table(fields) | Kind::TextOrTable(fields) | Kind::BooleanOrTable(fields) => fields,
        _ => &[],
    }
}

/// The flag of a key.
fn flag(field: &Field, id: &str, long: &str) -> Arg {
    let words = (field.words)().into_iter().filter(|word| word.works);
    let mut words: Vec<PossibleValue> =
        words.map(|word| PossibleValue::new(word.name).help(word.doc)).collect();
    if matches!(field.kind, Kind::Boolean) {
        words = vec![PossibleValue::new("true"), PossibleValue::new("false")];
    }
    if matches!(field.kind, Kind::BooleanOrText) {
        words.extend([PossibleValue::new("true"), PossibleValue::new("false")]);
    }
    let value = match field.kind {
        Kind::Text | Kind::BooleanOrText | Kind::Free | Kind::TextOrTable(_) => {
            field.name.to_uppercase()
        }
        Kind::Texts => format!("{},…", field.name.to_uppercase()),
        Kind::Integer => "N".to_owned(),
        Kind::Number => "X".to_owned(),
        Kind::Boolean => "BOOL".to_owned(),
        Kind::BooleanOrTable(_) => "BOOL|KEY=X,…".to_owned(),
        Kind::Table(_) => "KEY=X,…".to_owned(),
        Kind::Map => "NAME=X,…".to_owned(),
    };
    Arg::new(id.to_owned())
        .long(long.to_owned())
        .value_name(value)
        .allow_negative_numbers(true)
        .help(brief(field.doc, field.default))
        .long_help(with_default(field.doc, field.default))
        .value_parser(Words(words))
}

/// What a key does, in a sentence, and what leaving it out means.
fn brief(doc: &str, default: &str) -> String {
    with_default(doc.split_once(". ").map_or(doc, |(first, _)| first), default)
}

fn with_default(doc: &str, default: &str) -> String {
    let doc = doc.trim_end_matches('.');
    // On a command line there is no manifest whose folder could be meant.
    let doc = doc.replace("relative to the manifest's folder", "relative to the current folder");
    if default == crate::manifest::REQUIRED {
        return doc;
    }
    // Words stand on a command line as they are, without TOML's quotes and Markdown's ticks.
    let mut default = default.replace("`\"", "`").replace("\"`", "`");
    if default.matches('`').count() == 2 && default.starts_with('`') && default.ends_with('`') {
        default = default.replace('`', "");
    }
    format!("{doc} [default: {default}]")
}

/// Any string, with words to show and to complete: the manifest says what it thinks of the others.
#[derive(Clone)]
struct Words(Vec<PossibleValue>);

impl TypedValueParser for Words {
    type Value = String;
    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        if self.0.is_empty() { None } else { Some(Box::new(self.0.iter().cloned())) }
    }
}
