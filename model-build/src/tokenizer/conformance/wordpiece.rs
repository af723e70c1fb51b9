//! WordPiece as llama.cpp runs it: words with `▁` in front, cut into the longest tokens from the
//! left.

use fancy_regex::Regex;
use tokenizers::normalizers::NFD;
use tokenizers::{NormalizedString, Normalizer};

use super::run::{Keys, Vocab, compile};
use crate::error::Result;

/// How text is normalized, and the classes of characters it takes.
pub(super) struct Options {
    lowercase: bool,
    strip_accents: bool,
    mark: Regex,
    alone: Regex,
    dropped: Regex,
}

impl Options {
    pub(super) fn new(keys: Keys<'_>) -> Result<Self> {
        let lowercase = keys.flag("normalizer.lowercase", true);
        Ok(Self {
            lowercase,
            strip_accents: keys.flag("normalizer.strip_accents", lowercase),
            mark: compile(r"\p{M}")?,
            alone: compile(r"[\p{P}$+<=>^`|~]")?,
            dropped: compile(r"[\p{C}&&[^\p{Cn}]]")?,
        })
    }

    fn is(class: &Regex, c: char) -> bool {
        class.is_match(c.encode_utf8(&mut [0; 4])).unwrap_or(false)
    }
}

/// Appends the ids of a text.
pub(super) fn encode(
    text: &str,
    options: &Options,
    vocab: &Vocab<'_>,
    unknown: u32,
    out: &mut Vec<u32>,
) {
    for word in words(text, options) {
        let word = format!("▁{word}");
        let before = out.len();
        let mut rest = word.as_str();
        while !rest.is_empty() {
            let ends = rest.char_indices().map(|(at, c)| at.saturating_add(c.len_utf8()));
            let longest =
                ends.rev().find_map(|end| Some((vocab.id(rest.get(..end)?)?, rest.get(end..)?)));
            let Some((id, after)) = longest else {
                out.truncate(before);
                break;
            };
            out.push(id);
            rest = after;
        }
        if out.len() == before {
            out.push(unknown);
        }
    }
}

fn words(text: &str, options: &Options) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        let c = if options.strip_accents { base(c) } else { c };
        if c.is_whitespace() {
            words.push(std::mem::take(&mut word));
            continue;
        }
        let mark = options.strip_accents && Options::is(&options.mark, c);
        if c == '\0' || c == '\u{FFFD}' || mark || Options::is(&options.dropped, c) {
            continue;
        }
        let lower = c.to_lowercase().next().filter(|_| options.lowercase).unwrap_or(c);
        if Options::is(&options.alone, c) || is_chinese(c) {
            words.push(std::mem::take(&mut word));
            words.push(lower.to_string());
        } else {
            word.push(lower);
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The first character of a character's decomposition, which is all that llama.cpp keeps of it: a
/// letter without its accent, and of a Hangul syllable its first consonant.
fn base(c: char) -> char {
    if c.is_ascii() {
        return c;
    }
    let mut decomposed = NormalizedString::from(c.encode_utf8(&mut [0; 4]) as &str);
    // A string that is valid decomposes.
    let _ = NFD.normalize(&mut decomposed);
    decomposed.get().chars().next().unwrap_or(c)
}

/// The ranges of characters that are words of their own.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x2_0000..=0x2_A6DF | 0x2_A700..=0x2_B73F
        | 0x2_B740..=0x2_B81F | 0x2_B920..=0x2_CEAF | 0xF900..=0xFAFF | 0x2_F800..=0x2_FA1F)
}
