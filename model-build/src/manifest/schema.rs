//! What a manifest may say: the description of every key, which the decoder, the documentation and
//! the command line read, and the two macros that make it from the types' own doc comments.

/// A key of a manifest table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key as written.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What leaving it out means; [`REQUIRED`] where it may not be left out.
    pub default: &'static str,
    /// What it does: the doc comment of the type's field.
    pub doc: &'static str,
    /// The words its value may be; empty where it is free.
    pub words: fn() -> Vec<WordInfo>,
    /// For a key that is known and does not work yet: what to do instead.
    pub later: Option<&'static str>,
}

/// The [`Field::default`] of a key that must be there.
pub const REQUIRED: &str = "required";

impl Field {
    /// Whether the key must be there.
    pub fn is_required(&self) -> bool {
        self.default == REQUIRED
    }
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// An integer.
    Integer,
    /// An integer or a float.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A table with these keys.
    Table(&'static [Field]),
    /// An array of strings.
    Texts,
    /// A string, short for a table with these keys.
    TextOrTable(&'static [Field]),
    /// `true` or `false`, short for a table with these keys.
    BooleanOrTable(&'static [Field]),
    /// `true` or `false`, or a string.
    BooleanOrText,
    /// A table whose keys are free names.
    Map,
    /// An integer, a number, a boolean or a string: a value of a [`Kind::Map`].
    Free,
}

impl Kind {
    /// The kind in words, as "a string".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Texts => "an array of strings",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::Table(_) | Self::Map => "a table",
            Self::TextOrTable(_) => "a string or a table",
            Self::BooleanOrTable(_) => "`true`, `false` or a table",
            Self::BooleanOrText => "`true`, `false` or a string",
            Self::Free => "a number or a string",
        }
    }
}

/// A word that a value may be, without what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordInfo {
    /// The word.
    pub name: &'static str,
    /// What it means; may be empty.
    pub doc: &'static str,
    /// Whether it works; otherwise it is only recognized.
    pub works: bool,
}

/// A word that a value may be.
#[derive(Clone, Copy, Debug)]
pub struct Word<T> {
    /// The word.
    pub name: &'static str,
    /// What it means; may be empty.
    pub doc: &'static str,
    /// What it stands for; `None` for a word that is known and does not work yet.
    pub value: Option<T>,
}

impl<T> Word<T> {
    /// The word without its value.
    pub const fn info(&self) -> WordInfo {
        WordInfo { name: self.name, doc: self.doc, works: self.value.is_some() }
    }
}

/// The words of a field whose value is free.
pub(super) fn no_words() -> Vec<WordInfo> {
    Vec::new()
}

/// Defines a struct that is read from a table, and `KEYS`, the description of that table.
///
/// `keys` are the fields that stand in the table: `field: Type = "key" Kind, "default"` and, where
/// the value is one of a few words, a function that lists them. `bare` are keys without a field:
/// `"key" Kind, "default", None` or, for one that does not work yet, `Some("what to do instead")`;
/// words may follow there too.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[doc = $pd:literal])* pub $pf:ident: $pt:ty, )* }
        keys { $(
            $(#[doc = $d:literal])*
            pub $f:ident: $t:ty = $key:literal $kind:expr, $default:expr $(, $words:expr)?;
        )* }
        bare { $(
            $(#[doc = $bd:literal])*
            $bkey:literal $bkind:expr, $bdefault:expr, $later:expr $(, $bwords:expr)?;
        )* }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $( $(#[doc = $pd])* pub $pf: $pt, )*
            $( $(#[doc = $d])* pub $f: $t, )*
        }
        impl $name {
            /// The keys of its table.
            pub const KEYS: &'static [Field] = &[
                $( Field {
                    name: $key,
                    kind: $kind,
                    default: $default,
                    doc: concat!($($d),*).trim_ascii(),
                    words: table!(@words $($words)?),
                    later: None,
                }, )*
                $( Field {
                    name: $bkey,
                    kind: $bkind,
                    default: $bdefault,
                    doc: concat!($($bd),*).trim_ascii(),
                    words: table!(@words $($bwords)?),
                    later: $later,
                }, )*
            ];
        }
    };
    (@words) => { no_words };
    (@words $words:expr) => { $words };
}

/// Defines an enum whose variants are words of the manifest, `WORDS` with their documentation, and
/// `name`. `later` lists words that are known and do not work yet.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $(= $default:ident)? { $(
            $(#[doc = $d:literal])*
            $variant:ident = $word:literal,
        )* }
        later { $( $lword:literal $ldoc:literal, )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[doc = $d])* $variant, )* }
        impl $name {
            /// Every word, with the ones that are known and do not work yet.
            pub const WORDS: &'static [Word<Self>] = &[
                $( Word {
                    name: $word,
                    doc: concat!($($d),*).trim_ascii(),
                    value: Some(Self::$variant),
                }, )*
                $( Word { name: $lword, doc: $ldoc, value: None }, )*
            ];
            /// The word in manifests.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
            #[allow(dead_code)] // the words of some keys are part of a longer list
            pub(super) fn infos() -> Vec<WordInfo> {
                Self::WORDS.iter().map(Word::info).collect()
            }
        }
        $( impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        } )?
    };
}

pub(super) use {table, words};
