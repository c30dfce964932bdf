//! The problems of errors: each error of files, documents, shards and tokens gets a code and a text here.
//!
//! Errors of a single group of routes (moves, new shards, bodies) are mapped beside these routes.

use actix_web::http::header::{self, HeaderValue};

use serde::Serialize;

use super::problem::Problem;
use super::problem_code::ProblemCode;
use crate::auth::{AuthError, Scope};
use crate::drive::{DriveError, RefusedOperation};
use crate::files::FileError;
use crate::payload::FieldFault;
use crate::records::RecordError;
use crate::shard::{ServerResource, ShardError};
use crate::telemetry::current_request_may_change;

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

impl From<DriveError> for Problem {
    fn from(error: DriveError) -> Self {
        let code = match error {
            DriveError::FolderNotFound(_) | DriveError::FolderTrashed(_) => ProblemCode::FolderNotFound,
            DriveError::FileNotFound(_) => ProblemCode::FileNotFound,
            DriveError::EntryNotFound(_) => ProblemCode::EntryNotFound,
            DriveError::PathNotFound(_) => ProblemCode::PathNotFound,
            DriveError::NotAFolder(_) => ProblemCode::NotAFolder,
            DriveError::NotTrashed(_) => ProblemCode::NotTrashed,
            DriveError::NameTaken(_) => ProblemCode::NameTaken,
            DriveError::WouldCycle => ProblemCode::WouldCycle,
            DriveError::TooDeep => ProblemCode::InvalidField,
            DriveError::RootFixed => ProblemCode::RootFixed,
            DriveError::Changed(_) => ProblemCode::PreconditionFailed,
            DriveError::TooManyDeletes { .. } => ProblemCode::TooManyDeletes,
            DriveError::KindStays { .. } => ProblemCode::KindStays,
            DriveError::MirrorInterrupted => ProblemCode::SyncInterrupted,
            DriveError::Batch(refused) => return refused_batch(*refused),
            DriveError::Field(fault) => return fault.into(),
            DriveError::Shard(error) => return error.into(),
        };
        Self::new(code, error.to_string())
    }
}

/// The answer to a batch of which nothing was done. It names the operation at fault, and the code that the operation
/// alone would have been answered with.
fn refused_batch(refused: RefusedOperation) -> Problem {
    #[derive(Serialize)]
    struct BatchFault {
        operation: usize,
        cause: &'static str,
    }
    let RefusedOperation { number, error } = refused;
    let detail = format!("operation {number}: {error}; nothing of the batch was done");
    let cause = Problem::from(error).code().as_str();
    Problem::new(ProblemCode::BatchRefused, detail).progress(&BatchFault { operation: number, cause })
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound(_) => Self::new(ProblemCode::FileNotFound, error.to_string()),
            FileError::Contended(_) => Self::new(ProblemCode::FileContended, error.to_string()),
            FileError::SeveralUsers(_) => Self::new(ProblemCode::SeveralUsers, error.to_string()).field("user_id"),
            FileError::Changed(_) => Self::new(ProblemCode::PreconditionFailed, error.to_string()),
            FileError::NotAFolder => Self::new(ProblemCode::NotAFolder, error.to_string()).field("path"),
            FileError::NameTaken => Self::new(ProblemCode::NameTaken, error.to_string()).field("file_name"),
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
    use actix_web::{HttpResponse, ResponseError};
    use uuid::Uuid;

    use super::*;
    use crate::shard::ShardId;
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
            (FileError::SeveralUsers(Uuid::nil()).into(), 409, "several_users"),
            (FileError::Changed(Uuid::nil()).into(), 412, "precondition_failed"),
            (FileError::NameTaken.into(), 409, "name_taken"),
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
        let (_, body) = render(Problem::new(ProblemCode::ShardUnavailable, "away").shard(ShardId::new(3))).await;
        assert_eq!(body["shard"], 3);
        assert!(body.get("field").is_none());
    }
}
