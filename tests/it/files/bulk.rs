//! Many files in one body: every format and packing, what is rejected and why, and what is stored only once.

use std::fmt::Write as _;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::api::{Api, json};
use crate::support::pack::pack;
use crate::support::servers::TestCluster;

const NDJSON: &str = "application/x-ndjson";

/// Sends a body and expects that the load ran to its end.
async fn load(api: &Api, path: &str, kind: &str, encoding: &str, body: &str) -> Value {
    let request = api.request(Method::POST, path).header("Content-Type", kind).header("Content-Encoding", encoding);
    let (status, answer) = json(request.body(pack(encoding, body.as_bytes()).await).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{path} {kind} {encoding}: {answer}");
    answer
}

/// The rejections as `(line, field, start of the reason)`.
fn rejections(answer: &Value) -> Vec<(u64, &str, &str)> {
    let list = answer["rejections"].as_array().unwrap();
    list.iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["field"].as_str().unwrap(), one["reason"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn every_format_is_taken_in_every_packing() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let mut user = 100;
    for encoding in ["identity", "gzip", "zstd"] {
        for kind in [NDJSON, "application/json", "text/csv; charset=utf-8", "lsjson"] {
            let (even, odd) = (user, user + 1);
            user += 2;
            let (path, kind, body) = match kind {
                NDJSON => ("/ingest/bulk".to_owned(), kind, format!(
                    "{{\"user_id\":{even},\"file_name\":\"a\"}}\n\n{{\"user_id\":-1,\"file_name\":\"a\"}}\r\nnonsense\n\
                     {{\"user_id\":{odd},\"file_name\":\"ü,\\\"\",\"path\":\"x/ü,\\\"\",\"size_bytes\":5,\"mime_type\":\"t\",\
                     \"checksum\":\"c\",\"modified_at\":\"2024-01-01T00:00:00Z\"}}"
                )),
                "application/json" => ("/ingest/bulk".to_owned(), kind, format!(
                    "[{{\"user_id\":{even},\"file_name\":\"a\"}},\n\n{{\"user_id\":-1,\"file_name\":\"a\"}},\n7,\
                     \n{{\"user_id\":{odd},\"file_name\":\"ü,\\\"\",\"path\":\"x/ü,\\\"\",\"size_bytes\":5,\"mime_type\":\"t\",\
                     \"checksum\":\"c\",\"modified_at\":\"2024-01-01T00:00:00Z\"}}]\n"
                )),
                "lsjson" => (format!("/ingest/bulk?format=lsjson&user_id={odd}"), "text/plain", "[\n\
                     {\"Path\":\"a\",\"Name\":\"a\",\"Size\":-1,\"IsDir\":false},\n\
                     {\"Path\":\"x\",\"Name\":\"x\",\"Size\":-1,\"IsDir\":true},\n\
                     {\"Path\":\"b\",\"Name\":\"c\",\"Size\":-1,\"IsDir\":false},\n\
                     {\"Path\":\"x/d\",\"Size\":1},\n\
                     {\"Path\":\"x/ü,\\\"\",\"Name\":\"ü,\\\"\",\"Size\":5,\"MimeType\":\"t\",\"ModTime\":\"2024-01-01T01:00:00+01:00\",\
                     \"IsDir\":false,\"Hashes\":{\"md5\":\"c\"},\"Tier\":\"hot\"}\n]\n".to_owned()),
                _ => ("/ingest/bulk".to_owned(), kind, format!(
                    "file_name,user_id,path,size_bytes,mime_type,checksum,modified_at\r\na,{even},,,,,\r\n\n-,-1,,,,,\n\
                     a,nonsense,,,,,\n\"ü,\"\"\",{odd},\"x/ü,\"\"\",5,t,c,2024-01-01T00:00:00Z"
                )),
            };
            let answer = load(&api, &path, kind, encoding, &body).await;
            let is_listing = path.contains("lsjson");
            assert_eq!(answer["message"], "Inserted 2 records; 2 rejected");
            assert_eq!((&answer["success"], &answer["inserted"]), (&json!(false), &json!(2)), "{answer}");
            assert_eq!((&answer["rejected"], &answer["duplicates"]), (&json!(2), &json!(0)), "{answer}");
            let (folders, distribution) =
                if is_listing { (1, json!({"0": 0, "1": 2})) } else { (0, json!({"0": 1, "1": 1})) };
            assert_eq!((&answer["folders"], &answer["distribution"]), (&json!(folders), &distribution), "{answer}");
            let rejected = rejections(&answer);
            let lines: Vec<_> = rejected.iter().map(|(line, field, _)| (*line, *field)).collect();
            let expected: &[(u64, &str)] = match kind {
                "text/plain" => &[(4, "Path"), (5, "Name")],
                "application/json" => &[(3, "user_id"), (4, "")],
                NDJSON => &[(3, "user_id"), (4, "")],
                _ => &[(4, "user_id"), (5, "user_id")],
            };
            assert_eq!(lines, expected, "{kind} {encoding}: {answer}");

            let (_, listed) = api.get_json(&format!("/query/{odd}")).await;
            let files = listed["files"].as_array().unwrap();
            let file = files.iter().find(|file| file["path"] == "x/ü,\"").unwrap_or_else(|| panic!("{kind}: {listed}"));
            let checksum = if is_listing { "md5:c" } else { "c" };
            assert_eq!((&file["file_name"], &file["size_bytes"]), (&json!("ü,\""), &json!(5)));
            assert_eq!((&file["mime_type"], &file["checksum"]), (&json!("t"), &json!(checksum)));
            assert_eq!(file["modified_at"], "2024-01-01T00:00:00Z");
        }
    }
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["total_records"], &stats["total_bytes"]), (&json!(24), &json!(60)));
}

