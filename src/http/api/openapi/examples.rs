//! An example for each request and answer, made of the examples of the members, and so in the form of the schema.

use serde_json::{Map, Value, json};

/// Schemas in one another, at most.
const DEPTH: usize = 12;

/// Examples by the name of a member or parameter, or by schema and member where the name alone does not tell.
fn by_name(name: &str) -> Option<Value> {
    Some(match name {
        "NewFile.file_id" | "NewFile.user_id_text" => Value::Null,
        "user_id_text" => json!("42"),
        "id" => json!(7),
        "AuditEntry.id" | "get_object.id" => json!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e"),
        "SlotMove.stage" | "MoveEvent.stage" => json!("copy"),
        "AuditEntry.code" | "SlotMove.outcome" | "SlotMove.reason" | "Problem.line" | "Problem.shard" => Value::Null,
        "ClusterAnalysis.note" => Value::Null,
        "SlotMove.eta_seconds" => json!(12),
        "SlotMove.ended_at" | "SlotMove.cutover_at" | "SlotMove.freeze_ms" => Value::Null,
        "MoveEvent.what" => json!("the copy has begun"),
        "PreflightFinding.what" => json!("the target has 12 GiB free"),
        "StrategyCost.strategy" => json!("slots"),
        "UserValue.data" => json!("User data example"),
        "KeyValue.value" | "ValueAnswer.value" => json!("John Doe"),
        "bytes" | "total_bytes" | "needed_bytes" => json!(524_288),
        "checksum" => json!("sha256:9f86d081"),
        "content_ref" => json!("s3://bucket/4f/9f86d081"),
        "collection" => json!("orders"),
        "complete" | "success" => json!(true),
        "copied_rows" | "verified_rows" => json!(512),
        "copy_rate" | "lag_ms" => Value::Null,
        "count" | "file_count" | "record_count" => json!(1),
        "data" | "document" => json!({"user_id": 42, "total": 9.5}),
        "details" => json!({"slots": "0-9,12", "to": 2}),
        "dry_run" => json!(true),
        "duplicate" | "fatal" | "from_cache" | "more" | "skip_verify" | "verified" | "was_there" => json!(false),
        "estimate_seconds" => json!(3),
        "file_id" => json!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e"),
        "file_name" => json!("my_document.txt"),
        "cutover_attempts" => json!(0),
        "folder_id" => json!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c1f"),
        "entry_id" => json!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c1f"),
        "folder_name" => json!("letters"),
        "Folder.path" | "NewFolder.path" => json!("documents/letters"),
        "FolderPatch.parent_path" => json!("documents"),
        "parent_id" | "parent_path" => Value::Null,
        "Child.id" | "TrashedEntry.id" | "BatchResult.id" | "restore.id" => {
            json!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e")
        }
        "Child.kind" | "TrashedEntry.kind" | "BatchResult.kind" => json!("file"),
        "TreeEntry.id" => json!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e"),
        "MirrorDifference.kind" | "TreeEntry.kind" => json!("file"),
        "Child.name" | "TrashedEntry.name" => json!("my_document.txt"),
        "created" => json!(true),
        "DriveSummary.trashed" => json!(1),
        "MirrorDifference.change" => json!("create"),
        "trashed" => json!(false),
        "free_bytes" => json!(12_884_901_888_i64),
        "ids" => json!([7]),
        "rollback_window_seconds" => json!(600),
        "key" => json!("42"),
        "mime_type" => json!("text/plain"),
        "missing_shards" => json!([]),
        "next_cursor" => Value::Null,
        "path" => json!("letters/my_document.txt"),
        "request_id" => json!("0a1b2c3d-request"),
        "rows" | "total_rows" => json!(1024),
        "shard_id" | "now" => json!(0),
        "shards" | "shards_then" => json!(3),
        "shards_now" => json!(2),
        "size_bytes" => json!(2048),
        "slot" => json!(42),
        "slot_count" | "slots" => json!(11),
        "PlannedMove.slots" => json!("0-9,12"),
        "source" => json!(0),
        "target" => json!(2),
        "then" => json!({"slots": 0, "modulo": 0, "ring": 2}),
        "user_id" | "userId" => json!(42),
        "users" => json!(20),
        "version" => json!(1_769_848_200_123_456_i64),
        _ => return None,
    })
}

/// Whole requests without a schema, by operation and type.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("ingest_files", "application/x-ndjson", "{\"user_id\": 42, \"file_name\": \"my_document.txt\"}\n"),
    ("ingest_files", "text/csv", "user_id,file_name\n42,my_document.txt\n"),
    ("sync_drive", "application/x-ndjson", "{\"Path\":\"a.txt\",\"Name\":\"a.txt\",\"Size\":1,\"IsDir\":false}\n"),
    ("sync_drive", "application/json", "[{\"Path\":\"a.txt\",\"Name\":\"a.txt\",\"Size\":1,\"IsDir\":false}]"),
    ("create_record", "application/x-ndjson", "{\"user_id\": 42, \"total\": 9.5}\n"),
    ("create_record", "application/json", "{\"user_id\": 42, \"total\": 9.5}"),
    ("put_record", "application/json", "{\"user_id\": 42, \"total\": 9.5}"),
    ("update_record", "application/json", "{\"total\": 10}"),
    ("update_record", "application/merge-patch+json", "{\"total\": 10}"),
    ("create_folder", "application/json", "{\"path\": \"documents/letters\"}"),
    ("update_folder", "application/json", "{\"folder_name\": \"letters\"}"),
    ("restore_entry", "application/json", "{}"),
    (
        "change_drive",
        "application/json",
        "{\"operations\": [{\"op\": \"create_folder\", \"path\": \"documents/letters\"}, {\"op\": \"put_file\", \"path\": \"documents/letters/a.txt\", \"size_bytes\": 5}]}",
    ),
    ("create_object", "application/json", "{\"name\": \"John Doe\"}"),
];

