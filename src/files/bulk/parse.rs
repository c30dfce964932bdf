//! From bytes to files: the splitter and the reader of each format.

use super::csv::CsvRecords;
use super::json;
use super::paths::RecentPaths;
use crate::files::input::LoadedFile;
use crate::files::model::UserId;
use crate::files::path::DrivePath;
use crate::payload::{ArraySplitter, BodyFault, BodyOpening, FieldFault, LineSplitter, RecordPiece, skip_mark};
use crate::shard::IdClock;

/// How a body lists its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFormat {
    /// One JSON object a line.
    Ndjson,
    /// A JSON array of objects.
    JsonArray,
    /// Comma-separated values with a header.
    Csv,
    /// The output of `rclone lsjson -R`, for this user.
    Lsjson(UserId),
}

/// The position of a record in a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordPosition {
    /// The number of the record, from 1; 0 for test files, which stand in no body.
    pub record: u64,
    /// The first line of the record, from 1.
    pub line: u64,
}

/// Why a record, or a field of the record, is not stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordFault {
    /// The record's position.
    pub place: RecordPosition,
    /// The fault.
    pub fault: FieldFault,
}

/// A record that was read.
#[derive(Debug)]
pub enum ParsedRecord {
    /// A file to store.
    File(LoadedFile),
    /// A folder of a listing.
    Folder(DrivePath),
    /// A faulty record.
    Rejected(FieldFault),
}

enum BodySplitter {
    Lines(LineSplitter),
    Array(ArraySplitter),
    Csv(Box<CsvRecords>),
}

/// Reads the records of a body from its chunks.
pub struct RecordReader {
    format: BodyFormat,
    limit: usize,
    opening: BodyOpening,
    splitter: BodySplitter,
    is_blank: bool,
    read: u64,
    paths: RecentPaths,
}

impl RecordReader {
    /// Reads a body of this format, with records of `limit` bytes at most.
    #[must_use]
    pub fn new(format: BodyFormat, limit: usize) -> Self {
        let splitter = match format {
            BodyFormat::Ndjson => BodySplitter::Lines(LineSplitter::new(limit)),
            BodyFormat::JsonArray | BodyFormat::Lsjson(_) => BodySplitter::Array(ArraySplitter::new(limit)),
            BodyFormat::Csv => BodySplitter::Csv(Box::new(CsvRecords::new(limit))),
        };
        let (opening, paths) = (BodyOpening::default(), RecentPaths::default());
        Self { format, limit, opening, splitter, is_blank: true, read: 0, paths }
    }

    /// True while the text has had nothing but white space.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Reads a chunk; an empty chunk ends the body. Calls back with each record and the record's position.
    ///
    /// # Errors
    /// Why the rest of the body is unreadable.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        ids: &IdClock,
        mut each: impl FnMut(RecordPosition, ParsedRecord),
    ) -> Result<(), BodyFault> {
        let (format, limit) = (self.format, self.limit);
        let (read, paths) = (&mut self.read, &mut self.paths);
        let mut end_record = |line: u64, result: Result<ParsedRecord, FieldFault>| {
            *read += 1;
            each(RecordPosition { record: *read, line }, result.unwrap_or_else(ParsedRecord::Rejected));
        };
        let mut end_piece = |piece: RecordPiece<'_>| match piece.bytes {
            Some(bytes) if skip_mark(bytes).trim_ascii().is_empty() => {}
            Some(bytes) => end_record(
                piece.line,
                match format {
                    BodyFormat::Lsjson(user) => {
                        json::lsjson_entry(bytes, user, ids).and_then(|entry| refuse_second(paths, entry, piece.line))
                    }
                    BodyFormat::Ndjson | BodyFormat::JsonArray | BodyFormat::Csv => json::file(bytes, ids),
                },
            ),
            None => end_record(piece.line, Err(too_long(limit))),
        };
        let Some(text) = self.opening.text_of_chunk(chunk)? else { return Ok(()) };
        self.is_blank = self.is_blank && text.trim_ascii().is_empty();
        let at_end = chunk.is_empty();
        match &mut self.splitter {
            BodySplitter::Lines(lines) => {
                lines.feed(text, &mut end_piece);
                if at_end {
                    lines.finish(end_piece);
                }
            }
            BodySplitter::Array(array) => {
                array.feed(text, end_piece)?;
                if at_end {
                    array.finish()?;
                }
            }
            BodySplitter::Csv(csv) => {
                // An empty text would be the end.
                if !text.is_empty() {
                    csv.feed(text, ids, &mut end_record)?;
                }
                if at_end {
                    csv.feed(&[], ids, end_record)?;
                }
            }
        }
        Ok(())
    }
}

