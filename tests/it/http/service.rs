//! What the service says of itself: its name, its health, its document, the page to try it; and the ids of requests.

use reqwest::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json};
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

/// Every path of the API with the methods that it takes.
const PATHS: &[(&str, &[&str])] = &[
    ("/", &["get"]),
    ("/health", &["get"]),
    ("/health/live", &["get"]),
    ("/health/ready", &["get"]),
    ("/metrics", &["get"]),
    ("/ingest", &["post"]),
    ("/ingest/bulk", &["post"]),
    ("/stats", &["get"]),
    ("/query/{user_id}", &["get"]),
    ("/files/{file_id}", &["get", "patch", "delete"]),
    ("/drives/{user_id}", &["get"]),
    ("/drives/{user_id}/children", &["get"]),
    ("/drives/{user_id}/tree", &["get"]),
    ("/drives/{user_id}/sync", &["post"]),
    ("/drives/{user_id}/path/{path}", &["get", "put", "delete"]),
    ("/drives/{user_id}/batch", &["post"]),
    ("/drives/{user_id}/folders", &["post"]),
    ("/drives/{user_id}/trash", &["get", "delete"]),
    ("/drives/{user_id}/trash/{entry_id}/restore", &["post"]),
    ("/folders/{folder_id}", &["get", "patch", "delete"]),
    ("/collections", &["get"]),
    ("/collections/{collection}", &["get", "put"]),
    ("/records/{collection}", &["get", "post"]),
    ("/records/{collection}/{key}", &["get", "put", "patch", "delete"]),
    ("/store", &["post"]),
    ("/store/{userId}", &["get"]),
    ("/shards", &["get"]),
    ("/write", &["post"]),
    ("/read/{key}", &["get"]),
    ("/data", &["get", "post"]),
    ("/data/{id}", &["get"]),
    ("/admin/shards", &["post"]),
    ("/admin/moves", &["get", "post"]),
    ("/admin/moves/{id}", &["get"]),
    ("/admin/moves/{id}/cancel", &["post"]),
    ("/admin/moves/{id}/rollback", &["post"]),
    ("/admin/moves/{id}/finish", &["post"]),
    ("/admin/drain", &["post"]),
    ("/admin/rebalance", &["post"]),
    ("/admin/analysis", &["get"]),
    ("/admin/audit", &["get"]),
    ("/openapi.json", &["get"]),
];

/// Paths whose `GET` needs more than there is in an empty cluster: a move, a question.
const ASKING: [&str; 2] = ["/admin/moves/{id}", "/admin/analysis"];

#[tokio::test]
async fn it_says_what_it_is_and_how_it_is() {
    let mut cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let expected =
        json!({"service": "shardrive", "status": "running", "num_shards": 2, "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(api.get_json("/").await, (StatusCode::OK, expected));
    let expected = json!({"status": "healthy", "shards": {"shard_0": "healthy", "shard_1": "healthy"},
            "layer": "4-db-sharding", "circuits": {"shard_0": "closed", "shard_1": "closed"}, "cache": "disabled"});
    assert_eq!(api.get_json("/health").await, (StatusCode::OK, expected.clone()));
    assert_eq!(api.get_json("/health/live").await, (StatusCode::OK, json!({"status": "live"})));
    assert_eq!(api.get_json("/health/ready").await, (StatusCode::OK, json!({"status": "ready"})));

    let health = |status: &'static str| {
        let api = &api;
        poll::until("the health to change", async move || {
            let (code, health) = api.get_json("/health").await;
            if health["status"] == status { Ok((code, health)) } else { Err(health) }
        })
    };
    cluster.server(1).stop().await;
    let (code, found) = health("degraded").await;
    assert_eq!((code, &found["shards"]["shard_1"]), (StatusCode::OK, &json!("unreachable")));
    assert_eq!(api.get("/health/ready").await.status(), StatusCode::OK, "others are served");

    cluster.server(0).stop().await;
    let (code, _) = health("unhealthy").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(api.get("/health/live").await.status(), StatusCode::OK);
    let ready = api.get("/health/ready").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.headers().contains_key(RETRY_AFTER));
    assert_eq!(ready.headers()[CONTENT_TYPE], "application/problem+json");

    cluster.server(0).start().await.unwrap();
    cluster.server(1).start().await.unwrap();
    // On trial first, and closed a moment later.
    poll::until("closed circuits", async || match api.get_json("/health").await {
        found if found == (StatusCode::OK, expected.clone()) => Ok(()),
        other => Err(other),
    })
    .await;
}

