//! Records of CSV (RFC 4180); the first record names the columns.

use std::borrow::Cow;
use std::str::FromStr;

use csv_core::{ReadRecordResult, Reader};
use memchr::memchr_iter;

use super::parse::{ParsedRecord, too_long};
use crate::files::input::FileInput;
use crate::files::values::{BorrowedText, TimeInput};
use crate::payload::{BodyFault, FieldFault};
use crate::shard::IdClock;

/// The columns of a file; `user_id` and `file_name` are required. The last four are ignored.
const COLUMNS: [&str; 13] = [
    "user_id",
    "file_name",
    "file_id",
    "path",
    "size_bytes",
    "mime_type",
    "checksum",
    "modified_at",
    "content_ref",
    "created_at",
    "updated_at",
    "folder_id",
    "trashed",
];

/// The most fields of a record that is read to the end.
const MAX_FIELDS: usize = 64;

/// Reads CSV by chunks.
pub(super) struct CsvRecords {
    reader: Reader,
    limit: usize,
    /// For each column of the body, the index in [`COLUMNS`]; `None` before the first record.
    header: Option<Vec<usize>>,
    /// The record being read: the bytes of all fields, and the end of each field.
    bytes: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    fields: usize,
    /// Why the record is rejected, and how many line ends the dropped part of the record has.
    skipped: Option<FieldFault>,
    skipped_lines: u64,
    /// The quotes of the record so far. A record that is whole has an even number.
    quotes: usize,
}

impl CsvRecords {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            reader: Reader::new(),
            limit,
            header: None,
            bytes: vec![0; limit.min(1024)],
            filled: 0,
            ends: vec![0; COLUMNS.len() + 2],
            fields: 0,
            skipped: None,
            skipped_lines: 0,
            quotes: 0,
        }
    }

    /// Reads a chunk; an empty chunk ends the body.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        ids: &IdClock,
        mut each: impl FnMut(u64, Result<ParsedRecord, FieldFault>),
    ) -> Result<(), BodyFault> {
        let mut input = chunk;
        loop {
            let output = self.bytes.get_mut(self.filled..).unwrap_or_default();
            let ends = self.ends.get_mut(self.fields..).unwrap_or_default();
            let (result, read, written, ended) = self.reader.read_record(input, output, ends);
            self.quotes += memchr_iter(b'"', input.get(..read).unwrap_or_default()).count();
            input = input.get(read..).unwrap_or_default();
            self.filled += written;
            self.fields += ended;
            match result {
                ReadRecordResult::InputEmpty if chunk.is_empty() => return Ok(()),
                ReadRecordResult::InputEmpty if input.is_empty() => return Ok(()),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() >= self.limit => self.skip(too_long(self.limit)),
                ReadRecordResult::OutputFull => self.bytes.resize((self.bytes.len() * 2).min(self.limit), 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_FIELDS => {
                    self.skip(FieldFault::new("", format!("has more than {MAX_FIELDS} fields")));
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize((self.ends.len() * 2).min(MAX_FIELDS), 0),
                // The end of the body closes a quote for the reader: the rest of the lines would be one value.
                ReadRecordResult::Record if chunk.is_empty() && self.quotes % 2 == 1 && self.skipped.is_none() => {
                    return Err(BodyFault::Truncated("a quote is not closed".to_owned()));
                }
                ReadRecordResult::Record => {
                    // The reader skips blank lines before a record, so the line is counted back from the end of the
                    // record.
                    let inside = self.skipped_lines + line_ends(self.bytes.get(..self.filled).unwrap_or_default());
                    let end = self.reader.line().saturating_sub(u64::from(!chunk.is_empty()));
                    self.end_record(end.saturating_sub(inside), end, ids, &mut each)?;
                    self.filled = 0;
                    self.fields = 0;
                    self.skipped_lines = 0;
                    self.quotes = 0;
                }
                ReadRecordResult::End => return Ok(()),
            }
        }
    }

    /// Skips to the end of a record.
    fn skip(&mut self, fault: FieldFault) {
        self.skipped_lines += line_ends(self.bytes.get(..self.filled).unwrap_or_default());
        self.filled = 0;
        self.fields = 0;
        self.skipped.get_or_insert(fault);
    }

    fn end_record(
        &mut self,
        line: u64,
        last_line: u64,
        ids: &IdClock,
        each: &mut impl FnMut(u64, Result<ParsedRecord, FieldFault>),
    ) -> Result<(), BodyFault> {
        let bytes = self.bytes.get(..self.filled).unwrap_or_default();
        let ends = self.ends.get(..self.fields).unwrap_or_default();
        match (&self.header, self.skipped.take()) {
            (None, Some(fault)) => return Err(BodyFault::Malformed(format!("line {line}: the header {fault}"))),
            (None, None) => self.header = Some(read_header(&fields(bytes, ends))?),
            (Some(_), Some(fault)) if last_line > line => {
                let reason = format!("{}; it ends on line {last_line}: is a quote not closed?", fault.reason);
                each(line, Err(FieldFault::new("", reason)));
            }
            (Some(_), Some(fault)) => each(line, Err(fault)),
            (Some(header), None) => each(line, read_file(header, &fields(bytes, ends), ids)),
        }
        Ok(())
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    u64::try_from(memchr_iter(b'\n', bytes).count()).unwrap_or_default()
}

fn fields<'a>(bytes: &'a [u8], ends: &[usize]) -> Vec<&'a [u8]> {
    let starts = std::iter::once(&0).chain(ends);
    starts.zip(ends).map(|(&start, &end)| bytes.get(start..end).unwrap_or_default()).collect()
}

