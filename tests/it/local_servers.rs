//! Local servers: their whole life, and what is left of an earlier one.

use std::process::{Command, Stdio};

use shardrive::local_servers::{LocalCluster, LocalError, remove_stale_server};

use crate::support::folders::scratch_folder;
use crate::support::poll;
use crate::support::servers::{TestCluster, run};

#[tokio::test]
async fn data_is_kept_over_a_restart_and_over_a_kill() {
    let mut cluster = TestCluster::start(1).await;
    cluster.psql(0, "CREATE TABLE t AS SELECT 1 AS n").await.unwrap();
    cluster.server(0).restart().await.unwrap();
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM t").await, 1);

    cluster.psql(0, "INSERT INTO t VALUES (2)").await.unwrap();
    let mut open = cluster.connect(0).await;
    let pid = cluster.server(0).pid().unwrap();
    cluster.server(0).kill().await;
    assert!(!cluster.server(0).is_running());
    assert!(run(&mut open, "SELECT 1").await.is_err());
    cluster.server(0).start().await.unwrap();
    assert_ne!(cluster.server(0).pid(), Some(pid));
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn a_paused_server_answers_nothing_until_it_goes_on() {
    let mut cluster = TestCluster::start(1).await;
    let mut connection = cluster.connect(0).await;
    cluster.server(0).pause();
    let asking = tokio::spawn(async move { run(&mut connection, "SELECT 1").await });
    // A frozen process cannot have answered; a moment for the answer that must not come.
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(100), cluster.server(0).connect("postgres"))
            .await
            .is_err()
    );
    assert!(!asking.is_finished());
    cluster.server(0).resume();
    asking.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_paused_server_is_stopped_all_the_same() {
    let mut cluster = TestCluster::start(1).await;
    cluster.server(0).pause();
    cluster.server(0).stop().await;
    assert_eq!(cluster.server(0).pid(), None);
    cluster.server(0).start().await.unwrap();
    cluster.server(0).pause(); // and dropped like that
}

#[tokio::test]
async fn a_note_of_a_process_that_is_no_server_is_removed() {
    let mut cluster = TestCluster::start(1).await;
    cluster.server(0).stop().await;
    let folder = cluster.server(0).data_folder().to_owned();
    let note = folder.join("postmaster.pid");

    // Of ourselves, who are no PostgreSQL; of a child that has ended and was not waited for; and nonsense.
    let mut zombie = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    for text in
        [format!("{}\n", std::process::id()), format!("{}\n{}\n", zombie.id(), folder.display()), "x".to_owned()]
    {
        std::fs::write(&note, &text).unwrap();
        cluster.server(0).start().await.unwrap();
        cluster.server(0).stop().await;
        assert!(!note.exists());
    }
    zombie.wait().unwrap();
}

#[tokio::test]
async fn a_server_that_still_runs_is_stopped_before_the_start() {
    let mut cluster = TestCluster::start(1).await;
    let folder = cluster.server(0).data_folder().to_owned();
    assert!(cluster.server(0).is_running());
    let mut open = cluster.connect(0).await;
    remove_stale_server(&folder).await.unwrap();
    // A process that is ending is no server any more, and still to be waited for.
    poll::until_true("the process's end", async || !cluster.server(0).is_running()).await;
    assert!(run(&mut open, "SELECT 1").await.is_err());
    cluster.server(0).start().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let mut cluster = TestCluster::start(1).await;
    cluster.server(0).stop().await;
    let folder = cluster.server(0).data_folder().to_owned();
    std::fs::write(folder.join("postgresql.conf"), "no_such_setting = 1\n").unwrap();
    let error = cluster.server(0).start().await.unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn two_clusters_live_side_by_side() {
    let (first, second) = tokio::join!(TestCluster::start(2), TestCluster::start(2));
    let mut ports: Vec<_> = [&first, &second].iter().flat_map(|c| [c.port(0), c.port(1)]).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
    first.psql(1, "CREATE TABLE t ()").await.unwrap();
    assert!(second.psql(1, "SELECT * FROM t").await.is_err());
}

#[tokio::test]
async fn a_folder_of_servers_is_found_again() {
    let home = scratch_folder().await;
    let folder = home.path().join("deep/.shardrive");

    let cluster = LocalCluster::start(&folder, 2, 0).await.unwrap();
    let urls = cluster.urls();
    assert!(urls[1].ends_with("/drive_shard_1"), "{urls:?}");
    let mut connection = cluster.servers()[1].connect("drive_shard_1").await.unwrap();
    run(&mut connection, "CREATE TABLE t ()").await.unwrap();
    assert!(matches!(LocalCluster::start(&folder, 2, 0).await, Err(LocalError::InUse(_))));
    cluster.stop().await;

    let Err(refused) = LocalCluster::start(&folder, 3, 0).await else { panic!("another number of shards was taken") };
    assert!(refused.to_string().contains("--shards 2"), "{refused}");

    let again = LocalCluster::start(&folder, 2, 0).await.unwrap();
    assert_eq!((again.urls(), again.spare_urls().len()), (urls.clone(), 0));
    let mut connection = again.servers()[1].connect("drive_shard_1").await.unwrap();
    run(&mut connection, "SELECT * FROM t").await.unwrap();
    drop(again); // hard

    let again = poll::until("the servers after a hard stop", async || LocalCluster::start(&folder, 2, 0).await).await;
    again.stop().await;

    // A spare server stays with the folder, and is no shard of its settings.
    for spare in [1, 0] {
        let more = LocalCluster::start(&folder, 2, spare).await.unwrap();
        assert_eq!(more.urls(), urls);
        assert!(more.spare_urls()[0].ends_with("/drive_shard_2"), "{:?}", more.spare_urls());
        more.stop().await;
    }
}
