//! Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13).
//!
//! A condition is honoured or refused: 412 for an unmet condition, 400 for a condition that the route does not support.
//! No change ignores a condition. The table of routes says which routes take conditions; the handlers read conditions
//! here.

use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use actix_web::{HttpRequest, HttpResponse};

use crate::drive::EntryCondition;
use crate::files::{FileCondition, FileError, FileTag};
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::records::{RecordError, WriteCondition};

/// Headers of conditions that forbid an answer. `If-Modified-Since` and `If-None-Match` of a read are left out: a
/// client with a whole answer has lost nothing.
static OF_READS: [HeaderName; 2] = [IF_MATCH, IF_UNMODIFIED_SINCE];
static OF_CHANGES: [HeaderName; 3] = [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH];

/// The condition in a request that a route without conditions cannot honour.
pub(in crate::http) fn unsupported_condition(head: &RequestHead) -> Option<&'static str> {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let headers = if is_read { &OF_READS[..] } else { &OF_CHANGES[..] };
    let found = headers.iter().find(|name| head.headers.contains_key(*name))?;
    Some(name_of(found))
}

fn name_of(header: &HeaderName) -> &'static str {
    if *header == IF_MATCH {
        "If-Match"
    } else if *header == IF_NONE_MATCH {
        "If-None-Match"
    } else {
        "If-Unmodified-Since"
    }
}

pub(in crate::http) fn reject_condition(header: &'static str) -> Problem {
    invalid_header(header, "is not supported by this route, and nothing was done; leave it out")
}

/// The condition for storing a document.
///
/// # Errors
/// For malformed headers. Several tags are malformed too: a client can know only one version.
pub(in crate::http) fn write_condition(request: &HttpRequest) -> Result<WriteCondition, Problem> {
    match (if_match(request)?, single_header(request, IF_NONE_MATCH)?) {
        (if_match, None) => Ok(if_match.into()),
        (IfMatch::Any, Some("*")) => Ok(WriteCondition::Absent),
        (IfMatch::Any, Some(_)) => {
            Err(invalid_header("If-None-Match", "must be *, for a document that must not be there yet"))
        }
        (_, Some(_)) => Err(invalid_header("If-None-Match", "cannot be asked for together with If-Match")),
    }
}

/// The condition for changing or deleting a document.
///
/// # Errors
/// As [`write_condition`].
pub(in crate::http) fn change_condition(request: &HttpRequest) -> Result<WriteCondition, Problem> {
    refuse_none_match(request)?;
    Ok(if_match(request)?.into())
}

/// The condition for changing or deleting a file.
///
/// # Errors
/// As [`write_condition`].
pub(in crate::http) fn file_condition(request: &HttpRequest) -> Result<FileCondition, Problem> {
    refuse_none_match(request)?;
    Ok(match if_match(request)? {
        IfMatch::Any => FileCondition::Any,
        IfMatch::Present => FileCondition::Present,
        IfMatch::Tag(tag) => FileCondition::Tag(opaque_tag(tag).and_then(FileTag::parse)),
    })
}

/// The condition for changing or deleting a folder, or the entry at a path.
///
/// # Errors
/// As [`write_condition`].
pub(in crate::http) fn entry_condition(request: &HttpRequest) -> Result<EntryCondition, Problem> {
    refuse_none_match(request)?;
    Ok(if_match(request)?.into())
}

/// The condition for storing a file at a path.
///
/// # Errors
/// As [`write_condition`].
pub(in crate::http) fn put_condition(request: &HttpRequest) -> Result<EntryCondition, Problem> {
    match (if_match(request)?, single_header(request, IF_NONE_MATCH)?) {
        (if_match, None) => Ok(if_match.into()),
        (IfMatch::Any, Some("*")) => Ok(EntryCondition::Absent),
        (IfMatch::Any, Some(_)) => {
            Err(invalid_header("If-None-Match", "must be *, for a path at which nothing may be yet"))
        }
        (_, Some(_)) => Err(invalid_header("If-None-Match", "cannot be asked for together with If-Match")),
    }
}

