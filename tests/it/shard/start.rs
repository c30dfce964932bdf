//! Setting databases up as shards, and what keeps a cluster from being opened.

use shardrive::shard::{SetupError, ShardId, ShardOptions, ShardState, migrate};
use uuid::Uuid;

use crate::support::poll;
use crate::support::servers::{CONNECT, TestCluster, start_error_text};

async fn cluster_id(cluster: &TestCluster, shard: usize) -> Uuid {
    cluster.value(shard, "SELECT cluster_id FROM shardrive.identity WHERE ready").await
}

#[tokio::test]
async fn setting_up_twice_or_twice_at_once_gives_one_cluster() {
    let cluster = TestCluster::start(3).await;
    let options = cluster.options();
    let (first, second) = tokio::join!(migrate(&options, CONNECT), migrate(&options, CONNECT));
    first.unwrap();
    second.unwrap();
    let id = cluster_id(&cluster, 0).await;
    cluster.migrate().await;
    for shard in 0..3 {
        assert_eq!(cluster_id(&cluster, shard).await, id);
        let found: i32 = cluster.value(shard, "SELECT shard_id FROM shardrive.identity").await;
        assert_eq!(usize::try_from(found), Ok(shard));
        let slots: i64 = cluster.value(shard, "SELECT count(*) FROM shardrive.slot_map WHERE owner = slot % 3").await;
        assert_eq!(slots, 5040);
    }
    let open = cluster.open().await;
    assert_eq!(open.id(), id);
    assert_eq!(open.map().count_owned_by(ShardId::new(2)), 1680);
    open.shut_down().await;
}

#[tokio::test]
async fn a_set_up_that_broke_off_is_completed() {
    let mut cluster = TestCluster::start(2).await;
    cluster.server(1).stop().await;
    let Err(SetupError::Refused(refused)) = migrate(&cluster.options(), CONNECT).await else { panic!("was set up") };
    assert!(refused.to_string().contains("SHARD_1_URL: cannot be reached"), "{refused}");
    cluster.server(1).start().await.unwrap();
    cluster.migrate().await;

    // As if the program had been killed between the identities and the last step.
    let id = cluster_id(&cluster, 0).await;
    cluster.psql(1, "UPDATE shardrive.identity SET ready = false").await.unwrap();
    let message = start_error_text(cluster.options()).await;
    assert!(message.contains("SHARD_1_URL: is not a shard yet"), "{message}");
    cluster.migrate().await;
    assert_eq!(cluster_id(&cluster, 1).await, id);
}

