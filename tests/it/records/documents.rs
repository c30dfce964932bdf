//! Documents in collections: stored, found, changed on a condition, listed and loaded, each on its own shard only.

use reqwest::header::{ETAG, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json as parts};
use crate::support::moves::Move;
use crate::support::servers::{TestCluster, sqlstate};

async fn call(api: &Api, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> (StatusCode, Value) {
    let request =
        headers.iter().fold(api.request(method, path), |request, (name, value)| request.header(*name, *value));
    parts(request.json(body).send().await.unwrap()).await
}

async fn declare(api: &Api, name: &str, body: Value) {
    let (status, answer) = call(api, Method::PUT, &format!("/collections/{name}"), &[], &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

#[tokio::test]
async fn a_collection_is_declared_once_and_for_all() {
    let cluster = TestCluster::migrated(2).await;
    let (first, second) = (Api::start(&cluster).await, Api::start(&cluster).await);
    let orders = json!({"shard_key": "user_id", "key_type": "integer", "records_per_key": "many"});
    declare(&first, "orders", orders.clone()).await;
    let (status, answer) = call(&second, Method::PUT, "/collections/orders", &[], &orders).await;
    assert_eq!((status, &answer["collection"]["shard_key"]), (StatusCode::OK, &json!("user_id")));
    let other = json!({"shard_key": "id", "key_type": "integer", "records_per_key": "many"});
    let (status, answer) = call(&second, Method::PUT, "/collections/orders", &[], &other).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("collection_differs")));

    let (_, all) = first.get_json("/collections").await;
    let names: Vec<_> = all["collections"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["data", "kv", "orders", "store"]);
    let (status, answer) = second.post_json("/records/orders", &json!({"user_id": 7, "total": 9.50})).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(second.get("/collections/nobody").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(second.get_json("/records/nobody/1").await.1["code"], "collection_not_found");

    for (body, field) in [
        (json!({"shard_key": "a"}), "key_type"),
        (json!({}), "key_type"),
        (json!({"key_type": "float"}), "key_type"),
        (json!({"key_type": "string", "records_per_key": "many"}), "shard_key"),
        (json!({"key_type": "string", "shard_key": ""}), "shard_key"),
        (json!({"key_type": "string", "owner": 1}), "owner"),
    ] {
        let (status, answer) = call(&first, Method::PUT, "/collections/bad", &[], &body).await;
        assert_eq!((status, answer["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{body}: {answer}");
    }
    let (status, answer) = call(&first, Method::PUT, "/collections/No", &[], &orders).await;
    assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("collection")));
}

#[tokio::test]
async fn the_settings_declare_collections_too_also_on_a_shard_that_lost_one() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_COLLECTIONS", "profiles:user_id:integer")]).await;
    assert_eq!(api.get("/collections/profiles").await.status(), StatusCode::OK);
    cluster.psql(1, "DELETE FROM shardrive.collections WHERE name = 'profiles'").await.unwrap();
    let again = Api::start(&cluster).await;
    assert_eq!(again.get("/collections/profiles").await.status(), StatusCode::OK);
    let there: i64 = cluster.value(1, "SELECT count(*) FROM shardrive.collections WHERE name = 'profiles'").await;
    assert_eq!(there, 1, "it was brought back");

    let mut wrong = cluster.variables();
    wrong.push(("SHARDRIVE_COLLECTIONS".to_owned(), "profiles:name:string".to_owned()));
    let log = Api::try_start(&wrong).await.err().expect("it must not start");
    assert!(log.contains("SHARDRIVE_COLLECTIONS") && log.contains("profiles"), "{log}");
}

#[tokio::test]
async fn a_document_lives_under_its_key_on_one_shard() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    declare(&api, "profiles", json!({"shard_key": "user_id", "key_type": "integer"})).await;

    // As it was written: the order of fields, and numbers that a float would change.
    let text = r#"{"user_id":42,"z":1.50,"a":123456789012345678901234567890}"#;
    let put = api.request(Method::PUT, "/records/profiles/42").body(text).header("content-type", "application/json");
    let answer = put.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()[LOCATION], "/records/profiles/42");
    let etag = answer.headers()[ETAG].to_str().unwrap().to_owned();
    let answer = api.get("/records/profiles/42").await;
    assert_eq!(answer.headers()[ETAG].to_str().unwrap(), etag);
    let body = answer.text().await.unwrap();
    assert!(body.contains(text), "{body}");
    let (_, found) = api.get_json("/records/profiles/42").await;
    assert_eq!((&found["shard_id"], &found["key"]), (&json!(0), &json!("42")));
    assert_eq!(format!("\"{}\"", found["version"]), etag);

    let (status, _) = call(&api, Method::PUT, "/records/profiles/42", &[], &json!({"theme": "dark"})).await;
    assert_eq!(status, StatusCode::OK);
    let (_, changed) = api.get_json("/records/profiles/42").await;
    assert!(changed["version"].as_i64() > found["version"].as_i64());
    assert_eq!(changed["created_at"], found["created_at"]);
    for shard in 0..3 {
        let rows: i64 = cluster.value(shard, "SELECT count(*) FROM records").await;
        assert_eq!(rows, i64::from(shard == 0), "only on shard 0");
    }

    let (status, answer) = call(&api, Method::PUT, "/records/profiles/42", &[], &json!({"user_id": 43})).await;
    assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("user_id")));
    let (status, answer) = call(&api, Method::POST, "/records/profiles", &[], &json!({"user_id": 42})).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("record_exists")));
    assert_eq!(call(&api, Method::DELETE, "/records/profiles/42", &[], &json!(null)).await.0, StatusCode::OK);
    assert_eq!(api.get_json("/records/profiles/42").await.1["code"], "record_not_found");
    assert_eq!(call(&api, Method::DELETE, "/records/profiles/42", &[], &json!(null)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn conditions_are_kept() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let path = "/records/kv/a";
    let put = async |headers: &[(&str, &str)], body: Value| call(&api, Method::PUT, path, headers, &body).await;
    assert_eq!(put(&[("if-match", "*")], json!(0)).await.0, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put(&[("if-match", "\"1\"")], json!(0)).await.0, StatusCode::PRECONDITION_FAILED);
    let (status, first) = put(&[("if-none-match", "*")], json!(1)).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(put(&[("if-none-match", "*")], json!(2)).await.0, StatusCode::PRECONDITION_FAILED);
    let tag = format!("\"{}\"", first["version"]);
    let (status, second) = put(&[("if-match", &tag)], json!(3)).await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = put(&[("if-match", &tag)], json!(4)).await;
    assert_eq!((status, &answer["code"]), (StatusCode::PRECONDITION_FAILED, &json!("precondition_failed")));
    assert_eq!(put(&[("if-match", "3")], json!(4)).await.1["code"], "invalid_header");

    let current = format!("\"{}\"", second["version"]);
    let known = api.request(Method::GET, path).header("if-none-match", &current).send().await.unwrap();
    assert_eq!((known.status(), known.text().await.unwrap()), (StatusCode::NOT_MODIFIED, String::new()));
    assert_eq!(
        call(&api, Method::PATCH, path, &[("if-match", &tag)], &json!(9)).await.0,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        call(&api, Method::DELETE, path, &[("if-match", &tag)], &json!(9)).await.0,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(api.get_json(path).await.1["document"], json!(3), "nothing of all that was done");

    // A version does not come back with a document that comes back.
    assert_eq!(call(&api, Method::DELETE, path, &[("if-match", &current)], &json!(null)).await.0, StatusCode::OK);
    let (_, third) = put(&[], json!(5)).await;
    assert!(third["version"].as_i64() > second["version"].as_i64());
}

#[tokio::test]
async fn patches_of_many_add_up() {
    let cluster = TestCluster::migrated(2).await;
    let (first, second) = (Api::start(&cluster).await, Api::start(&cluster).await);
    call(&first, Method::PUT, "/records/kv/doc", &[], &json!({"keep": 1, "drop": 2})).await;
    let patches = (0..64).map(|number| {
        let api = if number % 2 == 0 { &first } else { &second };
        async move {
            let patch = json!({ format!("f{number}"): number, "drop": null });
            let (status, answer) = call(api, Method::PATCH, "/records/kv/doc", &[], &patch).await;
            (number, status, answer)
        }
    });
    let done: Vec<_> = futures_util::future::join_all(patches).await;
    let (_, found) = second.get_json("/records/kv/doc").await;
    let document = found["document"].as_object().unwrap();
    for (number, status, answer) in &done {
        assert_eq!(*status, StatusCode::OK, "{answer}");
        assert_eq!(document[&format!("f{number}")], json!(number));
    }
    assert_eq!((document.len(), document.contains_key("drop")), (done.len() + 1, false));
}

#[tokio::test]
async fn many_documents_share_a_key_and_are_listed_newest_first() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    declare(&api, "orders", json!({"shard_key": "user_id", "key_type": "integer", "records_per_key": "many"})).await;
    let mut keys = Vec::new();
    for number in 0..25 {
        let (status, answer) = api.post_json("/records/orders", &json!({"user_id": 8, "number": number})).await;
        assert_eq!((status, &answer["shard_id"]), (StatusCode::CREATED, &json!(2)), "{answer}");
        keys.push(answer["key"].as_str().unwrap().to_owned());
        api.post_json("/records/orders", &json!({"user_id": 9 + number, "number": -1})).await;
    }
    assert!(keys.is_sorted());
    let (_, one) = api.get_json(&format!("/records/orders/{}", keys[3])).await;
    assert_eq!(one["document"], json!({"user_id": 8, "number": 3}));

    let list = async |query: &str| {
        let (mut numbers, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (status, page) = api.get_json(&format!("/records/orders?{query}{cursor}")).await;
            assert_eq!((status, &page["complete"]), (StatusCode::OK, &json!(true)), "{page}");
            numbers.extend(page["records"].as_array().unwrap().iter().map(|one| one["document"]["number"].clone()));
            pages += 1;
            match page["next_cursor"].as_str() {
                None => return (numbers, pages),
                Some(next) => cursor = format!("&cursor={next}"),
            }
        }
    };
    let (numbers, pages) = list("shard_key=8&limit=10").await;
    assert_eq!((numbers, pages), ((0..25).rev().map(|number| json!(number)).collect(), 3));
    let (all, pages) = list("limit=7").await;
    assert_eq!((all.len(), pages), (50, 8));
    assert_eq!(list("shard_key=777").await.0.len(), 0);

    let path = format!("/records/orders/{}", keys[0]);
    let (status, answer) = call(&api, Method::PUT, &path, &[], &json!({"user_id": 9})).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("shard_key_fixed")));
    assert_eq!(call(&api, Method::PUT, &path, &[], &json!({"user_id": 8})).await.0, StatusCode::OK);
    assert_eq!(call(&api, Method::PATCH, &path, &[], &json!({"user_id": 9})).await.1["code"], "shard_key_fixed");
    let nobody = "/records/orders/0199aaaa-0000-7000-8000-000000000000";
    assert_eq!(call(&api, Method::PUT, nobody, &[], &json!({"user_id": 8})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get_json("/records/orders?shard_key=x").await.1["field"], "shard_key");
    assert_eq!(api.get_json("/records/orders?cursor=x").await.1["field"], "cursor");
    assert_eq!(api.get_json("/records/data?shard_key=1").await.1["field"], "shard_key");
}

