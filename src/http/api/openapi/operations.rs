//! Completes each operation of the API's description: the name, the `Idempotency-Key`, the words of parameters.

use actix_web::http::Method;
use serde_json::{Map, Value, json};

use super::words::parameter_words;
use crate::http::guards::access::RouteAccess;
use crate::http::guards::idempotency::takes_key;
use crate::http::guards::rate_limit::cost;
use crate::http::routes::endpoints;

/// The name of each operation in generated clients. Names are added, never changed.
const NAMES: &[(&str, &str, &str)] = &[
    ("GET", "/", "get_service"),
    ("GET", "/health", "get_health"),
    ("GET", "/health/live", "get_liveness"),
    ("GET", "/health/ready", "get_readiness"),
    ("GET", "/metrics", "get_metrics"),
    ("GET", "/openapi.json", "get_openapi"),
    ("POST", "/ingest", "ingest_file"),
    ("POST", "/ingest/bulk", "ingest_files"),
    ("GET", "/query/{user_id}", "list_files"),
    ("GET", "/files/{file_id}", "get_file"),
    ("PATCH", "/files/{file_id}", "update_file"),
    ("DELETE", "/files/{file_id}", "delete_file"),
    ("GET", "/drives/{user_id}", "get_drive"),
    ("GET", "/drives/{user_id}/children", "list_children"),
    ("GET", "/drives/{user_id}/tree", "list_tree"),
    ("POST", "/drives/{user_id}/sync", "sync_drive"),
    ("GET", "/drives/{user_id}/path/{path}", "get_path"),
    ("PUT", "/drives/{user_id}/path/{path}", "put_path"),
    ("DELETE", "/drives/{user_id}/path/{path}", "trash_path"),
    ("POST", "/drives/{user_id}/batch", "change_drive"),
    ("POST", "/drives/{user_id}/folders", "create_folder"),
    ("GET", "/drives/{user_id}/trash", "list_trash"),
    ("DELETE", "/drives/{user_id}/trash", "empty_trash"),
    ("POST", "/drives/{user_id}/trash/{entry_id}/restore", "restore_entry"),
    ("GET", "/folders/{folder_id}", "get_folder"),
    ("PATCH", "/folders/{folder_id}", "update_folder"),
    ("DELETE", "/folders/{folder_id}", "trash_folder"),
    ("GET", "/collections", "list_collections"),
    ("GET", "/collections/{collection}", "get_collection"),
    ("PUT", "/collections/{collection}", "declare_collection"),
    ("GET", "/records/{collection}", "list_records"),
    ("POST", "/records/{collection}", "create_record"),
    ("GET", "/records/{collection}/{key}", "get_record"),
    ("PUT", "/records/{collection}/{key}", "put_record"),
    ("PATCH", "/records/{collection}/{key}", "update_record"),
    ("DELETE", "/records/{collection}/{key}", "delete_record"),
    ("POST", "/store", "put_user_value"),
    ("GET", "/store/{userId}", "get_user_value"),
    ("GET", "/shards", "list_shard_contents"),
    ("POST", "/write", "write_value"),
    ("GET", "/read/{key}", "read_value"),
    ("GET", "/data", "list_objects"),
    ("POST", "/data", "create_object"),
    ("GET", "/data/{id}", "get_object"),
    ("GET", "/stats", "get_stats"),
    ("POST", "/admin/shards", "add_shard"),
    ("GET", "/admin/moves", "list_moves"),
    ("POST", "/admin/moves", "move_slots"),
    ("GET", "/admin/moves/{id}", "get_move"),
    ("POST", "/admin/moves/{id}/cancel", "cancel_move"),
    ("POST", "/admin/moves/{id}/rollback", "roll_back_move"),
    ("POST", "/admin/moves/{id}/finish", "finish_move"),
    ("POST", "/admin/drain", "drain_shard"),
    ("POST", "/admin/rebalance", "rebalance_slots"),
    ("GET", "/admin/analysis", "analyze_shard_count"),
    ("GET", "/admin/audit", "list_audit_entries"),
];

