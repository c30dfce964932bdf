//! `/store`: a value for each user; `/shards`: the users of each shard.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::guards::access::Caller;
use crate::http::guards::idempotency::claim_key;
use crate::http::request::body::{JsonBody, MAX_DOCUMENT_BODY};
use crate::http::request::extract::{query, query_page_size};
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::response::problem_responses::{BodyProblems, RecordProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::payload::PageSize;
use crate::payload::{FieldFault, WholeNumber, check_text, text_if_inexact, whole_number};
use crate::records::{BuiltIn, Document, WriteCondition};

/// A user's value, in requests and as stored.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UserValue {
    /// The user.
    #[serde(rename = "userId", deserialize_with = "whole_number")]
    #[schema(value_type = WholeNumber, example = 15)]
    user_id: i64,
    /// The same as a text, for numbers above 2^53 − 1, which readers with doubles would round.
    #[serde(rename = "userIdText", skip_serializing_if = "Option::is_none", default)]
    #[schema(example = json!(null))]
    user_id_text: Option<String>,
    /// The value, any JSON.
    #[schema(value_type = serde_json::Value, example = "User data example")]
    data: Box<RawValue>,
}

/// The answer to a stored value.
#[derive(Serialize, ToSchema)]
struct StoreAnswer {
    #[schema(example = "Data stored in shard 1")]
    message: String,
}

/// The values of each shard.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ShardsAnswer {
    #[schema(example = true)]
    success: bool,
    /// False if a shard did not answer.
    complete: bool,
    shards: Vec<ShardContent>,
}

/// The values of a shard.
#[derive(Serialize, ToSchema)]
struct ShardContent {
    #[schema(example = 0)]
    shard_id: u16,
    /// The first values, ordered by key as text; `null` if the shard did not answer.
    #[schema(value_type = Option<Vec<UserValue>>)]
    records: Option<Vec<Document>>,
    /// True if the shard has more values.
    more: bool,
}

/// Store a user's value
///
/// Replaces the value before.
#[utoipa::path(
    post, path = "/store", tag = "simple calls", request_body = UserValue,
    responses((status = 200, description = "The value is stored", body = StoreAnswer), RequestProblems, BodyProblems, ShardProblems)
)]
pub(in crate::http) async fn put(
    state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: JsonBody<MAX_DOCUMENT_BODY>,
) -> Result<HttpResponse, Problem> {
    let claimed = claim_key(&request, caller, body.bytes())?;
    let mut value: UserValue = body.parse()?;
    check_text(value.user_id, value.user_id_text.as_deref(), "userIdText")?;
    value.user_id_text = text_if_inexact(value.user_id);
    caller.may_reach_user(value.user_id, "userId")?;
    let key = value.user_id.to_string();
    // Written anew: only these two members are stored, in this order.
    let text = serde_json::value::to_raw_value(&value)
        .map_err(|error| Problem::new(ProblemCode::Internal, "the value could not be written").cause(error))?;
    let document = Document::new(text)?;
    let collection = state.records.built_in(BuiltIn::Store).await?;
    let stored = state.records.put(&collection, &key, document, WriteCondition::Any, claimed.request_key()).await?;
    answer::ok(&StoreAnswer { message: format!("Data stored in shard {}", stored.shard) })
}

/// A user's value
#[utoipa::path(
    get, path = "/store/{userId}", tag = "simple calls", params(("userId" = i64, Path, description = "The user")),
    responses((status = 200, description = "The value", body = UserValue), RequestProblems, RecordProblems, ShardProblems)
)]
pub(in crate::http) async fn find(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let user = request.match_info().get("userId").unwrap_or_default();
    let found =
        state.records.find(&state.records.built_in(BuiltIn::Store).await?, user).await.map_err(
            |error| match error {
                crate::records::RecordError::Field(FieldFault { reason, .. }) => {
                    Problem::new(ProblemCode::InvalidPath, format!("userId {reason}")).field("userId")
                }
                other => other.into(),
            },
        )?;
    answer::ok(&found.record.document)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardsQuery {
    limit: Option<String>,
}

/// The values of each shard
///
/// The first users' values on each shard, for a demonstration; `/stats` counts everything.
#[utoipa::path(
    get, path = "/shards", tag = "simple calls",
    params(("limit" = Option<u16>, Query, description = "Values of each shard, 100 if it is left out", minimum = 1, maximum = 1000)),
    responses((status = 200, description = "What they hold", body = ShardsAnswer), RequestProblems, ShardProblems)
)]
pub(in crate::http) async fn shards(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let ShardsQuery { limit } = query(&request)?;
    let size = query_page_size(limit.as_deref(), PageSize::USUAL)?;
    let pages = state.records.of_each_shard(&*state.records.built_in(BuiltIn::Store).await?, size).await;
    let complete = pages.iter().all(|(_, page)| page.is_ok());
    let shards = pages.into_iter().map(|(shard, page)| {
        let page = page.ok();
        let more = page.as_ref().is_some_and(|page| page.next.is_some());
        let records = page.map(|page| page.records.into_iter().map(|record| record.document).collect());
        ShardContent { shard_id: shard.number(), records, more }
    });
    answer::ok(&ShardsAnswer { success: true, complete, shards: shards.collect() })
}
