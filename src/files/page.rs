//! A page of a user's files: lines of JSON from the row to the client, and in the cache between the two.

use bytes::Bytes;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::model::{FileCursor, UserId};
use super::view::FileView;
use crate::cache::{CacheFormat, CacheKey, ValueCodec};
use crate::payload::{JsonLines, JsonLinesWriter, PAGE_BYTES, PageSize};

/// The format of a page: a test fails when the format needs another version.
pub const CACHE_FORMAT: CacheFormat = CacheFormat { kind: "page", version: 3 };
/// The usual length of a file in a page.
const LINE_BYTES: usize = 384;
/// What stands before the id in a line.
const BEFORE_ID: &[u8] = br#"{"file_id":""#;
/// The length of an id in a line.
const ID_BYTES: usize = 36;

/// A page of a user's files, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilePage {
    /// The files.
    pub files: JsonLines,
    /// Where the next page starts; `None` after the last page.
    pub next: Option<FileCursor>,
}

impl FilePage {
    /// A page without files.
    #[must_use]
    pub fn empty() -> Self {
        Self { files: JsonLines::default(), next: None }
    }

    /// The page of these lines; there may be more files behind them.
    fn of_lines(files: JsonLines, has_more: bool) -> Option<Self> {
        let next = if has_more { Some(FileCursor::after(id_in(files.last()?)?)) } else { None };
        Some(Self { files, next })
    }
}

/// The id of the file in a line.
fn id_in(line: &[u8]) -> Option<Uuid> {
    Uuid::try_parse_ascii(line.strip_prefix(BEFORE_ID)?.get(..ID_BYTES)?).ok()
}

/// True for a line that can be a file's.
fn is_file(line: &[u8]) -> bool {
    line.starts_with(BEFORE_ID) && line.ends_with(b"}")
}

/// A page that takes its rows one after the other.
pub(super) struct PageWriter {
    user: UserId,
    size: usize,
    files: JsonLinesWriter,
    has_more: bool,
}

impl PageWriter {
    /// For a page of this size.
    pub(super) fn new(user: UserId, size: PageSize) -> Self {
        Self { user, size: size.get(), files: JsonLinesWriter::default(), has_more: false }
    }

    /// Takes the file in a row's columns from `first` on; nulls are no file. The row after the last file of the page
    /// tells that there are more files. A page of long texts ends early ([`PAGE_BYTES`]).
    pub(super) fn push_row(&mut self, row: &PgRow, first: usize) -> Result<(), sqlx::Error> {
        if self.files.len() >= self.size || self.files.byte_count() >= PAGE_BYTES {
            self.has_more = true;
            return Ok(());
        }
        let Some(file) = FileView::of_user(row, first, self.user.get())? else { return Ok(()) };
        if self.files.is_empty() {
            self.files = JsonLinesWriter::with_capacity(LINE_BYTES * self.size.min(32));
        }
        self.files.push_with(|out| file.write_json(out)).map_err(|error| sqlx::Error::Decode(error.into()))
    }

    pub(super) fn finish(self) -> Result<FilePage, sqlx::Error> {
        FilePage::of_lines(self.files.finish(), self.has_more)
            .ok_or_else(|| sqlx::Error::Decode("a file without its id".into()))
    }
}

/// Pages of a size. A cached page of another size answers too if it has enough files.
///
/// A page is the version of the format in a byte, 1 or 0 for more files behind the page, and the lines.
pub(super) struct PageCodec {
    pub(super) size: PageSize,
}

impl ValueCodec for PageCodec {
    type Value = FilePage;

    const FORMAT: CacheFormat = CACHE_FORMAT;

    fn encode(&self, page: &FilePage) -> Vec<u8> {
        let lines = page.files.as_bytes();
        let mut out = Vec::with_capacity(2 + lines.len());
        out.extend([CACHE_FORMAT.version, u8::from(page.next.is_some())]);
        out.extend(lines);
        out
    }

