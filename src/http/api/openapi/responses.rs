//! Shared parts of answers: `components/responses` for problems, `components/headers` for headers.

use serde_json::{Map, Value, json};

use crate::http::response::problem::ProblemBody;
use crate::http::response::problem_code::ProblemCode;

const PROBLEM: &str = "application/problem+json";

/// The name of the shared answer for each status of problems, and the required header.
const SHARED: &[(&str, &str, &str, Option<&str>)] = &[
    ("400", "InvalidRequest", "The path, the query, a header or the body is wrong; `detail` says what to change", None),
    ("401", "SignInRequired", "There is no token, or the token does not count", Some("WWW-Authenticate")),
    ("403", "NotAllowed", "The token does not grant this", Some("WWW-Authenticate")),
    ("404", "NotFound", "The thing that the path names is not there", None),
    ("408", "BodyTooSlow", "The body came too slowly", None),
    ("409", "Conflict", "Something is in the way; `detail` says what", None),
    ("412", "PreconditionFailed", "The thing is not in the state asked for", None),
    ("413", "BodyTooLarge", "The body is too large", None),
    ("414", "UrlTooLong", "Path and query are too long", None),
    ("415", "UnsupportedBody", "The type or the encoding of the body is not taken here", None),
    ("422", "IdempotencyKeyReused", "The `Idempotency-Key` came before with another request", None),
    ("429", "RateLimited", "The caller asked for more than the limit allows", Some("Retry-After")),
    ("500", "InternalError", "Something went wrong on our side", None),
    (
        "503",
        "Unavailable",
        "This cannot be done at the moment; try again after `Retry-After` seconds",
        Some("Retry-After"),
    ),
    ("504", "ShardTimeout", "The shard did not answer in time", Some("Retry-After")),
    ("507", "StorageFull", "The disk of the shard is full", Some("Retry-After")),
];

pub(super) fn problem() -> Value {
    json!({ "content": { PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } } })
}

/// Adds the headers of every answer, and replaces problems of the same status by a shared answer.
pub(super) fn complete(document: &mut Value) {
    document["components"]["headers"] = headers();
    document["components"]["responses"] =
        SHARED.iter().map(|shared| (shared.1.to_owned(), shared_response(shared))).collect::<Map<_, _>>().into();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut()) {
        let is_limited = operation.as_object_mut().is_some_and(|it| it.remove("x-rate-limited").is_some());
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        // The server refuses a long URL before the search for the route.
        responses.entry("414").or_insert_with(problem);
        for (status, response) in responses {
            match SHARED.iter().find(|shared| shared.0 == status && response["content"][PROBLEM].is_object()) {
                Some(shared) => *response = refer(shared, response["description"].as_str()),
                None => add_headers(response, is_limited),
            }
        }
    }
}

/// A reference to the shared answer, beside the operation's own description.
fn refer((_, name, usual, _): &(&str, &str, &str, Option<&str>), description: Option<&str>) -> Value {
    let description = description.unwrap_or(usual).trim_end_matches('.');
    json!({ "$ref": format!("#/components/responses/{name}"), "description": description })
}

fn add_headers(response: &mut Value, is_limited: bool) {
    if !response["headers"].is_object() {
        response["headers"] = json!({});
    }
    let headers = &mut response["headers"];
    headers["X-Request-Id"] = reference("X-Request-Id");
    if headers["Retry-After"].is_object() {
        headers["Retry-After"] = reference("Retry-After");
    }
    if is_limited {
        headers["RateLimit"] = reference("RateLimit");
        headers["RateLimit-Policy"] = reference("RateLimit-Policy");
    }
}

fn reference(header: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{header}") })
}

fn shared_response((status, _, description, header): &(&str, &str, &str, Option<&str>)) -> Value {
    let codes = ProblemCode::ALL.iter().copied().filter(|code| code.status().as_str() == *status);
    let names: Vec<String> = codes.clone().map(|code| format!("`{}`", code.as_str())).collect();
    let mut response = problem();
    add_headers(&mut response, true);
    if let Some(header) = header {
        response["headers"][header] = reference(header);
    }
    if *status == "409" {
        response["headers"]["Retry-After"] = json!({
            "description": "After how many seconds to try again, while the same request is being worked on",
            "schema": { "type": "integer", "minimum": 1 },
        });
    }
    response["description"] = format!("{description}. `code` is one of {}.", names.join(", ")).into();
    if let Some(code) = codes.clone().next() {
        response["content"][PROBLEM]["example"] = json!({
            "type": ProblemBody::type_of(code),
            "title": code.title(),
            "status": code.status().as_u16(),
            "detail": code.title(),
            "code": code.as_str(),
            "request_id": "0a1b2c3d-request",
        });
    }
    response
}

fn headers() -> Value {
    let text = |description: &str, required: bool, example: &str| json!({ "description": description, "required": required, "schema": { "type": "string" }, "example": example });
    json!({
        "X-Request-Id": text("The request's id: the client's own, or one that was made for it", true, "0a1b2c3d-request"),
        "RateLimit": text("What is left for the caller, and in how many seconds all of it is; only where a limit is set", false, "\"caller\";r=98;t=1"),
        "RateLimit-Policy": text("What the caller may ask for at once, and in how many seconds; only where a limit is set", false, "\"caller\";q=100;w=2"),
        "Retry-After": json!({
            "description": "After how many seconds to try again", "required": true,
            "schema": { "type": "integer", "minimum": 1 }, "example": 1,
        }),
        "WWW-Authenticate": text("How to sign in, and what is wrong with the token; not where something belongs to another user", false, "Bearer realm=\"shardrive\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::openapi::tests::{document, operations};

    #[test]
    fn every_problem_is_a_shared_answer() {
        let document = document();
        for (method, path, operation) in operations(&document) {
            assert!(operation.get("x-rate-limited").is_none());
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_error = status.starts_with('4') || (status.starts_with('5') && path != "/health");
                let shared = response["$ref"].as_str().unwrap_or_default().replacen('#', "", 1);
                assert_eq!(
                    document.pointer(&shared).is_some_and(|_| !shared.is_empty()),
                    is_error,
                    "{method} {path} {status}"
                );
                let answer = if is_error { document.pointer(&shared).unwrap() } else { response };
                assert_eq!(answer["content"][PROBLEM].is_object(), is_error, "{method} {path} {status}");
                let has = |header: &str| answer["headers"][header].is_object();
                assert!(has("X-Request-Id"), "{method} {path} {status}");
                let waits = ["409", "429", "503", "504", "507"].contains(&status.as_str());
                assert_eq!(has("Retry-After"), waits, "{method} {path} {status}");
                assert!(is_error || has("RateLimit") == operation["responses"]["429"].is_object(), "{method} {path}");
            }
            assert!(operation["responses"]["414"].is_object(), "{method} {path}");
        }
    }

    #[test]
    fn every_code_is_described_with_its_status() {
        let document = document();
        for code in ProblemCode::ALL {
            let status = code.status();
            // A route outside of the document has no operation.
            if *code == ProblemCode::MethodNotAllowed {
                continue;
            }
            let shared = SHARED.iter().find(|shared| shared.0 == status.as_str()).unwrap_or_else(|| panic!("{status}"));
            let description = document["components"]["responses"][shared.1]["description"].as_str().unwrap();
            assert!(description.contains(&format!("`{}`", code.as_str())), "{}", code.as_str());
        }
    }
}
