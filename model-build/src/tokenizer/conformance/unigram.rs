//! Unigram as llama.cpp runs it: the charsmap, spaces, then the most probable cut.

use std::collections::HashMap;

use super::run::{Keys, Vocab};
use crate::bytes::Cursor;
use crate::error::Result;
use crate::tokenizer::vocabulary::{NORMAL, UNUSED, USER_DEFINED};

/// What an unknown character costs more than the least probable token.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The tables made of a file's key/values.
pub(super) struct Unigram<'a> {
    charsmap: Charsmap<'a>,
    prefix: bool,
    merge_spaces: bool,
    unknown: u32,
    unknown_score: f32,
    /// Tokens that are text, with their scores.
    matches: HashMap<&'a str, (u32, f64)>,
    user_defined: Vec<&'a str>,
    longest: usize,
}

impl<'a> Unigram<'a> {
    /// # Errors
    /// The charsmap is cut off.
    pub(super) fn new(keys: Keys<'a>, vocab: &Vocab<'a>, unknown: u32) -> Result<Self> {
        let mut out = Self {
            charsmap: Charsmap::new(keys.bytes("precompiled_charsmap"))?,
            prefix: keys.flag("add_space_prefix", true),
            merge_spaces: keys.flag("remove_extra_whitespaces", false),
            unknown,
            unknown_score: 0.0,
            matches: HashMap::new(),
            user_defined: Vec::new(),
            longest: 0,
        };
        let mut least = f32::MAX;
        let rows = vocab.tokens.iter().zip(vocab.types).zip(vocab.scores);
        for (((token, kind), score), id) in rows.zip(0u32..) {
            match *kind {
                NORMAL => least = least.min(*score),
                USER_DEFINED => out.user_defined.push(token),
                UNUSED => {}
                _ => continue,
            }
            let score = if *kind == USER_DEFINED { 0.0 } else { f64::from(*score) };
            out.matches.insert(token, (id, score));
            out.longest = out.longest.max(token.len());
        }
        out.user_defined.sort_by_key(|token| std::cmp::Reverse(token.len()));
        out.unknown_score = least - UNKNOWN_PENALTY;
        Ok(out)
    }

    /// Appends the ids of a text.
    pub(super) fn encode(&self, text: &str, _vocab: &Vocab<'_>, out: &mut Vec<u32>) {
        let text = self.normalize(text);
        // By end: the best score so far, where its last token starts, and that token.
        let mut best: Vec<Option<(f64, usize, u32)>> = vec![None; text.len().saturating_add(1)];
        if let Some(start) = best.first_mut() {
            *start = Some((0.0, 0, self.unknown));
        }
        let improve = |end: usize, candidate: (f64, usize, u32), best: &mut Vec<_>| {
            if let Some(slot) = best.get_mut(end) {
                let old: &mut Option<(f64, usize, u32)> = slot;
                if old.is_none_or(|(score, ..)| candidate.0 > score) {
                    *old = Some(candidate);
                }
            }
        };
        for (start, c) in text.char_indices() {
            let Some(Some((score, ..))) = best.get(start).copied() else { continue };
            let single = start.saturating_add(c.len_utf8());
            let mut single_known = false;
            for len in 1..=self.longest {
                let end = start.saturating_add(len);
                let Some(part) = text.get(start..end) else { continue };
                let Some((id, own)) = self.matches.get(part) else { continue };
                single_known |= end == single;
                improve(end, (score + own, start, *id), &mut best);
            }
            if !single_known {
                let score = score + f64::from(self.unknown_score);
                improve(single, (score, start, self.unknown), &mut best);
            }
        }
        out.extend(self.backtrack(&best));
    }

    /// The best cut from the end, neighbouring unknown tokens as one.
    fn backtrack(&self, best: &[Option<(f64, usize, u32)>]) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut end = best.len().saturating_sub(1);
        while end > 0 {
            let Some(Some((_, start, id))) = best.get(end) else { break };
            if *id != self.unknown || ids.last() != Some(id) {
                ids.push(*id);
            }
            end = *start;
        }
        ids.reverse();
        ids
    }

    fn normalize(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let (mut prepended, mut in_word) = (false, false);
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, used) = self.prefix_of(rest);
            for c in piece.chars() {
                if c == ' ' {
                    in_word = false;
                    if !self.merge_spaces {
                        out.push('▁');
                    }
                    continue;
                }
                if !in_word {
                    in_word = true;
                    if (self.prefix && !prepended) || self.merge_spaces {
                        out.push('▁');
                        prepended = true;
                    }
                }
                out.push(c);
            }
            rest = rest.get(used..).unwrap_or_default();
        }
        out
    }

    /// What the start of a text becomes, and how many bytes of it that takes.
    fn prefix_of<'t>(&'t self, text: &'t str) -> (&'t str, usize) {
        if let Some(token) = self.user_defined.iter().find(|token| text.starts_with(**token)) {
            return (token, token.len());
        }
        if let Some(found) = self.charsmap.longest(text) {
            return found;
        }
        let len = text.chars().next().map_or(0, char::len_utf8);
        (text.get(..len).unwrap_or_default(), len)
    }
}

/// SentencePiece's table of replacements: a double array over the bytes of the text, whose leaves
/// are offsets of texts that end in a zero.
struct Charsmap<'a> {
    nodes: Vec<u32>,
    texts: &'a [u8],
}

impl<'a> Charsmap<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self { nodes: Vec::new(), texts: &[] });
        }
        let mut cursor = Cursor::new(bytes);
        let len = cursor.u32()?;
        let nodes = cursor.take(len.into())?.as_chunks::<4>().0;
        let nodes = nodes.iter().map(|node| u32::from_le_bytes(*node)).collect();
        Ok(Self { nodes, texts: cursor.rest() })
    }

    fn node(&self, at: u32) -> Option<u32> {
        self.nodes.get(usize::try_from(at).ok()?).copied()
    }

    /// The replacement of the longest start of the text that has one, and its length.
    fn longest(&self, text: &str) -> Option<(&'a str, usize)> {
        let offset = |node: u32| node >> 10 << ((node & 1 << 9) >> 6);
        let mut at = offset(self.node(0)?);
        let mut found = None;
        for (byte, used) in text.bytes().zip(1usize..) {
            at ^= u32::from(byte);
            let node = match self.node(at) {
                Some(node) if byte != 0 && node & (1 << 31 | 0xFF) == u32::from(byte) => node,
                _ => break,
            };
            at ^= offset(node);
            if node >> 8 & 1 == 1 {
                found = self.node(at).map(|leaf| (leaf & ((1 << 31) - 1), used));
            }
        }
        let (start, used) = found?;
        let text = self.texts.get(usize::try_from(start).ok()?..)?;
        let end = text.iter().position(|byte| *byte == 0)?;
        Some((std::str::from_utf8(text.get(..end)?).ok()?, used))
    }
}