/// Whole answers without a schema, by operation and type.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("get_metrics", "text/plain", "# TYPE shardrive_shard_up gauge\nshardrive_shard_up{shard=\"0\"} 1\n"),
    (
        "get_metrics",
        "application/openmetrics-text",
        "# TYPE shardrive_shard_up gauge\nshardrive_shard_up{shard=\"0\"} 1\n# EOF\n",
    ),
    ("get_openapi", "application/json", "{\"openapi\": \"3.1.0\"}"),
];

/// An example for the member of a schema, or for the parameter of an operation.
pub(super) fn of_name(owner: &str, name: &str) -> Option<Value> {
    let full = format!("{owner}.{name}");
    match full.as_str() {
        // These would be taken by the name alone, and are something else here.
        "CollectionAnswer.collection"
        | "FileAnswer.data"
        | "FolderAnswer.data"
        | "IngestAnswer.data"
        | "DataListAnswer.data"
        | "StatsAnswer.shards"
        | "SummaryAnswer.data"
        | "ShardsAnswer.shards"
        | "SyncAnswer.created"
        | "HealthAnswer.shards" => None,
        _ => by_name(&full).or_else(|| by_name(name)),
    }
}

/// Gives every body an example, in requests and in answers.
pub(super) fn complete(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut()) {
        let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
        if let Some(content) = operation.pointer_mut("/requestBody/content") {
            complete_content(content, &name, REQUESTS, &schemas);
        }
        let responses = operation["responses"].as_object_mut().into_iter().flat_map(|responses| responses.values_mut());
        for response in responses {
            if let Some(content) = response.get_mut("content") {
                complete_content(content, &name, ANSWERS, &schemas);
            }
        }
    }
}

fn complete_content(content: &mut Value, operation: &str, bodies: &[(&str, &str, &str)], schemas: &Value) {
    for (kind, body) in content.as_object_mut().into_iter().flatten() {
        let whole = bodies.iter().find(|(of, of_kind, _)| *of == operation && of_kind == kind);
        let example = match whole {
            Some((.., text)) if kind.ends_with("json") => match serde_json::from_str(text) {
                Ok(value) if body["schema"]["type"] != "string" => Some(value),
                _ => Some((*text).into()),
            },
            Some((.., text)) => Some((*text).into()),
            None => example(&body["schema"], "", schemas, DEPTH),
        };
        if let Some(example) = example {
            body["example"] = example;
        }
    }
}

/// The example of a schema; `None` if a required part has no example.
fn example(schema: &Value, owner: &str, schemas: &Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    if let Some(given) = schema.get("example").or_else(|| schema.get("default")) {
        return Some(given.clone());
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
        return example(&schemas[name], name, schemas, depth);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|words| words.first()) {
        return Some(first.clone());
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = Map::new();
        for part in parts {
            if let Value::Object(members) = example(part, owner, schemas, depth)? {
                whole.extend(members);
            }
        }
        return Some(whole.into());
    }
    if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let choice = choices.iter().find(|choice| choice["type"] != "null")?;
        return example(choice, owner, schemas, depth);
    }
    if let Some(properties) = schema["properties"].as_object() {
        let mut whole = Map::new();
        for (name, property) in properties {
            let given = property.get("example").cloned();
            let member = given.or_else(|| of_name(owner, name)).or_else(|| example(property, owner, schemas, depth))?;
            whole.insert(name.clone(), member);
        }
        return Some(whole.into());
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null")?,
        kind => kind.as_str()?,
    };
    match (kind, schema["format"].as_str()) {
        ("array", _) => Some(json!([example(&schema["items"], owner, schemas, depth)?])),
        ("string", Some("date-time")) => Some(json!("2026-01-31T08:30:00.123456Z")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::openapi::tests::{document, operations};

    #[test]
    fn every_body_has_an_example() {
        let document = document();
        let (mut bodies, mut without) = (0, Vec::new());
        for (method, path, operation) in operations(&document) {
            let responses = operation["responses"].as_object().unwrap().values();
            let contents = responses.chain([&operation["requestBody"]]).filter_map(|part| part["content"].as_object());
            for (kind, body) in contents.flatten() {
                bodies += 1;
                if body.get("example").is_none() {
                    without.push(format!("{method} {path} {kind} {}", body["schema"]));
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let needs_example = parameter["required"] == true;
                assert!(!needs_example || parameter.get("example").is_some(), "{method} {path} {}", parameter["name"]);
            }
        }
        assert!(bodies > 41, "{bodies}");
        assert!(without.is_empty(), "no example in the schemas, nor by_name, for a member of: {without:#?}");
    }

    #[test]
    fn whole_bodies_belong_to_operations() {
        let document = document();
        let all = operations(&document);
        for (name, kind, _) in REQUESTS.iter().chain(ANSWERS) {
            let operation = all.iter().find(|(.., operation)| operation["operationId"] == *name).unwrap().2;
            assert!(operation.to_string().contains(&format!("\"{kind}\"")), "{name} {kind}");
        }
    }
}