#[tokio::test]
async fn an_index_whose_making_broke_off_is_made_anew() {
    let cluster = TestCluster::migrated(1).await;
    // As CREATE INDEX CONCURRENTLY leaves an index when a set-up is killed, or gives up waiting for a transaction.
    // The set-up leaves an operator's index alone.
    cluster.psql(0, "CREATE INDEX theirs ON file_metadata (checksum)").await.unwrap();
    cluster.psql(0, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'theirs'::regclass").await.unwrap();
    let broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'file_metadata_slot_idx'::regclass";
    cluster.psql(0, broken).await.unwrap();
    let index = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'file_metadata_slot_idx'::regclass";
    assert!(!cluster.value::<bool>(0, index).await);
    // Another set-up that waits for its turn does not keep the index from being finished.
    let options = cluster.options();
    let (one, other) = tokio::join!(migrate(&options, CONNECT), migrate(&options, CONNECT));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    assert!(cluster.value::<bool>(0, index).await);
    let theirs = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = 'theirs'::regclass";
    assert!(cluster.value::<bool>(0, theirs).await);
}

#[tokio::test]
async fn urls_that_lead_to_the_wrong_database_are_refused() {
    let cluster = TestCluster::migrated(2).await;
    let parse = |url: &str| ShardOptions::parse(url).unwrap();

    let swapped = vec![parse(&cluster.url(1)), parse(&cluster.url(0))];
    let message = start_error_text(swapped).await;
    assert!(message.contains("SHARD_0_URL: leads to shard 1"), "{message}");
    assert!(message.contains("SHARD_1_URL: leads to shard 0"), "{message}");

    let other_name = cluster.url(0).replace("127.0.0.1", "localhost");
    let twice = vec![parse(&cluster.url(0)), parse(&other_name)];
    let message = start_error_text(twice.clone()).await;
    assert!(message.contains("SHARD_0_URL and SHARD_1_URL name the same database"), "{message}");
    assert!(matches!(migrate(&twice, CONNECT).await, Err(SetupError::Refused(_))));

    let other = TestCluster::migrated(2).await;
    let mixed = vec![parse(&cluster.url(0)), parse(&other.url(1))];
    let message = start_error_text(mixed).await;
    assert!(message.contains("SHARD_1_URL: belongs to another cluster"), "{message}");
}

#[tokio::test]
async fn the_same_empty_database_twice_is_not_made_a_cluster() {
    let cluster = TestCluster::start(1).await;
    let twice = vec![cluster.options().remove(0), cluster.options().remove(0)];
    let Err(SetupError::Refused(refused)) = migrate(&twice, CONNECT).await else { panic!("was set up") };
    assert!(refused.to_string().contains("name the same database"), "{refused}");
    let schemas: i64 = cluster.value(0, "SELECT count(*) FROM pg_namespace WHERE nspname = 'shardrive'").await;
    assert_eq!(schemas, 0);
}

#[tokio::test]
async fn one_more_url_does_not_add_a_shard() {
    let cluster = TestCluster::start(3).await;
    let two = cluster.options()[..2].to_vec();
    migrate(&two, CONNECT).await.unwrap();
    let message = start_error_text(cluster.options()).await;
    assert!(message.contains("the slot map is for 2 shards, the settings name 3"), "{message}");

    let Err(SetupError::Refused(refused)) = migrate(&cluster.options(), CONNECT).await else { panic!("was set up") };
    assert!(refused.to_string().contains("the slot map is for 2 shards"), "{refused}");
    let schemas: i64 = cluster.value(2, "SELECT count(*) FROM pg_namespace WHERE nspname = 'shardrive'").await;
    assert_eq!(schemas, 0);

    // Settings that name fewer do, as the shards know one another; unless nobody can tell where the others are.
    let open = shardrive::shard::Cluster::open(two[..1].to_vec(), crate::support::servers::limits()).await.unwrap();
    assert_eq!(open.shards().len(), 2);
    open.shut_down().await;
    cluster.psql(0, "DELETE FROM shardrive.shards").await.unwrap();
    let message = start_error_text(two[..1].to_vec()).await;
    assert!(message.contains("the settings name 1"), "{message}");
}

#[tokio::test]
async fn a_lost_database_is_not_replaced_by_an_empty_one() {
    let mut cluster = TestCluster::migrated(2).await;
    let mut other = cluster.server(1).connect("postgres").await.unwrap();
    for sql in ["DROP DATABASE drive_shard_1 WITH (FORCE)", "CREATE DATABASE drive_shard_1"] {
        crate::support::servers::run(&mut other, sql).await.unwrap();
    }
    let message = start_error_text(cluster.options()).await;
    assert!(message.contains("SHARD_1_URL: is an empty database"), "{message}");
    let Err(SetupError::Refused(refused)) = migrate(&cluster.options(), CONNECT).await else { panic!("was set up") };
    assert!(refused.to_string().contains("restore this shard from its backup"), "{refused}");
}

#[tokio::test]
async fn every_fault_is_named_at_once() {
    let cluster = TestCluster::migrated(3).await;
    cluster.psql(0, "DELETE FROM shardrive._sqlx_migrations WHERE version = 3").await.unwrap();
    let newer = "INSERT INTO shardrive._sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9998, 'later', true, '', 0), (9999, 'contract 9998 something', true, '', 0)";
    cluster.psql(1, newer).await.unwrap();
    cluster.psql(2, "UPDATE shardrive._sqlx_migrations SET checksum = '' WHERE version = 2").await.unwrap();
    let message = start_error_text(cluster.options()).await;
    assert!(message.contains("SHARD_0_URL: lacks the migrations [3]"), "{message}");
    assert!(
        message.contains("SHARD_1_URL: has the migrations [9999] of a newer Shardrive, which this one is too old for"),
        "{message}"
    );
    assert!(message.contains("SHARD_2_URL: the migrations [2] differ"), "{message}");
}

#[tokio::test]
async fn a_program_starts_on_the_schema_of_the_next_release() {
    let cluster = TestCluster::migrated(1).await;
    let newer = "INSERT INTO shardrive._sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9998, 'later', true, '', 0)";
    cluster.psql(0, newer).await.unwrap();
    cluster.migrate().await;
    cluster.open().await.shut_down().await;
}

#[tokio::test]
async fn a_shard_that_is_away_is_served_as_soon_as_it_is_back() {
    let mut cluster = TestCluster::migrated(2).await;
    cluster.server(1).stop().await;
    let open = cluster.open().await;
    assert_eq!(open.shards()[0].state(), ShardState::Healthy);
    assert_eq!(open.shards()[1].state(), ShardState::Unreachable);
    assert_eq!(open.map().count_owned_by(ShardId::new(1)), 2520);
    cluster.server(1).start().await.unwrap();
    poll::until_true("the shard to be healthy", async || open.shards()[1].state() == ShardState::Healthy).await;
    open.shut_down().await;

    cluster.server(0).stop().await;
    cluster.server(1).stop().await;
    let message = start_error_text(cluster.options()).await;
    assert!(message.contains("no shard can be reached"), "{message}");
    assert!(!message.contains("shard_pass"), "{message}");
}

#[tokio::test]
async fn an_owner_without_further_rights_is_enough() {
    let cluster = TestCluster::start(2).await;
    let mut options = Vec::new();
    for shard in 0..2 {
        let sql =
            format!("CREATE ROLE plain LOGIN PASSWORD 'plain_pass'; ALTER DATABASE drive_shard_{shard} OWNER TO plain");
        cluster.psql(shard, &sql).await.unwrap();
        let url = cluster.url(shard).replace("shard_user:shard_pass", "plain:plain_pass");
        options.push(ShardOptions::parse(&url).unwrap());
    }
    migrate(&options, CONNECT).await.unwrap();
    let open = shardrive::shard::Cluster::open(options, crate::support::servers::limits()).await.unwrap();
    assert_eq!(open.shards().len(), 2);
    open.shut_down().await;
}