fn read_header(names: &[&[u8]]) -> Result<Vec<usize>, BodyFault> {
    let malformed = |reason: String| BodyFault::Malformed(format!("line 1: {reason}"));
    let mut header = Vec::with_capacity(names.len());
    for name in names {
        let name = String::from_utf8_lossy(name);
        let column = COLUMNS.iter().position(|column| *column == name.trim());
        let column = column.ok_or_else(|| {
            malformed(format!("there is no column {:?}; known are {}", name.trim(), COLUMNS.join(", ")))
        })?;
        if header.contains(&column) {
            return Err(malformed(format!("the column {} is there twice", name.trim())));
        }
        header.push(column);
    }
    for needed in [0, 1] {
        if !header.contains(&needed) {
            return Err(malformed(format!("the column {} is missing", COLUMNS.get(needed).unwrap_or(&""))));
        }
    }
    Ok(header)
}

fn read_file(header: &[usize], fields: &[&[u8]], ids: &IdClock) -> Result<ParsedRecord, FieldFault> {
    if fields.len() != header.len() {
        let reason = format!("must have as many fields as the header, {}, and has {}", header.len(), fields.len());
        return Err(FieldFault::new("", reason));
    }
    let mut columns: [Option<&str>; COLUMNS.len()] = [None; COLUMNS.len()];
    for (&column, &field) in header.iter().zip(fields) {
        let name = COLUMNS.get(column).copied().unwrap_or_default();
        let text = std::str::from_utf8(field).map_err(|_| FieldFault::new(name, "is not valid UTF-8"))?;
        if let Some(place) = columns.get_mut(column) {
            *place = Some(text).filter(|text| !text.is_empty());
        }
    }
    let [user_id, file_name, file_id, path, size_bytes, mime_type, checksum, modified_at, content_ref, ..] = columns;
    let text = |text| BorrowedText(Cow::Borrowed(text));
    let whole = "must be a whole number from 0 to 9223372036854775807";
    let input = FileInput {
        user_id: read("user_id", user_id, whole)?.ok_or_else(|| FieldFault::new("user_id", whole))?,
        user_id_text: None,
        file_name: text(file_name.unwrap_or_default()),
        file_id: read("file_id", file_id, "must be a UUID")?,
        path: path.map(text),
        size_bytes: read("size_bytes", size_bytes, whole)?,
        mime_type: mime_type.map(text),
        checksum: checksum.map(text),
        modified_at: modified_at.map(|time| TimeInput::Text(Cow::Borrowed(time))),
        content_ref: content_ref.map(text),
        ..FileInput::default()
    };
    input.check_loaded(ids).map(ParsedRecord::File)
}

fn read<T: FromStr>(field: &'static str, text: Option<&str>, must: &'static str) -> Result<Option<T>, FieldFault> {
    text.map(|text| text.trim().parse().map_err(|_| FieldFault::new(field, must))).transpose()
}
