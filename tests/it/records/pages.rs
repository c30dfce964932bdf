//! Lists of large documents: a page costs what it holds, and says that there is more.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::support::api::Api;
use crate::support::servers::{TestCluster, run, value};

/// Documents of a megabyte, in one statement; each user's go to a shard of their own.
async fn store_large(cluster: &TestCluster, shard: usize, users: &str, documents: usize) {
    let insert = format!(
        "INSERT INTO records (collection, key, slot, shard_key, document)
         SELECT 'orders', to_char(n, 'FM00000') || '-' || u, shardrive.slot_of(u), u::text,
                json_build_object('user_id', u, 'n', n, 'text', repeat('x', 1000000))
           FROM unnest(ARRAY[{users}]::bigint[]) AS u, generate_series(1, {documents}) AS n"
    );
    cluster.psql(shard, &insert).await.unwrap();
}

/// All documents of a listing, page by page; no page is empty, and none is larger than its bound.
async fn all_pages(api: &Api, query: &str) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = api.get(&format!("/records/orders?{query}{cursor}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.text().await.unwrap();
        assert!(text.len() < 4 << 20, "{} bytes", text.len());
        let page: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&page["complete"], &page["missing_shards"]), (&json!(true), &Value::Null), "{query}");
        let records = page["records"].as_array().unwrap();
        assert!((1..=3).contains(&records.len()), "{} records", records.len());
        keys.extend(records.iter().map(|record| record["key"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            None => return keys,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

#[tokio::test]
async fn large_documents_come_in_pages_of_what_they_weigh() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    let orders = json!({"shard_key": "user_id", "key_type": "integer", "records_per_key": "many"});
    api.request(reqwest::Method::PUT, "/collections/orders").json(&orders).send().await.unwrap();
    for shard in 0..3 {
        store_large(&cluster, shard, &shard.to_string(), 6).await;
    }
    for limit in ["limit=1000", "limit=100"] {
        let keys = all_pages(&api, limit).await;
        assert!(keys.is_sorted_by(|a, b| a > b), "{keys:?}");
        assert_eq!(keys.len(), 18);
        assert_eq!(all_pages(&api, &format!("shard_key=1&{limit}")).await.len(), 6);
    }
}

/// How many blocks a statement looks at.
async fn blocks(db: &mut PgConnection, statement: &str, arguments: &str) -> u64 {
    run(db, &format!("PREPARE page AS {statement}")).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE page ({arguments})");
    let plan: Value = value(db, &explain).await;
    run(db, "DEALLOCATE page").await.unwrap();
    let count = |name: &str| plan[0]["Plan"][name].as_u64().unwrap();
    count("Shared Hit Blocks") + count("Shared Read Blocks")
}

/// Forty documents that do not pack well are thousands of blocks; a page looks at the documents alone that it holds.
#[tokio::test]
async fn a_page_does_not_look_into_documents_behind_its_end() {
    let cluster = TestCluster::migrated(1).await;
    let mut db = cluster.connect(0).await;
    let insert = "INSERT INTO records (collection, key, slot, shard_key, document)
        SELECT 'data', 'k' || n, 0, 's', to_json((SELECT string_agg(md5(random()::text || n || m), '') FROM generate_series(1, 6000) AS m))
          FROM generate_series(1, 40) AS n";
    run(&mut db, insert).await.unwrap();
    run(&mut db, "ANALYZE records").await.unwrap();
    let text_blocks: i64 =
        value(&mut db, "SELECT pg_relation_size(reltoastrelid) / 8192 FROM pg_class WHERE relname = 'records'").await;
    assert!(text_blocks > 800, "{text_blocks}");
    let newest = include_str!("../../../sql/records/list_newest.sql");
    let by_key = include_str!("../../../sql/records/list_by_key.sql");
    let of_key = include_str!("../../../sql/records/list_of_key.sql");
    let find = include_str!("../../../sql/records/find_batch.sql");
    let keys: Vec<_> = (1..=40).map(|n| format!("k{n}")).collect();
    for (statement, arguments) in [
        (newest, "'data', 'z', 0, 1001, 0"),
        (by_key, "'data', '', 0, 1001, 0"),
        (of_key, "'data', 's', 0, 'z', 0, 1001, 0"),
        (find, &format!("array_fill('data'::text, ARRAY[40]), '{{{}}}', array_fill(0, ARRAY[40])", keys.join(","))),
    ] {
        let looked_at = blocks(&mut db, statement, arguments).await;
        assert!(looked_at < 400, "{looked_at} blocks for {arguments}");
    }
    let packed: i64 =
        value(&mut db, "SELECT count(*) FROM records WHERE size_bytes <> octet_length(document::text)").await;
    assert_eq!(packed, 0);
}
