//! Each limit on a file's field, tried by every way in: no way takes what another refuses.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shardrive::files::{TEXT_LIMITS, TextLimit};

use crate::support::api::{Api, json};
use crate::support::servers::{TestCluster, run, sqlstate};

/// A way by which a file's field comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WayIn {
    Post,
    Ndjson,
    JsonArray,
    Csv,
    Listing,
    Patch,
    Psql,
}

const WAYS: [WayIn; 7] =
    [WayIn::Post, WayIn::Ndjson, WayIn::JsonArray, WayIn::Csv, WayIn::Listing, WayIn::Patch, WayIn::Psql];

/// A file of the user whose field is this text.
fn file(user: i64, field: &str, text: &str) -> Value {
    let name = if field == "path" { text.rsplit('/').next().unwrap() } else { "a" };
    let mut file = json!({"user_id": user, "file_name": name});
    file[field] = json!(text);
    file
}

fn refused_field(answer: &Value) -> Option<String> {
    answer["field"].as_str().or_else(|| answer["rejections"][0]["field"].as_str()).map(str::to_owned)
}

/// Sends the text by this way: `None` if it is stored, else the field that is refused.
async fn send(api: &Api, cluster: &TestCluster, way: WayIn, field: &str, text: &str) -> Option<String> {
    // A path holds one file: each way stores another one.
    let text = match (field, text.strip_suffix("/a")) {
        ("path", Some(folders)) => {
            let number = WAYS.iter().position(|other| *other == way).unwrap();
            format!("{folders}/{number}")
        }
        _ => text.to_owned(),
    };
    let file = file(43, field, &text);
    let bulk = async |kind: &str, body: String| {
        let (status, answer) = json(api.send("/ingest/bulk", kind, body).await).await;
        assert_eq!(status, StatusCode::OK, "{way:?} {field}: {answer}");
        refused_field(&answer)
    };
    match way {
        WayIn::Post => refused_field(&api.post_json("/ingest", &file).await.1),
        WayIn::Ndjson => bulk("application/x-ndjson", file.to_string()).await,
        WayIn::JsonArray => bulk("application/json", format!("[{file}]")).await,
        WayIn::Csv => {
            let members = file.as_object().unwrap();
            let names: Vec<_> = members.keys().map(String::as_str).collect();
            let values: Vec<_> = members
                .values()
                .map(|value| value.as_str().map_or(value.to_string(), |text| format!("\"{text}\"")))
                .collect();
            bulk("text/csv", format!("{}\n{}\n", names.join(","), values.join(","))).await
        }
        WayIn::Listing => {
            let name = file["file_name"].as_str().unwrap();
            let path = file["path"].as_str().unwrap_or(name);
            let entry = json!({
                "Path": path, "Name": name, "MimeType": file["mime_type"],
                "Hashes": file["checksum"].as_str().map(|sum| json!({"md5": sum.strip_prefix("md5:").unwrap()})),
            });
            let url = "/ingest/bulk?format=lsjson&user_id=43";
            let (_, answer) = json(api.send(url, "application/json", format!("[{entry}]")).await).await;
            let names = [("Name", "file_name"), ("Path", "path"), ("MimeType", "mime_type"), ("Hashes", "checksum")];
            refused_field(&answer).map(|field| names.iter().find(|(name, _)| *name == field).unwrap().1.to_owned())
        }
        WayIn::Patch => {
            let (_, stored) = api.post_json("/ingest", &json!({"user_id": 43, "file_name": "a"})).await;
            let path = format!("/files/{}", stored["data"]["file_id"].as_str().unwrap());
            let change = json!({field: text});
            refused_field(&json(api.request(Method::PATCH, &path).json(&change).send().await.unwrap()).await.1)
        }
        WayIn::Psql => {
            let quoted = |text: &Value| text.as_str().map_or("NULL".to_owned(), |text| format!("'{text}'"));
            let columns = ["file_name", "mime_type", "checksum", "content_ref"];
            let values: Vec<_> = columns.iter().map(|column| quoted(&file[*column])).collect();
            let statement = format!(
                "INSERT INTO file_metadata (user_id, {}) VALUES (43, {})",
                columns.join(", "),
                values.join(", ")
            );
            let error = run(&mut cluster.connect(1).await, &statement).await.err()?;
            let constraint = error.as_database_error().unwrap().constraint().unwrap_or_default().to_owned();
            Some(
                columns
                    .iter()
                    .find(|column| constraint.contains(**column))
                    .map_or(constraint.clone(), ToString::to_string),
            )
        }
    }
}

