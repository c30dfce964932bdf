//! Request payloads: decompression, splitting into records, JSON errors with field names, timestamps;
//! pages of listings and their cursors.
//!
//! ```text
//! body → decode (gzip, zstd) → opening (byte order mark) → split (lines, array, CSV) → json
//! ```

mod decode;
mod fault;
mod json;
mod json_lines;
mod number;
mod object_writer;
mod opening;
mod paging;
mod split;
pub(crate) mod time;

pub use decode::{BodyEncoding, BodyReader};
pub use fault::{BodyFault, FieldFault};
pub use json::{JsonFault, named_field, plain_text, read_json, shorten_reason};
pub use json_lines::{JsonLines, JsonLinesWriter};
pub use number::{WholeNumber, text_if_inexact};
pub(crate) use number::{check_text, whole_number};
pub(crate) use object_writer::ObjectWriter;
pub(crate) use opening::{BodyOpening, skip_mark};
pub use paging::PageSize;
pub(crate) use paging::{PAGE_BYTES, json_bytes, read_cursor, write_cursor};
pub(crate) use split::{ArraySplitter, LineSplitter, RecordPiece};
