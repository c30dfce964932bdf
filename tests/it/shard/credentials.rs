//! Who signs in to the shards stands in the settings of each process, and nowhere in the shards.

use std::process::Command;

use serde_json::json;
use shardrive::local_servers::{PASSWORD, PostgresBinaries, database_name};
use shardrive::shard::{ShardOptions, migrate};

use crate::support::api::Api;
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::{CONNECT, TestCluster, run, value};

const PATIENT: [(&str, &str); 2] = [("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"), ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000")];

/// Three servers, of which the first two are a cluster, and a program that serves it.
async fn two_of_three() -> (TestCluster, Api) {
    let cluster = TestCluster::start(3).await;
    migrate(&cluster.options()[..2], CONNECT).await.unwrap();
    let api = Api::start_on(&cluster.urls()[..2], &PATIENT).await;
    (cluster, api)
}

/// The URL of a shard with another user and password, or with none.
fn url_by(cluster: &TestCluster, shard: usize, user: &str) -> String {
    let url = cluster.url(shard);
    let (_, place) = url.split_once('@').unwrap();
    format!("postgres://{user}{place}")
}

async fn until_three_are_healthy(api: &Api) {
    poll::until("the program to use three shards", async || {
        let (_, health) = api.get_json("/health").await;
        let healthy = health["shards"].as_object().unwrap().values().filter(|state| **state == "healthy").count();
        if healthy == 3 { Ok(()) } else { Err(health) }
    })
    .await;
}

async fn give_slots_to_the_third(settings: &[(String, String)]) {
    let done =
        shardrive(&["shards", "move", "--slots", "0,2,4", "--to", "2", "--rollback-window", "0", "--json"], settings)
            .await;
    assert_eq!((done.code, &done.json()[0]["stage"]), (0, &json!("done")), "{done:?}");
}

async fn store_on_each(api: &Api) {
    for (user, shard) in [(6, 0), (1, 1), (2, 2)] {
        let (status, stored) = api.post_json("/ingest", &json!({"user_id": user, "file_name": "f"})).await;
        assert_eq!((status.as_u16(), &stored["data"]["shard_id"]), (201, &json!(shard)), "{stored}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_a_shard_holds_no_password() {
    let (cluster, api) = two_of_three().await;
    for url in [cluster.url(2), url_by(&cluster, 2, "")] {
        let (status, added) = api.post_json("/admin/shards", &json!({"url": url})).await;
        assert_eq!((status.as_u16(), &added["shard_id"]), (200, &json!(2)), "{added}");
    }
    until_three_are_healthy(&api).await;
    give_slots_to_the_third(&cluster.variables()[..2]).await;
    store_on_each(&api).await;
    let dump = PostgresBinaries::find().unwrap().program("pg_dump");
    for shard in 0..3 {
        let dumped = Command::new(&dump).arg(cluster.url(shard)).output().unwrap();
        let text = String::from_utf8_lossy(&dumped.stdout);
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        for other in 0..3 {
            assert!(
                text.contains(&format!("{}/{}", cluster.port(other), database_name(other))),
                "shard {other} is listed"
            );
        }
        let lines: Vec<_> =
            text.lines().filter(|line| line.contains(PASSWORD) || line.contains("shard_user:")).collect();
        assert_eq!(lines, Vec::<&str>::new(), "shard {shard}");
    }
    let by_hand = "UPDATE shardrive.shards SET url = 'postgres://me:secret@host/d' WHERE shard_id = 2";
    let refused = cluster.psql(0, by_hand).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().constraint(), Some("shards_url_check"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_added_again_with_other_credentials() {
    let (cluster, api) = two_of_three().await;
    for (user, shard) in [("shard_user:wrong_pass@", 1), ("nobody:wrong_pass@", 0)] {
        let url = url_by(&cluster, shard, user);
        let (status, refused) = api.post_json("/admin/shards", &json!({"url": url})).await;
        let told = refused["detail"].as_str().unwrap();
        let named = told.contains(&format!("is shard {shard} already")) && !told.contains("wrong_pass");
        assert!(status.is_client_error() && named, "{refused}");
    }
    for shard in 0..2 {
        let (status, added) = api.post_json("/admin/shards", &json!({"url": cluster.url(shard)})).await;
        assert_eq!((status.as_u16(), &added["was_there"]), (200, &json!(true)), "{added}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_its_own_password_is_named_in_the_settings_first() {
    let (cluster, api) = two_of_three().await;
    cluster.psql(2, "CREATE ROLE other LOGIN SUPERUSER PASSWORD 'other_pass'").await.unwrap();
    let url = url_by(&cluster, 2, "other:other_pass@");
    let (status, refused) = api.post_json("/admin/shards", &json!({"url": url})).await;
    let told = refused["detail"].as_str().unwrap();
    assert!(
        status.is_client_error() && told.contains("SHARDRIVE_SHARD_2_SPARE_URL") && !told.contains("other_pass"),
        "{refused}"
    );
    let schemas: i64 = cluster.value(2, "SELECT count(*) FROM pg_namespace WHERE nspname = 'shardrive'").await;
    assert_eq!(schemas, 0);
    // It would sign in as to shard 0.
    drop(api);

    let spare = [PATIENT[0], PATIENT[1], ("SHARDRIVE_SHARD_2_SPARE_URL", &url)];
    let api = Api::start_on(&cluster.urls()[..2], &spare).await;
    let (status, added) = api.post_json("/admin/shards", &json!({"url": url})).await;
    assert_eq!((status.as_u16(), &added["shard_id"]), (200, &json!(2)), "{added}");
    until_three_are_healthy(&api).await;
    let mut settings = cluster.variables()[..2].to_vec();
    settings.push(("SHARDRIVE_SHARD_2_SPARE_URL".to_owned(), url));
    give_slots_to_the_third(&settings).await;
    store_on_each(&api).await;
    let users = "SELECT string_agg(DISTINCT usename, ',') FROM pg_stat_activity WHERE application_name = 'shardrive'";
    assert_eq!(cluster.value::<String>(2, users).await, "other");
}

/// As docs/security.md describes it: another role, then one process after the other, then the old role loses its
/// password.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rotated_while_all_serves() {
    let (cluster, old) = two_of_three().await;
    let (status, added) = old.post_json("/admin/shards", &json!({"url": url_by(&cluster, 2, "")})).await;
    assert_eq!(status, 200, "{added}");
    until_three_are_healthy(&old).await;
    let make = "CREATE ROLE next_user LOGIN SUPERUSER REPLICATION PASSWORD 'next_pass' IN ROLE shard_user";
    for shard in 0..3 {
        cluster.psql(shard, make).await.unwrap();
        cluster.psql(shard, "ALTER ROLE next_user SET role = shard_user").await.unwrap();
    }
    let urls: Vec<_> = (0..2).map(|shard| url_by(&cluster, shard, "next_user:next_pass@")).collect();
    let new = Api::start_on(&urls, &PATIENT).await;
    until_three_are_healthy(&new).await;
    // Both serve beside each other.
    for api in [&old, &new] {
        let (status, stored) = api.post_json("/ingest", &json!({"user_id": 1, "file_name": "f"})).await;
        assert_eq!(status, 201, "{stored}");
    }
    drop(old);
    let mut hands = Vec::new();
    for shard in 0..3 {
        let options = ShardOptions::parse(&url_by(&cluster, shard, "next_user:next_pass@")).unwrap();
        let mut hand = options.connect(CONNECT).await.unwrap();
        run(&mut hand, "ALTER ROLE shard_user PASSWORD NULL").await.unwrap();
        assert!(cluster.options()[shard].connect(CONNECT).await.is_err(), "the old password still opens shard {shard}");
        hands.push(hand);
    }
    let settings: Vec<_> = (0..2).map(|shard| (format!("SHARD_{shard}_URL"), urls[shard].clone())).collect();
    give_slots_to_the_third(&settings).await;
    store_on_each(&new).await;
    // What is made from now on belongs to the same owner as before.
    let owners =
        "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname IN ('public', 'shardrive')";
    assert_eq!(value::<String>(&mut hands[2], owners).await, "shard_user");
}