/// The entry of a listing, unless another entry has named its path.
fn refuse_second(paths: &mut RecentPaths, entry: ParsedRecord, line: u64) -> Result<ParsedRecord, FieldFault> {
    if let ParsedRecord::File(loaded) = &entry
        && let Some(path) = loaded.file.path()
        && let Some(earlier) = paths.note(path, line)
    {
        return Err(FieldFault::new("Path", format!("stands on line {earlier} already, and a path holds one file")));
    }
    Ok(entry)
}

/// Why a record of more than `limit` bytes is passed over.
pub(super) fn too_long(limit: usize) -> FieldFault {
    FieldFault::new(
        "",
        format!("is longer than {limit} bytes, the most that a record may have (SHARDRIVE_MAX_LINE_BYTES)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: BodyFormat, body: &[u8], chunk: usize) -> Result<Vec<(u64, String)>, BodyFault> {
        let (mut records, ids, mut seen) = (RecordReader::new(format, 200), IdClock::default(), Vec::new());
        let mut each = |place: RecordPosition, parsed| {
            let word = match parsed {
                ParsedRecord::File(LoadedFile { file, warning: None }) => {
                    format!("{} {}", file.user().get(), file.path().unwrap_or(file.name()))
                }
                ParsedRecord::File(LoadedFile { file, warning: Some(fault) }) => {
                    format!("{} without {fault}", file.path().unwrap_or(file.name()))
                }
                ParsedRecord::Folder(path) => format!("folder {path}"),
                ParsedRecord::Rejected(fault) => format!("#{} {fault}", place.record),
            };
            seen.push((place.line, word));
        };
        for chunk in body.chunks(chunk) {
            records.feed(chunk, &ids, &mut each)?;
        }
        records.feed(&[], &ids, &mut each)?;
        Ok(seen)
    }

    #[track_caller]
    fn expect(format: BodyFormat, body: &[u8], expected: &[(u64, &str)]) {
        for chunk in [1, 2, 3, 7, 50, 1000] {
            let seen = read(format, body, chunk).unwrap();
            let seen: Vec<_> = seen.iter().map(|(line, word)| (*line, word.as_str())).collect();
            assert_eq!(seen, expected, "chunks of {chunk}");
        }
    }

    #[test]
    fn ndjson() {
        expect(
            BodyFormat::Ndjson,
            b"{\"user_id\":1,\"file_name\":\"a\"}\n\n{\"user_id\":\"x\",\"file_name\":\"a\"}\r\n{\"user_id\":2,\"file_name\":\"\xff\"}\nnonsense\n{\"user_id\":3,\"file_name\":\"c\",\"folder\":1}\n{\"user_id\":4,\"file_name\":\"d\"}",
            &[
                (1, "1 a"),
                (3, "#2 user_id: invalid value: string \"x\", expected a whole number of 64 bits, or the same in quotes"),
                (4, "#3 is not valid UTF-8"),
                (5, "#4 must be a JSON object"),
                (
                    6,
                    "#5 folder: unknown field `folder`, expected one of `user_id`, `user_id_text`, `file_name`, `file_id`, `path`, \
                     `size_bytes`, `mime_type`, `checksum`, `modified_at`, `content_ref`, `created_at`, `updated_at`, `folder_id`, `trashed`",
                ),
                (7, "4 d"),
            ],
        );
    }

    #[test]
    fn json_arrays() {
        expect(BodyFormat::JsonArray, b"[]", &[]);
        expect(
            BodyFormat::JsonArray,
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
            BodyFormat::Csv,
            b"\xef\xbb\xbffile_name,user_id,path\na,1,\n\"b,\"\"x\",2,\"p/b,\"\"x\"\n\n\"two\nlines\",3,\nc,x,\nd,4\n,5,\ne,6,",
            &[
                (2, "1 a"),
                (3, "2 p/b,\"x"),
                (5, "3 two\nlines"),
                (7, "#4 user_id: must be a whole number from 0 to 9223372036854775807"),
                (8, "#5 must have as many fields as the header, 3, and has 2"),
                (9, "#6 file_name: must not be empty"),
                (10, "6 e"),
            ],
        );
    }

    #[test]
    fn records_that_are_too_long_are_passed_over() {
        let long = "x".repeat(300);
        let reason = "is longer than 200 bytes, the most that a record may have (SHARDRIVE_MAX_LINE_BYTES)";
        let user = UserId::new(9).unwrap();
        let listing = format!(
            "[\n{{\"Path\":\"a\",\"Name\":\"a\"}},\n{{\"Path\":\"b\",\"Metadata\":\"{long}\"}},\n{{\"Path\":\"c\",\"Name\":\"c\"}}]"
        );
        let passed = format!("#2 {reason}");
        expect(BodyFormat::Lsjson(user), listing.as_bytes(), &[(2, "9 a"), (3, &passed), (4, "9 c")]);
        let csv = format!("user_id,file_name\n9,a\n9,{long}\n9,c\n9,\"{long}\n{long}\n\n9,d\n\"\n\n9,e\n");
        let quoted = format!("#4 {reason}; it ends on line 9: is a quote not closed?");
        expect(BodyFormat::Csv, csv.as_bytes(), &[(2, "9 a"), (3, &passed), (4, "9 c"), (5, &quoted), (11, "9 e")]);
        let fields = format!("user_id,file_name\n9,a\n{}\n9,c\n", ",".repeat(150));
        expect(BodyFormat::Csv, fields.as_bytes(), &[(2, "9 a"), (3, "#2 has more than 64 fields"), (4, "9 c")]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_record() {
        let user = UserId::new(9).unwrap();
        for (format, body) in [
            (BodyFormat::Lsjson(user), "\u{feff}[\n{\"Path\":\"a\",\"Name\":\"a\"}]"),
            (BodyFormat::JsonArray, "\u{feff}[\n{\"user_id\":9,\"file_name\":\"a\"}]"),
            (BodyFormat::Ndjson, "\u{feff}\n\u{feff}{\"user_id\":9,\"file_name\":\"a\"}"),
            (BodyFormat::Csv, "\u{feff}user_id,file_name\n9,a"),
            (BodyFormat::Csv, "\u{feff}\"user_id\",file_name\n9,a"),
        ] {
            expect(format, body.as_bytes(), &[(2, "9 a")]);
            let wide: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let fault = read(format, &wide, 7).unwrap_err();
            assert!(fault.to_string().contains("UTF-16; send UTF-8"), "{fault}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_is_a_warning_in_every_format() {
        let user = UserId::new(9).unwrap();
        for (format, body) in [
            (BodyFormat::Lsjson(user), "[\n{\"Path\":\"a\",\"Name\":\"a\",\"ModTime\":\"0000-01-01T00:00:00Z\"}]"),
            (BodyFormat::JsonArray, "[\n{\"user_id\":9,\"file_name\":\"a\",\"modified_at\":\"0000-01-01T00:00:00Z\"}]"),
            (BodyFormat::Ndjson, "\n{\"user_id\":9,\"file_name\":\"a\",\"modified_at\":\"0000-01-01T00:00:00Z\"}"),
            (BodyFormat::Csv, "user_id,file_name,modified_at\n9,a,0000-01-01T00:00:00Z"),
        ] {
            let field = if matches!(format, BodyFormat::Lsjson(_)) { "ModTime" } else { "modified_at" };
            expect(format, body.as_bytes(), &[(2, &format!("a without {field}: must be in the years 1 to 9999"))]);
        }
    }

    #[test]
    fn csv_headers_that_cannot_be() {
        for header in ["user_id\n1\n", "user_id,file_name,user_id\n", "user_id,file_name,colour\n", "1,a.txt\n"] {
            let fault = read(BodyFormat::Csv, header.as_bytes(), 100).unwrap_err();
            assert!(matches!(fault, BodyFault::Malformed(_)), "{header}: {fault:?}");
        }
    }

    #[test]
    fn a_csv_body_that_ends_within_a_quote_is_cut_off() {
        for rest in ["9,\"b\n9,c\n9,d\n", "9,\"cut off", "9,\"", "9,b\n9,\"c\n"] {
            let body = format!("user_id,file_name\n9,a\n{rest}");
            for chunk in [1, 7, 100] {
                let fault = read(BodyFormat::Csv, body.as_bytes(), chunk).unwrap_err();
                assert!(matches!(fault, BodyFault::Truncated(_)), "{rest:?} by {chunk}: {fault:?}");
            }
        }
        expect(BodyFormat::Csv, b"user_id,file_name\n9,\"a \"\"b\"\"\"", &[(2, "9 a \"b\"")]);
    }

    #[test]
    fn listings() {
        let user = UserId::new(9).unwrap();
        let body = b"[\n{\"Path\":\"d\",\"Name\":\"d\",\"Size\":-1,\"IsDir\":true},\n{\"Path\":\"d/a\",\"Name\":\"a\",\"Size\":3}\n]\n";
        expect(BodyFormat::Lsjson(user), body, &[(2, "folder d"), (3, "9 d/a")]);
        expect(
            BodyFormat::Lsjson(user),
            b"{\"Path\":\"a\",\"Name\":\"a\"}\n{\"Path\":\"b\",\"Name\":\"b\"}\n",
            &[(1, "9 a"), (2, "9 b")],
        );
    }
}
