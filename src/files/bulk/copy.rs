//! Rows in the binary format of `COPY` (PostgreSQL manual, "COPY", section "Binary Format").

use chrono::{DateTime, Utc};

use crate::files::model::NewFile;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Neither flags nor an extension of the header.
const HEADER_REST: [u8; 8] = [0; 8];
const COLUMNS: i16 = 8;
/// A boolean that is true.
const TRUE: [u8; 1] = [1];
const NULL: i32 = -1;
const END: i16 = -1;
/// 2000-01-01, from which PostgreSQL counts its microseconds, in those since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// The rows of a `COPY` of the columns that `sql/files/copy_batch.sql` names, or `copy_listing.sql`.
///
/// # Errors
/// If a value is longer than the format can say.
pub(super) fn encode<'a>(
    files: impl Iterator<Item = &'a NewFile>,
    is_listing: bool,
    capacity: usize,
) -> Result<Vec<u8>, sqlx::Error> {
    let columns = COLUMNS + i16::from(is_listing);
    let mut out = Vec::with_capacity(capacity);
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&HEADER_REST);
    for file in files {
        out.extend_from_slice(&columns.to_be_bytes());
        field(&mut out, Some(&file.user.get().to_be_bytes()))?;
        field(&mut out, Some(file.id.as_bytes()))?;
        field(&mut out, Some(file.name.as_bytes()))?;
        field(&mut out, Some(file.path().as_bytes()))?;
        field(&mut out, file.mime_type.as_deref().map(str::as_bytes))?;
        field(&mut out, file.checksum.as_deref().map(str::as_bytes))?;
        field(&mut out, file.size_bytes.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))?;
        field(&mut out, file.modified_at.map(time).as_ref().map(<[u8; 8]>::as_slice))?;
        if is_listing {
            field(&mut out, Some(&TRUE))?;
        }
    }
    out.extend_from_slice(&END.to_be_bytes());
    Ok(out)
}

fn field(out: &mut Vec<u8>, value: Option<&[u8]>) -> Result<(), sqlx::Error> {
    match value {
        None => out.extend_from_slice(&NULL.to_be_bytes()),
        Some(bytes) => {
            let length = i32::try_from(bytes.len()).map_err(|error| sqlx::Error::Encode(error.into()))?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

fn time(at: DateTime<Utc>) -> [u8; 8] {
    (at.timestamp_micros() - POSTGRES_EPOCH).to_be_bytes()
}