/// Whether a read can be answered with 304: the client has this version already.
///
/// # Errors
/// 412 if the client wants another version.
pub(in crate::http) fn has_current_version(request: &HttpRequest, current: &str) -> Result<bool, Problem> {
    let holds = match if_match(request)? {
        IfMatch::Any | IfMatch::Present => true,
        IfMatch::Tag(tag) => opaque_tag(tag) == Some(current),
    };
    if !holds {
        return Err(Problem::new(ProblemCode::PreconditionFailed, "this is another version than If-Match names"));
    }
    let mut known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    Ok(known.any(|line| {
        let mut tags = line.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || opaque_tag(tag.strip_prefix("W/").unwrap_or(tag)) == Some(current))
    }))
}

/// The answer to a client with the current version.
pub(in crate::http) fn not_modified(current: &str) -> HttpResponse {
    let mut response = HttpResponse::NotModified().finish();
    set_etag(&mut response, current);
    response
}

pub(in crate::http) fn set_etag(response: &mut HttpResponse, version: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
}

/// A conditional change of a document that is missing, or already there, fails by its precondition.
pub(in crate::http) fn record_condition_problem(error: RecordError, condition: WriteCondition) -> Problem {
    match (&error, condition) {
        (RecordError::Exists { .. }, WriteCondition::Absent)
        | (RecordError::NotFound { .. }, WriteCondition::Present | WriteCondition::Version(_)) => {
            Problem::new(ProblemCode::PreconditionFailed, error.to_string())
        }
        _ => error.into(),
    }
}

/// A conditional change of a missing file fails by its precondition.
pub(in crate::http) fn file_condition_problem(error: FileError, condition: FileCondition) -> Problem {
    match (&error, condition) {
        (FileError::NotFound(_), FileCondition::Present | FileCondition::Tag(_)) => {
            Problem::new(ProblemCode::PreconditionFailed, error.to_string())
        }
        _ => error.into(),
    }
}

enum IfMatch<'a> {
    Any,
    Present,
    Tag(&'a str),
}

impl From<IfMatch<'_>> for WriteCondition {
    fn from(if_match: IfMatch<'_>) -> Self {
        match if_match {
            IfMatch::Any => Self::Any,
            IfMatch::Present => Self::Present,
            // A foreign tag matches no version, now or later.
            IfMatch::Tag(tag) => Self::Version(opaque_tag(tag).and_then(|tag| tag.parse().ok()).unwrap_or(-1)),
        }
    }
}

impl From<IfMatch<'_>> for EntryCondition {
    fn from(if_match: IfMatch<'_>) -> Self {
        match if_match {
            IfMatch::Any => Self::Any,
            IfMatch::Present => Self::Present,
            // A foreign tag is no entry's tag.
            IfMatch::Tag(tag) => Self::Tag(opaque_tag(tag).unwrap_or_default().to_owned()),
        }
    }
}

fn if_match(request: &HttpRequest) -> Result<IfMatch<'_>, Problem> {
    if request.headers().contains_key(IF_UNMODIFIED_SINCE) {
        return Err(invalid_header("If-Unmodified-Since", "is not supported; ask by If-Match and an ETag"));
    }
    match single_header(request, IF_MATCH)? {
        None => Ok(IfMatch::Any),
        Some("*") => Ok(IfMatch::Present),
        Some(tag) => parse_one_tag(tag).map(IfMatch::Tag),
    }
}

fn refuse_none_match(request: &HttpRequest) -> Result<(), Problem> {
    match single_header(request, IF_NONE_MATCH)? {
        None => Ok(()),
        Some(_) => Err(invalid_header(
            "If-None-Match",
            "cannot be asked for where something that is there is changed; use If-Match",
        )),
    }
}

fn single_header(request: &HttpRequest, name: HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = request.headers().get_all(&name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(|text| Some(text.trim())).map_err(|_| invalid_header(name_of(&name), "must be text"))
        }
        (Some(_), Some(_)) => Err(invalid_header(name_of(&name), "must be there only once")),
    }
}

fn parse_one_tag(text: &str) -> Result<&str, Problem> {
    let strong = text.strip_prefix("W/").unwrap_or(text);
    let is_tag =
        strong.len() >= 2 && strong.starts_with('"') && strong.ends_with('"') && strong.matches('"').count() == 2;
    if is_tag {
        Ok(text)
    } else {
        Err(invalid_header("If-Match", "must be * or one ETag, with its quotes, as an answer has it"))
    }
}

/// The text in a strong tag.
fn opaque_tag(tag: &str) -> Option<&str> {
    tag.strip_prefix('"')?.strip_suffix('"')
}

