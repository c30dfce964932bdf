//! The commands that end by themselves: set-up, status, the document; and settings that are wrong.

use serde_json::{Value, json};

use crate::support::api::{Api, PROGRAM};
use crate::support::poll;
use crate::support::program::{shardrive, shardrive_unread};
use crate::support::servers::TestCluster;

#[tokio::test]
async fn migrate_makes_shards_and_can_be_repeated() {
    let cluster = TestCluster::start(2).await;
    let unready = shardrive(&["shards", "status"], &cluster.variables()).await;
    assert_eq!(unready.code, 1, "{unready:?}");
    assert!(unready.err.contains("SHARD_0_URL") && unready.err.contains("SHARD_1_URL"), "{unready:?}");
    for _ in 0..2 {
        let done = shardrive(&["migrate"], &cluster.variables()).await;
        assert_eq!((done.code, done.out.as_str()), (0, "2 shards are migrated\n"), "{done:?}");
    }
    let done = shardrive(&["shards", "status"], &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.out.matches("healthy").count(), 2, "{done:?}");
    assert_eq!(done.out.matches("2,520").count(), 2, "{done:?}");
}

#[tokio::test]
async fn status_names_a_shard_that_is_away() {
    let mut cluster = TestCluster::migrated(2).await;
    cluster.psql(0, "INSERT INTO file_metadata (user_id, file_name, size_bytes) VALUES (42, 'a', 7)").await.unwrap();
    cluster.server(1).stop().await;
    let done = shardrive(&["shards", "status"], &cluster.variables()).await;
    assert_eq!(done.code, 1, "{done:?}");
    let line = done.out.lines().find(|line| line.starts_with('1')).unwrap_or_else(|| panic!("{done:?}"));
    assert!(line.contains("unreachable") && line.contains('?'), "{done:?}");

    let done = shardrive(&["shards", "status", "--json"], &cluster.variables()).await;
    assert_eq!(done.code, 1, "{done:?}");
    let status = done.json();
    assert_eq!(status["complete"], false);
    let shards = status["shards"].as_array().unwrap();
    let pick = |shard: &Value| {
        json!([shard["shard_id"], shard["status"], shard["slots"], shard["record_count"], shard["size_bytes"]])
    };
    assert_eq!(pick(&shards[0]), json!([0, "healthy", 2520, 1, 7]));
    assert_eq!(pick(&shards[1]), json!([1, "unreachable", null, null, null]));
    assert!(!done.out.contains("shard_pass"), "{done:?}");
}

#[tokio::test]
async fn health_asks_the_service_of_the_settings_or_another() {
    let cluster = TestCluster::migrated(1).await;
    let mut api = Api::start_with(&cluster, &[("SHARDRIVE_DRAIN_DELAY_S", "3600")]).await;
    let bind = api.base().strip_prefix("http://").unwrap().to_owned();
    let own = [("BIND_ADDR".to_owned(), bind)];
    for arguments in [&["health"][..], &["health", "--ready"]] {
        // A machine that is busy with other tests answers later than a probe waits.
        let healthy = shardrive(&[arguments, &["--timeout", "60000"]].concat(), &own).await;
        assert_eq!(healthy.code, 0, "{healthy:?}");
    }
    api.sigterm();
    poll::until("a process that drains is alive and not ready", async || {
        let (alive, ready) = (shardrive(&["health"], &own).await, shardrive(&["health", "--ready"], &own).await);
        if (alive.code, ready.code) == (0, 1) && ready.err.contains("503") { Ok(()) } else { Err((alive, ready)) }
    })
    .await;
    api.kill9();
    let url = format!("{}/", api.base());
    let gone = shardrive(&["health", "--url", &url], &[]).await;
    assert_eq!(gone.code, 1, "{gone:?}");
    assert_eq!(shardrive(&["health"], &[("BIND_ADDR".to_owned(), "x".to_owned())]).await.code, 2);
}

