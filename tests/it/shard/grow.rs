//! A shard is added to a cluster that serves, and processes that do not have its URL learn of it.

use serde_json::json;
use shardrive::shard::migrate;
use sqlx::{Connection, PgConnection};

use crate::support::api::Api;
use crate::support::load::Load;
use crate::support::moves::Move;
use crate::support::poll;
use crate::support::program::{shardrive, shardrive_reading};
use crate::support::servers::{CONNECT, TestCluster, run, start_error_text};

const PATIENT: [(&str, &str); 2] = [("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"), ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000")];
const SLOTS: [i32; 8] = [0, 1, 2, 3, 4, 5, 100, 101];

/// Three servers, of which the first two are a cluster.
async fn two_of_three() -> TestCluster {
    let cluster = TestCluster::start(3).await;
    migrate(&cluster.options()[..2], CONNECT).await.unwrap();
    cluster
}

fn old_settings(cluster: &TestCluster) -> Vec<(String, String)> {
    cluster.variables()[..2].to_vec()
}

async fn until_it_knows(api: &Api, shards: usize) {
    poll::until("the program to know the shard", async || {
        let (_, health) = api.get_json("/health").await;
        let healthy = health["shards"].as_object().unwrap().values().filter(|state| **state == "healthy").count();
        if healthy == shards { Ok(()) } else { Err(health) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_added_under_load_is_used_by_programs_that_do_not_have_its_url() {
    let cluster = two_of_three().await;
    let urls = &cluster.urls()[..2];
    let apis = [Api::start_on(urls, &PATIENT).await, Api::start_on(urls, &PATIENT).await];
    let bases: Vec<_> = apis.iter().map(|api| api.base().to_owned()).collect();
    let load = Load::start(&bases, 4, &SLOTS);
    load.wait_for_answers(40).await;

    let url = cluster.url(2);
    let looked = shardrive(&["shards", "add", &url, "--dry-run"], &old_settings(&cluster)).await;
    assert_eq!((looked.code, looked.out.contains("can become shard 2")), (0, true), "{looked:?}");
    for was_there in [false, true] {
        let added = shardrive(&["shards", "add", &url, "--json"], &old_settings(&cluster)).await;
        assert_eq!(added.code, 0, "{added:?}");
        assert_eq!((&added.json()["shard_id"], &added.json()["was_there"]), (&json!(2), &json!(was_there)));
        assert!(!format!("{added:?}").contains("shard_pass"), "{added:?}");
    }
    // At once, before a program has looked by itself.
    Move::new(&cluster, &[0, 2], 0, 2).await.run().await;
    Move::new(&cluster, &[1], 1, 2).await.run().await;
    load.wait_for_answers(80).await;
    for api in &apis {
        until_it_knows(api, 3).await;
        assert!(!api.log().contains("shard_pass"), "{}", api.log());
    }
    let late = Api::start_on(urls, &PATIENT).await;
    until_it_knows(&late, 3).await;
    let (_, stats) = late.get_json("/stats").await;
    assert_eq!((&stats["complete"], &stats["shards"][2]["slots"]), (&json!(true), &json!(3)), "{stats}");
    let seen = load.stop().await;
    seen.assert_no_fault();
    assert_eq!(seen.find_wrong_rows(&cluster, 3).await, Vec::<String>::new());
    let (_, stats) = apis[0].get_json("/stats").await;
    assert_eq!(stats["total_records"], seen.acknowledged());

    // The settings may name the new shard, or not, or be migrated again with the old ones.
    migrate(&cluster.options()[..2], CONNECT).await.unwrap();
    cluster.open().await.shut_down().await;
    for settings in [old_settings(&cluster), cluster.variables()] {
        let audit = shardrive(&["shards", "verify"], &settings).await;
        assert_eq!(audit.code, 0, "{audit:?}");
    }
}

#[tokio::test]
async fn what_cannot_become_a_shard_is_refused_and_left_alone() {
    let cluster = two_of_three().await;
    let other = TestCluster::migrated(1).await;
    cluster.psql(2, "CREATE TABLE file_metadata (user_id bigint); INSERT INTO file_metadata VALUES (1)").await.unwrap();
    let mut server = cluster.connect(2).await;
    run(&mut server, "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        .await
        .unwrap();
    run(&mut server, "CREATE DATABASE used TEMPLATE template0").await.unwrap();
    let at = |database: &str| format!("{}/{database}", cluster.url(2).rsplit_once('/').unwrap().0);
    let mut used: PgConnection = PgConnection::connect(&at("used")).await.unwrap();
    run(&mut used, "CREATE TABLE orders (id int)").await.unwrap();
    let away = cluster.url(2).replace(&cluster.port(2).to_string(), "1");
    for (url, reason) in [
        (cluster.url(2), "must be empty"),
        (at("latin"), "the encoding of the database is LATIN1"),
        (at("used"), "holds tables of others"),
        (format!("{}?sslmod=require", cluster.url(2)), "did you mean sslmode?"),
        (other.url(0), "belongs to another cluster"),
        (away, "cannot be reached"),
        ("mysql://host/name".to_owned(), "must start with postgres://"),
    ] {
        let refused = shardrive(&["shards", "add", &url], &old_settings(&cluster)).await;
        assert!(refused.code != 0 && refused.err.contains(reason), "{url}: {refused:?}");
        assert!(!refused.err.contains("shard_pass"), "{refused:?}");
    }
    let schemas: i64 = cluster.value(2, "SELECT count(*) FROM pg_namespace WHERE nspname = 'shardrive'").await;
    let registered: i64 = cluster.value(0, "SELECT count(*) FROM shardrive.shards").await;
    assert_eq!((schemas, registered), (0, 2));
    let there = shardrive(&["shards", "add", &cluster.url(1)], &old_settings(&cluster)).await;
    assert!(there.code == 0 && there.out.contains("is shard 1 of this cluster already"), "{there:?}");
}

#[tokio::test]
async fn an_adding_that_broke_off_anywhere_is_completed_by_the_next() {
    let cluster = two_of_three().await;
    let url = cluster.url(2);
    let place = url.split_once('@').unwrap().1;
    let claim = format!("INSERT INTO shardrive.shards (shard_id, url) VALUES (2, 'postgres://{place}')");
    cluster.psql(0, &claim).await.unwrap();
    // The cluster goes on as it was, with a claim and no more.
    let open =
        shardrive::shard::Cluster::open(cluster.options()[..2].to_vec(), crate::support::servers::limits()).await;
    let open = open.unwrap();
    assert_eq!(open.shards().len(), 2);
    open.shut_down().await;
    let add = ["shards", "add", "--url-file", "-"];
    let added = shardrive_reading(&add, &old_settings(&cluster), format!("{url}\n").into_bytes()).await;
    assert_eq!(added.code, 0, "{added:?}");
    let unread = shardrive(&["shards", "add", "--url-file", "/nowhere"], &[]).await;
    assert!(unread.code == 2 && unread.err.contains("--url-file"), "{unread:?}");
    let twice = shardrive(&["shards", "add", &url, "--url-file", "-"], &[]).await;
    assert!(twice.code == 2 && !twice.err.contains("shard_pass"), "{twice:?}");

    // As if the program had been killed when it had told the first shard only.
    cluster.psql(1, "DELETE FROM shardrive.shards WHERE shard_id = 2").await.unwrap();
    cluster.psql(1, "UPDATE shardrive.identity SET shard_count = 2").await.unwrap();
    assert_eq!(shardrive(&["shards", "status"], &old_settings(&cluster)).await.code, 0);
    assert_eq!(shardrive(&["shards", "add", &url], &old_settings(&cluster)).await.code, 0);
    for shard in 0..3 {
        let told: i64 = cluster
            .value(shard, "SELECT count(*) FROM shardrive.shards, shardrive.identity WHERE active AND shard_count = 3")
            .await;
        assert_eq!(told, 3);
    }
    // What the settings name beyond what the cluster knows is refused as before.
    let more = TestCluster::start(1).await;
    let mut four = cluster.options();
    four.extend(more.options());
    let message = start_error_text(four).await;
    assert!(message.contains("the slot map is for 3 shards, the settings name 4"), "{message}");
}
