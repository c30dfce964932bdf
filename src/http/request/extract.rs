//! Typed values from the path and the query, or a problem with the fault.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::{Path, Query};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::files::{DrivePath, UserId};
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::payload::{PageSize, named_field, shorten_reason};
use crate::records::CollectionName;
use crate::shard::ReadConsistency;

/// The `{user_id}` of a path.
pub(in crate::http) struct UserPath(pub(in crate::http) UserId);

impl FromRequest for UserPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let number = request.match_info().get("user_id").and_then(parse_number::<i64>);
        let user = number.and_then(UserId::new).map(Self);
        ready(user.ok_or_else(|| Problem::path("user_id", "must be a whole number from 0 to 9223372036854775807")))
    }
}

/// The `{file_id}` of a path.
pub(in crate::http) struct FilePath(pub(in crate::http) Uuid);

impl FromRequest for FilePath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("file_id").and_then(|text| Uuid::try_parse(text).ok()).map(Self);
        ready(id.ok_or_else(|| Problem::path("file_id", "must be a UUID")))
    }
}

/// The `{folder_id}` of a path.
pub(in crate::http) struct FolderPath(pub(in crate::http) Uuid);

impl FromRequest for FolderPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("folder_id").and_then(|text| Uuid::try_parse(text).ok()).map(Self);
        ready(id.ok_or_else(|| Problem::path("folder_id", "must be a UUID")))
    }
}

/// The `{entry_id}` of a path.
pub(in crate::http) struct EntryPath(pub(in crate::http) Uuid);

impl FromRequest for EntryPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("entry_id").and_then(|text| Uuid::try_parse(text).ok()).map(Self);
        ready(id.ok_or_else(|| Problem::path("entry_id", "must be a UUID")))
    }
}

/// The `{path}` at the end of a path: names with slashes, percent-encoded.
pub(in crate::http) struct DrivePathPart(pub(in crate::http) DrivePath);

impl FromRequest for DrivePathPart {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        #[derive(Deserialize)]
        struct PathParameter {
            path: String,
        }
        let path = Path::<PathParameter>::extract(request).into_inner().map(|path| path.into_inner().path).ok();
        let Some(path) = path.filter(|_| is_utf8(request.uri().path())) else {
            return ready(Err(Problem::path("path", "must be UTF-8, percent-encoded")));
        };
        ready(
            DrivePath::parse(&path, "path")
                .map(Self)
                .map_err(|fault| Problem::new(ProblemCode::InvalidPath, fault.to_string()).field("path")),
        )
    }
}

/// The `{collection}` of a path.
pub(in crate::http) struct CollectionPath(pub(in crate::http) CollectionName);

impl FromRequest for CollectionPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let name = request.match_info().get("collection").unwrap_or_default();
        ready(name.parse().map(Self).map_err(|reason| Problem::path("collection", reason)))
    }
}

/// The `{key}` at the end of a path: any text, percent-encoded, also with `/`.
pub(in crate::http) struct KeyPath(pub(in crate::http) String);

impl FromRequest for KeyPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        #[derive(Deserialize)]
        struct KeyParameter {
            key: String,
        }
        let key = Path::<KeyParameter>::extract(request).into_inner().map(|path| path.into_inner().key).ok();
        let key = key.filter(|_| is_utf8(request.uri().path())).map(Self);
        ready(key.ok_or_else(|| Problem::path("key", "must be UTF-8, percent-encoded")))
    }
}

/// True if a percent-encoded text is UTF-8. Decoding would replace other bytes, so that different texts become equal.
fn is_utf8(encoded: &str) -> bool {
    percent_encoding::percent_decode_str(encoded).decode_utf8().is_ok()
}

/// The query as a struct of `Option<String>` fields, so that a problem can name the wrong field.
pub(in crate::http) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    if !is_utf8(request.query_string()) {
        return Err(Problem::new(ProblemCode::InvalidQuery, "the query must be UTF-8, percent-encoded"));
    }
    Query::<T>::from_query(request.query_string()).map(Query::into_inner).map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("Query deserialize error: ").unwrap_or(&text);
        let problem = Problem::new(ProblemCode::InvalidQuery, shorten_reason(text));
        match named_field(text) {
            Some(field) => problem.field(field.to_owned()),
            None => problem,
        }
    })
}

/// Stands before a route that reads no query, and refuses a request with one: the problem names the first parameter.
pub(in crate::http) async fn refuse_query(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.query_string().is_empty() {
        return next.call(request).await;
    }
    let name = request.query_string().split(['=', '&']).next().unwrap_or_default();
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
    let problem = Problem::query(name, "is not a parameter of this route, and nothing was done; leave it out");
    Ok(request.error_response(problem))
}

/// A number of the query, if given.
pub(in crate::http) fn query_number<T: FromStr + PartialOrd + fmt::Display>(
    field: &'static str,
    text: Option<&str>,
    range: RangeInclusive<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match parse_number(text).filter(|number| range.contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let reason = format!("must be a whole number from {} to {}", range.start(), range.end());
            Err(Problem::query(field, reason))
        }
    }
}

/// The number of entries of a page, by the query's `limit`.
pub(in crate::http) fn query_page_size(limit: Option<&str>, usual: PageSize) -> Result<PageSize, Problem> {
    let most = u16::try_from(PageSize::MAX.get()).unwrap_or(u16::MAX);
    Ok(query_number("limit", limit, 1..=most)?.and_then(PageSize::new).unwrap_or(usual))
}

/// The position after an earlier page, if the query names one.
pub(in crate::http) fn query_cursor<C>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Option<C>,
) -> Result<Option<C>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || Problem::query("cursor", "must be the next_cursor of an earlier answer; leave it out to start anew");
    parse(text).map(Some).ok_or_else(wrong)
}

/// How old an answer may be, by the query's `consistency`.
pub(in crate::http) fn consistency(text: Option<&str>) -> Result<ReadConsistency, Problem> {
    match text {
        None | Some("strict") => Ok(ReadConsistency::Strict),
        Some("eventual") => Ok(ReadConsistency::Eventual),
        Some(_) => Err(Problem::query("consistency", "must be strict or eventual")),
    }
}

/// Digits and nothing else: Rust's own parser also takes a `+`.
fn parse_number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits() {
        assert_eq!(parse_number::<i64>("9223372036854775807"), Some(i64::MAX));
        for text in ["", "+1", "-1", "1.0", "1e3", " 1", "0x1", "9223372036854775808", "\u{661}"] {
            assert_eq!(parse_number::<i64>(text), None, "{text}");
        }
        assert!(query_number("limit", Some("1001"), 1..=1000u16).is_err());
        assert_eq!(consistency(Some("eventual")).unwrap(), ReadConsistency::Eventual);
        assert!(consistency(Some("Eventual")).is_err());
        assert_eq!(query_number("limit", None, 1..=1000u16).unwrap(), None);
    }
}
