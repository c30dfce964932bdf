//! `If-Match`, `If-None-Match` and their like on every route: honoured or refused, never passed over.

use reqwest::header::{ETAG, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::servers::TestCluster;

type Headers<'a> = &'a [(&'a str, &'a str)];

async fn call(api: &Api, method: Method, path: &str, headers: Headers<'_>, body: Option<Value>) -> Answer {
    let request =
        headers.iter().fold(api.request(method, path), |request, (name, value)| request.header(*name, *value));
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let (status, headers, text) = (answer.status(), answer.headers().clone(), answer.text().await.unwrap());
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default() }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn tag(&self) -> String {
        self.headers[ETAG].to_str().unwrap().to_owned()
    }

    fn is(&self, status: StatusCode, code: &str) {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{self:?}");
    }
}

#[tokio::test]
async fn a_file_is_changed_only_in_the_state_asked_for() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let foreign = json!({"user_id": 5, "file_name": "b", "file_id": "11111111-2222-3333-4444-555555555555"});
    for new in [json!({"user_id": 5, "file_name": "a"}), foreign] {
        let stored = call(&api, Method::POST, "/ingest", &[], Some(new)).await;
        assert_eq!(stored.status, StatusCode::CREATED, "{stored:?}");
        let path = format!("/files/{}", stored.body["data"]["file_id"].as_str().unwrap());
        let change = |headers: &'static [(&'static str, &'static str)], size: i64| {
            call(&api, Method::PATCH, &path, headers, Some(json!({"size_bytes": size})))
        };
        let first = call(&api, Method::GET, &path, &[], None).await;
        assert_eq!(first.tag(), stored.tag());
        for wrong in [&[("If-Match", "\"0\"")][..], &[("If-Match", "W/\"0123456789abcdef0123456789abcdef\"")]] {
            change(wrong, 1).await.is(StatusCode::PRECONDITION_FAILED, "precondition_failed");
            let deleted = call(&api, Method::DELETE, &path, wrong, None).await;
            deleted.is(StatusCode::PRECONDITION_FAILED, "precondition_failed");
        }
        for refused in [
            &[("If-None-Match", "*")][..],
            &[("If-Unmodified-Since", "Sat, 29 Oct 1994 19:43:31 GMT")],
            &[("If-Match", "0")],
            &[("If-Match", "\"1\", \"2\"")],
        ] {
            change(refused, 1).await.is(StatusCode::BAD_REQUEST, "invalid_header");
            call(&api, Method::DELETE, &path, refused, None).await.is(StatusCode::BAD_REQUEST, "invalid_header");
        }
        let same = call(&api, Method::GET, &path, &[], None).await;
        assert_eq!((same.tag(), &same.body), (first.tag(), &first.body), "nothing was changed");

        let known = [("If-None-Match", first.tag())];
        let known = known.each_ref().map(|(name, tag)| (*name, tag.as_str()));
        assert_eq!(call(&api, Method::GET, &path, &known, None).await.status, StatusCode::NOT_MODIFIED);
        assert_eq!(call(&api, Method::HEAD, &path, &known, None).await.status, StatusCode::NOT_MODIFIED);
        let (first_tag, grown) = (first.tag(), Some(json!({"size_bytes": 7})));
        let changed = call(&api, Method::PATCH, &path, &[("If-Match", &first_tag)], grown).await;
        assert_eq!((changed.status, &changed.body["data"]["size_bytes"]), (StatusCode::OK, &json!(7)));
        assert_ne!(changed.tag(), first_tag);
        assert_eq!(call(&api, Method::GET, &path, &known, None).await.tag(), changed.tag());
        call(&api, Method::GET, &path, &[("If-Match", &first_tag)], None)
            .await
            .is(StatusCode::PRECONDITION_FAILED, "precondition_failed");
        call(&api, Method::DELETE, &path, &[("If-Match", &first_tag)], None)
            .await
            .is(StatusCode::PRECONDITION_FAILED, "precondition_failed");
        // What somebody changes in psql counts as well, and so does the change back: updated_at tells.
        for size in [8, 7] {
            let change =
                format!("UPDATE file_metadata SET size_bytes = {size} WHERE user_id = 5 AND size_bytes <> {size}");
            cluster.psql(1, &change).await.unwrap();
            call(&api, Method::DELETE, &path, &[("If-Match", &changed.tag())], None)
                .await
                .is(StatusCode::PRECONDITION_FAILED, "precondition_failed");
        }
        let now = call(&api, Method::GET, &path, &[], None).await.tag();
        let deleted = call(&api, Method::DELETE, &path, &[("If-Match", &now)], None).await;
        assert_eq!(deleted.status, StatusCode::OK, "{deleted:?}");
        for gone in [&[("If-Match", "*")][..], &[("If-Match", now.as_str())]] {
            call(&api, Method::DELETE, &path, gone, None)
                .await
                .is(StatusCode::PRECONDITION_FAILED, "precondition_failed");
        }
        call(&api, Method::DELETE, &path, &[], None).await.is(StatusCode::NOT_FOUND, "file_not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_of_one_state_one_is_done() {
    let cluster = TestCluster::migrated(1).await;
    let apis = [Api::start(&cluster).await, Api::start(&cluster).await];
    let stored = call(&apis[0], Method::POST, "/ingest", &[], Some(json!({"user_id": 1, "file_name": "a"}))).await;
    let path = format!("/files/{}", stored.body["data"]["file_id"].as_str().unwrap());
    let mut tag = stored.tag();
    for round in 0..5 {
        let changes = (0..16_usize).map(|number| {
            let (api, path, tag) = (&apis[number % 2], &path, &tag);
            async move {
                let size = json!({"size_bytes": round * 100 + i64::try_from(number).unwrap()});
                call(api, Method::PATCH, path, &[("If-Match", tag)], Some(size)).await
            }
        });
        let answers = futures_util::future::join_all(changes).await;
        let done: Vec<&Answer> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
        assert_eq!(done.len(), 1, "{answers:?}");
        let others = answers.iter().filter(|answer| answer.status != StatusCode::OK);
        others.for_each(|answer| answer.is(StatusCode::PRECONDITION_FAILED, "precondition_failed"));
        let now = call(&apis[1], Method::GET, &path, &[], None).await;
        assert_eq!((now.tag(), &now.body), (done[0].tag(), &done[0].body));
        tag = now.tag();
    }
}