    fn decode(&self, bytes: &Bytes) -> Option<FilePage> {
        let ([version, more], lines) = bytes.split_first_chunk()?;
        if *version != CACHE_FORMAT.version {
            return None;
        }
        let (size, more, lines) = (self.size.get(), *more != 0, bytes.slice_ref(lines));
        let length = lines.len();
        let files = JsonLines::read(lines, size, is_file)?;
        std::str::from_utf8(files.as_bytes()).ok()?;
        if more && files.len() < size {
            return None; // a smaller page, and the user has more files
        }
        let is_cut = files.as_bytes().len() < length;
        FilePage::of_lines(files, more || is_cut)
    }

    fn is_absence(&self, page: &FilePage) -> bool {
        page.files.is_empty()
    }
}

/// The first page of a user's listing, in the cache.
pub(super) fn page_key(user: UserId) -> CacheKey {
    CacheKey::new(user.slot(), PageCodec::FORMAT, user.get())
}

/// Every key of the cache whose value a write to this user's files makes wrong. A new cached value of a user's files is
/// one more key here: all writes remove these.
pub(crate) fn spoiled_keys(user: UserId) -> [CacheKey; 1] {
    [page_key(user)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    use crate::files::model::File;

    fn file(id: u128) -> File {
        let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        File {
            file_id: Uuid::from_u128(id),
            user_id: 7,
            file_name: "n\n".to_owned(),
            folder_id: Some(Uuid::from_u128(0x0304)),
            path: Some("p/n".to_owned()),
            mime_type: Some("m".to_owned()),
            checksum: None,
            size_bytes: Some(5),
            modified_at: Some(at(1)),
            created_at: at(2),
            updated_at: at(3),
            trashed: true,
            content_ref: Some("r".to_owned()),
        }
    }

    fn page(ids: &[u128], has_more: bool) -> FilePage {
        let mut files = JsonLinesWriter::default();
        ids.iter().for_each(|id| files.push_with(|out| serde_json::to_writer(out, &file(*id))).unwrap());
        FilePage::of_lines(files.finish(), has_more).unwrap()
    }

    fn codec(size: u16) -> PageCodec {
        PageCodec { size: PageSize::new(size).unwrap() }
    }

    /// The bytes of one page. A change of the format gives [`CACHE_FORMAT`] another version: processes of the release
    /// before would misread the new ones.
    #[test]
    fn other_bytes_need_another_version() {
        let known = concat!(
            "\u{3}\u{1}",
            r#"{"file_id":"00000000-0000-0000-0000-000000000102","user_id":7,"file_name":"n\n","#,
            r#""folder_id":"00000000-0000-0000-0000-000000000304","path":"p/n","mime_type":"m","checksum":null,"size_bytes":5,"#,
            r#""modified_at":"1970-01-01T00:00:00.000001Z","created_at":"1970-01-01T00:00:00.000002Z","#,
            r#""updated_at":"1970-01-01T00:00:00.000003Z","trashed":true,"content_ref":"r"}"#,
            "\n",
        );
        let bytes = codec(1).encode(&page(&[0x0102], true));
        assert_eq!(
            (CACHE_FORMAT.version, std::str::from_utf8(&bytes).unwrap()),
            (3, known),
            "give CACHE_FORMAT a new version, and this test its bytes"
        );
    }

    #[test]
    fn a_page_answers_what_it_holds() {
        let [whole, part, none] = [page(&[9, 8, 7], false), page(&[9, 8, 7], true), FilePage::empty()]
            .map(|page| Bytes::from(codec(3).encode(&page)));
        for bytes in [&whole, &part] {
            assert_eq!(codec(2).decode(bytes), Some(page(&[9, 8], true)));
        }
        assert_eq!(codec(3).decode(&whole), Some(page(&[9, 8, 7], false)));
        assert_eq!(codec(1000).decode(&whole), Some(page(&[9, 8, 7], false)));
        assert_eq!(codec(3).decode(&part), Some(page(&[9, 8, 7], true)));
        assert_eq!(codec(4).decode(&part), None);
        assert_eq!(codec(4).decode(&none), Some(FilePage::empty()));
    }

    proptest! {
        #[test]
        fn nonsense_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = codec(1).decode(&[&[3, 1], &*bytes].concat().into());
            let _ = codec(1000).decode(&bytes.into());
        }
    }
}