#[tokio::test]
async fn a_stream_of_documents_is_stored_and_says_what_was_not() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    declare(&api, "words", json!({"shard_key": "word", "key_type": "string"})).await;
    let mut lines: Vec<String> = (0..3000).map(|n| json!({"word": format!("w{n}"), "n": n}).to_string()).collect();
    lines[10] = "{\"word\": 1}".into();
    lines[11] = "nonsense".into();
    lines[12] = String::new();
    lines[13] = format!("{{\"word\":\"x\",\"n\":\"{}\"}}", "x".repeat(2 << 20));
    // The later one stays.
    lines.push(json!({"word": "w0", "n": "again"}).to_string());
    let (status, answer) = parts(api.send("/records/words", "application/x-ndjson", lines.join("\n")).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["stored"], &answer["replaced"], &answer["rejected"]), (&json!(2997), &json!(1), &json!(3)));
    let places: Vec<_> = answer["rejections"].as_array().unwrap().iter().map(|one| one["line"].clone()).collect();
    assert_eq!(places, [11, 12, 14]);
    assert_eq!(answer["rejections"][0]["field"], "word");
    assert_eq!(api.get_json("/records/words/w0").await.1["document"]["n"], "again");
    let rows = async |shard| cluster.value::<i64>(shard, "SELECT count(*) FROM records").await;
    assert_eq!(rows(0).await + rows(1).await, 2996);

    let (status, answer) = parts(api.send("/records/kv", "application/x-ndjson", "{\"a\":1}").await).await;
    assert_eq!((status, &answer["rejected"]), (StatusCode::OK, &json!(1)), "there is no key in it: {answer}");
}

