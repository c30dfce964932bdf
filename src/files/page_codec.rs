//! A page of files as bytes, for the cache.
//!
//! Numbers are little-endian. A text is a length in four bytes, and then UTF-8. An optional value has a byte in front: 1 with
//! a value, 0 without.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::model::{File, FileCursor, FilePage, UserId};
use crate::cache::{CacheFormat, CacheKey, ValueCodec};
use crate::payload::PageSize;

/// The format of a page: a test fails when the format needs another version.
pub const CACHE_FORMAT: CacheFormat = CacheFormat { kind: "page", version: 2 };
/// The usual length of a file in a page.
pub(super) const FILE_BYTES: usize = 192;

/// Pages of a size. A cached page of another size answers too if it has enough files.
pub(super) struct PageCodec {
    pub(super) size: PageSize,
}

impl ValueCodec for PageCodec {
    type Value = FilePage;

    const FORMAT: CacheFormat = CACHE_FORMAT;

    fn encode(&self, page: &FilePage) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + FILE_BYTES * page.files.len());
        let FilePage { files, next } = page;
        out.extend([CACHE_FORMAT.version, u8::from(next.is_some())]);
        out.extend(length(files.len()));
        for file in files {
            write_file(&mut out, file);
        }
        out
    }

    fn decode(&self, bytes: &[u8]) -> Option<FilePage> {
        let mut input = ByteReader(bytes);
        if input.byte()? != CACHE_FORMAT.version {
            return None;
        }
        let more = input.flag()?;
        let (held, size) = (input.length()?, self.size.get());
        if more && held < size {
            return None; // a smaller page, and the user has more files
        }
        let mut files = Vec::with_capacity(held.min(size));
        for _ in 0..held.min(size) {
            files.push(input.file()?);
        }
        let is_cut = held > size || more;
        let next = files.last().filter(|_| is_cut).map(|last: &File| FileCursor::after(last.file_id));
        Some(FilePage { files, next })
    }

    fn is_absence(&self, page: &FilePage) -> bool {
        page.files.is_empty()
    }
}

/// Appends all that clients see of a file. Files that differ have different bytes.
pub(super) fn write_file(out: &mut Vec<u8>, file: &File) {
    // All fields by name, so that a new field cannot be forgotten.
    let File {
        file_id,
        user_id,
        file_name,
        folder_id,
        path,
        mime_type,
        checksum,
        size_bytes,
        modified_at,
        created_at,
        updated_at,
        trashed,
        content_ref,
    } = file;
    out.extend(file_id.as_bytes());
    out.extend(user_id.to_le_bytes());
    text(out, file_name);
    optional(out, folder_id.as_ref(), |out, id| out.extend(id.as_bytes()));
    optional(out, path.as_ref(), |out, path| text(out, path));
    optional(out, mime_type.as_ref(), |out, value| text(out, value));
    optional(out, checksum.as_ref(), |out, value| text(out, value));
    optional(out, *size_bytes, |out, value| out.extend(value.to_le_bytes()));
    optional(out, *modified_at, time);
    time(out, *created_at);
    time(out, *updated_at);
    out.push(u8::from(*trashed));
    optional(out, content_ref.as_ref(), |out, value| text(out, value));
}

fn length(length: usize) -> [u8; 4] {
    // The database holds no text of four gigabytes, and a page no four billion files.
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(length(text.len()));
    out.extend(text.as_bytes());
}

fn time(out: &mut Vec<u8>, time: DateTime<Utc>) {
    // Microseconds, as the database keeps them.
    out.extend(time.timestamp_micros().to_le_bytes());
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(out, value);
    }
}

/// The rest of a page's bytes. Every method gives `None` if the bytes end too soon.
struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        self.byte().map(|byte| byte != 0)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take()?)).ok()
    }

    fn number(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    fn time(&mut self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.number()?)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// `Some(None)` without a value.
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    fn file(&mut self) -> Option<File> {
        let file_id = Uuid::from_bytes(self.take()?);
        let user_id = self.number()?;
        let file_name = self.text()?.to_owned();
        Some(File {
            file_id,
            user_id,
            file_name,
            folder_id: self.optional(|input| input.take().map(Uuid::from_bytes))?,
            path: self.optional(Self::text)?.map(str::to_owned),
            mime_type: self.optional(Self::text)?.map(str::to_owned),
            checksum: self.optional(Self::text)?.map(str::to_owned),
            size_bytes: self.optional(Self::number)?,
            modified_at: self.optional(Self::time)?,
            created_at: self.time()?,
            updated_at: self.time()?,
            trashed: self.flag()?,
            content_ref: self.optional(Self::text)?.map(str::to_owned),
        })
    }
}