fn invalid_header(header: &'static str, reason: &str) -> Problem {
    Problem::new(ProblemCode::InvalidHeader, format!("{header} {reason}")).field(header)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn conditions() {
        let condition = |headers: &[(&'static str, &str)]| {
            let request = headers.iter().fold(TestRequest::default(), |request, header| request.append_header(*header));
            write_condition(&request.to_http_request()).map_err(|problem| problem.code())
        };
        assert_eq!(condition(&[]), Ok(WriteCondition::Any));
        assert_eq!(condition(&[("if-match", "\"7\"")]), Ok(WriteCondition::Version(7)));
        assert_eq!(condition(&[("if-match", " * ")]), Ok(WriteCondition::Present));
        assert_eq!(
            condition(&[("if-match", "W/\"7\"")]),
            Ok(WriteCondition::Version(-1)),
            "weak tags never match here"
        );
        assert_eq!(condition(&[("if-match", "\"abc\"")]), Ok(WriteCondition::Version(-1)));
        assert_eq!(condition(&[("if-none-match", "*")]), Ok(WriteCondition::Absent));
        for bad in [
            &[("if-match", "7")][..],
            &[("if-match", "\"7\", \"8\"")],
            &[("if-match", "")],
            &[("if-none-match", "\"7\"")],
            &[("if-match", "*"), ("if-none-match", "*")],
            &[("if-match", "\"1\""), ("if-match", "\"2\"")],
        ] {
            assert_eq!(condition(bad), Err(ProblemCode::InvalidHeader), "{bad:?}");
        }
    }

    #[test]
    fn a_change_knows_no_condition_of_what_is_not_there() {
        let with = |header: (&'static str, &str)| TestRequest::patch().append_header(header).to_http_request();
        for wrong in
            [("if-none-match", "*"), ("if-none-match", "\"7\""), ("if-unmodified-since", "x"), ("if-match", "7")]
        {
            assert_eq!(
                file_condition(&with(wrong)).map_err(|problem| problem.code()),
                Err(ProblemCode::InvalidHeader),
                "{wrong:?}"
            );
            assert_eq!(
                change_condition(&with(wrong)).map_err(|problem| problem.code()),
                Err(ProblemCode::InvalidHeader)
            );
        }
        let tag = "0123456789abcdef0123456789abcdef";
        let named = file_condition(&with(("if-match", &format!("\"{tag}\"")))).ok();
        assert_eq!(named, Some(FileCondition::Tag(FileTag::parse(tag))));
        assert_eq!(file_condition(&with(("if-match", "\"0\""))).ok(), Some(FileCondition::Tag(None)));
        assert_eq!(file_condition(&with(("if-match", &format!("W/\"{tag}\"")))).ok(), Some(FileCondition::Tag(None)));
    }

    #[test]
    fn what_a_route_does_not_take_is_found() {
        let found = |method: Method, name: &'static str| {
            unsupported_condition(
                TestRequest::with_uri("/").method(method).append_header((name, "*")).to_http_request().head(),
            )
        };
        assert_eq!(found(Method::POST, "if-match"), Some("If-Match"));
        assert_eq!(found(Method::PUT, "if-none-match"), Some("If-None-Match"));
        assert_eq!(found(Method::DELETE, "if-unmodified-since"), Some("If-Unmodified-Since"));
        assert_eq!(found(Method::POST, "if-modified-since"), None, "RFC 9110 has it ignored");
        assert_eq!(found(Method::GET, "if-match"), Some("If-Match"));
        assert_eq!(found(Method::GET, "if-none-match"), None);
    }

    #[test]
    fn a_version_that_is_known_is_not_sent_again() {
        let ask = |name: &'static str, tag: &str| {
            let request = TestRequest::default().append_header((name, tag)).to_http_request();
            has_current_version(&request, "7").map_err(|problem| problem.code())
        };
        let known = |tag| ask("if-none-match", tag).unwrap();
        assert!(known("\"7\"") && known("W/\"7\"") && known("\"1\", \"7\"") && known("*"));
        assert!(!known("\"8\"") && !known("7") && !known(""));
        assert_eq!(ask("if-match", "\"7\""), Ok(false));
        assert_eq!(ask("if-match", "*"), Ok(false));
        assert_eq!(ask("if-match", "\"8\""), Err(ProblemCode::PreconditionFailed));
        assert_eq!(ask("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT"), Err(ProblemCode::InvalidHeader));
    }
}