#[tokio::test]
async fn the_first_hundred_rejections_are_listed_and_all_are_counted() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let mut body = String::new();
    for number in 0..5000 {
        let name = if number % 10 == 0 { "" } else { "a" };
        writeln!(body, r#"{{"user_id":{number},"file_name":"{name}"}}"#).unwrap();
    }
    let answer = load(&api, "/ingest/bulk", NDJSON, "gzip", &body).await;
    assert_eq!((&answer["inserted"], &answer["rejected"]), (&json!(4500), &json!(500)));
    let listed = answer["rejections"].as_array().unwrap();
    assert_eq!(listed.len(), 100);
    for (number, rejection) in (0..).zip(listed) {
        let line = 10 * number + 1;
        let expected = json!({"line": line, "record": line, "field": "file_name", "reason": "must not be empty"});
        assert_eq!(rejection, &expected);
    }
    let whole = load(&api, "/ingest/bulk?on_error=abort", NDJSON, "identity", &body.replace("\"\"", "\"b\"")).await;
    assert_eq!(
        (&whole["success"], &whole["inserted"], &whole["rejections"]),
        (&json!(true), &json!(5000), &Value::Null)
    );
}

#[tokio::test]
async fn abort_stops_at_the_first_fault_and_tells_what_was_stored() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let mut body = String::new();
    for number in 1..=9000 {
        let name = if number == 7001 { "a/b" } else { "a" };
        writeln!(body, r#"{{"user_id":{number},"file_name":"{name}"}}"#).unwrap();
    }
    let (status, problem) = json(api.send("/ingest/bulk?on_error=abort", NDJSON, body).await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_field")), "{problem}");
    assert_eq!((&problem["line"], &problem["field"]), (&json!(7001), &json!("file_name")));
    assert_eq!(problem["inserted"], 7000, "{problem}");
    assert_eq!(problem["distribution"], json!({"0": 3500, "1": 3500}));
    let (_, stats) = api.get_json("/stats?exact=scan").await;
    assert_eq!(stats["total_records"], 7000);
    assert_eq!(api.get_json("/query/7002").await.1["file_count"], 0);
}

#[tokio::test]
async fn a_body_that_is_sent_again_adds_nothing_and_ids_of_other_slots_are_rejected() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let ids: Vec<_> = (0..3000).map(|_| Uuid::new_v4()).collect();
    let mut body = String::new();
    for (number, id) in ids.iter().enumerate() {
        writeln!(body, r#"{{"user_id":{},"file_name":"a","file_id":"{id}"}}"#, number % 10).unwrap();
    }
    let first = load(&api, "/ingest/bulk", NDJSON, "identity", &body).await;
    assert_eq!((&first["inserted"], &first["duplicates"]), (&json!(3000), &json!(0)));
    let again = load(&api, "/ingest/bulk", NDJSON, "zstd", &body).await;
    assert_eq!((&again["inserted"], &again["duplicates"], &again["rejected"]), (&json!(0), &json!(3000), &json!(0)));
    assert_eq!((&again["success"], &again["distribution"]), (&json!(true), &json!({"0": 0, "1": 0})));

    // In one body: a new file twice, an id that another user of the shard has, an id that was minted for another slot.
    let (_, minted) = api.post_json("/ingest", &json!({"user_id": 77, "file_name": "a"})).await;
    let (new, minted) = (Uuid::new_v4(), minted["data"]["file_id"].as_str().unwrap());
    let body = [(4, new.to_string()), (4, new.to_string()), (12, ids[0].to_string()), (6, minted.to_owned())]
        .map(|(user, id)| format!(r#"{{"user_id":{user},"file_name":"a","file_id":"{id}"}}"#))
        .join("\n");
    let answer = load(&api, "/ingest/bulk", NDJSON, "identity", &body).await;
    assert_eq!((&answer["inserted"], &answer["duplicates"], &answer["rejected"]), (&json!(2), &json!(1), &json!(1)));
    let lines: Vec<_> = rejections(&answer).iter().map(|(line, field, _)| (*line, *field)).collect();
    assert_eq!(lines, [(4, "file_id")]);
    assert_eq!(api.get_json("/stats?exact=scan").await.1["total_records"], 3003);
}

#[tokio::test]
async fn loads_of_one_listing_at_the_same_time_leave_each_path_once() {
    let cluster = TestCluster::migrated(2).await;
    let (first, second) = tokio::join!(Api::start(&cluster), Api::start(&cluster));
    let entries: Vec<_> = (0..6000)
        .map(|number| format!(r#"{{"Path":"d{}/{number}","Name":"{number}","Size":1,"IsDir":false}}"#, number % 7))
        .collect();
    // Each in another order, as listings made by several threads are.
    let listing = |start: usize| {
        let (end, beginning) = (&entries[start..], &entries[..start]);
        format!("[{}]", end.iter().chain(beginning).rev().map(String::as_str).collect::<Vec<_>>().join(",\n"))
    };
    let path = "/ingest/bulk?format=lsjson&user_id=42";
    let bodies = [0, 1500, 3000, 4500].map(listing);
    let (a, b, c, d) = tokio::join!(
        load(&first, path, "application/json", "identity", &bodies[0]),
        load(&second, path, "application/json", "identity", &bodies[1]),
        load(&first, path, "application/json", "identity", &bodies[2]),
        load(&second, path, "application/json", "identity", &bodies[3]),
    );
    let sum = |field: &str| [&a, &b, &c, &d].iter().map(|answer| answer[field].as_u64().unwrap()).sum::<u64>();
    let there = (sum("unchanged"), sum("updated"), sum("duplicates"));
    assert_eq!((sum("inserted"), there, sum("rejected")), (6000, (18_000, 0, 0), 0));
    let mut paths: Vec<String> = crate::files::query::streamed(&first, "/query/42")
        .await
        .iter()
        .map(|file| file["path"].as_str().unwrap().into())
        .collect();
    assert_eq!(paths.len(), 6000);
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 6000);
}

/// A change of owners waits for the batches in progress, so that they are short while a move is on.
#[tokio::test]
async fn large_batches_are_halved_while_a_move_is_on() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let transactions =
        "SELECT array_agg(n ORDER BY n) FROM (SELECT count(*) AS n FROM file_metadata GROUP BY xmin::text) AS one";
    let load = async || {
        cluster.psql(0, "DELETE FROM file_metadata").await.unwrap();
        let answer = api.send("/ingest/bulk?count=18000", "application/json", "").await;
        assert_eq!(answer.status(), StatusCode::OK);
        cluster.value::<Vec<i64>>(0, transactions).await
    };
    assert_eq!(load().await, [2_000, 16_000]);
    let mark = "INSERT INTO shardrive.local_moves (move_id, slots) VALUES (1, decode(repeat('00', 630), 'hex'))";
    cluster.psql(0, mark).await.unwrap();
    assert_eq!(load().await, [2_000, 8_000, 8_000]);
}