/// The first page of a user's listing, in the cache.
pub(super) fn page_key(user: UserId) -> CacheKey {
    CacheKey::new(user.slot(), PageCodec::FORMAT, user.get())
}

/// Every key of the cache whose value a write to this user's files makes wrong. A new cached value of a user's files is one
/// more key here: all writes remove these.
pub(crate) fn spoiled_keys(user: UserId) -> [CacheKey; 1] {
    [page_key(user)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
        (-60_000_000_000_000_000_i64..250_000_000_000_000_000)
            .prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
    }

    fn any_file() -> impl Strategy<Value = File> {
        let place = (any::<Option<u128>>(), proptest::option::of(".{0,40}"), any::<bool>());
        let texts = (".{0,20}", place, [(); 3].map(|()| proptest::option::of(".{0,9}")));
        let times = (proptest::option::of(any_time()), any_time(), any_time());
        (any::<u128>(), 0..i64::MAX, texts, any::<Option<i64>>(), times).prop_map(
            |(id, user_id, texts, size_bytes, times)| {
                let (file_name, (folder, path, trashed), [mime_type, checksum, content_ref]) = texts;
                let (modified_at, created_at, updated_at) = times;
                let file_id = Uuid::from_u128(id);
                File {
                    file_id,
                    user_id,
                    file_name,
                    folder_id: folder.map(Uuid::from_u128),
                    path,
                    mime_type,
                    checksum,
                    size_bytes,
                    modified_at,
                    created_at,
                    updated_at,
                    trashed,
                    content_ref,
                }
            },
        )
    }

    /// The bytes of one page. A change of the format gives [`CACHE_FORMAT`] another version: processes of the release before would
    /// misread the new ones.
    #[test]
    fn other_bytes_need_another_version() {
        let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        let file = File {
            file_id: Uuid::from_u128(0x0102),
            user_id: 7,
            file_name: "n".to_owned(),
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
        };
        let bytes = codec(1).encode(&FilePage { next: Some(FileCursor::after(file.file_id)), files: vec![file] });
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let known = concat!(
            "020101000000",
            "00000000000000000000000000000102",
            "0700000000000000",
            "010000006e",
            "0100000000000000000000000000000304",
            "0103000000702f6e",
            "01010000006d",
            "00",
            "010500000000000000",
            "010100000000000000",
            "0200000000000000",
            "0300000000000000",
            "01",
            "010100000072",
        );
        assert_eq!(
            (CACHE_FORMAT.version, &*hex),
            (2, known),
            "give CACHE_FORMAT a new version, and this test its bytes"
        );
    }

    fn codec(size: u16) -> PageCodec {
        PageCodec { size: PageSize::new(size).unwrap() }
    }

    proptest! {
        #[test]
        fn pages_round_trip(files in proptest::collection::vec(any_file(), 0..5), more in any::<bool>()) {
            let next = files.last().filter(|_| more).map(|last| FileCursor::after(last.file_id));
            let page = FilePage { files, next };
            let bytes = codec(5).encode(&page);
            let size = u16::try_from(page.files.len().max(1)).unwrap();
            let back = codec(size).decode(&bytes).unwrap();
            prop_assert_eq!((&back.files, back.next), (&page.files, page.next));
        }

        #[test]
        fn nonsense_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = codec(1000).decode(&bytes);
        }

        #[test]
        fn a_page_answers_what_it_holds(files in proptest::collection::vec(any_file(), 3)) {
            let ids: Vec<_> = files.iter().map(|file| file.file_id).collect();
            let whole = codec(3).encode(&FilePage { files: files.clone(), next: None });
            let part = codec(3).encode(&FilePage { next: Some(FileCursor::after(ids[2])), files });
            for bytes in [&whole, &part] {
                let two = codec(2).decode(bytes).unwrap();
                prop_assert_eq!((two.files.len(), two.next), (2, Some(FileCursor::after(ids[1]))));
            }
            prop_assert_eq!(codec(3).decode(&whole).unwrap().next, None);
            prop_assert_eq!(codec(1000).decode(&whole).unwrap().files.len(), 3);
            prop_assert_eq!(codec(3).decode(&part).unwrap().next, Some(FileCursor::after(ids[2])));
            prop_assert!(codec(4).decode(&part).is_none());
        }
    }
}
