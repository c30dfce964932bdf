//! Decodes `timestamptz` from its microseconds; the driver's detour shows in profiles (docs/decisions/0009).

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};

use crate::shard::error::ShardError;
use crate::shard::slot::ShardId;

/// Microseconds from 1970 to the time that PostgreSQL counts from, the beginning of 2000.
const YEAR_2000: i64 = 946_684_800_000_000;

/// A column's time. sqlx splits the time into a date, a time of day and an offset, and joins the parts again. A page
/// has sixty times.
pub(crate) fn optional_time(row: &PgRow, column: usize) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    let micros: Option<i64> = value.as_bytes().ok().and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
    let time = micros.and_then(|micros| micros.checked_add(YEAR_2000)).and_then(DateTime::from_timestamp_micros);
    time.map(Some).ok_or_else(|| invalid_time(column))
}

fn invalid_time(column: usize) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} holds no valid time").into())
}

/// The time of stored microseconds since 1970.
pub(crate) fn time_of_micros(shard: ShardId, micros: i64) -> Result<DateTime<Utc>, ShardError> {
    let source = || sqlx::Error::Decode(format!("{micros} microseconds since 1970 are no valid time").into());
    DateTime::from_timestamp_micros(micros).ok_or_else(|| ShardError::Unexpected { shard, source: source() })
}

/// A column's time, which is never null.
pub(crate) fn required_time(row: &PgRow, column: usize) -> Result<DateTime<Utc>, sqlx::Error> {
    optional_time(row, column)?.ok_or_else(|| invalid_time(column))
}
