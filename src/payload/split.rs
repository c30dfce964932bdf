//! Cutting a stream of bytes into records: lines, or the elements of a JSON array.
//!
//! A splitter takes chunks of any size and calls back for each whole record. The rest waits for the next chunk, and
//! may not be longer than the longest record.

use memchr::memchr;

use super::fault::BodyFault;

/// A record and its first line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordPiece<'a> {
    /// The number of the record's first line, from 1.
    pub(crate) line: u64,
    /// The record's bytes; `None` if the record is too long.
    pub(crate) bytes: Option<&'a [u8]>,
}

/// Cuts at line ends. A line that is too long is passed over.
pub(crate) struct LineSplitter {
    limit: usize,
    line: u64,
    rest: Vec<u8>,
    too_long: bool,
}

impl LineSplitter {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: 1, rest: Vec::new(), too_long: false }
    }

    pub(crate) fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(RecordPiece<'_>)) {
        let mut chunk = chunk;
        while let Some((head, tail)) = memchr(b'\n', chunk).and_then(|end| chunk.split_at_checked(end)) {
            self.end_line(head, &mut each);
            self.line += 1;
            chunk = tail.split_first().map_or(&[], |(_, tail)| tail);
        }
        if self.rest.len() + chunk.len() > self.limit {
            self.too_long = true;
            self.rest = Vec::new();
        } else if !self.too_long {
            self.rest.extend_from_slice(chunk);
        }
    }

    /// Ends the text; the last line needs no line end.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(RecordPiece<'_>)) {
        if self.too_long || !self.rest.is_empty() {
            self.end_line(&[], &mut each);
        }
    }

    fn end_line(&mut self, head: &[u8], each: &mut impl FnMut(RecordPiece<'_>)) {
        let line = self.line;
        if self.too_long || self.rest.len() + head.len() > self.limit {
            each(RecordPiece { line, bytes: None });
        } else if self.rest.is_empty() {
            each(RecordPiece { line, bytes: Some(head) });
        } else {
            self.rest.extend_from_slice(head);
            each(RecordPiece { line, bytes: Some(&self.rest) });
        }
        self.rest.clear();
        self.too_long = false;
    }
}

/// Where an [`ArraySplitter`] stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SplitterPlace {
    /// Before the first bracket.
    Start,
    /// Where an element may start; a comma must come first if `comma` is true.
    Between { comma: bool },
    /// In an element; `depth` brackets are open.
    Element { depth: u32, string: bool, escaped: bool },
    /// Behind the last bracket.
    End,
}

/// Cuts a JSON array into its elements. The splitter looks only at brackets, quotes and commas; the parser judges the
/// JSON. A sequence of objects without the array around it is accepted as well. An element that is too long is passed
/// over.
pub(crate) struct ArraySplitter {
    limit: usize,
    line: u64,
    started_on: u64,
    place: SplitterPlace,
    in_array: bool,
    rest: Vec<u8>,
    too_long: bool,
}

