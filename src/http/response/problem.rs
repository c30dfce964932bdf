//! Problems: errors as clients see them, `application/problem+json` (RFC 9457).
//!
//! The errors of files, documents, shards and tokens get their status here; those of one group of routes alone (moves, new
//! shards, bodies) beside these routes. Database text and SQL stay on this side: they go to the log.

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
use crate::auth::{AuthError, Scope};
use crate::files::FileError;
use crate::payload::FieldFault;
use crate::records::RecordError;
use crate::shard::{ServerResource, ShardError, ShardId};
use crate::telemetry::{current_request, current_request_may_change};

/// When a client may try again what a shard could not do now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A problem on its way to a client.
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

/// The body of every answer that is not a success.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Names the kind of problem: `urn:shardrive:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:shardrive:problem:invalid_field")]
    kind: String,
    /// What the kind of problem means.
    #[schema(value_type = String, example = "A field is wrong")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 400)]
    status: u16,
    /// What is wrong here, and what to change.
    #[schema(value_type = String, example = "file_name: must not be empty")]
    detail: &'a str,
    /// The kind of problem, in one stable word.
    #[schema(value_type = String, example = "invalid_field")]
    code: &'static str,
    /// The request's id, as in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    request_id: Option<&'a str>,
    /// The field, parameter or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "file_name")]
    field: Option<&'a str>,
    /// The line of a bulk body that is wrong, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// The shard that the problem is with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>)]
    shard: Option<u16>,
    /// Of a bulk load that broke off: what was done all the same, in the members that its answer would have had.
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
    /// A problem of this kind; `detail` tells the client what to change.
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

    /// Names the field, parameter or header that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the line of a bulk body that is wrong.
    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Names the shard that the problem is with.
    #[must_use]
    pub fn shard(mut self, shard: ShardId) -> Self {
        self.shard = Some(shard);
        self
    }

    /// Tells how far a load came before it broke off: members of their own beside the others.
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

    /// Gives the answer a header that its status calls for: `Allow`, `WWW-Authenticate`.
    #[must_use]
    pub(in crate::http) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The token does not grant what is needed (RFC 6750, section 3.1).
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

    /// Something that belongs to another user than the token's.
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

    /// The field, parameter or header that is wrong.
    #[cfg(test)]
    pub(in crate::http) fn field_name(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Its kind.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// Writes to the log what the client is not told: once, with all causes. That a shard is away its health check
    /// has said already, and every request saying it again would flood the log.
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

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        const WRONG_TOKEN: &str = r#"Bearer realm="shardrive", error="invalid_token""#;
        let (code, challenge) = match error {
            AuthError::Missing => (ProblemCode::SignInRequired, r#"Bearer realm="shardrive""#),
            AuthError::Malformed => (ProblemCode::TokenMalformed, WRONG_TOKEN),
            AuthError::Expired => (ProblemCode::TokenExpired, WRONG_TOKEN),
            AuthError::NotYetValid => (ProblemCode::TokenNotYetValid, WRONG_TOKEN),
            AuthError::WrongAudience => (ProblemCode::TokenWrongAudience, WRONG_TOKEN),
            AuthError::WrongIssuer => (ProblemCode::TokenWrongIssuer, WRONG_TOKEN),
            AuthError::UnknownKey => (ProblemCode::TokenUnknownKey, WRONG_TOKEN),
            AuthError::Invalid => (ProblemCode::TokenInvalid, WRONG_TOKEN),
            AuthError::NoUser => (ProblemCode::TokenWithoutUser, WRONG_TOKEN),
            AuthError::NoScope => return Self::scope(Scope::User),
            AuthError::Unavailable => return Self::new(ProblemCode::SignInUnavailable, error.to_string()),
        };
        Self::new(code, error.to_string()).header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

impl From<FieldFault> for Problem {
    fn from(fault: FieldFault) -> Self {
        let problem = Self::new(ProblemCode::InvalidField, fault.to_string());
        if fault.field.is_empty() { problem } else { problem.field(fault.field) }
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound(_) => Self::new(ProblemCode::FileNotFound, error.to_string()),
            FileError::Contended(_) => Self::new(ProblemCode::FileContended, error.to_string()),
            FileError::IdTaken(_) => Self::new(ProblemCode::IdTaken, error.to_string()).field("file_id"),
            FileError::Changed(_) => Self::new(ProblemCode::PreconditionFailed, error.to_string()),
            FileError::PathTaken => Self::new(ProblemCode::PathTaken, error.to_string()).field("path"),
            FileError::Field(fault) => fault.into(),
            FileError::Shard(error) => error.into(),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        let code = match error {
            RecordError::NoCollection(_) => ProblemCode::CollectionNotFound,
            RecordError::CollectionDiffers(_) => ProblemCode::CollectionDiffers,
            RecordError::NotFound { .. } => ProblemCode::RecordNotFound,
            RecordError::Exists { .. } => ProblemCode::RecordExists,
            RecordError::Changed { .. } => ProblemCode::PreconditionFailed,
            RecordError::KeyFixed => ProblemCode::ShardKeyFixed,
            RecordError::Syntax(_) => ProblemCode::InvalidBody,
            RecordError::TooLarge => ProblemCode::BodyTooLarge,
            RecordError::Contended => ProblemCode::RecordContended,
            RecordError::Field(fault) => return fault.into(),
            RecordError::Shard(error) => return error.into(),
        };
        Self::new(code, error.to_string())
    }
}

impl From<ShardError> for Problem {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::Unavailable { shard } => {
                Self::new(ProblemCode::ShardUnavailable, error.to_string()).shard(shard)
            }
            ShardError::Timeout { shard } => {
                let detail = if current_request_may_change() {
                    format!("{error}; a change may have been made all the same")
                } else {
                    error.to_string()
                };
                Self::new(ProblemCode::ShardTimeout, detail).shard(shard)
            }
            ShardError::Overloaded { shard } => Self::new(ProblemCode::ShardOverloaded, error.to_string()).shard(shard),
            ShardError::CallerBusy { shard } => {
                let detail = "you have as many calls on this shard as one caller may have; wait for one to end";
                Self::new(ProblemCode::TooManyOwnCalls, detail).shard(shard)
            }
            ShardError::Exhausted { shard, resource } => {
                let code = match resource {
                    ServerResource::Disk => ProblemCode::ShardStorageFull,
                    ServerResource::Memory | ServerResource::Connections | ServerResource::Limit => {
                        ProblemCode::ShardOverloaded
                    }
                };
                Self::new(code, error.to_string()).shard(shard)
            }
            ShardError::Moving => {
                Self::new(ProblemCode::SlotMoving, "the user's data is on its way to another shard; try again")
            }
            ShardError::KeyReused => Self::new(
                ProblemCode::IdempotencyKeyReused,
                "another request has come with this Idempotency-Key; each needs a key of its own",
            )
            .field("Idempotency-Key"),
            // The constraint's name is the table's business.
            ShardError::RowRefused { shard, .. } => {
                Self::new(ProblemCode::RowRefused, "a value is one that the database cannot hold")
                    .shard(shard)
                    .cause(error)
            }
            ShardError::Unexpected { shard, .. } => Self::new(
                ProblemCode::Internal,
                "something went wrong on our side; the request's id leads to it in the log",
            )
            .shard(shard)
            .cause(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use uuid::Uuid;

    use super::*;
    use crate::telemetry::{RequestContext, with_request};

    async fn render(problem: Problem) -> (HttpResponse, serde_json::Value) {
        let request = RequestContext::new("r-1".into(), None);
        with_request(request, async {
            let answer = problem.error_response();
            let (answer, body) = answer.into_parts();
            let bytes = to_bytes(body).await.unwrap();
            (answer.set_body(actix_web::body::BoxBody::new(())), serde_json::from_slice(&bytes).unwrap())
        })
        .await
    }

    #[tokio::test]
    async fn each_error_has_its_status_and_tells_nothing_of_the_database() {
        let shard = ShardId::new(1);
        let source = || sqlx::Error::Protocol("secret SELECT".to_owned());
        let table: Vec<(Problem, u16, &str)> = vec![
            (FileError::NotFound(Uuid::nil()).into(), 404, "file_not_found"),
            (FileError::IdTaken(Uuid::nil()).into(), 409, "id_taken"),
            (FileError::Changed(Uuid::nil()).into(), 412, "precondition_failed"),
            (FileError::PathTaken.into(), 409, "path_taken"),
            (FileError::Shard(ShardError::Moving).into(), 503, "slot_moving"),
            (ShardError::Unavailable { shard }.into(), 503, "shard_unavailable"),
            (ShardError::Overloaded { shard }.into(), 503, "shard_overloaded"),
            (ShardError::Timeout { shard }.into(), 504, "shard_timeout"),
            (ShardError::CallerBusy { shard }.into(), 429, "too_many_own_calls"),
            (ShardError::Exhausted { shard, resource: ServerResource::Disk }.into(), 507, "shard_storage_full"),
            (ShardError::Exhausted { shard, resource: ServerResource::Memory }.into(), 503, "shard_overloaded"),
            (ShardError::RowRefused { shard, constraint: Some("secret_check".into()) }.into(), 400, "row_refused"),
            (ShardError::Unexpected { shard, source: source() }.into(), 500, "internal"),
            (Problem::query("limit", "must be smaller"), 400, "invalid_query"),
        ];
        for (problem, status, code) in table {
            let (answer, body) = render(problem).await;
            assert_eq!(answer.status().as_u16(), status, "{code}");
            assert_eq!(body["status"], status);
            assert_eq!(body["code"], code);
            assert_eq!(body["type"], format!("urn:shardrive:problem:{code}"));
            assert_eq!(body["request_id"], "r-1");
            assert_eq!(answer.headers().get("content-type").unwrap(), "application/problem+json");
            assert_eq!(answer.headers().contains_key("retry-after"), [429, 503, 504, 507].contains(&status), "{code}");
            assert!(!body.to_string().contains("secret"), "{body}");
        }
    }

    #[tokio::test]
    async fn only_a_request_for_a_change_may_have_changed_something() {
        let timed_out = |request: RequestContext| {
            with_request(request, async {
                let problem: Problem = ShardError::Timeout { shard: ShardId::new(1) }.into();
                problem.to_string()
            })
        };
        let request = || RequestContext::new("r-1".into(), None);
        assert!(timed_out(request()).await.contains("a change may have been made"));
        assert!(!timed_out(request().read_only()).await.contains("change"));
    }

    #[tokio::test]
    async fn extension_members_are_there_where_they_mean_something() {
        let (_, body) = render(Problem::new(ProblemCode::InvalidField, "no").field("path").line(7)).await;
        assert_eq!((&body["field"], &body["line"]), (&"path".into(), &7.into()));
        let (_, body) = render(ShardError::Unavailable { shard: ShardId::new(3) }.into()).await;
        assert_eq!(body["shard"], 3);
        assert!(body.get("field").is_none());
    }
}