/// A path of the document with its examples filled in.
fn filled(path: &str, operation: &Value) -> String {
    operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path").fold(
        path.to_owned(),
        |path, parameter| {
            let example = &parameter["example"];
            let text = example.as_str().map_or(example.to_string(), str::to_owned);
            path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &text)
        },
    )
}

#[tokio::test]
async fn keys_are_taken_where_the_document_says_so() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let declared = json!({"shard_key": "user_id", "key_type": "integer"});
    assert!(
        api.request(Method::PUT, "/collections/orders").json(&declared).send().await.unwrap().status().is_success()
    );
    let (_, document) = api.get_json("/openapi.json").await;
    let (mut takers, unfit) = (0, "x".repeat(256));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let described = operation.to_string().contains("#/components/parameters/IdempotencyKey");
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = api.request(method.clone(), &filled(path, operation)).header("Idempotency-Key", &unfit);
            let request = match &operation["requestBody"]["content"]["application/json"]["example"] {
                Value::Null => request,
                example => request.json(example),
            };
            let answer: Value = request.send().await.unwrap().json().await.unwrap_or_default();
            let refused = answer["code"] == "invalid_header" && answer["field"] == "Idempotency-Key";
            assert_eq!(refused, described, "{method} {path}: {}", answer["detail"]);
            takers += usize::from(described);
        }
    }
    assert!(takers > 10, "{takers}");
}

#[tokio::test]
async fn parameters_take_the_words_that_the_document_lists_and_no_others() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let declared = json!({"shard_key": "user_id", "key_type": "integer"});
    assert!(
        api.request(Method::PUT, "/collections/orders").json(&declared).send().await.unwrap().status().is_success()
    );
    let (_, document) = api.get_json("/openapi.json").await;
    let mut lists = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let Some(words) = parameter["schema"]["enum"].as_array() else { continue };
                lists += 1;
                let name = parameter["name"].as_str().unwrap();
                let ask = async |word: &str| {
                    let user = if word == "lsjson" && method == "post" { "&user_id=1" } else { "" };
                    let target = format!("{}?{name}={word}{user}", filled(path, operation));
                    let request = api.request(method.to_uppercase().parse().unwrap(), &target);
                    let request =
                        if method == "post" { request.header("Content-Type", "text/csv").body("") } else { request };
                    request.send().await.unwrap().text().await.unwrap()
                };
                for word in words {
                    let answer = ask(word.as_str().unwrap()).await;
                    assert!(!answer.contains("invalid_query"), "{method} {path} {name}={word}: {answer}");
                }
                let answer = ask("none-of-them").await;
                assert!(answer.contains("invalid_query"), "{method} {path} {name}: {answer}");
            }
        }
    }
    assert!(lists >= 7, "{lists}");
}

