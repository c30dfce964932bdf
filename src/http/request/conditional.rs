//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13): a document's version, asked for and told.

use actix_web::http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse};

use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::records::{RecordError, WriteCondition};

/// On what condition a document is to be changed.
///
/// # Errors
/// If the headers are no such condition. Several tags are not taken: no client here can know of more than one.
pub(in crate::http) fn condition(request: &HttpRequest) -> Result<WriteCondition, Problem> {
    match (text(request, IF_MATCH)?, text(request, IF_NONE_MATCH)?) {
        (None, None) => Ok(WriteCondition::Any),
        (Some("*"), None) => Ok(WriteCondition::Present),
        // A tag that is none of ours names no version that there is or will be.
        (Some(tag), None) => one_tag(tag).map(|tag| WriteCondition::Version(version(tag).unwrap_or(-1))),
        (None, Some("*")) => Ok(WriteCondition::Absent),
        (None, Some(_)) => Err(wrong("If-None-Match", "must be *, for a document that must not be there yet")),
        (Some(_), Some(_)) => Err(wrong("If-None-Match", "cannot be asked for together with If-Match")),
    }
}

/// True if the client has this version already.
pub(in crate::http) fn is_known(request: &HttpRequest, current: i64) -> bool {
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || version(tag.strip_prefix("W/").unwrap_or(tag)) == Some(current))
}

/// Adds the version to an answer.
pub(in crate::http) fn tag(response: &mut HttpResponse, version: i64) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
}

/// A problem with a document that the client named a state of: one that is taken or gone is not in that state.
pub(in crate::http) fn refused(error: RecordError, condition: WriteCondition) -> Problem {
    match (&error, condition) {
        (RecordError::Exists { .. }, WriteCondition::Absent)
        | (RecordError::NotFound { .. }, WriteCondition::Present | WriteCondition::Version(_)) => {
            Problem::new(ProblemCode::PreconditionFailed, error.to_string())
        }
        _ => error.into(),
    }
}

fn text(request: &HttpRequest, name: HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = request.headers().get_all(&name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(|text| Some(text.trim())).map_err(|_| wrong("If-Match", "must be text"))
        }
        (Some(_), Some(_)) => Err(wrong("If-Match", "must be there only once")),
    }
}

fn one_tag(text: &str) -> Result<&str, Problem> {
    let strong = text.strip_prefix("W/").unwrap_or(text);
    let is_tag =
        strong.len() >= 2 && strong.starts_with('"') && strong.ends_with('"') && strong.matches('"').count() == 2;
    if is_tag { Ok(text) } else { Err(wrong("If-Match", "must be * or one ETag, as in \"1700000000000000\"")) }
}

/// The version in a strong tag.
fn version(tag: &str) -> Option<i64> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

fn wrong(header: &'static str, reason: &str) -> Problem {
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
            condition(&request.to_http_request()).map_err(|problem| problem.code())
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
    fn a_version_that_is_known_is_not_sent_again() {
        let known =
            |tag: &str| is_known(&TestRequest::default().append_header(("if-none-match", tag)).to_http_request(), 7);
        assert!(known("\"7\"") && known("W/\"7\"") && known("\"1\", \"7\"") && known("*"));
        assert!(!known("\"8\"") && !known("7") && !known(""));
    }
}