/// A text for this field, of so many bytes.
fn text_of(limit: &TextLimit, bytes: usize) -> String {
    let wide = |bytes: usize| format!("{}{}", "é".repeat(bytes / 2), "x".repeat(bytes % 2));
    match limit.field {
        "path" => format!("{}{}/a", format!("{}/", wide(999)).repeat(4), wide(bytes - 4002)),
        "checksum" => format!("md5:{}", wide(bytes - 4)),
        _ => wide(bytes),
    }
}

#[tokio::test]
async fn every_way_in_keeps_every_limit() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for limit in &TEXT_LIMITS {
        // In the database a path is the names of folders, each in a row of its own. A listing does not say where the
        // content is.
        let missing = [(WayIn::Psql, "path"), (WayIn::Listing, "content_ref")];
        for way in WAYS.into_iter().filter(|way| !missing.contains(&(*way, limit.field))) {
            let longest = text_of(limit, limit.max_bytes);
            assert_eq!(longest.len(), limit.max_bytes);
            let stored = send(&api, &cluster, way, limit.field, &longest).await;
            assert_eq!(stored, None, "{way:?}: the longest {}", limit.field);
            let too_long = text_of(limit, limit.max_bytes + 1);
            let refused = send(&api, &cluster, way, limit.field, &too_long).await;
            assert_eq!(refused.as_deref(), Some(limit.field), "{way:?}: {} that is too long", limit.field);
            if !limit.takes_slash {
                let refused = send(&api, &cluster, way, limit.field, "a/b").await;
                assert_eq!(refused.as_deref(), Some(limit.field), "{way:?}: {} with a slash", limit.field);
            }
        }
    }
}

/// A text of so many bytes that PostgreSQL cannot make shorter.
fn unpackable(bytes: usize) -> String {
    (0..bytes).map(|_| char::from(rand::random_range(b'0'..=b'z'))).collect()
}

/// The key of the table holds all that a page shows, and an entry of an index has a limit of its own.
#[tokio::test]
async fn the_longest_texts_of_all_fields_fit_into_one_file() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let length = |field: &str| TEXT_LIMITS.iter().find(|limit| limit.field == field).unwrap().max_bytes;
    let name = unpackable(length("file_name"));
    let file = json!({
        "user_id": 43, "file_name": name, "path": format!("folder/{name}"), "size_bytes": i64::MAX,
        "modified_at": "2025-03-04T05:06:07Z", "mime_type": unpackable(length("mime_type")),
        "checksum": unpackable(length("checksum")), "content_ref": unpackable(length("content_ref")),
    });
    let (status, stored) = api.post_json("/ingest", &file).await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    // The longest entry has a value in every column.
    cluster.psql(1, "UPDATE file_metadata SET trashed_at = now()").await.unwrap();
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata AS f WHERE f IS NOT NULL").await, 1);
}

#[tokio::test]
async fn psql_keeps_times_that_the_service_can_write() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for (time, is_kept) in [
        ("0001-01-01T00:00:00Z", true),
        ("9999-12-31T23:59:59.999999Z", true),
        ("infinity", false),
        ("-infinity", false),
        ("10000-01-01T00:00:00Z", false),
        ("0001-12-31T23:59:59Z BC", false),
    ] {
        let insert = format!("INSERT INTO file_metadata (user_id, file_name, modified_at) VALUES (43, 'a', '{time}')");
        assert_eq!(cluster.psql(1, &insert).await.is_ok(), is_kept, "{time}");
    }
    let (status, listed) = api.get_json("/query/43").await;
    assert_eq!((status, &listed["file_count"]), (StatusCode::OK, &json!(2)), "{listed}");
}

/// A document of so many bytes.
fn document_of(bytes: usize) -> String {
    format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8))
}

