//! Problems: errors for clients, `application/problem+json` (RFC 9457).
//!
//! Database text and SQL go to the log, and never reach a client.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::problem_code::ProblemCode;
use super::problem_counts;
use crate::auth::Scope;
use crate::shard::ShardId;
use crate::telemetry::current_request;

/// The wait before a client tries again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A problem for a client.
#[derive(Debug)]
pub struct Problem {
    code: ProblemCode,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    line: Option<u64>,
    shard: Option<ShardId>,
    progress: Option<Box<Map<String, Value>>>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
    /// For the log.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Names the kind of problem: `urn:shardrive:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:shardrive:problem:invalid_field")]
    kind: String,
    /// The meaning of the kind of problem.
    #[schema(value_type = String, example = "A field is wrong")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 400)]
    status: u16,
    /// The fault, and what to change.
    #[schema(value_type = String, example = "file_name: must not be empty")]
    detail: &'a str,
    /// The kind of problem as a stable word.
    #[schema(value_type = String, example = "invalid_field")]
    code: &'static str,
    /// The request's id, as in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    request_id: Option<&'a str>,
    /// The wrong field, parameter or header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "file_name")]
    field: Option<&'a str>,
    /// The wrong line of a bulk body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// The shard with the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>)]
    shard: Option<u16>,
    /// After a broken bulk load: how much was stored, in the members of the load's answer.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    progress: Option<&'a Map<String, Value>>,
}

impl ProblemBody<'_> {
    /// The URN of a kind of problem.
    pub(in crate::http) fn type_of(code: ProblemCode) -> String {
        format!("urn:shardrive:problem:{}", code.as_str())
    }
}

impl Problem {
    /// A problem of this kind; `detail` says what to change.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            line: None,
            shard: None,
            progress: None,
            header: None,
            cause: None,
        }
    }

    /// Names the wrong field, parameter or header.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the wrong line of a bulk body.
    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Names the shard with the problem.
    #[must_use]
    pub fn shard(mut self, shard: ShardId) -> Self {
        self.shard = Some(shard);
        self
    }

    /// Adds members to the problem: the numbers of a load that broke off, or the operation of a batch that is at fault.
    #[must_use]
    pub(in crate::http) fn progress(mut self, done: &impl Serialize) -> Self {
        self.progress = match serde_json::to_value(done) {
            Ok(Value::Object(members)) => Some(Box::new(members)),
            _ => None,
        };
        self
    }

    /// Keeps the error behind the problem, for the log.
    #[must_use]
    pub fn cause(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// Adds a header that the status requires: `Allow`, `WWW-Authenticate`.
    #[must_use]
    pub(in crate::http) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The token lacks the needed scope (RFC 6750, section 3.1).
    #[must_use]
    pub(in crate::http) fn scope(needed: Scope) -> Self {
        let challenge = match needed {
            Scope::User => r#"Bearer realm="shardrive", error="insufficient_scope", scope="user""#,
            Scope::Service => r#"Bearer realm="shardrive", error="insufficient_scope", scope="service""#,
            Scope::Admin => r#"Bearer realm="shardrive", error="insufficient_scope", scope="admin""#,
        };
        Self::new(ProblemCode::InsufficientScope, format!("this needs a token with the scope {needed}"))
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// The data belongs to another user than the token's.
    #[must_use]
    pub(in crate::http) fn other_user(field: &'static str) -> Self {
        Self::new(ProblemCode::OtherUser, format!("{field} must be the token's own user")).field(field)
    }

    /// A part of the path is wrong.
    #[must_use]
    pub fn path(field: &'static str, reason: &'static str) -> Self {
        Self::new(ProblemCode::InvalidPath, format!("{field} {reason}")).field(field)
    }

    /// A query parameter is wrong.
    #[must_use]
    pub fn query(field: impl Into<Cow<'static, str>>, reason: impl fmt::Display) -> Self {
        let field = field.into();
        Self::new(ProblemCode::InvalidQuery, format!("{field} {reason}")).field(field)
    }

    /// The wrong field, parameter or header.
    #[cfg(test)]
    pub(in crate::http) fn field_name(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The kind of problem.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// Writes the problem with all causes to the log, once. A missing shard is left out: the health probe has
    /// logged the shard already, and a line for each request would flood the log.
    pub(in crate::http) fn log(&self) {
        problem_counts::count_problem(self.code);
        let level = match self.code.status() {
            StatusCode::INTERNAL_SERVER_ERROR => log::Level::Error,
            status if status.is_server_error() && self.code != ProblemCode::ShardUnavailable => log::Level::Warn,
            _ => log::Level::Debug,
        };
        if !log::log_enabled!(level) {
            return;
        }
        let causes = self.cause.as_deref().map(|cause| chain(cause)).unwrap_or_default();
        log::log!(level, code = self.code.as_str(); "{self}{causes}");
    }
}

/// `: an error: what caused it: …`
fn chain(first: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(first);
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let request = current_request();
        let status = self.status_code();
        let body = ProblemBody {
            kind: ProblemBody::type_of(self.code),
            title: self.code.title(),
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            request_id: request.as_ref().map(|request| &*request.request_id),
            field: self.field.as_deref(),
            line: self.line,
            shard: self.shard.map(ShardId::number),
            progress: self.progress.as_deref(),
        };
        let mut answer = HttpResponse::build(status);
        answer.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
                | StatusCode::INSUFFICIENT_STORAGE
        ) || self.code == ProblemCode::IdempotencyKeyInUse
        {
            answer.insert_header((header::RETRY_AFTER, RETRY_AFTER));
        }
        if let Some(header) = &self.header {
            answer.insert_header((header.0.clone(), header.1.clone()));
        }
        // Texts and numbers always become JSON.
        answer.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}
