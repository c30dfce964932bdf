//! Files in: one by one, and test files by count; and what `/stats` makes of them.

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::api::{Api, json};
use crate::support::servers::TestCluster;

#[tokio::test]
async fn a_file_is_stored_with_all_that_is_known_of_it() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let answer = api.post("/ingest", &json!({"user_id": 123, "file_name": "my_document.txt"})).await;
    let location = answer.headers()[LOCATION].to_str().unwrap().to_owned();
    let (status, body) = json(answer).await;
    let data = &body["data"];
    let id = data["file_id"].as_str().unwrap();
    assert_eq!((status, &location), (StatusCode::CREATED, &format!("/files/{id}")));
    let expected = json!({
        "success": true, "message": "File ingested into shard 1", "duplicate": false,
        "data": {
            "file_id": id, "user_id": 123, "file_name": "my_document.txt", "folder_id": null, "path": null,
            "mime_type": null, "checksum": null, "size_bytes": null, "modified_at": null,
            "created_at": data["created_at"], "updated_at": data["created_at"], "trashed": false, "content_ref": null, "shard_id": 1,
        },
    });
    assert_eq!(body, expected);
    assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert!(data["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(api.get_json(&location).await, (StatusCode::OK, json!({"success": true, "data": data})));

    let whole = json!({
        "user_id": i64::MAX, "file_name": "Größe 🦀.txt", "path": "a/b/Größe 🦀.txt", "file_id": Uuid::new_v4(),
        "size_bytes": i64::MAX, "mime_type": "text/plain", "checksum": "sha256:00", "content_ref": "s3://bucket/ö",
        "modified_at": "2024-02-29T23:59:59.1234569+01:00",
    });
    let (status, body) = api.post_json("/ingest", &whole).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let shard = i64::MAX % 5040 % 2;
    assert_eq!(body["data"]["shard_id"], shard);
    for (field, sent) in whole.as_object().unwrap() {
        let expected = if field == "modified_at" { &json!("2024-02-29T22:59:59.123456Z") } else { sent };
        assert_eq!(&body["data"][field], expected, "{field}");
    }
    let name: String = cluster
        .value(usize::try_from(shard).unwrap(), "SELECT path FROM files WHERE user_id = 9223372036854775807")
        .await;
    assert_eq!(name, "a/b/Größe 🦀.txt");
}

#[tokio::test]
async fn a_repeated_id_stores_nothing() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let id = Uuid::new_v4();
    let file = json!({"user_id": 1, "file_name": "a", "file_id": id, "size_bytes": 1});
    let (status, first) = api.post_json("/ingest", &file).await;
    assert_eq!((status, &first["duplicate"]), (StatusCode::CREATED, &json!(false)));

    let again = api.post("/ingest", &json!({"user_id": 1, "file_name": "other", "file_id": id})).await;
    assert_eq!(again.headers()[LOCATION], format!("/files/{id}?user_id=1"));
    let (status, again) = json(again).await;
    assert_eq!((status, &again["duplicate"]), (StatusCode::OK, &json!(true)));
    assert_eq!((&again["message"], &again["data"]), (&json!("File already in shard 1"), &first["data"]));

    let (_, stats) = api.get_json("/stats").await;
    assert_eq!(stats["total_records"], 1);
}

