//! `/admin/…`: adds shards and moves slots. The process with the coordinator's lease does the work.

use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::run_once;
use crate::http::request::body::JsonBody;
use crate::http::request::extract::{query, query_number};
use crate::http::response::answer;
use crate::http::response::problem::{Problem, ProblemBody};
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::reshard::{
    ClusterAnalysis, DealStrategy, MoveOptions, MoveRequest, MoveView, PlanView, PlannedMoves, RequestError,
    parse_slots,
};
use crate::shard::{GrowError, ShardId, ShardOptions, add_shard};

/// Moves that a list shows at most.
const LISTED: i64 = 100;

/// What a request about moves may answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum MoveProblems {
    /// Something is in the way; `detail` says what.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody<'static>),
}

/// What a request about one move may answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum MissingMove {
    /// There is no such move.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody<'static>),
}

/// A database that is to become a shard.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewShard {
    /// `postgres://host:port/database`; the database must be empty. User and password, if the URL has them, must be those that
    /// every process uses for it: of shard 0, or of its `SHARD_<n>_SPARE_URL`.
    #[schema(example = "postgres://db3.example:5432/drive_shard_2")]
    url: String,
    /// Only look whether it could be done.
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

/// Slots that are to move.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewMoves {
    /// Numbers and ranges of slots; a user's slot is `user_id mod 5040`.
    #[schema(example = "0-9,12")]
    slots: String,
    /// The shard that is to own them.
    #[schema(example = 2)]
    to: u16,
    /// Only look what would be done, and whether it can be.
    #[serde(default)]
    dry_run: bool,
    /// Seconds for which the move can be taken back after the slots have changed hands; 600 if it is left out.
    #[serde(default)]
    keep_seconds: Option<u32>,
    /// Do not compare the rows of both shards before the slots change hands.
    #[serde(default)]
    skip_verify: bool,
    /// Rows that the copy may bring in a second; as many as it can if it is left out.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    copy_rate: Option<NonZeroU32>,
}

/// A shard that is to be emptied.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewDrain {
    /// Its number.
    #[schema(example = 1)]
    shard: u16,
    /// Only look what would be done, and whether it can be.
    #[serde(default)]
    dry_run: bool,
    /// Seconds for which the move can be taken back after the slots have changed hands; 600 if it is left out.
    #[serde(default)]
    keep_seconds: Option<u32>,
    /// Do not compare the rows of both shards before the slots change hands.
    #[serde(default)]
    skip_verify: bool,
    /// Rows that the copy may bring in a second; as many as it can if it is left out.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    copy_rate: Option<NonZeroU32>,
}

/// How slots are to be dealt anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewRebalance {
    #[serde(default)]
    strategy: DealMode,
    /// Only look what would be done, and whether it can be.
    #[serde(default)]
    dry_run: bool,
    /// Seconds for which the move can be taken back after the slots have changed hands; 600 if it is left out.
    #[serde(default)]
    keep_seconds: Option<u32>,
    /// Do not compare the rows of both shards before the slots change hands.
    #[serde(default)]
    skip_verify: bool,
    /// Rows that the copy may bring in a second; as many as it can if it is left out.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    copy_rate: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DealMode {
    /// By rows and bytes; a shard without slots gets its share of them.
    #[default]
    Load,
    /// As many slots on each shard.
    Slots,
    /// `user_id mod shards`, as in the textbook.
    Modulo,
}

/// How long the way back stays armed, whether the rows are compared, and how fast they are copied.
fn options(keep_seconds: Option<u32>, skip_verify: bool, copy_rate: Option<NonZeroU32>) -> MoveOptions {
    let usual = MoveOptions::default();
    let keep = keep_seconds.map_or(usual.keep, |seconds| Duration::from_secs(u64::from(seconds)));
    MoveOptions { keep, skip_verify, copy_rate }
}