/// Completes every operation of the table of routes.
pub(super) fn complete(document: &mut Value) {
    for endpoint in endpoints() {
        for (method, access) in endpoint.methods() {
            let name = method.as_str().to_lowercase();
            let operation = document["paths"].get_mut(endpoint.path()).and_then(|path| path.get_mut(&name));
            if let Some(Value::Object(operation)) = operation {
                complete_one(operation, endpoint.path(), method, access);
            }
        }
    }
    document["components"]["parameters"] = json!({ "IdempotencyKey": idempotency_key() });
}

/// What the description of a problem of this status says besides, where a change was asked for.
const MAY_HAVE_CHANGED: &[(&str, &str)] = &[
    ("503", "; after `shard_unavailable` a change that was on its way may have been made all the same"),
    ("504", "; a change may have been made all the same"),
];

fn complete_one(operation: &mut Map<String, Value>, path: &str, method: &Method, access: RouteAccess) {
    let named = NAMES.iter().find(|(of_method, of_path, _)| *of_path == path && *of_method == method.as_str());
    let name = named.map_or("", |(.., name)| *name);
    operation.insert("operationId".to_owned(), name.into());
    // An operation without this member would inherit the sign-in of the whole document.
    operation.entry("security").or_insert_with(|| json!([]));
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        complete_parameter(parameter, name);
    }
    if !method.is_safe() {
        for (status, warning) in MAY_HAVE_CHANGED {
            let problem = operation.get_mut("responses").and_then(|responses| responses.get_mut(*status));
            if let Some(Value::String(description)) = problem.and_then(|problem| problem.get_mut("description")) {
                *description = format!("{}{warning}", description.trim_end_matches('.'));
            }
        }
    }
    if takes_key(method, path) {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        if let Value::Array(parameters) = parameters {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
        if let Some(Value::Object(responses)) = operation.get_mut("responses") {
            describe_key_problems(responses);
        }
    }
    if cost(path, method, access).is_some() {
        operation.insert("x-rate-limited".to_owned(), true.into());
    }
}

fn complete_parameter(parameter: &mut Value, operation: &str) {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    if let Some(words) = parameter_words(operation, &name) {
        parameter["schema"]["enum"] = words.into();
    }
    if parameter["required"] == true
        && parameter.get("example").is_none()
        && let Some(example) = super::examples::of_name(operation, &name)
    {
        parameter["example"] = example;
    }
}

/// Further answers to a request with a key.
fn describe_key_problems(responses: &mut Map<String, Value>) {
    const IN_USE: &str = "a request with the same `Idempotency-Key` is being worked on";
    let conflict = responses.entry("409").or_insert_with(super::responses::problem);
    let description = match conflict["description"].as_str() {
        Some(text) => format!("{}; or {IN_USE}", text.trim_end_matches('.')),
        None => IN_USE.to_owned(),
    };
    conflict["description"] = description.into();
    let reused = responses.entry("422").or_insert_with(super::responses::problem);
    reused["description"] = "The `Idempotency-Key` came before with another request".into();
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "A key of the client's own for this change, best a UUID. A request that comes again with its key \
            is answered as the first one was, and changes nothing. A stream (NDJSON) takes no key.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
        "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::api::openapi::tests::{document, operations};

    #[test]
    fn every_operation_has_a_name_that_no_other_has() {
        let document = document();
        let mut names = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(!name.is_empty(), "{method} {path} has no name in NAMES");
            assert!(names.insert(name.to_owned()), "{method} {path}: {name} is the name of another one");
        }
        assert_eq!(names.len(), NAMES.len(), "NAMES holds an operation that no route has");
    }

    #[test]
    fn keys_and_limits_are_described_where_they_count() {
        let document = document();
        let key = json!({ "$ref": "#/components/parameters/IdempotencyKey" });
        for (method, path, operation) in operations(&document) {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let has_key = parameters.contains(&key);
            assert_eq!(
                has_key,
                ["post", "patch"].contains(&method) && !["/ingest/bulk", "/drives/{user_id}/sync"].contains(&path),
                "{method} {path}"
            );
            let responses = &operation["responses"];
            assert_eq!(has_key, responses["422"].is_object(), "{method} {path}");
            assert!(!has_key || responses["409"].is_object(), "{method} {path}");
        }
    }
}