impl ArraySplitter {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: 1,
            started_on: 1,
            place: SplitterPlace::Start,
            in_array: false,
            rest: Vec::new(),
            too_long: false,
        }
    }

    pub(crate) fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(RecordPiece<'_>)) -> Result<(), BodyFault> {
        // Where the element began in this chunk; `rest` holds the head of an element from earlier chunks.
        let mut start = 0;
        for (at, &byte) in chunk.iter().enumerate() {
            if byte == b'\n' {
                self.line += 1;
            }
            match self.place {
                SplitterPlace::Element { depth, string, escaped } => {
                    let next = place_after(byte, depth, string, escaped);
                    // A bare number ends where something else starts; any other element ends with its last bracket or
                    // quote.
                    let bare_end = depth == 0 && !string && matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                    if bare_end {
                        self.end_element(chunk.get(start..at).unwrap_or_default(), &mut each);
                        self.place = SplitterPlace::Between { comma: true };
                        self.read_between_elements(byte)?;
                    } else if next.is_none() {
                        self.end_element(chunk.get(start..=at).unwrap_or_default(), &mut each);
                        self.place = SplitterPlace::Between { comma: true };
                    } else if let Some(next) = next {
                        self.place = next;
                    }
                }
                _ if byte.is_ascii_whitespace() => {}
                SplitterPlace::Start if byte == b'[' => {
                    self.in_array = true;
                    self.place = SplitterPlace::Between { comma: false };
                }
                SplitterPlace::End => return Err(self.malformed_line("something follows the end of the array")),
                SplitterPlace::Start | SplitterPlace::Between { .. } => {
                    if self.place == SplitterPlace::Start && byte != b'{' {
                        return Err(self.malformed_line("a JSON array or object must come first"));
                    }
                    self.read_between_elements(byte)?;
                    if matches!(self.place, SplitterPlace::Element { .. }) {
                        start = at;
                    }
                }
            }
        }
        if matches!(self.place, SplitterPlace::Element { .. }) {
            self.buffer_bytes(chunk.get(start..).unwrap_or_default());
        }
        Ok(())
    }

    pub(crate) fn finish(&self) -> Result<(), BodyFault> {
        match self.place {
            SplitterPlace::End | SplitterPlace::Start => Ok(()),
            SplitterPlace::Between { .. } if !self.in_array => Ok(()),
            SplitterPlace::Between { .. } => Err(BodyFault::Truncated("the array is not closed".to_owned())),
            SplitterPlace::Element { .. } => Err(BodyFault::Truncated(format!(
                "the element that starts on line {} is not complete",
                self.started_on
            ))),
        }
    }

    /// Takes a byte between two elements, other than white space.
    fn read_between_elements(&mut self, byte: u8) -> Result<(), BodyFault> {
        let comma_needed = self.place == SplitterPlace::Between { comma: true } && self.in_array;
        match byte {
            byte if byte.is_ascii_whitespace() => {}
            b']' if self.in_array => self.place = SplitterPlace::End,
            b',' if self.place == (SplitterPlace::Between { comma: true }) => {
                self.place = SplitterPlace::Between { comma: false }
            }
            b',' | b']' | b'}' => return Err(self.malformed_line("a value is missing")),
            _ if comma_needed => return Err(self.malformed_line("a comma is missing")),
            byte => {
                self.started_on = self.line;
                let string = byte == b'"';
                let depth = u32::from(matches!(byte, b'{' | b'['));
                self.place = SplitterPlace::Element { depth, string, escaped: false };
            }
        }
        Ok(())
    }

    fn end_element(&mut self, tail: &[u8], each: &mut impl FnMut(RecordPiece<'_>)) {
        let line = self.started_on;
        if self.rest.is_empty() && !self.too_long && tail.len() <= self.limit {
            each(RecordPiece { line, bytes: Some(tail) });
            return;
        }
        self.buffer_bytes(tail);
        each(RecordPiece { line, bytes: (!self.too_long).then_some(&self.rest) });
        self.rest.clear();
        self.too_long = false;
    }

    fn buffer_bytes(&mut self, bytes: &[u8]) {
        if self.rest.len() + bytes.len() > self.limit {
            self.too_long = true;
            self.rest = Vec::new();
        } else if !self.too_long {
            self.rest.extend_from_slice(bytes);
        }
    }

    fn malformed_line(&self, what: &str) -> BodyFault {
        BodyFault::Malformed(format!("line {}: {what}", self.line))
    }
}

