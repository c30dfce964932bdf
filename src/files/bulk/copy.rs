//! Rows in the binary format of `COPY` (PostgreSQL manual, "COPY", section "Binary Format").

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::files::model::NewFile;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Neither flags nor an extension of the header.
const HEADER_REST: [u8; 8] = [0; 8];
const COLUMNS: i16 = 8;
const NULL: i32 = -1;
const END: i16 = -1;
/// 2000-01-01, from which PostgreSQL counts its microseconds, in those since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// The rows of a `COPY` of the columns that `sql/files/copy_batch.sql` names: files, each with the folder around it.
///
/// # Errors
/// If a value is longer than the format can say.
pub(super) fn encode<'a>(
    files: impl Iterator<Item = (&'a NewFile, Option<Uuid>)>,
    capacity: usize,
) -> Result<Vec<u8>, sqlx::Error> {
    let mut out = Vec::with_capacity(capacity);
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&HEADER_REST);
    for (file, folder) in files {
        out.extend_from_slice(&COLUMNS.to_be_bytes());
        field(&mut out, Some(&file.user.get().to_be_bytes()))?;
        field(&mut out, Some(file.id.as_bytes()))?;
        field(&mut out, Some(file.name.as_bytes()))?;
        field(&mut out, folder.as_ref().map(|folder| folder.as_bytes().as_slice()))?;
        field(&mut out, file.mime_type.as_deref().map(str::as_bytes))?;
        field(&mut out, file.checksum.as_deref().map(str::as_bytes))?;
        field(&mut out, file.size_bytes.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))?;
        field(&mut out, file.modified_at.map(time).as_ref().map(<[u8; 8]>::as_slice))?;
    }
    out.extend_from_slice(&END.to_be_bytes());
    Ok(out)
}

fn field(out: &mut Vec<u8>, value: Option<&[u8]>) -> Result<(), sqlx::Error> {
    match value {
        None => out.extend_from_slice(&NULL.to_be_bytes()),
        Some(bytes) => {
            out.extend_from_slice(&length(bytes.len())?.to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

/// The length of a value, as the format writes it. A longer value is an error: the largest number that fits would be the length
/// of another value, and a negative number is `NULL`.
fn length(bytes: usize) -> Result<i32, sqlx::Error> {
    i32::try_from(bytes).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn time(at: DateTime<Utc>) -> [u8; 8] {
    (at.timestamp_micros() - POSTGRES_EPOCH).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_long_is_not_taken_for_null() {
        assert_eq!(length(0).unwrap(), 0);
        assert_eq!(length(0x7fff_ffff).unwrap(), i32::MAX);
        for bytes in [0x8000_0000, 0xffff_ffff, usize::MAX] {
            assert!(length(bytes).is_err(), "{bytes}");
        }
    }

    #[test]
    fn what_is_missing_is_null_and_what_is_empty_is_not() {
        let field_of = |value| {
            let mut out = Vec::new();
            field(&mut out, value).unwrap();
            out
        };
        assert_eq!(field_of(None), [0xff; 4]);
        assert_eq!(field_of(Some(b"")), [0; 4]);
        assert_eq!(field_of(Some(b"ab")), [0, 0, 0, 2, b'a', b'b']);
    }
}