#[tokio::test]
async fn the_document_describes_every_path_and_the_page_needs_nobody_else() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let (status, document) = api.get_json("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), PATHS.len());
    for &(path, methods) in PATHS {
        let mut described: Vec<_> = paths[path].as_object().unwrap().keys().map(String::as_str).collect();
        described.sort_unstable();
        let mut expected = methods.to_vec();
        expected.sort_unstable();
        assert_eq!(described, expected, "{path}");
    }
    assert_eq!(shardrive(&["openapi"], &[]).await.json(), document);

    let redirect = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let redirect = redirect.get(format!("{}/docs", api.base())).send().await.unwrap();
    assert_eq!(
        (redirect.status(), &redirect.headers()[LOCATION]),
        (StatusCode::PERMANENT_REDIRECT, &"docs/".parse().unwrap())
    );
    let page = api.get("/docs").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    let page = page.text().await.unwrap();
    assert!(!page.contains("://") && !page.contains("=\"//"), "{page}");
    let links: Vec<_> = page
        .split(['"', '\''])
        .filter(|text| text.starts_with("./") || text.ends_with(".js") || text.ends_with(".css"))
        .collect();
    assert!(links.len() >= 4, "{page}");
    for link in links {
        let answer = api.get(&format!("/docs/{}", link.trim_start_matches("./"))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{link}");
        assert!(!answer.bytes().await.unwrap().is_empty(), "{link}");
    }
    let start = api.get("/docs/swagger-initializer.js").await.text().await.unwrap();
    assert!(start.contains("../openapi.json") && !start.contains("petstore"), "{start}");
}

#[tokio::test]
async fn head_is_get_without_the_body_and_other_methods_are_named() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (_, stored) = api.post_json("/ingest", &json!({"user_id": 1, "file_name": "a"})).await;
    let file = stored["data"]["file_id"].as_str().unwrap().to_owned();
    api.post_json("/write", &json!({"key": "a", "value": 1})).await;
    api.post_json("/store", &json!({"userId": 1, "data": 1})).await;
    let (_, stored) = api.post_json("/data", &json!({"a": 1})).await;
    let object = stored["id"].as_str().unwrap();
    let (_, made) = api.post_json("/drives/1/folders", &json!({"path": "letters"})).await;
    let folder = made["data"]["folder_id"].as_str().unwrap();
    for &(path, methods) in PATHS {
        let parts = [
            ("{user_id}", "1"),
            ("{userId}", "1"),
            ("{file_id}", &file),
            ("{folder_id}", folder),
            ("{entry_id}", folder),
            ("{path}", "letters"),
            ("{collection}", "kv"),
            ("{key}", "a"),
            ("{id}", object),
        ];
        let target = parts.iter().fold(path.to_owned(), |target, (part, value)| target.replace(part, value));
        let mut allowed: Vec<_> = methods.iter().map(|method| method.to_uppercase()).collect();
        if methods.contains(&"get") {
            allowed.push("HEAD".to_owned());
            let get = api.get(&target).await;
            let head = api.request(Method::HEAD, &target).send().await.unwrap();
            assert_eq!(head.status(), get.status(), "{path}");
            assert_eq!(get.status() == StatusCode::OK, !ASKING.contains(&path), "{path}");
            assert_eq!(head.headers()[CONTENT_TYPE], get.headers()[CONTENT_TYPE], "{path}");
            assert!(head.bytes().await.unwrap().is_empty(), "{path}");
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if allowed.iter().any(|name| name == method) {
                continue;
            }
            let request = api.request(method.parse().unwrap(), &target);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.headers()[ALLOW], allowed.join(", "), "{method} {path}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json", "{method} {path}");
        }
    }
    let stream = api.request(Method::HEAD, "/query/1").header("Accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(stream.headers()[CONTENT_TYPE], "application/x-ndjson");
    assert!(stream.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn requests_keep_a_sane_id_and_get_one_otherwise() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = async |id: &[u8]| {
        let request =
            api.request(Method::GET, "/files/nonsense").header("X-Request-Id", id).header("traceparent", trace);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["traceparent"], trace);
        let header = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let (status, problem): (_, Value) = json(answer).await;
        assert_eq!((status, &problem["request_id"]), (StatusCode::BAD_REQUEST, &json!(header)));
        header
    };
    assert_eq!(ask(b"order-7/3").await, "order-7/3");
    for nonsense in [&b""[..], b"two words", b"\xff\xfe", "ü".as_bytes(), &[b'x'; 129], &[b'x'; 8_000]] {
        let id = ask(nonsense).await;
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    }
}
