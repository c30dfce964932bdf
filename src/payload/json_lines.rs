//! Values as lines of JSON: a page that is written once, and answered as lines or as an array.

use memchr::{memchr_iter, memrchr};
use serde::Serialize;

/// JSON values, each on a line that ends in a newline. JSON has no newline within a value as it is written here.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct JsonLines {
    bytes: Vec<u8>,
    count: usize,
}

impl JsonLines {
    /// No lines yet, and room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Lines that [`JsonLines::as_bytes`] gave, at most `most` of them. `None` if the last line has no end.
    #[must_use]
    pub fn read(bytes: &[u8], most: usize) -> Option<Self> {
        let (mut count, mut end) = (0, 0);
        for newline in memchr_iter(b'\n', bytes).take(most) {
            (count, end) = (count + 1, newline + 1);
        }
        let (lines, rest) = bytes.split_at_checked(end)?;
        (count == most || rest.is_empty()).then(|| Self { bytes: lines.to_vec(), count })
    }

    /// Writes a value.
    ///
    /// # Errors
    /// If the value cannot be JSON; then no line is added.
    pub fn push(&mut self, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.push_with(|out| serde_json::to_writer(out, value))
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

    /// All lines.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All lines.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Each line, without its end.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(texts: &[String]) -> JsonLines {
        let mut lines = JsonLines::default();
        texts.iter().for_each(|text| lines.push(text).unwrap());
        lines
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
            let read = JsonLines::read(lines_of(&texts).as_bytes(), most).unwrap();
            prop_assert_eq!(read, lines_of(&texts[..most.min(texts.len())]));
        }
    }

    #[test]
    fn a_line_without_its_end_is_not_read() {
        assert_eq!(JsonLines::read(b"1\n2", 2), None);
        assert_eq!(JsonLines::read(b"1\n2", 1).map(|lines| lines.len()), Some(1));
    }

    #[test]
    fn a_value_that_is_no_json_adds_no_line() {
        let mut lines = lines_of(&["a".to_owned()]);
        let no_json = std::collections::HashMap::from([((), 1)]);
        lines.push(&no_json).unwrap_err();
        assert_eq!((lines.len(), lines.as_bytes()), (1, &b"\"a\"\n"[..]));
    }
}
