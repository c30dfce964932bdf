//! Rows in the binary format of `COPY` (PostgreSQL manual, "COPY", section "Binary Format").

use chrono::{DateTime, Utc};
use uuid::Uuid;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Neither flags nor an extension of the header.
const HEADER_REST: [u8; 8] = [0; 8];
const NULL: i32 = -1;
const END: i16 = -1;
/// 2000-01-01, from which PostgreSQL counts its microseconds, in those since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Rows for a `COPY`, column by column.
pub(crate) struct CopyRows {
    bytes: Vec<u8>,
}

impl CopyRows {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&HEADER_REST);
        Self { bytes }
    }

    /// The bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a row of so many columns, each of which follows.
    pub(crate) fn begin_row(&mut self, columns: i16) {
        self.bytes.extend_from_slice(&columns.to_be_bytes());
    }

    /// # Errors
    /// If the value is longer than the format can say.
    pub(crate) fn put_text(&mut self, text: Option<&str>) -> Result<(), sqlx::Error> {
        self.put(text.map(str::as_bytes))
    }

    pub(crate) fn put_number(&mut self, number: Option<i64>) -> Result<(), sqlx::Error> {
        self.put(number.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))
    }

    pub(crate) fn put_integer(&mut self, number: i32) -> Result<(), sqlx::Error> {
        self.put(Some(&number.to_be_bytes()))
    }

    pub(crate) fn put_id(&mut self, id: Option<Uuid>) -> Result<(), sqlx::Error> {
        self.put(id.as_ref().map(|id| id.as_bytes().as_slice()))
    }

    pub(crate) fn put_time(&mut self, at: Option<DateTime<Utc>>) -> Result<(), sqlx::Error> {
        self.put_number(at.map(|at| at.timestamp_micros() - POSTGRES_EPOCH))
    }

    /// The rows as the server reads them.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&END.to_be_bytes());
        self.bytes
    }

    fn put(&mut self, value: Option<&[u8]>) -> Result<(), sqlx::Error> {
        match value {
            None => self.bytes.extend_from_slice(&NULL.to_be_bytes()),
            Some(bytes) => {
                self.bytes.extend_from_slice(&length(bytes.len())?.to_be_bytes());
                self.bytes.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

/// The length of a value, as the format writes it. A longer value is an error: the largest number that fits would be
/// the length of another value, and a negative number is `NULL`.
fn length(bytes: usize) -> Result<i32, sqlx::Error> {
    i32::try_from(bytes).map_err(|error| sqlx::Error::Encode(error.into()))
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
        let column_of = |text| {
            let mut rows = CopyRows { bytes: Vec::new() };
            rows.put_text(text).unwrap();
            rows.bytes
        };
        assert_eq!(column_of(None), [0xff; 4]);
        assert_eq!(column_of(Some("")), [0; 4]);
        assert_eq!(column_of(Some("ab")), [0, 0, 0, 2, b'a', b'b']);
    }
}
