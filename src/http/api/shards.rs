//! `/admin/shards`: adds shards.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::run_once;
use crate::http::request::body::JsonBody;
use crate::http::response::answer;
use crate::http::response::problem::{Problem, ProblemBody};
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::shard::{GrowError, ShardOptions, add_shard};

/// What a change of the cluster may answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum MoveProblems {
    /// Something is in the way; `detail` says what.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody<'static>),
}

/// A database that is to become a shard.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewShard {
    /// `postgres://host:port/database`; the database must be empty. User and password, if the URL has them, must be
    /// those that every process uses for it: of shard 0, or of its `SHARDRIVE_SHARD_<n>_SPARE_URL`.
    #[schema(example = "postgres://db3.example:5432/drive_shard_2")]
    url: String,
    /// Only check whether it could be done.
    #[serde(default)]
    dry_run: bool,
}

/// A shard that belongs to the cluster.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ShardAdded {
    #[schema(example = 2)]
    shard_id: u16,
    /// Where it is, without its password.
    #[schema(example = "db3.example:5432/drive_shard_2")]
    place: String,
    /// True if it belonged to the cluster before.
    was_there: bool,
    dry_run: bool,
}

/// Add a shard
///
/// The database gets the schema and the slot map, and every shard and process learns of it. It owns no slot until some
/// are moved to it. Doing it again with the same URL changes nothing, or completes what broke off.
#[utoipa::path(
    post, path = "/admin/shards", tag = "admin", request_body = NewShard,
    responses((status = 200, description = "It is a shard, or could be one", body = ShardAdded), RequestProblems, BodyProblems, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn grow(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    run_once(&state, &request, caller, body.bytes(), grow_now(&state, &body)).await
}

async fn grow_now(state: &AppState, body: &JsonBody) -> Result<HttpResponse, Problem> {
    let new: NewShard = body.parse()?;
    let options = ShardOptions::parse(&new.url)
        .map_err(|why| Problem::new(ProblemCode::InvalidField, format!("url {why}")).field("url"))?;
    let joined = Box::pin(add_shard(&state.cluster, &options, state.connect_timeout, new.dry_run)).await?;
    answer::ok(&ShardAdded {
        shard_id: joined.shard.number(),
        place: options.address(),
        was_there: joined.was_member,
        dry_run: new.dry_run,
    })
}

impl From<GrowError> for Problem {
    fn from(error: GrowError) -> Self {
        match error {
            GrowError::Refused(reason) => Self::new(ProblemCode::ShardRefused, reason),
            GrowError::Unreachable { shard, .. } => {
                Self::new(ProblemCode::ShardUnavailable, error.to_string()).shard(shard).cause(error)
            }
            GrowError::Step { .. } | GrowError::Migration { .. } => {
                Self::new(ProblemCode::ShardUnavailable, error.to_string()).cause(error)
            }
        }
    }
}