/// The splitter's place after one more byte of an element; `None` after the last byte.
fn place_after(byte: u8, depth: u32, string: bool, escaped: bool) -> Option<SplitterPlace> {
    let element = |depth, string, escaped| Some(SplitterPlace::Element { depth, string, escaped });
    match (string, byte) {
        (true, _) if escaped => element(depth, true, false),
        (true, b'\\') => element(depth, true, true),
        (true, b'"') if depth == 0 => None,
        (true, b'"') => element(depth, false, false),
        (true, _) => element(depth, true, false),
        (false, b'"') => element(depth, true, false),
        (false, b'{' | b'[') => element(depth + 1, false, false),
        (false, b'}' | b']') if depth == 1 => None,
        (false, b'}' | b']') => element(depth.saturating_sub(1), false, false),
        (false, _) => element(depth, false, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pieces = Vec<(u64, Option<String>)>;

    fn owned(piece: RecordPiece<'_>) -> (u64, Option<String>) {
        (piece.line, piece.bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    fn lines(text: &str, chunk: usize, limit: usize) -> Pieces {
        let (mut splitter, mut pieces) = (LineSplitter::new(limit), Vec::new());
        text.as_bytes().chunks(chunk).for_each(|chunk| splitter.feed(chunk, |piece| pieces.push(owned(piece))));
        splitter.finish(|piece| pieces.push(owned(piece)));
        pieces
    }

    fn elements(text: &str, chunk: usize, limit: usize) -> Result<Pieces, BodyFault> {
        let (mut splitter, mut pieces) = (ArraySplitter::new(limit), Vec::new());
        for chunk in text.as_bytes().chunks(chunk) {
            splitter.feed(chunk, |piece| pieces.push(owned(piece)))?;
        }
        splitter.finish().map(|()| pieces)
    }

    #[test]
    fn lines_are_numbered_and_the_long_ones_passed_over() {
        let expected =
            vec![(1, Some("ab".to_owned())), (2, Some(String::new())), (3, None), (4, Some("cd".to_owned()))];
        for chunk in 1..20 {
            assert_eq!(lines("ab\n\n123456789\ncd", chunk, 8), expected, "chunks of {chunk}");
        }
        assert_eq!(lines("123456789", 4, 8), vec![(1, None)]);
        assert_eq!(lines("", 4, 8), vec![]);
    }

    #[test]
    fn elements_that_are_too_long_are_passed_over() {
        let text = "[1,\n{\"a\":\"]0123456789}\"},\n{\"b\":2}\n]";
        let expected = vec![(1, Some("1".to_owned())), (2, None), (3, Some("{\"b\":2}".to_owned()))];
        for chunk in 1..50 {
            assert_eq!(elements(text, chunk, 8).unwrap(), expected, "chunks of {chunk}");
        }
        for chunk in 1..50 {
            let fault = elements("[{\"a\":\"0123456789", chunk, 8).unwrap_err();
            assert!(matches!(fault, BodyFault::Truncated(_)), "chunks of {chunk}: {fault:?}");
        }
    }

    #[test]
    fn bad_arrays_are_refused_whatever_the_chunks() {
        for chunk in 1..12 {
            for (text, truncated) in [
                ("[{\"a\":1}", true),
                ("[{\"a\":1},", true),
                ("[{\"a\":\"]}", true),
                ("{\"a\":1", true),
                ("[", true),
                ("[{} {}]", false),
                ("[,{}]", false),
                ("[{}]x", false),
                ("x", false),
                ("[{}}]", false),
                ("]", false),
            ] {
                let fault = elements(text, chunk, 20).unwrap_err();
                assert_eq!(matches!(fault, BodyFault::Truncated(_)), truncated, "{text} by {chunk}: {fault:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_array_is_cut_into_what_was_put_in(
            values in proptest::collection::vec(any_value(), 0..8),
            chunk in 1usize..40,
            pretty in any::<bool>(),
        ) {
            let text = if pretty { serde_json::to_string_pretty(&values) } else { serde_json::to_string(&values) }.unwrap();
            let pieces = elements(&text, chunk, 10_000).unwrap();
            let back: Vec<serde_json::Value> =
                pieces.iter().map(|(_, piece)| serde_json::from_str(piece.as_ref().unwrap()).unwrap()).collect();
            prop_assert_eq!(back, values);
        }

        #[test]
        fn lines_join_to_the_text(text in "[a-z\n]{0,80}", chunk in 1usize..40) {
            let pieces: Vec<_> = lines(&text, chunk, 1000).into_iter().map(|(_, piece)| piece.unwrap()).collect();
            prop_assert_eq!(pieces.join("\n"), text.strip_suffix('\n').unwrap_or(&text));
        }
    }

    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            ".{0,12}".prop_map(serde_json::Value::from),
            "[\\[\\]{}\",\\\\]{0,6}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
                proptest::collection::btree_map(".{0,4}", inner, 0..3).prop_map(|map| serde_json::json!(map)),
            ]
        })
    }
}