#[tokio::test]
async fn test_files_by_count_and_their_statistics() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let (status, empty) = api.get_json("/stats").await;
    assert_eq!((status, &empty["total_records"]), (StatusCode::OK, &json!(0)));
    assert_eq!(empty["shards"][0]["percentage"], 0.0);

    let (status, mut loaded) = api.post_json("/ingest/bulk?count=100", &json!({})).await;
    let records = loaded.as_object_mut().unwrap().remove("records").unwrap();
    let expected = json!({
        "success": true, "message": "Inserted 100 records", "inserted": 100, "duplicates": 0, "rejected": 0,
        "updated": 0, "unchanged": 0, "warned": 0, "folders": 0, "distribution": {"0": 50, "1": 50},
    });
    assert_eq!((status, loaded), (StatusCode::OK, expected));
    for (user, record) in records.as_array().unwrap().iter().enumerate() {
        let expected = json!({
            "file_id": record["file_id"], "user_id": user, "file_name": format!("file_{user}.txt"), "shard_id": user % 2,
        });
        assert_eq!(record, &expected);
    }
    let id = records[42]["file_id"].as_str().unwrap();
    assert_eq!(api.get_json(&format!("/files/{id}")).await.1["data"]["user_id"], 42);

    let share = |shard: usize, records: u64, percentage: f64| {
        json!({
            "shard_id": shard, "database": format!("drive_shard_{shard}"), "record_count": records,
            "percentage": percentage, "size_bytes": 0, "document_count": 0, "document_bytes": 0,
            "slots": 2520, "status": "healthy",
        })
    };
    let stats = |total: u64, shards: Value| {
        json!({
            "success": true, "complete": true, "total_records": total, "total_bytes": 0, "total_documents": 0,
            "total_shards": 2, "shards": shards,
            "shard_distribution": {"shard_0": shards[0]["record_count"], "shard_1": shards[1]["record_count"]},
            "num_shards": 2, "cache_available": false, "cache_hits": 0, "cache_misses": 0, "cache_hit_rate": 0.0,
            "cache_keys": null,
        })
    };
    let expected = stats(100, json!([share(0, 50, 50.0), share(1, 50, 50.0)]));
    let get_stats = async |path: &str| {
        let (status, mut stats) = api.get_json(path).await;
        // How many connections are open depends on the moment.
        let pools = stats.as_object_mut().unwrap().remove("shard_pool_sizes").unwrap();
        assert!(["shard_0", "shard_1"].iter().all(|shard| pools[shard].is_u64()), "{pools}");
        (status, stats)
    };
    for path in ["/stats", "/stats?exact=counts", "/stats?exact=scan"] {
        assert_eq!(get_stats(path).await, (StatusCode::OK, expected.clone()), "{path}");
    }

    // A body beside the count would be lost.
    let (status, refused) = api.post_json("/ingest/bulk?count=1", &json!({"user_id": 1, "file_name": "a"})).await;
    assert_eq!((status.as_u16(), &refused["code"]), (400, &json!("invalid_query")), "{refused}");
    let (_, more) = api.post_json("/ingest/bulk?count=1501", &json!({})).await;
    assert_eq!((&more["inserted"], &more["distribution"]), (&json!(1501), &json!({"0": 751, "1": 750})));
    assert_eq!(more["records"].as_array().unwrap().len(), 1000);
    let expected = stats(1601, json!([share(0, 801, 50.03), share(1, 800, 49.96)]));
    for path in ["/stats", "/stats?exact=scan"] {
        assert_eq!(get_stats(path).await.1, expected, "{path}");
    }
}

#[tokio::test]
async fn sizes_are_summed_and_a_missing_shard_is_not_invented() {
    let mut cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for (user, size) in [(1, 10), (1, 20), (2, 5)] {
        let (status, _) =
            api.post_json("/ingest", &json!({"user_id": user, "file_name": "a", "size_bytes": size})).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let (_, stats) = api.get_json("/stats").await;
    assert_eq!((&stats["total_bytes"], &stats["shards"][1]["size_bytes"]), (&json!(35), &json!(30)));
    assert_eq!(stats["shards"][1]["percentage"], 66.66);
    for key in ["a", "product:456", "user:123"] {
        api.post_json("/write", &json!({"key": key, "value": 12})).await;
    }
    for path in ["/stats", "/stats?exact=scan"] {
        let (_, stats) = api.get_json(path).await;
        assert_eq!((&stats["total_documents"], &stats["total_records"]), (&json!(3), &json!(3)), "{path}");
        assert_eq!(stats["shard_distribution"], json!({"shard_0": 2, "shard_1": 4}));
        assert_eq!(stats["shards"][1]["document_bytes"], 4);
    }

    cluster.server(1).stop().await;
    for path in ["/stats", "/stats?exact=scan"] {
        let (status, stats) = api.get_json(path).await;
        assert_eq!((status, &stats["complete"], &stats["total_records"]), (StatusCode::OK, &json!(false), &json!(1)));
        let missing = json!({
            "shard_id": 1, "database": "drive_shard_1", "record_count": null, "percentage": null,
            "size_bytes": null, "document_count": null, "document_bytes": null, "slots": null, "status": "unreachable",
        });
        assert_eq!(stats["shards"][1], missing, "{path}");
    }
}
