//! Bodies as other programs write them: times of every kind, byte order marks, UTF-16, records that are too long.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json};
use crate::support::program::shardrive_reading;
use crate::support::servers::TestCluster;

const NDJSON: &str = "application/x-ndjson";
const LISTING: &str = "/ingest/bulk?format=lsjson&user_id=9";

/// A time as a program writes it, and the time that is stored; without one the file is stored with a warning.
const TIMES: [(&str, Option<&str>); 30] = [
    ("1960-01-01T00:00:00.000000001Z", Some("1960-01-01T00:00:00Z")),
    ("1969-12-31T23:59:59.999999999Z", Some("1969-12-31T23:59:59.999999Z")),
    ("1601-01-01T00:00:00Z", Some("1601-01-01T00:00:00Z")),
    ("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z")),
    ("1980-01-01T00:00:00Z", Some("1980-01-01T00:00:00Z")),
    ("2000-01-01T00:00:00.000000000Z", Some("2000-01-01T00:00:00Z")),
    ("2038-01-19T03:14:08Z", Some("2038-01-19T03:14:08Z")),
    ("2106-02-07T06:28:16Z", Some("2106-02-07T06:28:16Z")),
    ("9999-12-31T23:59:59.999999999Z", Some("9999-12-31T23:59:59.999999Z")),
    ("2024-05-01t12:00:00z", Some("2024-05-01T12:00:00Z")),
    ("2024-05-01 12:00:00Z", Some("2024-05-01T12:00:00Z")),
    ("2024-05-01T12:00:00.1234567890123Z", Some("2024-05-01T12:00:00.123456Z")),
    ("2024-05-01T12:00:00+14:00", Some("2024-04-30T22:00:00Z")),
    ("2024-05-01T12:00:00-00:00", Some("2024-05-01T12:00:00Z")),
    ("2024-05-01T12:00:00+0200", Some("2024-05-01T10:00:00Z")),
    ("2024-05-01T12:00:00 UTC", Some("2024-05-01T12:00:00Z")),
    ("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z")),
    ("9999-12-31T23:59:60Z", None),
    ("0001-01-01T00:00:00+01:00", None),
    ("0000-12-31T19:03:58-04:56", None),
    ("0000-01-01T00:00:00Z", None),
    ("-0001-01-01T00:00:00Z", None),
    ("10000-01-01T00:00:00Z", None),
    ("+10000-01-01T00:00:00Z", None),
    ("292277026596-12-04T15:30:07Z", None),
    ("2024-05-01T12:00:00", None),
    ("2024-05-01", None),
    ("2024-02-30T00:00:00Z", None),
    ("2024-05-01T24:00:00Z", None),
    ("1714564800", None),
];