/// The latest moves.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct MoveList {
    /// Newest first.
    moves: Vec<MoveView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnalysisQuery {
    shards: Option<String>,
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
        place: options.place(),
        was_there: joined.was_there,
        dry_run: new.dry_run,
    })
}

/// Move slots
///
/// The answer comes at once, with the numbers of the moves; `GET /admin/moves/{id}` tells how far each is. With
/// `dry_run` nothing is started.
#[utoipa::path(
    post, path = "/admin/moves", tag = "admin", request_body = NewMoves,
    responses((status = 200, description = "The plan, and the moves that were started", body = PlanView), RequestProblems, BodyProblems, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn begin(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    run_once(&state, &request, caller, body.bytes(), begin_now(&state, &body)).await
}

async fn begin_now(state: &AppState, body: &JsonBody) -> Result<HttpResponse, Problem> {
    let new: NewMoves = body.parse()?;
    let slots = parse_slots(&new.slots)
        .map_err(|why| Problem::new(ProblemCode::InvalidField, format!("slots: {why}")).field("slots"))?;
    let planned = Box::pin(state.requests.plan_move(&slots, ShardId::new(new.to))).await?;
    start(state, &planned, new.dry_run, options(new.keep_seconds, new.skip_verify, new.copy_rate)).await
}

/// Empty a shard
#[utoipa::path(
    post, path = "/admin/drain", tag = "admin", request_body = NewDrain,
    responses((status = 200, description = "The plan, and the moves that were started", body = PlanView), RequestProblems, BodyProblems, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn drain(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    run_once(&state, &request, caller, body.bytes(), drain_now(&state, &body)).await
}

async fn drain_now(state: &AppState, body: &JsonBody) -> Result<HttpResponse, Problem> {
    let new: NewDrain = body.parse()?;
    let planned = Box::pin(state.requests.plan_drain(ShardId::new(new.shard))).await?;
    start(state, &planned, new.dry_run, options(new.keep_seconds, new.skip_verify, new.copy_rate)).await
}

/// Deal the slots anew
///
/// Shards within 10 % of the average are left alone. Where a plan would gain less than 5 % nothing moves, and a finding says so.
#[utoipa::path(
    post, path = "/admin/rebalance", tag = "admin", request_body = NewRebalance,
    responses((status = 200, description = "The plan, and the moves that were started", body = PlanView), RequestProblems, BodyProblems, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn rebalance(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    run_once(&state, &request, caller, body.bytes(), rebalance_now(&state, &body)).await
}

async fn rebalance_now(state: &AppState, body: &JsonBody) -> Result<HttpResponse, Problem> {
    let new: NewRebalance = body.parse()?;
    let strategy = match new.strategy {
        DealMode::Load => DealStrategy::Load,
        DealMode::Slots => DealStrategy::Slots,
        DealMode::Modulo => DealStrategy::Modulo,
    };
    let planned = Box::pin(state.requests.plan_rebalance(strategy)).await?;
    start(state, &planned, new.dry_run, options(new.keep_seconds, new.skip_verify, new.copy_rate)).await
}

async fn start(
    state: &AppState,
    planned: &PlannedMoves,
    dry_run: bool,
    options: MoveOptions,
) -> Result<HttpResponse, Problem> {
    let ids = if dry_run { Vec::new() } else { state.requests.start(planned, options).await? };
    answer::ok(&PlanView::new(planned, ids, dry_run))
}

/// The latest moves
#[utoipa::path(
    get, path = "/admin/moves", tag = "admin",
    responses((status = 200, description = "Newest first, 100 at most", body = MoveList), RequestProblems, ShardProblems)
)]
pub(in crate::http) async fn list(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let moves = state.requests.list(LISTED).await?;
    answer::ok(&MoveList { moves: moves.into_iter().map(|found| MoveView::new(found, Vec::new())).collect() })
}

/// One move, and what happened in it
#[utoipa::path(
    get, path = "/admin/moves/{id}", tag = "admin", params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "The move", body = MoveView), RequestProblems, MissingMove, ShardProblems)
)]
pub(in crate::http) async fn find(state: Data<AppState>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let (found, events) = state.requests.find(number(&id)?).await?;
    answer::ok(&MoveView::new(found, events))
}

