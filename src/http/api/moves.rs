//! `/admin/…`: moves slots. The process with the coordinator's lease does the work.

use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::shards::MoveProblems;
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
use crate::shard::ShardId;

/// Moves that a list shows at most.
const LISTED: i64 = 100;

/// What a request about one move may answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum MissingMove {
    /// There is no such move.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody<'static>),
}

/// Declares the body of a request that starts moves: its own fields, and the options that all such requests share. A
/// flattened struct would share them too, but serde could not name a wrong field then.
macro_rules! move_starts {
    ($($(#[$of:meta])* $name:ident { $($(#[$of_field:meta])* $field:ident: $kind:ty,)+ })+) => {$(
        $(#[$of])*
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::http) struct $name {
            $($(#[$of_field])* $field: $kind,)+
            /// Only check what would be done, and whether it can be.
            #[serde(default)]
            dry_run: bool,
            /// Seconds for which the move can be rolled back after the slots have changed hands; 600 if it is left out.
            #[serde(default)]
            rollback_window_seconds: Option<u32>,
            /// Do not compare the rows of both shards before the slots change hands.
            #[serde(default)]
            skip_verify: bool,
            /// Rows that the copy may bring in a second. Left out: as many as it can, with rests while others write.
            #[serde(default)]
            #[schema(value_type = Option<u32>, minimum = 1)]
            copy_rate: Option<NonZeroU32>,
        }

        impl $name {
            fn options(&self) -> StartOptions {
                let usual = MoveOptions::default().rollback_window;
                let seconds = self.rollback_window_seconds;
                StartOptions {
                    dry_run: self.dry_run,
                    moves: MoveOptions {
                        rollback_window: seconds.map_or(usual, |seconds| Duration::from_secs(seconds.into())),
                        skip_verify: self.skip_verify,
                        copy_rate: self.copy_rate,
                    },
                }
            }
        }
    )+};
}

/// The options of a request that starts moves.
struct StartOptions {
    dry_run: bool,
    moves: MoveOptions,
}

move_starts! {
    /// Slots that are to move.
    NewMoves {
        /// Numbers and ranges of slots; a user's slot is `user_id mod 5040`.
        #[schema(example = "0-9,12")]
        slots: String,
        /// The shard that is to own them.
        #[schema(example = 2)]
        to: u16,
    }
    /// A shard that is to be emptied.
    NewDrain {
        /// Its number.
        #[schema(example = 1)]
        shard: u16,
    }
    /// How slots are to be dealt anew.
    NewRebalance {
        #[serde(default)]
        strategy: DealMode,
    }
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DealMode {
    /// By rows and the bytes of documents; a shard without slots gets its share of them.
    #[default]
    Load,
    /// As many slots on each shard.
    Slots,
    /// `user_id mod shards`, as in the textbook.
    Modulo,
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

/// Move slots
///
/// The answer comes at once, with the numbers of the moves; `GET /admin/moves/{id}` tells how far each is. With
/// `dry_run` nothing is started.
#[utoipa::path(
    post, path = "/admin/moves", tag = "admin", request_body = NewMoves,
    responses(
        (status = 202, description = "The moves have begun, and go on after this answer", body = PlanView, headers(("Location" = String, description = "Where the move is shown, or the list of moves if several have begun"))),
        (status = 200, description = "The plan alone: of a dry run, or as there is nothing to move", body = PlanView),
        RequestProblems, BodyProblems, MoveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn begin(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let plan = async |new: NewMoves| {
        let slots = parse_slots(&new.slots)
            .map_err(|why| Problem::new(ProblemCode::InvalidField, format!("slots: {why}")).field("slots"))?;
        let planned = Box::pin(state.requests.plan_move(&slots, ShardId::new(new.to))).await?;
        Ok((planned, new.options()))
    };
    start_once(&state, &request, caller, &body, plan).await
}

/// Empty a shard
#[utoipa::path(
    post, path = "/admin/drain", tag = "admin", request_body = NewDrain,
    responses(
        (status = 202, description = "The moves have begun, and go on after this answer", body = PlanView, headers(("Location" = String, description = "Where the move is shown, or the list of moves if several have begun"))),
        (status = 200, description = "The plan alone: of a dry run, or as there is nothing to move", body = PlanView),
        RequestProblems, BodyProblems, MoveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn drain(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let plan = async |new: NewDrain| {
        let planned = Box::pin(state.requests.plan_drain(ShardId::new(new.shard))).await?;
        Ok((planned, new.options()))
    };
    start_once(&state, &request, caller, &body, plan).await
}

/// Deal the slots anew
///
/// Shards within 10 % of the average are left alone. Where a plan would gain less than 5 % nothing moves, and a finding
/// says so.
#[utoipa::path(
    post, path = "/admin/rebalance", tag = "admin", request_body = NewRebalance,
    responses(
        (status = 202, description = "The moves have begun, and go on after this answer", body = PlanView, headers(("Location" = String, description = "Where the move is shown, or the list of moves if several have begun"))),
        (status = 200, description = "The plan alone: of a dry run, or as there is nothing to move", body = PlanView),
        RequestProblems, BodyProblems, MoveProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn rebalance(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let plan = async |new: NewRebalance| {
        let strategy = match new.strategy {
            DealMode::Load => DealStrategy::Load,
            DealMode::Slots => DealStrategy::Slots,
            DealMode::Modulo => DealStrategy::Modulo,
        };
        let planned = Box::pin(state.requests.plan_rebalance(strategy)).await?;
        Ok((planned, new.options()))
    };
    start_once(&state, &request, caller, &body, plan).await
}

/// Plans the moves of a request, and starts them unless the request is a dry run; once for its idempotency key.
async fn start_once<'a, B: Deserialize<'a>>(
    state: &AppState,
    request: &HttpRequest,
    caller: Caller,
    body: &'a JsonBody,
    plan: impl AsyncFnOnce(B) -> Result<(PlannedMoves, StartOptions), Problem>,
) -> Result<HttpResponse, Problem> {
    let start = async {
        let (planned, options) = plan(body.parse()?).await?;
        if options.dry_run {
            return answer::ok(&PlanView::dry_run(&planned, &options.moves));
        }
        let ids = state.requests.start(&planned, options.moves).await?;
        let status = if ids.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
        answer::json(status, &PlanView::started(&planned, &options.moves, ids), 512)
    };
    let answer = run_once(state, request, caller, body.bytes(), start).await?;
    if answer.status() != StatusCode::ACCEPTED {
        return Ok(answer);
    }
    // From the answer itself, which a repeated request gets as it was kept for the key.
    let (mut head, body) = answer.into_parts();
    let bytes = body.try_into_bytes().map_err(|_| Problem::new(ProblemCode::Internal, "the answer cannot be read"))?;
    if let Some(location) = location_of(&bytes) {
        head.headers_mut().insert(LOCATION, location);
    }
    Ok(head.set_body(BoxBody::new(bytes)))
}

/// Where the moves that an answer names are shown.
fn location_of(answer: &[u8]) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct StartedMoves {
        ids: Vec<i64>,
    }
    let StartedMoves { ids } = serde_json::from_slice(answer).ok()?;
    match &*ids {
        [id] => location_of_move(*id),
        _ => Some(HeaderValue::from_static("/admin/moves")),
    }
}

fn location_of_move(id: i64) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("/admin/moves/{id}")).ok()
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
    responses((status = 202, description = "It will end soon", body = MoveView, headers(("Location" = String, description = "Where the move is shown"))), RequestProblems, MissingMove, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn cancel(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    submit_once(&state, &request, caller, &id, MoveRequest::Cancel).await
}

/// Give the slots of a move back to the shard that they came from
#[utoipa::path(
    post, path = "/admin/moves/{id}/rollback", tag = "admin", params(("id" = i64, Path, description = "Its number")),
    responses((status = 202, description = "They will go back soon", body = MoveView, headers(("Location" = String, description = "Where the move is shown"))), RequestProblems, MissingMove, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn roll_back(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    submit_once(&state, &request, caller, &id, MoveRequest::RollBack).await
}

/// End the rollback window of a move, and clean up
#[utoipa::path(
    post, path = "/admin/moves/{id}/finish", tag = "admin", params(("id" = i64, Path, description = "Its number")),
    responses((status = 202, description = "It will end soon", body = MoveView, headers(("Location" = String, description = "Where the move is shown"))), RequestProblems, MissingMove, MoveProblems, ShardProblems)
)]
pub(in crate::http) async fn finish(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    submit_once(&state, &request, caller, &id, MoveRequest::Finish).await
}

/// Submits a request to a move, once for its idempotency key.
async fn submit_once(
    state: &AppState,
    request: &HttpRequest,
    caller: Caller,
    id: &str,
    wanted: MoveRequest,
) -> Result<HttpResponse, Problem> {
    let submit = async {
        let found = state.requests.submit(number(id)?, wanted).await?;
        answer::json(StatusCode::ACCEPTED, &MoveView::new(found, Vec::new()), 512)
    };
    let mut answer = run_once(state, request, caller, b"", submit).await?;
    if let Some(location) = id.parse().ok().and_then(location_of_move) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
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
            RequestError::Invalid { field, reason } => Self::new(ProblemCode::InvalidField, reason).field(field),
            RequestError::Conflict(reason) => Self::new(ProblemCode::MoveConflict, reason),
            RequestError::NotFound(_) => Self::new(ProblemCode::MoveNotFound, error.to_string()),
            RequestError::Shard(error) => error.into(),
            RequestError::Move(error) => {
                Self::new(ProblemCode::ShardUnavailable, "a shard did not do its part; the log says more").cause(error)
            }
        }
    }
}