async fn load(api: &Api, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> (StatusCode, Value) {
    let request = api.request(Method::POST, path).header("Content-Type", kind).body(body.into());
    json(request.send().await.unwrap()).await
}

/// The user's files by their names.
async fn file(api: &Api, user: i64, name: &str) -> Value {
    let (_, listed) = api.get_json(&format!("/query/{user}")).await;
    let files = listed["files"].as_array().unwrap();
    files.iter().find(|file| file["file_name"] == name).unwrap_or_else(|| panic!("no {name}: {listed}")).clone()
}

#[tokio::test]
async fn a_file_is_not_lost_over_its_time_in_any_format() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let rows = |row: &dyn Fn(usize, &str) -> String, between: &str| {
        let rows: Vec<_> = TIMES.iter().enumerate().map(|(number, (time, _))| row(number, time)).collect();
        rows.join(between)
    };
    let record = |user: i64| {
        move |n: usize, time: &str| {
            json!({"user_id": user, "file_name": format!("t{n}"), "modified_at": time}).to_string()
        }
    };
    let entry = |n: usize, time: &str| {
        json!({"Path": format!("t{n}"), "Name": format!("t{n}"), "Size": 1, "ModTime": time, "IsDir": false})
            .to_string()
    };
    let csv = |n: usize, time: &str| format!("12,t{n},{time}");
    for (user, path, kind, first_line, body) in [
        (9, LISTING, "application/json", 2, format!("[\n{}\n]\n", rows(&entry, ",\n"))),
        (10, "/ingest/bulk", NDJSON, 1, rows(&record(10), "\n")),
        (11, "/ingest/bulk", "application/json", 2, format!("[\n{}]", rows(&record(11), ",\n"))),
        (12, "/ingest/bulk", "text/csv", 2, format!("user_id,file_name,modified_at\n{}\n", rows(&csv, "\n"))),
    ] {
        let (status, answer) = load(&api, path, kind, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let counts = (&answer["success"], &answer["inserted"], &answer["rejected"], &answer["warned"]);
        assert_eq!(counts, (&json!(true), &json!(30), &json!(0), &json!(13)), "{answer}");
        assert_eq!(answer["message"], "Inserted 30 records; 13 with a time that cannot be kept");
        let field = if path == LISTING { "ModTime" } else { "modified_at" };
        for (warning, number) in answer["warnings"].as_array().unwrap().iter().zip(17..) {
            assert_eq!(
                (&warning["line"], &warning["field"]),
                (&json!(number + first_line), &json!(field)),
                "{warning}"
            );
            assert_eq!(warning["record"], number + 1, "{warning}");
            assert!(warning["reason"].as_str().unwrap().starts_with("must be "), "{warning}");
        }
        assert_eq!(answer["warnings"].as_array().unwrap().len(), 13);
        for (number, (written, stored)) in TIMES.iter().enumerate() {
            let file = file(&api, user, &format!("t{number}")).await;
            assert_eq!(file["modified_at"], json!(stored), "{kind}: {written}");
        }
    }
}

#[tokio::test]
async fn the_answer_to_a_single_file_tells_the_time_that_is_stored() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for (written, stored) in TIMES {
        let (status, answer) =
            api.post_json("/ingest", &json!({"user_id": 9, "file_name": "a", "modified_at": written})).await;
        let Some(stored) = stored else {
            assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("modified_at")), "{written}");
            continue;
        };
        assert_eq!((status, &answer["data"]["modified_at"]), (StatusCode::CREATED, &json!(stored)), "{written}");
        let path = format!("/files/{}", answer["data"]["file_id"].as_str().unwrap());
        assert_eq!(api.get_json(&path).await.1["data"]["modified_at"], stored, "{written}");
        let patch = api.request(Method::PATCH, &path).json(&json!({"modified_at": written}));
        let (status, patched) = json(patch.send().await.unwrap()).await;
        assert_eq!((status, &patched["data"]["modified_at"]), (StatusCode::OK, &json!(stored)), "{written}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_costs_nothing_and_utf_16_is_refused_by_its_name() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for (path, kind, text) in [
        (LISTING, "application/json", "[\r\n{\"Path\":\"lsjson\",\"Name\":\"lsjson\",\"Size\":1,\"IsDir\":false}\r\n]"),
        (
            "/ingest/bulk",
            NDJSON,
            "{\"user_id\":9,\"file_name\":\"ndjson\"}\r\n{\"user_id\":9,\"file_name\":\"second\"}\r\n",
        ),
        ("/ingest/bulk", "application/json", "[{\"user_id\":9,\"file_name\":\"json\"}]"),
        ("/ingest/bulk", "text/csv", "user_id,file_name\r\n9,csv\r\n"),
        ("/ingest", "application/json", "{\"user_id\":9,\"file_name\":\"single\"}"),
        ("/records/kv/k", "application/json", "{\"a\":1}"),
        ("/records/data", NDJSON, "{\"a\":1}\n"),
        ("/data", "application/json", "{\"a\":1}"),
    ] {
        let method = if path == "/records/kv/k" { Method::PUT } else { Method::POST };
        let send = async |body: Vec<u8>| {
            let request = api.request(method.clone(), path).header("Content-Type", kind).body(body);
            json(request.send().await.unwrap()).await
        };
        let (status, answer) = send(format!("\u{feff}{text}").into_bytes()).await;
        assert!(status.is_success() && answer["rejected"].as_u64().unwrap_or(0) == 0, "{path} {kind}: {answer}");
        for mark in ["", "\u{feff}"] {
            let wide: Vec<_> = format!("{mark}{text}").encode_utf16().collect();
            for body in [
                wide.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>(),
                wide.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            ] {
                let (status, problem) = send(body).await;
                assert_eq!(
                    (status, &problem["code"]),
                    (StatusCode::BAD_REQUEST, &json!("invalid_body")),
                    "{path} {kind}"
                );
                assert!(problem["detail"].as_str().unwrap().contains("UTF-16; send UTF-8"), "{path} {kind}: {problem}");
            }
        }
    }
    for name in ["lsjson", "ndjson", "second", "json", "csv", "single"] {
        file(&api, 9, name).await;
    }
    let (_, listed) = api.get_json("/query/9").await;
    assert_eq!(listed["file_count"], 6, "{listed}");
    assert_eq!(api.get_json("/records/kv/k").await.1["document"], json!({"a": 1}));
}

#[tokio::test]
async fn a_record_that_is_too_long_costs_itself_alone() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let permissions = "{\\\"role\\\": \\\"reader\\\"}, ".repeat(4000);
    let listing = format!(
        "[\n{{\"Path\":\"before\",\"Name\":\"before\",\"Size\":1}},\n\
         {{\"Path\":\"shared\",\"Name\":\"shared\",\"Size\":1,\"Metadata\":{{\"permissions\":\"[{permissions}]\"}}}},\n\
         {{\"Path\":\"after\",\"Name\":\"after\",\"Size\":1}}\n]\n"
    );
    let long = "x".repeat(70_000);
    let csv = format!("user_id,file_name\n9,before\n9,{long}\n9,after\n");
    let array = format!(
        "[\n{{\"user_id\":9,\"file_name\":\"before\"}},\n{{\"user_id\":9,\"file_name\":\"{long}\"}},\n\
         {{\"user_id\":9,\"file_name\":\"after\"}}]"
    );
    for (path, kind, body) in [
        (LISTING, "application/json", &listing),
        ("/ingest/bulk", "text/csv", &csv),
        ("/ingest/bulk", "application/json", &array),
    ] {
        let (status, answer) = load(&api, path, kind, body.as_bytes()).await;
        assert_eq!(
            (status, &answer["inserted"], &answer["rejected"]),
            (StatusCode::OK, &json!(2), &json!(1)),
            "{answer}"
        );
        let reason = "is longer than 65536 bytes, the most that a record may have (SHARDRIVE_MAX_LINE_BYTES)";
        assert_eq!(answer["rejections"], json!([{"record": 2, "line": 3, "field": "", "reason": reason}]));
    }
}

#[tokio::test]
async fn import_shows_the_warnings_and_ends_well() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let listing = "\u{feff}[{\"Path\":\"a\",\"Name\":\"a\",\"ModTime\":\"0000-01-01T00:00:00Z\"}]";
    let arguments = ["import", "--url", api.base(), "--format", "lsjson", "--user-id", "9"];
    let done = shardrive_reading(&arguments, &[], listing.as_bytes().to_vec()).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("1 came with a time that cannot be kept"), "{done:?}");
    assert!(done.err.contains("line 1: ModTime: must be in the years 1 to 9999"), "{done:?}");
}
