//! Values as lines of JSON: a page that is written once, and answered as lines or as an array.

use bytes::Bytes;
use memchr::{memchr_iter, memrchr};

/// JSON values, each on a line that ends in a newline. JSON has no newline within a value as it is written here.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct JsonLines {
    bytes: Bytes,
    count: usize,
}

impl JsonLines {
    /// Lines that [`JsonLines::as_bytes`] gave, at most `most` of them; they stay where they are. `None` if the last
    /// line has no end, or if `is_line` is false for a line without its end.
    #[must_use]
    pub fn read(mut bytes: Bytes, most: usize, is_line: impl Fn(&[u8]) -> bool) -> Option<Self> {
        let (mut count, mut end) = (0, 0);
        for newline in memchr_iter(b'\n', &bytes).take(most) {
            bytes.get(end..newline).filter(|line| is_line(line))?;
            (count, end) = (count + 1, newline + 1);
        }
        let is_whole = count == most || end == bytes.len();
        bytes.truncate(end);
        is_whole.then_some(Self { bytes, count })
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All lines.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All lines.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The last line, without its end.
    #[must_use]
    pub fn last(&self) -> Option<&[u8]> {
        let lines = self.bytes.strip_suffix(b"\n")?;
        lines.get(memrchr(b'\n', lines).map_or(0, |newline| newline + 1)..)
    }

    /// Appends the values with commas between them, as an array holds them.
    pub fn append_to_array(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(self.bytes.strip_suffix(b"\n").unwrap_or_default());
        // Every byte is written, so that the compiler takes many at once.
        for byte in out.get_mut(begin..).unwrap_or_default() {
            *byte = if *byte == b'\n' { b',' } else { *byte };
        }
    }
}

/// Writes [`JsonLines`].
#[derive(Default, Debug)]
pub struct JsonLinesWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl JsonLinesWriter {
    /// No lines yet, and room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Takes a value that `write` writes, without a newline in it.
    ///
    /// # Errors
    /// That of `write`; then no line is added.
    pub(crate) fn push_with(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), serde_json::Error>,
    ) -> Result<(), serde_json::Error> {
        let before = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(before);
            return Err(error);
        }
        self.bytes.push(b'\n');
        self.count += 1;
        Ok(())
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes the lines have, with their ends.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// The lines.
    #[must_use]
    pub fn finish(self) -> JsonLines {
        JsonLines { bytes: self.bytes.into(), count: self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(texts: &[String]) -> JsonLines {
        let mut lines = JsonLinesWriter::default();
        texts.iter().for_each(|text| lines.push_with(|out| serde_json::to_writer(out, text)).unwrap());
        lines.finish()
    }

    fn is_text(line: &[u8]) -> bool {
        serde_json::from_slice::<String>(line).is_ok()
    }

    proptest! {
        #[test]
        fn lines_are_the_values_of_an_array(texts in proptest::collection::vec(any::<String>(), 0..6)) {
            let lines = lines_of(&texts);
            let mut array = b"[".to_vec();
            lines.append_to_array(&mut array);
            array.push(b']');
            prop_assert_eq!(&serde_json::from_slice::<Vec<String>>(&array).unwrap(), &texts);
            let last = lines.last().map(|line| serde_json::from_slice::<String>(line).unwrap());
            prop_assert_eq!(last.as_ref(), texts.last());
        }

        #[test]
        fn the_first_lines_are_read_again(texts in proptest::collection::vec(any::<String>(), 0..6), most in 0..8_usize) {
            let read = JsonLines::read(lines_of(&texts).into_bytes(), most, is_text).unwrap();
            prop_assert_eq!(read, lines_of(&texts[..most.min(texts.len())]));
        }
    }

    #[test]
    fn a_line_without_its_end_is_not_read_and_each_line_is_checked() {
        let read =
            |text: &'static str, most| JsonLines::read(text.into(), most, |line| line != b"x").map(|it| it.len());
        assert_eq!(read("1\n2", 2), None);
        assert_eq!(read("1\n2", 1), Some(1));
        assert_eq!(read("1\nx\n", 2), None);
        assert_eq!(read("1\nx\n", 1), Some(1));
    }

    #[test]
    fn a_value_that_is_no_json_adds_no_line() {
        let mut lines = JsonLinesWriter::default();
        lines.push_with(|out| serde_json::to_writer(out, "a")).unwrap();
        let no_json = std::collections::HashMap::from([((), 1)]);
        lines.push_with(|out| serde_json::to_writer(out, &no_json)).unwrap_err();
        assert_eq!(lines.finish(), lines_of(&["a".to_owned()]));
    }
}