#[tokio::test]
async fn the_guard_and_the_counts_cover_documents() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for key in 0..40 {
        call(&api, Method::PUT, &format!("/records/kv/k{key}"), &[], &json!("x".repeat(key))).await;
    }
    call(&api, Method::PUT, "/records/kv/k1", &[], &json!("longer than before")).await;
    call(&api, Method::DELETE, "/records/kv/k2", &[], &json!(null)).await;
    for shard in 0..2 {
        let counted: (i64, i64) = (
            cluster.value(shard, "SELECT sum(rows)::bigint FROM shardrive.record_totals").await,
            cluster.value(shard, "SELECT sum(bytes)::bigint FROM shardrive.record_totals").await,
        );
        let there: (i64, i64) = (
            cluster.value(shard, "SELECT count(*) FROM records").await,
            cluster.value(shard, "SELECT coalesce(sum(octet_length(document::text)), 0)::bigint FROM records").await,
        );
        assert_eq!(counted, there);
    }
    // By hand, as people do it: the slot is found, and the wrong shard refuses.
    let insert = "INSERT INTO records (collection, key, document) VALUES ('kv', 'user:123', '\"by hand\"')";
    let refused = cluster.psql(0, insert).await.unwrap_err().to_string();
    assert!(refused.contains("belongs to shard 1"), "{refused}");
    cluster.psql(1, insert).await.unwrap();
    assert_eq!(api.get_json("/read/user:123").await.1["value"], "by hand");
    let before = api.get_json("/records/kv/user:123").await.1["version"].clone();
    cluster.psql(1, "UPDATE records SET document = '1' WHERE key = 'user:123'").await.unwrap();
    assert!(api.get_json("/records/kv/user:123").await.1["version"].as_i64() > before.as_i64());
    assert!(cluster.psql(0, "INSERT INTO records (collection, key, document) VALUES ('no', 'a', '1')").await.is_err());
    // The service would look for these under another key, or in another slot.
    for (columns, values) in [("key", "'016'"), ("key", "' 16'"), ("key", "'+16'"), ("key, shard_key", "'16', '18'")] {
        let insert = format!("INSERT INTO records (collection, document, {columns}) VALUES ('store', '1', {values})");
        assert_eq!(sqlstate(cluster.psql(0, &insert).await), "23514", "{insert}");
    }
    cluster.psql(0, "INSERT INTO records (collection, key, document) VALUES ('store', '16', '1')").await.unwrap();
    for key in ["", "a", "user:123", "test_key", "product:456", "unicode_测试_key"] {
        let slot: i32 = cluster.value(0, &format!("SELECT shardrive.slot_of('{key}'::text)")).await;
        assert_eq!(slot, shardrive::shard::Slot::of_key(key).to_sql(), "{key}");
    }
    cluster.psql(0, "TRUNCATE records").await.unwrap();
    let left: i64 = cluster.value(0, "SELECT sum(rows)::bigint FROM shardrive.record_totals").await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn documents_follow_their_slot_unseen() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let key = "moving";
    let slot = shardrive::shard::Slot::of_key(key);
    let (from, to) = (usize::from(slot.number() % 2), usize::from(1 - slot.number() % 2));
    call(&api, Method::PUT, "/records/kv/moving", &[], &json!(1)).await;
    let mut there = Move::new(&cluster, &[slot.to_sql()], from, to).await;
    there.leave().await;
    there.copy().await;
    there.arrive().await;

    let (status, found) = api.get_json("/records/kv/moving").await;
    assert_eq!((status, &found["shard_id"]), (StatusCode::OK, &json!(to)), "{found}");
    let (status, _) = call(&api, Method::PATCH, "/records/kv/moving", &[], &json!({"a": 1})).await;
    assert_eq!(status, StatusCode::OK);
    let (_, page) = api.get_json("/records/kv").await;
    assert_eq!(page["record_count"], 1, "the copy on the old shard counts nowhere: {page}");
    there.clean().await;
    Move::new(&cluster, &[slot.to_sql()], to, from).await.run().await;
    let (status, answer) = call(&api, Method::PUT, "/records/kv/moving", &[], &json!(2)).await;
    assert_eq!((status, &answer["shard_id"]), (StatusCode::OK, &json!(from)));
}

#[tokio::test]
async fn a_lost_shard_costs_its_own_documents_alone() {
    let mut cluster = TestCluster::migrated(2).await;
    let api = Api::start_with(&cluster, &crate::support::api::AS_SHIPPED).await;
    for key in ["a", "product:456"] {
        call(&api, Method::PUT, &format!("/records/kv/{key}"), &[], &json!(key)).await; // on shards 1 and 0
    }
    cluster.server(1).stop().await;
    crate::support::poll::until("the loss to be noticed", async || {
        let (status, _) = api.get_json("/records/kv/a").await;
        if status == StatusCode::SERVICE_UNAVAILABLE { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(api.get("/records/kv/product:456").await.status(), StatusCode::OK);
    let (status, page) = api.get_json("/records/kv").await;
    assert_eq!((status, &page["complete"], &page["missing_shards"]), (StatusCode::OK, &json!(false), &json!([1])));
    assert_eq!(page["record_count"], 1);
    let (status, _) = call(&api, Method::PUT, "/collections/new", &[], &json!({"key_type": "string"})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "every shard must know a collection");
}
