//! The command `demo`: against a service that runs, with servers of its own, and where it cannot go well.

use serde_json::json;
use shardrive::shard::migrate;

use crate::support::api::Api;
use crate::support::folders::scratch_folder;
use crate::support::program::shardrive;
use crate::support::servers::{CONNECT, TestCluster};
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_runs_is_filled_and_grows_without_a_failed_request() {
    let cluster = TestCluster::start(3).await;
    migrate(&cluster.options()[..2], CONNECT).await.unwrap();
    let api = Api::start_on(&cluster.urls()[..2], &[("SHARDRIVE_AUTH_SECRET", SECRET)]).await;
    let token = Key::secret(SECRET).token("", &json!({"sub": "1", "scope": "admin", "exp": now() + 600}));
    let spare = cluster.url(2);
    let base = ["demo", "--url", api.base(), "--records", "5040", "--json"];
    let refused = shardrive(&base, &[]).await;
    assert!(refused.code == 1 && refused.err.contains("--token-file"), "{refused:?}");

    let mut arguments = base.to_vec();
    arguments.extend(["--token", &token, "--new-shard", &spare]);
    let done = shardrive(&arguments, &[]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let report = done.json();
    assert_eq!(report["ok"], true);
    assert_eq!(report["stored"][0], json!({"user_id": 10, "shard_id": 0}));
    assert_eq!(report["bulk"]["records"], 5040);
    assert_eq!(report["distribution"]["shards"], json!({"shard_0": 2525, "shard_1": 2525}));
    let growth = &report["growth"];
    assert_eq!((&growth["failed"], &growth["found"]), (&json!(0), &growth["writes"]));
    assert!(growth["writes"].as_u64() > Some(0) && growth["moves"].as_array().unwrap().len() == 2, "{growth}");
    // One of the bulk load's files for each slot that moved, and what the clients stored meanwhile.
    assert!(report["distribution_after"]["shards"]["shard_2"].as_u64() >= Some(1680), "{report}");
    assert!(!done.out.contains("shard_pass"), "{done:?}");

    // Again: the shard is there, and nothing is left to deal.
    let again = shardrive(&arguments, &[]).await;
    assert_eq!((again.code, &again.json()["growth"]["moves"]), (0, &json!([])), "{again:?}");
    let service = api.request(reqwest::Method::GET, "/admin/moves").bearer_auth(&token).send().await.unwrap();
    assert_eq!(service.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_itself_it_brings_all_that_it_needs_and_leaves_nothing() {
    let home = scratch_folder().await;
    let place = ("TMPDIR".to_owned(), home.path().display().to_string());
    let path = ("PATH".to_owned(), std::env::var("PATH").unwrap());
    let done = shardrive(&["demo", "--records", "500"], &[place, path]).await;
    assert_eq!(done.code, 0, "{done:?}");
    for part in [
        "Storing data for user 10 → Shard 0\n",
        "Storing data for user 11 → Shard 1\n",
        "500 records in ",
        "move 2: shard 1 → 2  done",
        " 0 failed; ",
        "shard 2  ",
        "/dashboard",
    ] {
        assert!(done.out.contains(part), "{part} is missing in {}", done.out);
    }
    assert!(!done.out.contains('\x1b'), "no colours in a pipe: {}", done.out);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "something is left");
}

#[tokio::test]
async fn what_cannot_go_well_is_said() {
    let nobody = format!("http://127.0.0.1:{}", shardrive::local_servers::free_port().unwrap());
    let done = shardrive(&["demo", "--url", &nobody], &[]).await;
    assert!(done.code == 1 && done.err.contains(&format!("{nobody}/ingest: no answer")), "{done:?}");
    for wrong in [
        &["demo", "--url", "ftp://drive"][..],
        &["demo", "--token", "x"],
        &["demo", "--url", &nobody, "--token", "a\nb"],
    ] {
        let done = shardrive(wrong, &[]).await;
        assert_eq!(done.code, 2, "{done:?}");
    }
}
