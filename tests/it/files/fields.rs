//! A field of a file: every place that must know it, asked for each column of `file_metadata`.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::support::api::{Api, json};
use crate::support::cache::{TestCache, until_in_use, until_says};
use crate::support::servers::TestCluster;

/// Columns that no client sends or sees, and why.
const HIDDEN: &[(&str, &str)] =
    &[("trashed_at", "answers say whether the file is in the trash"), ("version", "orders the changes of a shard")];
/// Columns whose values the shard gives, and why.
const GIVEN: &[(&str, &str)] =
    &[("created_at", "the shard's clock"), ("updated_at", "the shard's clock"), ("folder_id", "follows from the path")];
/// Columns that never change.
const FIXED: &[&str] = &["user_id", "file_id"];
/// Columns that events tell. All others stay out: names and paths are for the owner alone (src/events/event.rs).
const TOLD: &[&str] = &["user_id", "file_id", "size_bytes"];
const NOT_TOLD: &[&str] = &["file_name", "path", "mime_type", "checksum", "modified_at", "content_ref"];

/// Statements that store every field which a client sends.
const STORING: &[&str] = &[
    "copy_batch.sql",
    "insert.sql",
    "insert_batch.sql",
    "insert_batch_keyed.sql",
    "load_batch.sql",
    "load_listing.sql",
];
/// Statements that read every field which a client sees.
const SHOWING: &[&str] =
    &["find_batch.sql", "find_state.sql", "list_batch.sql", "search_by_id.sql", "update.sql", "update_batch.sql"];
/// Statements about ids and tables alone.
const OTHERS: &[&str] = &[
    "analyze.sql",
    "count_stored.sql",
    "delete.sql",
    "delete_batch.sql",
    "find_absent.sql",
    "find_unknown_sizes.sql",
    "has_moves.sql",
    "hold_drives.sql",
    "list_foreign_slots.sql",
    "make_folders.sql",
    "place_batch.sql",
];

/// A value of the field, and another one to change it to.
fn samples(field: &str) -> Option<[Value; 2]> {
    Some(match field {
        "user_id" => [json!(42), json!(42)],
        "file_id" => [json!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e"), Value::Null],
        "file_name" => [json!("a.txt"), json!("b.txt")],
        "path" => [json!("letters/a.txt"), json!("notes/b.txt")],
        "mime_type" => [json!("text/plain"), json!("text/html")],
        "checksum" => [json!("md5:1"), json!("md5:2")],
        "content_ref" => [json!("s3://b/1"), json!("s3://b/2")],
        "size_bytes" => [json!(7), json!(8)],
        "modified_at" => [json!("2024-01-02T03:04:05Z"), json!("2025-01-02T03:04:05Z")],
        _ => return None,
    })
}

/// What was forgotten, and where.
#[derive(Default)]
struct Forgotten(Vec<String>);

impl Forgotten {
    /// Every field of `wanted` must be in `found`.
    fn compare(&mut self, place: &str, found: &Value, wanted: &Map<String, Value>) {
        for (field, value) in wanted {
            if found[field] != *value {
                self.0.push(format!("{place}: {field} is {}, not {value}", found[field]));
            }
        }
    }

    fn require(&mut self, is_there: bool, place: &str, field: &str) {
        if !is_there {
            self.0.push(format!("{place}: {field} is missing"));
        }
    }
}

fn is_in(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[tokio::test]
async fn every_place_knows_every_field_of_a_file() {
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let columns: Vec<String> = cluster
        .value(
            0,
            "SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
                    WHERE attrelid = 'file_metadata'::regclass AND attnum > 0 AND NOT attisdropped",
        )
        .await;
    let mut forgotten = Forgotten::default();
    // The path is no column: it follows from the folders.
    let columns = columns.iter().map(String::as_str).chain(["path"]);
    let seen: Vec<&str> = columns.filter(|column| !is_in(HIDDEN, column)).collect();
    let (mut first, mut change) = (Map::new(), Map::new());
    for field in seen.iter().filter(|field| !is_in(GIVEN, field)) {
        let Some([value, other]) = samples(field) else {
            forgotten.0.push(format!(
                "tests/it/files/fields.rs: fn samples has no value of {field}; or it is GIVEN or HIDDEN"
            ));
            continue;
        };
        first.insert((*field).to_owned(), value);
        if !FIXED.contains(field) {
            change.insert((*field).to_owned(), other);
        }
    }
    in_statements(&mut forgotten, &seen);
    in_the_database(&mut forgotten, &cluster, &first).await;
    let api = Api::start_with(&cluster, &[("REDIS_URL", &cache.url())]).await;
    until_says(&api, "healthy").await;
    in_the_description(&mut forgotten, &api, &seen, &first, &change).await;
    in_answers(&mut forgotten, &api, &first, &change).await;
    in_bulk_formats(&mut forgotten, &api, &first).await;
    assert!(forgotten.0.is_empty(), "a field was forgotten:\n{}", forgotten.0.join("\n"));
}

fn in_statements(forgotten: &mut Forgotten, seen: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/files");
    for listed in [STORING, SHOWING, OTHERS].concat() {
        forgotten.require(folder.join(listed).is_file(), "the lists of tests/it/files/fields.rs", listed);
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = text_of(&format!("sql/files/{name}"));
        for field in seen {
            let is_needed =
                SHOWING.contains(&name.as_str()) || STORING.contains(&name.as_str()) && !is_in(GIVEN, field);
            let is_there = text
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == *field || (*field == "path" && word == "folder_id"));
            forgotten.require(is_there || !is_needed, &format!("sql/files/{name}"), field);
        }
        let is_known = [STORING, SHOWING, OTHERS].iter().any(|list| list.contains(&name.as_str()));
        forgotten.require(is_known, "the lists of tests/it/files/fields.rs", &name);
    }
}

/// Limits of texts, and the columns of the outbox.
async fn in_the_database(forgotten: &mut Forgotten, cluster: &TestCluster, sent: &Map<String, Value>) {
    let limited: Vec<String> = cluster
        .value(
            0,
            "SELECT array_agg(a.attname::text) FROM pg_attribute AS a
                    WHERE a.attrelid = 'file_metadata'::regclass AND a.atttypid = 'text'::regtype
                      AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conrelid = a.attrelid AND c.contype = 'c'
                                       AND pg_get_constraintdef(c.oid) LIKE '%octet_length(' || a.attname || ')%')
                    HAVING count(*) > 0 UNION ALL SELECT '{}' LIMIT 1",
        )
        .await;
    for field in limited {
        forgotten.require(false, "migrations: a CHECK of octet_length", &field);
    }
    for field in sent.keys() {
        let is_decided = TOLD.contains(&field.as_str()) != NOT_TOLD.contains(&field.as_str());
        forgotten.require(is_decided, "TOLD or NOT_TOLD of tests/it/files/fields.rs", field);
    }
    for field in TOLD {
        let column = format!(
            "SELECT count(*) > 0 FROM pg_attribute WHERE attrelid = 'shardrive.outbox'::regclass AND attname = '{field}'"
        );
        forgotten.require(cluster.value(0, &column).await, "shardrive.outbox", field);
        forgotten.require(text_of("docs/events.md").contains(&format!("`{field}`")), "docs/events.md", field);
    }
    for field in sent.keys().filter(|field| *field != "file_id") {
        forgotten.require(text_of("docs/bulk.md").contains(&format!("`{field}`")), "docs/bulk.md", field);
    }
}