#[tokio::test]
async fn a_reader_who_has_gone_away_is_no_fault() {
    let cluster = TestCluster::migrated(2).await;
    for (arguments, code) in [
        (&["shards", "status"][..], 0),
        (&["shards", "status", "--json"], 0),
        (&["shards", "verify"], 0),
        (&["shards", "audit"], 0),
        (&["shards", "move", "--slots", "0", "--to", "1", "--dry-run"], 0),
        (&["shards", "rebalance"], 0),
        (&["shards", "drain", "9"], 2),
        (&["openapi"], 0),
        (&["migrate"], 0),
        (&["--help"], 0),
    ] {
        let done = shardrive_unread(arguments, &cluster.variables()).await;
        assert_eq!(done, code, "{arguments:?}");
    }
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_a_fault() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = tokio::process::Command::new(PROGRAM);
    let started = command.arg("openapi").stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let done = started.wait_with_output().await.unwrap();
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && err.contains("could not be written"), "{err}");
}

#[tokio::test]
async fn the_schema_does_not_change_while_slots_move() {
    let cluster = TestCluster::migrated(2).await;
    let variables = cluster.variables();
    let begun = shardrive(&["shards", "move", "--slots", "0", "--to", "1", "--detach", "--json"], &variables).await;
    assert_eq!((begun.code, &begun.json()["ids"]), (0, &json!([1])), "{begun:?}");
    let nothing_new = shardrive(&["migrate"], &variables).await;
    assert_eq!(nothing_new.code, 0, "{nothing_new:?}");
    // As after an update of the program: a shard lacks its newest migration.
    cluster
        .psql(1, "DELETE FROM shardrive._sqlx_migrations WHERE version = (SELECT max(version) FROM shardrive._sqlx_migrations)")
        .await
        .unwrap();
    let count = "SELECT count(*) FROM shardrive._sqlx_migrations";
    let before: i64 = cluster.value(1, count).await;
    let refused = shardrive(&["migrate"], &variables).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("move 1") && refused.err.contains("cancel"), "{refused:?}");
    assert_eq!(cluster.value::<i64>(1, count).await, before, "nothing was changed");
}

#[tokio::test]
async fn the_document_is_printed() {
    let done = shardrive(&["openapi"], &[]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.json()["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn every_wrong_setting_is_named_at_once_and_no_secret_shown() {
    let variables = [
        ("SHARD_0_URL", "postgres://u:verysecret@127.0.0.1:1/a"),
        ("SHARD_1_URL", "postgres://u:verysecret@127.0.0.1:1/a"),
        ("SHARD_3_URL", "http://u:verysecret@127.0.0.1/"),
        ("NUM_SHARDS", "7"),
        ("DB_POOL_MAX_SIZE", "many"),
        ("SHARDRIVE_DB_POOL_MAX_SZIE", "8"),
        ("BIND_ADDR", "everywhere"),
        ("RUST_LOG", "shardrive=loud"),
        ("SHARDRIVE_LOG_FORMAT", "xml"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    for command in [&["serve"][..], &["migrate"], &["shards", "status"], &["shards", "verify"]] {
        let done = shardrive(command, &variables).await;
        assert_eq!(done.code, 2, "{command:?}: {done:?}");
        for name in [
            "SHARD_1_URL",
            "SHARD_2_URL",
            "SHARD_3_URL",
            "NUM_SHARDS",
            "DB_POOL_MAX_SIZE:",
            "SHARDRIVE_DB_POOL_MAX_SZIE",
            "did you mean SHARDRIVE_DB_POOL_MAX_SIZE?",
            "BIND_ADDR",
            "RUST_LOG",
            "SHARDRIVE_LOG_FORMAT",
        ] {
            assert!(done.err.contains(name), "{command:?}: {name} is not in {done:?}");
        }
        assert!(!done.err.contains("verysecret"), "{done:?}");
    }
}

#[tokio::test]
async fn wrong_usage_has_a_code_of_its_own() {
    for arguments in [&["fly"][..], &[], &["shards"], &["dev", "--shards", "0"], &["dev", "--shards", "65"]] {
        let done = shardrive(arguments, &[]).await;
        assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["import", "--help"]] {
        let done = shardrive(arguments, &[]).await;
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    }
}