/// End a move before its slots change hands
#[utoipa::path(
    post, path = "/admin/moves/{id}/cancel", tag = "admin", params(("id" = i64, Path, description = "Its number")),
    responses((status = 202, description = "It will end soon", body = MoveView), RequestProblems, MissingMove, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn cancel(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    run_once(&state, &request, caller, b"", wish(&state, &id, MoveRequest::Cancel)).await
}

/// Give the slots of a move back to the shard that they came from
#[utoipa::path(
    post, path = "/admin/moves/{id}/rollback", tag = "admin", params(("id" = i64, Path, description = "Its number")),
    responses((status = 202, description = "They will go back soon", body = MoveView), RequestProblems, MissingMove, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn roll_back(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    run_once(&state, &request, caller, b"", wish(&state, &id, MoveRequest::RollBack)).await
}

/// Give up the way back of a move, and clean up
#[utoipa::path(
    post, path = "/admin/moves/{id}/finish", tag = "admin", params(("id" = i64, Path, description = "Its number")),
    responses((status = 202, description = "It will end soon", body = MoveView), RequestProblems, MissingMove, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn finish(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    run_once(&state, &request, caller, b"", wish(&state, &id, MoveRequest::Finish)).await
}

async fn wish(state: &AppState, id: &str, wish: MoveRequest) -> Result<HttpResponse, Problem> {
    let found = state.requests.wish(number(id)?, wish).await?;
    answer::json(StatusCode::ACCEPTED, &MoveView::new(found, Vec::new()), 512)
}

fn number(text: &str) -> Result<i64, Problem> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::path("id", "must be the number of a move"))
}

/// What another number of shards would cost
///
/// How many slots, users, rows and bytes would move: by slots (as `rebalance` does for a new shard), by
/// `user_id mod shards`, and on a consistent-hash ring; and where the first 20 users would be. Counting the users reads
/// an index of all rows.
#[utoipa::path(
    get, path = "/admin/analysis", tag = "admin",
    params(("shards" = u16, Query, description = "How many shards there would be, 1 to 5040")),
    responses((status = 200, description = "The ways side by side", body = ClusterAnalysis), RequestProblems, ShardProblems)
)]
pub(in crate::http) async fn analysis(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let AnalysisQuery { shards } = query(&request)?;
    let shards = query_number("shards", shards.as_deref(), 1..=crate::shard::SLOT_COUNT)?;
    let shards = shards.ok_or_else(|| Problem::query("shards", "is missing: how many shards would there be?"))?;
    answer::ok(&Box::pin(state.requests.analyse(shards)).await?)
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Invalid(reason) => Self::new(ProblemCode::InvalidField, reason),
            RequestError::Conflict(reason) => Self::new(ProblemCode::MoveConflict, reason),
            RequestError::NotFound(_) => Self::new(ProblemCode::MoveNotFound, error.to_string()),
            RequestError::Shard(error) => error.into(),
            RequestError::Move(error) => {
                Self::new(ProblemCode::ShardUnavailable, "a shard did not do its part; the log says more").cause(error)
            }
        }
    }
}

impl From<GrowError> for Problem {
    fn from(error: GrowError) -> Self {
        match error {
            GrowError::Refused(reason) => Self::new(ProblemCode::ShardRefused, reason),
            GrowError::Away { shard, .. } => {
                Self::new(ProblemCode::ShardUnavailable, error.to_string()).shard(shard).cause(error)
            }
            GrowError::Step { .. } | GrowError::Migration { .. } => {
                Self::new(ProblemCode::ShardUnavailable, error.to_string()).cause(error)
            }
        }
    }
}
