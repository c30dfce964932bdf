//! `/collections`: lists and declares collections.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::request::body::JsonBody;
use crate::http::request::extract::CollectionPath;
use crate::http::response::answer;
use crate::http::response::problem::Problem;
use crate::http::response::problem_responses::{BodyProblems, RecordProblems, RequestProblems, ShardProblems};
use crate::http::state::AppState;
use crate::records::{Collection, KeyType, RecordsPerKey};

/// The declaration of a collection.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCollection)]
struct CollectionInput {
    /// The field with the shard key in each document. Without a field, the key stands in the path alone.
    #[schema(example = "user_id", max_length = 255)]
    shard_key: Option<String>,
    /// The type of the shard key. Without a type, documents have no shard key and are spread evenly.
    key_type: Option<KeyType>,
    /// How many documents a shard key has: `one` (the default), under the key itself; or `many`, each under a key
    /// that the service mints.
    #[serde(default)]
    records_per_key: RecordsPerKey,
}

/// A collection.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CollectionAnswer {
    #[schema(example = true)]
    success: bool,
    collection: Collection,
}

/// All collections.
#[derive(Serialize, ToSchema)]
struct CollectionsAnswer {
    #[schema(example = true)]
    success: bool,
    /// Ordered by name.
    #[schema(value_type = Vec<Collection>)]
    collections: Vec<Arc<Collection>>,
}

/// List the collections
#[utoipa::path(
    get, path = "/collections", tag = "records",
    responses((status = 200, description = "The collections", body = CollectionsAnswer), RequestProblems, ShardProblems)
)]
pub(in crate::http) async fn list(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    answer::ok(&CollectionsAnswer { success: true, collections: state.records.collections().await? })
}

/// A collection's declaration
#[utoipa::path(
    get, path = "/collections/{collection}", tag = "records", params(("collection" = String, Path, description = "Its name")),
    responses((status = 200, description = "The collection", body = CollectionAnswer), RequestProblems, RecordProblems, ShardProblems)
)]
pub(in crate::http) async fn find(
    state: Data<AppState>,
    CollectionPath(name): CollectionPath,
) -> Result<HttpResponse, Problem> {
    let collection = state.records.collection(&name).await?;
    answer::ok(&CollectionAnswer { success: true, collection: Collection::clone(&collection) })
}

/// Declare a collection
///
/// All shards must answer. The declaration of a collection is fixed: the same declaration again
/// changes nothing, another declaration is refused.
#[utoipa::path(
    put, path = "/collections/{collection}", tag = "records", request_body = CollectionInput,
    params(("collection" = String, Path, description = "A small letter, then up to 62 small letters, digits, `-` and `_`")),
    responses(
        (status = 201, description = "The collection is declared", body = CollectionAnswer),
        (status = 200, description = "It was declared like this before", body = CollectionAnswer),
        (status = 409, description = "It is declared otherwise", body = crate::http::response::problem::ProblemBody<'static>, content_type = "application/problem+json"),
        RequestProblems, BodyProblems, ShardProblems,
    )
)]
pub(in crate::http) async fn declare(
    state: Data<AppState>,
    CollectionPath(name): CollectionPath,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let input: CollectionInput = body.parse()?;
    let collection = Collection::new(name, input.shard_key.as_deref(), input.key_type, input.records_per_key)?;
    let is_new = state.records.declare(collection.clone()).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    answer::json(status, &CollectionAnswer { success: true, collection }, 256)
}
