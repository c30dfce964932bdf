//! The API's description, OpenAPI 3.1, and the page to try it; both come out of the binary.
//!
//! The handlers describe parameters, bodies and answers. This module adds the rest, for every route of the table.

#![expect(
    clippy::indexing_slicing,
    reason = "an index of a JSON value gives null where nothing is; the document is made of the program alone, and tests walk it whole"
)]

mod examples;
mod operations;
mod responses;
mod sign_in;
mod words;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::{Bytes, Path};
use serde::Serialize;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use super::drives::{batch, browse, folders, paths, sync, trash, tree};
use super::{
    audit_log, collections, data, files, files_bulk, health, key_value, moves, records, shards, stats, user_values,
};
use crate::http::metrics::exposition;
use crate::http::response::answer::JSON;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Shardrive",
        description = "Drive metadata on several plain PostgreSQL servers: files in, routed by user, and out again. \
            Every answer carries `X-Request-Id`; every answer that is not a success is `application/problem+json` (RFC 9457). \
            A later version may add members, and words to a list of words: a client passes over what it does not know."
    ),
    servers((url = "/", description = "The service that this document comes from")),
    paths(
        health::service, health::health, health::live, health::ready,
        files::ingest, files_bulk::load, files::list, files::find, files::change, files::delete,
        browse::summarize, browse::list_children, tree::list_tree, sync::sync, paths::find_path, paths::put_path, paths::trash_path, batch::change_all,
        folders::create_folder, folders::find_folder, folders::change_folder, folders::trash_folder,
        trash::list_trash, trash::empty_trash, trash::restore_entry,
        collections::list, collections::find, collections::declare,
        records::list, records::create, records::find, records::put, records::patch, records::delete,
        user_values::put, user_values::find, user_values::shards, key_value::write, key_value::read, data::list, data::create, data::find,
        stats::stats, exposition::metrics, description,
        shards::grow, moves::begin, moves::list, moves::find, moves::cancel, moves::roll_back, moves::finish,
        moves::drain, moves::rebalance, moves::analysis, audit_log::list,
    ),
    tags(
        (name = "files", description = "What a drive knows about its users' files"),
        (name = "drives", description = "The tree of a user's folders, with files in the folders"),
        (name = "records", description = "Keyed documents in collections, each spread over the shards by a key that it declares"),
        (name = "simple calls", description = "The same documents by calls of one purpose: a value for each user, keys and values, JSON objects"),
        (name = "stats", description = "How much is where"),
        (name = "admin", description = "Adding shards and moving slots"),
        (name = "service", description = "What the service is and how it is"),
    )
)]
struct ApiDoc;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(openapi_json()));

/// The OpenAPI document.
#[must_use]
pub fn openapi_json() -> String {
    // A document of texts and lists always becomes JSON.
    serde_json::to_string_pretty(&Sections::of(&whole_document())).unwrap_or_default()
}

/// True if the description of a route has parameters in the query. A route without a description reads none.
pub(in crate::http) fn reads_query(method: &Method, path: &str) -> bool {
    static READERS: LazyLock<HashSet<(String, String)>> = LazyLock::new(|| {
        let document = whole_document();
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, operations)| {
            operations.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
        });
        let readers = operations.filter(|(.., operation)| {
            operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["in"] == "query")
        });
        readers.map(|(path, method, _)| (method.to_uppercase(), path.clone())).collect()
    });
    READERS.contains(&(method.as_str().to_owned(), path.to_owned()))
}

fn whole_document() -> Value {
    let mut document = ApiDoc::openapi();
    sign_in::describe(&mut document);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    words::complete(&mut document);
    operations::complete(&mut document);
    examples::complete(&mut document);
    responses::complete(&mut document);
    document
}

/// The sections of the document in reading order.
#[derive(Serialize)]
struct Sections<'a> {
    openapi: &'a Value,
    info: &'a Value,
    servers: &'a Value,
    tags: &'a Value,
    paths: &'a Value,
    components: &'a Value,
}

impl<'a> Sections<'a> {
    fn of(document: &'a Value) -> Self {
        Self {
            openapi: &document["openapi"],
            info: &document["info"],
            servers: &document["servers"],
            tags: &document["tags"],
            paths: &document["paths"],
            components: &document["components"],
        }
    }
}

/// This document
///
/// `shardrive openapi` prints the same.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(in crate::http) async fn description() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(DOCUMENT.clone())
}

/// `/docs` → `/docs/`, against which the page's own links count.
pub(in crate::http) async fn page_redirect() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, HeaderValue::from_static("docs/"))).finish()
}

pub(in crate::http) async fn page(path: Path<String>) -> Result<HttpResponse, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::from("../openapi.json").try_it_out_enabled(true).validator_url("none")));
    let unknown = || Problem::new(ProblemCode::UnknownPath, "the page /docs/ has no such file");
    let file = utoipa_swagger_ui::serve(&path, Arc::clone(&CONFIG)).map_err(|_| unknown())?.ok_or_else(unknown)?;
    let mut response = HttpResponse::Ok();
    if file.gzpipped {
        response.insert_header((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    }
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("max-age=3600")));
    Ok(response.content_type(file.content_type).body(file.bytes.into_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes::endpoints;

    pub(super) fn document() -> Value {
        serde_json::from_str(&openapi_json()).unwrap()
    }

    /// Each operation with method, in small letters, and path.
    pub(super) fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, operations)| {
                let operations = operations.as_object().unwrap().iter();
                operations.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
            })
            .collect()
    }

    #[test]
    fn the_document_and_the_routes_name_the_same() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let documented: BTreeSet<String> = operations(&document)
            .into_iter()
            .map(|(method, path, _)| format!("{} {path}", method.to_uppercase()))
            .collect();
        let routed: BTreeSet<String> = endpoints()
            .iter()
            // Pages, and what only they ask for.
            .filter(|endpoint| !["/docs", "/dashboard"].iter().any(|page| endpoint.path().starts_with(page)))
            .flat_map(|endpoint| endpoint.methods().map(move |(method, _)| format!("{method} {}", endpoint.path())))
            .collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn no_section_of_the_document_is_lost() {
        assert_eq!(whole_document(), document());
    }
}
