//! Opcodes that push plain values: numbers, strings and bytes, as spans of the pickle.

use super::super::value::{Span, Value};
use super::{Machine, RESAVE};
use crate::error::{Error, Result};

/// The longest line of the textual opcodes.
const LINE: usize = 1 << 20;

impl<'a> Machine<'a> {
    pub(super) fn span(&mut self, len: u64) -> Result<Span> {
        let at = self.cursor.position();
        self.cursor.take(len)?;
        match (u32::try_from(at), u32::try_from(len)) {
            (Ok(at), Ok(len)) => Ok(Span { at, len }),
            _ => Err(Error::unsupported("a pickle of more than 4 GB")),
        }
    }

    pub(super) fn small(&mut self) -> Result<u64> {
        let [n] = self.cursor.array()?;
        Ok(n.into())
    }

    /// A line without its end, and where it stands.
    pub(super) fn line(&mut self) -> Result<(Span, &'a [u8])> {
        let rest = self.cursor.rest();
        let window = rest.get(..rest.len().min(LINE)).unwrap_or_default();
        let len = window
            .iter()
            .position(|b| *b == b'\n')
            .ok_or_else(|| Error::malformed("a line that does not end"))?;
        let span = self.span(len as u64)?;
        self.cursor.take(1)?;
        Ok((span, window.get(..len).unwrap_or_default()))
    }

    pub(super) fn text_line(&mut self) -> Result<&'a str> {
        let (_, line) = self.line()?;
        std::str::from_utf8(line).map_err(|_| Error::malformed("a line that is not UTF-8"))
    }

    pub(super) fn number(&mut self, op: u8) -> Result<()> {
        let value = match op {
            b'G' => {
                self.cursor.take(8)?;
                Value::Float
            }
            b'F' => {
                let line = self.text_line()?;
                line.parse::<f64>().map_err(|_| Error::malformed("a float that is none"))?;
                Value::Float
            }
            b'J' => Value::Int(i32::from_le_bytes(self.cursor.array()?).into()),
            b'K' => {
                let [n] = self.cursor.array()?;
                Value::Int(n.into())
            }
            b'M' => Value::Int(u16::from_le_bytes(self.cursor.array()?).into()),
            b'I' | b'L' => self.decimal(op)?,
            0x8a => {
                let len = self.small()?;
                self.long(len)?
            }
            _ => {
                let len = self.cursor.u32()?;
                self.long(len.into())?
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn decimal(&mut self, op: u8) -> Result<Value> {
        let (span, line) = self.line()?;
        match (op, line) {
            (b'I', b"00") => return Ok(Value::Bool(false)),
            (b'I', b"01") => return Ok(Value::Bool(true)),
            _ => {}
        }
        let digits = line.strip_suffix(b"L").unwrap_or(line);
        let text = std::str::from_utf8(digits).unwrap_or_default();
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::malformed("an integer that is none"));
        }
        Ok(text.parse().map_or(Value::Long(span), Value::Int))
    }

    /// A little-endian integer in two's complement.
    fn long(&mut self, len: u64) -> Result<Value> {
        let span = self.span(len)?;
        let bytes = self.slice(span);
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Ok(Value::Int(i64::from_le_bytes(wide)))
            }
            None => Ok(Value::Long(span)),
        }
    }

    /// The bytes of a span that was just taken off the cursor.
    pub(super) fn slice(&self, span: Span) -> &'a [u8] {
        let data = self.cursor.whole();
        let range = usize::try_from(span.at).ok().zip(usize::try_from(span.len).ok());
        range.and_then(|(at, len)| data.get(at..at.checked_add(len)?)).unwrap_or_default()
    }

    pub(super) fn string(&mut self, op: u8) -> Result<()> {
        let span = match op {
            b'S' | b'V' => return self.string_line(op),
            b'U' | b'C' | 0x8c => {
                let len = self.small()?;
                self.span(len)?
            }
            b'T' | b'X' | b'B' => {
                let len = self.cursor.u32()?;
                self.span(len.into())?
            }
            _ => {
                let len = self.cursor.u64()?;
                self.span(len)?
            }
        };
        let utf8 = || std::str::from_utf8(self.slice(span)).is_ok();
        let value = match op {
            b'B' | b'C' | 0x8e | 0x96 => Value::Bytes(span),
            // Strings of Python 2 may be any bytes.
            b'T' | b'U' if !utf8() => Value::Bytes(span),
            _ if utf8() => Value::Text(span),
            _ => return Err(Error::malformed("a string that is not UTF-8")),
        };
        self.stack.push(value);
        Ok(())
    }

    fn string_line(&mut self, op: u8) -> Result<()> {
        let (mut span, line) = self.line()?;
        if line.contains(&b'\\') || std::str::from_utf8(line).is_err() {
            return Err(
                Error::unsupported("a string with escapes in a textual pickle").hint(RESAVE)
            );
        }
        if op == b'S' {
            let quoted = matches!(line, [b'\'', .., b'\''] | [b'"', .., b'"']);
            if !quoted {
                return Err(Error::malformed("a string without quotes"));
            }
            span = Span { at: span.at + 1, len: span.len - 2 };
        }
        self.stack.push(Value::Text(span));
        Ok(())
    }
}
