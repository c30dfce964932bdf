//! Reads a JSON text in place: the members of its objects, and where each value ends. The cursor looks at each byte
//! once.
//!
//! Documents stay as they were written, so a member's name may hold half a surrogate pair, which no Rust text can hold.

use std::borrow::Cow;

use memchr::memchr2;

/// A text that should be JSON, and is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BrokenJson;

/// A place in a JSON text.
pub(super) struct JsonCursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonCursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// True if the next value is an object.
    pub(super) fn is_at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Reads the object at this place. `each` gets the name of each member and must pass over its value.
    pub(super) fn read_members(
        &mut self,
        mut each: impl FnMut(MemberName<'a>, &mut Self) -> Result<(), BrokenJson>,
    ) -> Result<(), BrokenJson> {
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.read_name()?;
            self.expect(b':')?;
            each(name, self)?;
            if !self.take(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// Passes over the value at this place; gives its text.
    pub(super) fn skip_value(&mut self) -> Result<&'a str, BrokenJson> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => self.skip_string()?,
            Some(b'{' | b'[') => self.skip_nested()?,
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
                self.at += self.rest().iter().take_while(|byte| !is_end(byte)).count();
            }
        }
        self.text.get(start..self.at).filter(|value| !value.is_empty()).ok_or(BrokenJson)
    }

    fn read_name(&mut self) -> Result<MemberName<'a>, BrokenJson> {
        if self.peek() != Some(b'"') {
            return Err(BrokenJson);
        }
        let start = self.at;
        self.skip_string()?;
        self.text.get(start..self.at).map(MemberName).ok_or(BrokenJson)
    }

    /// Passes over an object or a list, however deep.
    fn skip_nested(&mut self) -> Result<(), BrokenJson> {
        let mut depth = 0_usize;
        loop {
            let counts = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
            self.at += self.rest().iter().position(counts).ok_or(BrokenJson)?;
            match self.rest().first() {
                Some(b'"') => {
                    self.skip_string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                _ => depth -= 1,
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Passes over the string whose first quote is at this place.
    fn skip_string(&mut self) -> Result<(), BrokenJson> {
        self.at += 1;
        loop {
            let next = memchr2(b'"', b'\\', self.rest()).ok_or(BrokenJson)?;
            let is_quote = self.rest().get(next) == Some(&b'"');
            self.at += next + if is_quote { 1 } else { 2 };
            if is_quote {
                return Ok(());
            }
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.rest().first().copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), BrokenJson> {
        if self.take(byte) { Ok(()) } else { Err(BrokenJson) }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// The name of an object's member, as it was written: in quotes, with its escapes.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberName<'a>(&'a str);

impl<'a> MemberName<'a> {
    pub(super) fn as_written(self) -> &'a str {
        self.0
    }

    /// The meaning of the name, to compare it with other names: its UTF-8, and for half a surrogate pair the three
    /// bytes of WTF-8. Two names are the same member if these bytes are the same.
    pub(super) fn meaning(self) -> Result<Cow<'a, [u8]>, BrokenJson> {
        let inside = self.0.get(1..self.0.len() - 1).ok_or(BrokenJson)?;
        if !inside.contains('\\') {
            return Ok(Cow::Borrowed(inside.as_bytes()));
        }
        let mut meaning = Vec::with_capacity(inside.len());
        let mut parts = inside.split('\\');
        meaning.extend(parts.next().unwrap_or_default().bytes());
        let mut high = None;
        while let Some(part) = parts.next() {
            let (escape, plain) = part.split_at_checked(1).unwrap_or_default();
            let mut plain = plain;
            let unit = match escape {
                // An escaped backslash ends its part, and the text behind it is the next one.
                "" => {
                    plain = parts.next().unwrap_or_default();
                    u16::from(b'\\')
                }
                "u" => {
                    let (digits, behind) = plain.split_at_checked(4).ok_or(BrokenJson)?;
                    plain = behind;
                    u16::from_str_radix(digits, 16).map_err(|_| BrokenJson)?
                }
                "b" => 0x08,
                "f" => 0x0c,
                "n" => u16::from(b'\n'),
                "r" => u16::from(b'\r'),
                "t" => u16::from(b'\t'),
                "\"" | "/" => escape.bytes().next().map_or(0, u16::from),
                _ => return Err(BrokenJson),
            };
            high = push_unit(&mut meaning, high, unit);
            if !plain.is_empty() {
                flush(&mut meaning, high.take());
            }
            meaning.extend(plain.bytes());
        }
        flush(&mut meaning, high);
        Ok(Cow::Owned(meaning))
    }
}

/// Writes an escaped UTF-16 unit, together with the first half of a pair before it. Gives back a first half whose
/// second half has not come yet.
fn push_unit(meaning: &mut Vec<u8>, high: Option<u16>, unit: u16) -> Option<u16> {
    let pair = high.and_then(|high| char::decode_utf16([high, unit]).next()?.ok());
    if let Some(character) = pair {
        meaning.extend(character.encode_utf8(&mut [0; 4]).bytes());
        return None;
    }
    flush(meaning, high);
    if (0xd800..0xdc00).contains(&unit) {
        return Some(unit);
    }
    flush(meaning, Some(unit));
    None
}

/// Writes a unit that stays alone, in the form of UTF-8 also where it is half a pair.
fn flush(meaning: &mut Vec<u8>, unit: Option<u16>) {
    let Some(unit) = unit else { return };
    if let Some(character) = char::from_u32(u32::from(unit)) {
        meaning.extend(character.encode_utf8(&mut [0; 4]).bytes());
        return;
    }
    let low_byte = |number: u16| number.to_le_bytes().into_iter().next().unwrap_or_default();
    meaning.extend([0xe0 | unit >> 12, 0x80 | unit >> 6 & 0x3f, 0x80 | unit & 0x3f].map(low_byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(written: &str) -> Vec<u8> {
        MemberName(written).meaning().unwrap().into_owned()
    }

    #[test]
    fn names_are_compared_by_what_they_mean() {
        for (written, plain) in [
            (r#""""#, ""),
            (r#""a""#, "a"),
            (r#""\u0061""#, "a"),
            (r#""a\\b\"c\/""#, "a\\b\"c/"),
            (r#""\\\\""#, "\\\\"),
            (r#""\\u0061""#, "\\u0061"),
            (r#""\b\f\n\r\tx""#, "\u{8}\u{c}\n\r\tx"),
            (r#""\ud83d\ude00!""#, "😀!"),
            (r#""x\u00e4\u00E4""#, "xää"),
            (r#""\u0000""#, "\0"),
        ] {
            assert_eq!(meaning(written), plain.as_bytes(), "{written}");
            assert_eq!(serde_json::from_str::<String>(written).unwrap(), plain, "{written}");
        }
    }

    #[test]
    fn halves_of_pairs_are_names_too() {
        let names =
            [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\ud83d""#, r#""\ude00\ud83d""#, r#""\ud83d\n""#];
        for (place, name) in names.iter().enumerate() {
            for other in &names[place + 1..] {
                assert_ne!(meaning(name), meaning(other), "{name} {other}");
            }
        }
        assert_eq!(meaning(r#""\uD83D""#), meaning(r#""\ud83d""#));
        assert_eq!(meaning(r#""\ud83d\ud83d\ude00""#), [&meaning(r#""\ud83d""#)[..], "😀".as_bytes()].concat());
        assert_eq!(meaning(r#""\ud83d\\""#), [&meaning(r#""\ud83d""#)[..], b"\\"].concat());
        assert_eq!(meaning(r#""\ud83d""#), [0xed, 0xa0, 0xbd]);
    }

    #[test]
    fn members_are_read_in_their_order_and_values_as_they_stand() {
        let text = " { \"a\" : [1, {\"b\":\"]}\\\"\"}] ,\"c\":-1.50e+2,\"d\":{},\"e\":null } ";
        let mut seen = Vec::new();
        let read = JsonCursor::new(text).read_members(|name, cursor| {
            seen.push((name.as_written(), cursor.skip_value()?));
            Ok(())
        });
        read.unwrap();
        let expected =
            [("\"a\"", "[1, {\"b\":\"]}\\\"\"}]"), ("\"c\"", "-1.50e+2"), ("\"d\"", "{}"), ("\"e\"", "null")];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_broken_is_not_taken_for_empty() {
        for text in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a:1}",
            "{\"a\":[1}",
        ] {
            let read = JsonCursor::new(text).read_members(|_, cursor| cursor.skip_value().map(|_| ()));
            assert_eq!(read, Err(BrokenJson), "{text}");
        }
        for name in [r#""\u12""#, r#""\x""#, r#""\uzzzz""#] {
            assert!(MemberName(name).meaning().is_err(), "{name}");
        }
    }
}
