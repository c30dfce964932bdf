//! From bytes to files: the splitter and the reader of each format.

use super::csv::CsvRecords;
use super::json;
use crate::files::{NewFile, UserId};
use crate::shard::IdClock;
use crate::wire::{ArraySplitter, BodyFault, FieldFault, LineSplitter, Piece};

/// How a body lists its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// A JSON array of objects.
    JsonArray,
    /// Comma-separated values with a header.
    Csv,
    /// The output of `rclone lsjson -R`, all of it this user's.
    Lsjson(UserId),
}

/// A record that cannot be stored, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// Which record it is, from 1; 0 if that is not known any more.
    pub record: u64,
    /// The line that it starts on, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: FieldFault,
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Parsed {
    /// A file to store.
    File(NewFile),
    /// A folder of a listing: it holds files and is none.
    Folder,
    /// Nothing that can be stored.
    Rejected(Rejection),
}

enum Splitter {
    Lines(LineSplitter),
    Array(ArraySplitter),
    Csv(Box<CsvRecords>),
}

/// Reads the records of a body from its chunks.
pub struct Records {
    format: Format,
    splitter: Splitter,
    read: u64,
}

impl Records {
    /// Reads a body of this format whose records have `limit` bytes at most.
    #[must_use]
    pub fn new(format: Format, limit: usize) -> Self {
        let splitter = match format {
            Format::Ndjson => Splitter::Lines(LineSplitter::new(limit)),
            Format::JsonArray | Format::Lsjson(_) => Splitter::Array(ArraySplitter::new(limit)),
            Format::Csv => Splitter::Csv(Box::new(CsvRecords::new(limit))),
        };
        Self { format, splitter, read: 0 }
    }

    /// Reads a chunk; an empty one is the end of the body. Calls back with each record and the line it starts on.
    ///
    /// # Errors
    /// What makes the rest of the body unreadable.
    pub fn feed(&mut self, chunk: &[u8], ids: &IdClock, mut each: impl FnMut(u64, Parsed)) -> Result<(), BodyFault> {
        let format = self.format;
        let read = &mut self.read;
        let mut end_record = |line: u64, result: Result<Parsed, FieldFault>| {
            *read += 1;
            each(line, result.unwrap_or_else(|fault| Parsed::Rejected(Rejection { record: *read, line, fault })));
        };
        let mut end_piece = |piece: Piece<'_>| match piece.bytes {
            Some(bytes) if bytes.trim_ascii().is_empty() => {}
            Some(bytes) => end_record(
                piece.line,
                match format {
                    Format::Lsjson(user) => json::lsjson_entry(bytes, user, ids),
                    Format::Ndjson | Format::JsonArray | Format::Csv => json::file(bytes, ids),
                },
            ),
            None => end_record(piece.line, Err(FieldFault::new("", "is too long"))),
        };
        match &mut self.splitter {
            Splitter::Lines(lines) if chunk.is_empty() => lines.finish(end_piece),
            Splitter::Lines(lines) => lines.feed(chunk, end_piece),
            Splitter::Array(array) if chunk.is_empty() => array.finish()?,
            Splitter::Array(array) => array.feed(chunk, &mut end_piece)?,
            Splitter::Csv(csv) => csv.feed(chunk, ids, end_record)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, body: &[u8], chunk: usize) -> Result<Vec<(u64, String)>, BodyFault> {
        let (mut records, ids, mut seen) = (Records::new(format, 200), IdClock::default(), Vec::new());
        let mut each = |line, parsed| {
            let word = match parsed {
                Parsed::File(file) => format!("{} {}", file.user().get(), file.path()),
                Parsed::Folder => "folder".to_owned(),
                Parsed::Rejected(rejection) => format!("#{} {}", rejection.record, rejection.fault),
            };
            seen.push((line, word));
        };
        for chunk in body.chunks(chunk) {
            records.feed(chunk, &ids, &mut each)?;
        }
        records.feed(&[], &ids, &mut each)?;
        Ok(seen)
    }

    #[track_caller]
    fn expect(format: Format, body: &[u8], expected: &[(u64, &str)]) {
        for chunk in [1, 2, 3, 7, 50, 1000] {
            let seen = read(format, body, chunk).unwrap();
            let seen: Vec<_> = seen.iter().map(|(line, word)| (*line, word.as_str())).collect();
            assert_eq!(seen, expected, "chunks of {chunk}");
        }
    }

    #[test]
    fn ndjson() {
        expect(
            Format::Ndjson,
            b"{\"user_id\":1,\"file_name\":\"a\"}\n\n{\"user_id\":\"x\",\"file_name\":\"a\"}\r\n{\"user_id\":2,\"file_name\":\"\xff\"}\nnonsense\n{\"user_id\":3,\"file_name\":\"c\",\"folder\":1}\n{\"user_id\":4,\"file_name\":\"d\"}",
            &[
                (1, "1 a"),
                (3, "#2 user_id: invalid type: string \"x\", expected a whole number from 0 to 9223372036854775807"),
                (4, "#3 is not valid UTF-8"),
                (5, "#4 must be a JSON object"),
                (
                    6,
                    "#5 folder: unknown field `folder`, expected one of `user_id`, `file_name`, `file_id`, `path`, \
                     `size_bytes`, `mime_type`, `checksum`, `modified_at`",
                ),
                (7, "4 d"),
            ],
        );
    }

    #[test]
    fn json_arrays() {
        expect(Format::JsonArray, b"[]", &[]);
        expect(
            Format::JsonArray,
            b"[\n{\"user_id\":1,\"file_name\":\"a\"},\n{\"user_id\":-1,\"file_name\":\"a\"}, 17 ]\n",
            &[
                (2, "1 a"),
                (3, "#2 user_id: must be a whole number from 0 to 9223372036854775807"),
                (3, "#3 must be a JSON object"),
            ],
        );
    }

    #[test]
    fn csv() {
        expect(
            Format::Csv,
            b"\xef\xbb\xbffile_name,user_id,path\na,1,\n\"b,\"\"x\",2,\"p/b,\"\"x\"\n\n\"two\nlines\",3,\nc,x,\nd,4\n,5,\ne,6,",
            &[
                (2, "1 a"),
                (3, "2 p/b,\"x"),
                (5, "3 two\nlines"),
                (7, "#4 user_id: must be a whole number from 0 to 9223372036854775807"),
                (8, "#5 has 2 fields, but the header has 3"),
                (9, "#6 file_name: must not be empty"),
                (10, "6 e"),
            ],
        );
    }

    #[test]
    fn csv_headers_that_cannot_be() {
        for header in ["user_id\n1\n", "user_id,file_name,user_id\n", "user_id,file_name,colour\n", "1,a.txt\n"] {
            let fault = read(Format::Csv, header.as_bytes(), 100).unwrap_err();
            assert!(matches!(fault, BodyFault::Malformed(_)), "{header}: {fault:?}");
        }
    }

    #[test]
    fn listings() {
        let user = UserId::new(9).unwrap();
        let body = b"[\n{\"Path\":\"d\",\"Name\":\"d\",\"Size\":-1,\"IsDir\":true},\n{\"Path\":\"d/a\",\"Name\":\"a\",\"Size\":3}\n]\n";
        expect(Format::Lsjson(user), body, &[(2, "folder"), (3, "9 d/a")]);
        expect(
            Format::Lsjson(user),
            b"{\"Path\":\"a\",\"Name\":\"a\"}\n{\"Path\":\"b\",\"Name\":\"b\"}\n",
            &[(1, "9 a"), (2, "9 b")],
        );
    }
}
