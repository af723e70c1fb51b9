//! The byte-level alphabet of GPT-2: each byte is written as one printable character.

/// The character of a byte: itself where Latin-1 prints it, else the next free one from U+0100 on.
#[cfg(any(test, feature = "tokenizers"))]
pub(super) fn encode_byte(byte: u8) -> char {
    if prints(byte) {
        return char::from(byte);
    }
    let place = (0..byte).filter(|b| !prints(*b)).count();
    u32::try_from(place).ok().and_then(|p| char::from_u32(0x100 + p)).unwrap_or('\u{FFFD}')
}

/// The byte of a character of the alphabet.
pub(super) fn decode_char(c: char) -> Option<u8> {
    let code = u32::from(c);
    if let Ok(byte) = u8::try_from(code) {
        return prints(byte).then_some(byte);
    }
    let place = usize::try_from(code.checked_sub(0x100)?).ok()?;
    (0..=u8::MAX).filter(|b| !prints(*b)).nth(place)
}

/// The bytes of a text in the alphabet; nothing if a character is not of it.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    text.chars().map(decode_char).collect()
}

fn prints(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_from_its_character() {
        for byte in 0..=u8::MAX {
            assert_eq!(decode_char(encode_byte(byte)), Some(byte));
        }
        assert_eq!(encode_byte(b' '), 'Ġ');
        assert_eq!(encode_byte(b'\n'), 'Ċ');
        assert_eq!(decode_char('ł'), Some(0xA0));
        assert_eq!(decode_char('漢'), None);
    }
}