async fn in_the_description(
    forgotten: &mut Forgotten,
    api: &Api,
    seen: &[&str],
    sent: &Map<String, Value>,
    change: &Map<String, Value>,
) {
    let (_, document) = api.get_json("/openapi.json").await;
    let sent: Vec<&str> = sent.keys().map(String::as_str).collect();
    let changed: Vec<&str> = change.keys().map(String::as_str).collect();
    for (schema, fields) in [("File", seen), ("NewFile", &sent), ("FilePatch", &changed)] {
        for field in fields {
            let is_there = document["components"]["schemas"][schema]["properties"][field].is_object();
            forgotten.require(is_there, &format!("the schema {schema} of /openapi.json"), field);
        }
    }
}

async fn in_answers(forgotten: &mut Forgotten, api: &Api, file: &Map<String, Value>, change: &Map<String, Value>) {
    let path = format!("/files/{}", file["file_id"].as_str().unwrap());
    for place in ["POST /ingest with a key", "its second answer, from the key"] {
        let request = api.request(Method::POST, "/ingest").header("Idempotency-Key", "fields").json(file);
        let (status, answer) = json(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        forgotten.compare(place, &answer["data"], file);
    }
    forgotten.compare("GET /files/{file_id}", &api.get_json(&path).await.1["data"], file);
    let (_, page) = api.get_json("/query/42").await;
    forgotten.compare("GET /query/{user_id}", &page["files"][0], file);
    until_in_use(api, 42).await;
    let (_, page) = api.get_json("/query/42").await;
    forgotten.compare("src/files/page.rs: GET /query/{user_id} from the cache", &page["files"][0], file);
    let lines = api.request(Method::GET, "/query/42").header("Accept", "application/x-ndjson").send().await.unwrap();
    let lines = lines.text().await.unwrap();
    forgotten.compare("the NDJSON of GET /query/{user_id}", &serde_json::from_str(&lines).unwrap(), file);
    let (status, answer) = json(api.request(Method::PATCH, &path).json(change).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    forgotten.compare("PATCH /files/{file_id}", &answer["data"], change);
    forgotten.compare("GET /files/{file_id} after a PATCH", &api.get_json(&path).await.1["data"], change);
}

async fn in_bulk_formats(forgotten: &mut Forgotten, api: &Api, file: &Map<String, Value>) {
    for (number, kind) in ["application/x-ndjson", "application/json", "text/csv"].into_iter().enumerate() {
        let mut file = file.clone();
        let id = format!("019a9e4b-3f21-7c5a-9e02-7a002a5d4c2{number}");
        // A path holds one file.
        file.insert("file_name".to_owned(), json!(format!("{number}.txt")));
        file.insert("path".to_owned(), json!(format!("letters/{number}.txt")));
        file.insert("file_id".to_owned(), json!(id));
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let line = Value::Object(file.clone()).to_string();
        let body = match kind {
            "application/json" => format!("[{line}]"),
            "text/csv" => {
                let (header, row): (Vec<_>, Vec<_>) =
                    file.iter().map(|(name, value)| (name.clone(), plain(value))).unzip();
                format!("{}\n{}\n", header.join(","), row.join(","))
            }
            _ => line,
        };
        let (_, answer) = json(api.send("/ingest/bulk", kind, body).await).await;
        if answer["inserted"] != 1 {
            forgotten.0.push(format!("src/files/bulk: {kind}: {answer}"));
        }
        let (_, found) = api.get_json(&format!("/files/{id}")).await;
        forgotten.compare(&format!("src/files/bulk: {kind}"), &found["data"], &file);
    }
}