#[tokio::test]
async fn no_route_passes_over_a_condition() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_COLLECTIONS", "notes:user_id:integer:many")]).await;
    let description = api.get_json("/openapi.json").await.1;
    let mut asked = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        let takers = ["/files/", "/folders/", "/drives/{user_id}/path/", "/records/{collection}/{key}"];
        let taken = takers.iter().any(|prefix| path.starts_with(prefix));
        for method in operations.as_object().unwrap().keys() {
            let is_read = method == "get";
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{collection}", "notes").replace(['{', '}'], "");
            for header in ["If-Match", "If-None-Match", "If-Unmodified-Since"] {
                if (taken && header != "If-Unmodified-Since") || (is_read && header == "If-None-Match") {
                    continue;
                }
                let id = uuid::Uuid::nil().to_string();
                let path = path.replace("user_id", "1").replace("file_id", &id).replace("folder_id", &id);
                let body = (!is_read).then(|| json!({"user_id": 1}));
                let answer = call(&api, method.clone(), &path, &[(header, "\"0\"")], body).await;
                // Of routes that take conditions, a read may look for the document first.
                if taken && is_read && answer.status == StatusCode::NOT_FOUND {
                    continue;
                }
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method} {path} with {header}: {answer:?}");
                assert_eq!(answer.body["code"], "invalid_header", "{method} {path} with {header}: {answer:?}");
                assert_eq!(answer.body["field"], header, "{method} {path}: {answer:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 60, "{asked}");
    assert_eq!(api.get_json("/stats?exact=scan").await.1["total_records"], 0);
    // Another method is told of as before.
    let answer = call(&api, Method::PUT, "/ingest", &[("If-Match", "\"0\"")], None).await;
    answer.is(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
}
