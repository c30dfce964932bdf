//! Decodes the columns of rows that are read by the thousand. The caller names a column by its place and knows its
//! type. The driver checks the type and converts generically, which shows in profiles
//! (docs/decisions/0009-where-the-time-goes.md). PostgreSQL's send functions (`uuid_send` and others in
//! `src/backend/utils/adt`) define the binary formats.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;

use crate::shard::error::ShardError;
use crate::shard::slot::ShardId;

/// Microseconds from 1970 to the time that PostgreSQL counts from, the beginning of 2000.
const YEAR_2000: i64 = 946_684_800_000_000;

/// A column's bytes, or `None` for null.
fn bytes_of(row: &PgRow, column: usize) -> Result<Option<&[u8]>, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() { Ok(None) } else { value.as_bytes().map(Some).map_err(sqlx::Error::Decode) }
}

/// As many bytes as the column's type has, or `None` for null.
fn array_of<const SIZE: usize>(row: &PgRow, column: usize) -> Result<Option<[u8; SIZE]>, sqlx::Error> {
    let Some(bytes) = bytes_of(row, column)? else { return Ok(None) };
    bytes.try_into().map(Some).map_err(|_| invalid(column, "value of its type"))
}

fn invalid(column: usize, wanted: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} holds no {wanted}").into())
}

/// The value of a column that is never null.
///
/// # Errors
/// If it is null all the same.
pub(crate) fn required<T>(value: Option<T>, column: usize) -> Result<T, sqlx::Error> {
    value.ok_or_else(|| invalid(column, "value"))
}

/// A column of type `uuid`.
///
/// # Errors
/// If the row has no such column, or the value is not of this type.
pub(crate) fn optional_id(row: &PgRow, column: usize) -> Result<Option<Uuid>, sqlx::Error> {
    Ok(array_of(row, column)?.map(Uuid::from_bytes))
}

/// A column of a type of texts.
///
/// # Errors
/// As [`optional_id`].
pub(crate) fn optional_text(row: &PgRow, column: usize) -> Result<Option<&str>, sqlx::Error> {
    let Some(bytes) = bytes_of(row, column)? else { return Ok(None) };
    std::str::from_utf8(bytes).map(Some).map_err(|_| invalid(column, "text"))
}

/// A column of type `bigint`.
///
/// # Errors
/// As [`optional_id`].
pub(crate) fn optional_number(row: &PgRow, column: usize) -> Result<Option<i64>, sqlx::Error> {
    Ok(array_of(row, column)?.map(i64::from_be_bytes))
}

/// A column of type `boolean`.
///
/// # Errors
/// As [`optional_id`].
pub(crate) fn optional_flag(row: &PgRow, column: usize) -> Result<Option<bool>, sqlx::Error> {
    Ok(array_of(row, column)?.map(|[byte]: [u8; 1]| byte != 0))
}

/// A column of type `timestamptz`. sqlx splits the time into a date, a time of day and an offset, and joins the parts
/// again. A page has sixty times.
///
/// # Errors
/// As [`optional_id`].
pub(crate) fn optional_time(row: &PgRow, column: usize) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let Some(micros) = optional_number(row, column)? else { return Ok(None) };
    let time = micros.checked_add(YEAR_2000).and_then(DateTime::from_timestamp_micros);
    time.map(Some).ok_or_else(|| invalid(column, "valid time"))
}

/// The time of stored microseconds since 1970.
pub(crate) fn time_of_micros(shard: ShardId, micros: i64) -> Result<DateTime<Utc>, ShardError> {
    let source = || sqlx::Error::Decode(format!("{micros} microseconds since 1970 are no valid time").into());
    DateTime::from_timestamp_micros(micros).ok_or_else(|| ShardError::Unexpected { shard, source: source() })
}

/// As [`optional_time`], of a column that is never null.
///
/// # Errors
/// As there.
pub(crate) fn required_time(row: &PgRow, column: usize) -> Result<DateTime<Utc>, sqlx::Error> {
    required(optional_time(row, column)?, column)
}