#[tokio::test]
async fn every_way_in_keeps_the_limits_of_documents() {
    const LONGEST: usize = 1 << 20;
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (status, first) = json(api.request(Method::PUT, "/records/kv/k").json(&json!({})).send().await.unwrap()).await;
    assert!(status.is_success(), "{first}");
    let shard = usize::try_from(first["shard_id"].as_u64().unwrap()).unwrap();
    for (bytes, is_kept) in [(LONGEST, true), (LONGEST + 1, false)] {
        let document = document_of(bytes);
        assert_eq!(document.len(), bytes);
        for (method, path, kind, body) in [
            (Method::PUT, "/records/kv/k", "application/json", document.clone()),
            (Method::POST, "/records/data", "application/json", document.clone()),
            (Method::POST, "/data", "application/json", document.clone()),
            (Method::POST, "/write", "application/json", format!(r#"{{"key":"k","value":{document}}}"#)),
            (Method::PATCH, "/records/kv/k", "application/merge-patch+json", document.clone()),
            (Method::POST, "/records/data", "application/x-ndjson", format!("  {document} \r\n{{}}\n")),
        ] {
            let what = format!("{method} {path} {kind} {bytes}");
            let request = api.request(method, path).header("Content-Type", kind).body(body);
            let (status, answer) = json(request.send().await.unwrap()).await;
            if kind == "application/x-ndjson" {
                let expected = (json!(1 + u64::from(is_kept)), json!(u64::from(!is_kept)));
                assert_eq!((&answer["stored"], &answer["rejected"]), (&expected.0, &expected.1), "{what}: {answer}");
            } else {
                let is_refused = (status, &answer["code"]) == (StatusCode::PAYLOAD_TOO_LARGE, &json!("body_too_large"));
                assert_eq!(
                    (status.is_success(), is_refused),
                    (is_kept, !is_kept),
                    "{what}: {status} {}",
                    answer["detail"]
                );
            }
        }
        let update = format!(
            r#"UPDATE records SET document = ('{{"a":"' || repeat('x', {}) || '"}}')::json WHERE key = 'k'"#,
            bytes - 8
        );
        assert_eq!(cluster.psql(shard, &update).await.is_ok(), is_kept, "psql {bytes}");
    }
}

#[tokio::test]
async fn every_way_in_keeps_the_limit_of_keys() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for (bytes, is_kept) in [(1024, true), (1025, false)] {
        let key = "k".repeat(bytes);
        let put = api.request(Method::PUT, &format!("/records/kv/{key}")).json(&json!({"a": 1}));
        assert_eq!(put.send().await.unwrap().status().is_success(), is_kept, "PUT");
        let (status, _) = api.post_json("/write", &json!({"key": key, "value": 1})).await;
        assert_eq!(status.is_success(), is_kept, "/write");
        let typed = "p".repeat(bytes);
        let owner = format!("SELECT owner FROM shardrive.slot_map WHERE slot = shardrive.slot_of('{typed}'::text)");
        let shard = usize::try_from(cluster.value::<i32>(0, &owner).await).unwrap();
        let insert = format!("INSERT INTO records (collection, key, document) VALUES ('kv', '{typed}', '{{}}')");
        assert_eq!(cluster.psql(shard, &insert).await.is_ok(), is_kept, "psql");
    }
    let shared = cluster.psql(
        0,
        "INSERT INTO records (collection, key, slot, shard_key, document) VALUES ('data', 'k', 0, repeat('k', 1025), '{}')",
    );
    assert_eq!(sqlstate(shared.await), "23514", "a shard key has 1,024 bytes at most");
    let declared = cluster.psql(
        0,
        "INSERT INTO shardrive.collections (name, shard_key, key_type, records_per_key)
         VALUES ('long', repeat('f', 256), 'string', 'one')",
    );
    assert_eq!(sqlstate(declared.await), "23514", "a field's name has 255 bytes at most");
    let declare = json!({"shard_key": "f".repeat(256), "key_type": "string"});
    let (_, problem) = json(api.request(Method::PUT, "/collections/long").json(&declare).send().await.unwrap()).await;
    assert_eq!(problem["field"], "shard_key", "{problem}");
}
