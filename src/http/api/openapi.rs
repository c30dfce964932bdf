//! The API's description, OpenAPI 3.1, and the page to try it; both come out of the binary.

use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::{Bytes, Path};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi};
use utoipa_swagger_ui::Config;

use super::{
    audit_log, collections, data, files, files_bulk, health, key_value, moves, openapi_sign_in, records, stats,
    user_values,
};
use crate::http::metrics::exposition;
use crate::http::response::answer::JSON;
use crate::http::response::problem::{Problem, ProblemBody};
use crate::http::response::problem_code::ProblemCode;

/// What every route may answer that looks at its request.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum RequestProblems {
    /// The path, the query or the body is wrong; `detail` says what to change.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(ProblemBody<'static>),
    /// Something went wrong on our side.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody<'static>),
}

/// What every route may answer that takes a JSON body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum BodyProblems {
    /// The body came too slowly.
    #[response(status = 408, content_type = "application/problem+json")]
    Slow(ProblemBody<'static>),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody<'static>),
    /// The body's type or encoding is not taken here.
    #[response(status = 415, content_type = "application/problem+json")]
    Unsupported(ProblemBody<'static>),
}

/// What every route may answer that is about one file.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum FileProblems {
    /// There is no such file.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody<'static>),
}

/// What every route may answer that is about one document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum RecordProblems {
    /// There is no such document or collection.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody<'static>),
}

/// What every route may answer that needs a shard.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is only read by its derive")]
pub(in crate::http) enum ShardProblems {
    /// The shard is away or has too much to do, or the user is being moved; try again after `Retry-After` seconds.
    #[response(status = 503, content_type = "application/problem+json", headers(("Retry-After" = u32)))]
    Unavailable(ProblemBody<'static>),
    /// The shard did not answer in time; a change may have been made all the same.
    #[response(status = 504, content_type = "application/problem+json", headers(("Retry-After" = u32)))]
    Timeout(ProblemBody<'static>),
    /// The disk of the shard's server is full: reads go on, writes need space.
    #[response(status = 507, content_type = "application/problem+json", headers(("Retry-After" = u32)))]
    StorageFull(ProblemBody<'static>),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Shardrive",
        description = "Drive metadata on several plain PostgreSQL servers: files in, routed by user, and out again. \
            Every answer carries `X-Request-Id`; every answer that is not a success is `application/problem+json` (RFC 9457)."
    ),
    paths(
        health::service, health::health, health::live, health::ready,
        files::ingest, files_bulk::load, files::list, files::find, files::change, files::delete,
        collections::list, collections::find, collections::declare,
        records::list, records::create, records::find, records::put, records::patch, records::delete,
        user_values::put, user_values::find, user_values::shards, key_value::write, key_value::read, data::list, data::create, data::find,
        stats::stats, exposition::metrics, description,
        moves::grow, moves::begin, moves::list, moves::find, moves::cancel, moves::roll_back, moves::finish,
        moves::drain, moves::rebalance, moves::analysis, audit_log::list,
    ),
    tags(
        (name = "files", description = "What a drive knows about its users' files"),
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
    let mut document = ApiDoc::openapi();
    openapi_sign_in::describe(&mut document);
    describe_long_addresses(&mut document);
    // A document of texts and lists always becomes JSON.
    document.to_pretty_json().unwrap_or_default()
}

/// An address that is too long is refused before anybody looks for its route.
fn describe_long_addresses(document: &mut utoipa::openapi::OpenApi) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description("Path and query are too long");
    let response = response.content("application/problem+json", problem).build();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("414".to_owned(), response.clone().into());
        }
    }
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(in crate::http) async fn description() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(DOCUMENT.clone())
}

/// `/docs` → `/docs/`, against which the page's own links count.
pub(in crate::http) async fn page_redirect() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, HeaderValue::from_static("docs/"))).finish()
}

/// A file of the page.
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

    #[test]
    fn the_document_and_the_routes_name_the_same() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                documented.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let routed: BTreeSet<String> = endpoints()
            .iter()
            // Pages, and what only they ask for.
            .filter(|endpoint| !["/docs", "/dashboard"].iter().any(|page| endpoint.path().starts_with(page)))
            .flat_map(|endpoint| endpoint.methods().map(move |(method, _)| format!("{method} {}", endpoint.path())))
            .collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn every_problem_is_documented_as_one() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let is_problem = response["content"]["application/problem+json"].is_object();
                    let is_error = status.starts_with('4') || (status.starts_with('5') && path != "/health");
                    assert_eq!(is_problem, is_error, "{method} {path} {status}");
                    let waits = response["headers"]["Retry-After"].is_object();
                    assert_eq!(
                        waits,
                        ["429", "503", "504", "507"].contains(&status.as_str()),
                        "{method} {path} {status}"
                    );
                }
                assert!(operation["responses"]["414"].is_object(), "{method} {path}");
            }
        }
    }
}
