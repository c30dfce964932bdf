//! A coordinator, a source or a target that dies at any step of a move: the move goes on or back, nothing is lost, and
//! nothing is left over.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::load::Load;
use crate::support::moved::{assert_moves_unnoticed, assert_nothing_left};
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

/// Every step at which a move can be cut off, in their order.
const STEPS: [&str; 17] = [
    "preflight",
    "copy",
    "tracking",
    "subscribed",
    "forward_made",
    "catch_up",
    "reverse_made",
    "verify",
    "cutover",
    "frozen",
    "both_own",
    "given_up",
    "handed_over",
    "rollback_window",
    "forward_removed",
    "objects_removed",
    "rows_removed",
];
/// The same for a rollback.
const STEPS_BACK: [&str; 6] = [
    "reverse_started",
    "rollback",
    "rollback_frozen",
    "rollback_both_own",
    "rollback_given_up",
    "rollback_handed_over",
];

const PATIENT: [(&str, &str); 4] = [
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_MOVE_TIMEOUT_MS", "50000"),
    ("SHARDRIVE_STATS_TIMEOUT_MS", "30000"),
];
const SLOTS: &str = "0,2,4,6";
const ALL: [i32; 6] = [0, 2, 4, 6, 1, 100];

/// A program that coordinates, and ends at this step.
async fn start_api_ending_at(cluster: &TestCluster, step: &str) -> Api {
    let token = "SELECT token FROM shardrive.coordinator";
    let before: i64 = cluster.value(0, token).await;
    let mut variables = cluster.variables();
    variables.extend(PATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let api = Api::try_command(&["serve", "--end-at-step", step], &variables).await.unwrap();
    poll::until_true("it to coordinate", async || cluster.value::<i64>(0, token).await > before).await;
    api
}

/// Registers a move from one shard to the other, and returns its number.
async fn register(cluster: &TestCluster, to: &str, window: &str) -> String {
    let arguments = ["shards", "move", "--slots", SLOTS, "--to", to, "--rollback-window", window, "--detach", "--json"];
    let asked = shardrive(&arguments, &cluster.variables()).await;
    assert_eq!(asked.code, 0, "{asked:?}");
    asked.json()["ids"][0].to_string()
}

async fn until_stage(api: &Api, id: &str, stage: &str) -> Value {
    poll::until("the move to be there", async || {
        let (_, found) = api.get_json(&format!("/admin/moves/{id}")).await;
        if found["stage"] == stage { Ok(found) } else { Err(found) }
    })
    .await
}

async fn until_dead(api: &mut Api) {
    assert!(!api.wait_for_exit().await, "{}", api.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_killed_at_any_step_is_replaced() {
    let cluster = TestCluster::migrated(2).await;
    let mut at = 0;
    let mut first = start_api_ending_at(&cluster, STEPS[0]).await;
    let survivor = Api::start_with(&cluster, &PATIENT).await;
    let load = Load::start(&[survivor.base().to_owned()], 2, &ALL);
    for (number, step) in STEPS.iter().enumerate() {
        at = 1 - at;
        let id = register(&cluster, &at.to_string(), "0").await;
        until_dead(&mut first).await;
        let ended = until_stage(&survivor, &id, "done").await;
        assert_eq!(ended["verified"], true, "{step}: {ended}");
        load.wait_for_answers(10).await;
        assert_nothing_left(&cluster, 2).await;
        if let Some(next) = STEPS.get(number + 1) {
            first = next_coordinator(&cluster, &survivor, next).await;
        }
    }
    assert_moves_unnoticed(&cluster, &survivor, load, 2).await;
}

/// The next program that is to coordinate: the survivor is frozen until it has lost the lease.
async fn next_coordinator(cluster: &TestCluster, survivor: &Api, step: &str) -> Api {
    survivor.pause();
    let next = start_api_ending_at(cluster, step).await;
    survivor.resume();
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_killed_in_a_rollback_is_replaced() {
    let cluster = TestCluster::migrated(2).await;
    let mut first = start_api_ending_at(&cluster, STEPS_BACK[0]).await;
    let survivor = Api::start_with(&cluster, &PATIENT).await;
    let load = Load::start(&[survivor.base().to_owned()], 2, &ALL);
    for (number, step) in STEPS_BACK.iter().enumerate() {
        load.wait_for_answers(10).await;
        let id = register(&cluster, "1", "600").await;
        until_stage(&survivor, &id, "rollback_window").await;
        let asked = survivor.post(&format!("/admin/moves/{id}/rollback"), &json!({})).await;
        assert_eq!(asked.status(), 202);
        until_dead(&mut first).await;
        let ended = until_stage(&survivor, &id, "rolled_back").await;
        assert_eq!(ended["reason"], Value::Null, "{step}: {ended}");
        load.wait_for_answers(10).await;
        assert_nothing_left(&cluster, 2).await;
        if let Some(next) = STEPS_BACK.get(number + 1) {
            first = next_coordinator(&cluster, &survivor, next).await;
        }
    }
    assert_moves_unnoticed(&cluster, &survivor, load, 2).await;
}

/// The coordinator and one of the servers end at the same moment; both come back.
async fn a_server_dies(steps: &[&str], dying: usize) {
    let mut cluster = TestCluster::migrated(2).await;
    let mut first = start_api_ending_at(&cluster, steps[0]).await;
    let survivor = Api::start_with(&cluster, &PATIENT).await;
    let load = Load::start(&[survivor.base().to_owned()], 2, &ALL);
    for (number, step) in steps.iter().enumerate() {
        load.wait_for_answers(10).await;
        let to = (number + 1) % 2;
        // The source of this move, or its target.
        let server = if dying == 0 { 1 - to } else { to };
        let id = register(&cluster, &to.to_string(), "0").await;
        until_dead(&mut first).await;
        cluster.server(server).kill().await;
        cluster.server(server).start().await.unwrap();
        let ended = poll::until("the move to end", async || {
            let (status, found) = survivor.get_json(&format!("/admin/moves/{id}")).await;
            if status == 200 && found["ended_at"] != Value::Null { Ok(found) } else { Err(found) }
        })
        .await;
        assert_eq!(ended["stage"], "done", "{step}: {ended}");
        load.wait_for_answers(10).await;
        assert_nothing_left(&cluster, 2).await;
        let audit = shardrive(&["shards", "verify"], &cluster.variables()).await;
        assert_eq!(audit.code, 0, "{step}: {audit:?}");
        if let Some(next) = steps.get(number + 1) {
            first = next_coordinator(&cluster, &survivor, next).await;
        }
    }
    let seen = load.stop().await;
    // The users of a server that is away are refused meanwhile; nothing else.
    assert_eq!(seen.violations(), Vec::<String>::new());
    let wrong = seen.find_wrong_rows(&cluster, 2).await;
    assert_eq!(wrong, Vec::<String>::new());
}

/// Also a table whose first row comes after the look for rows.
#[tokio::test(flavor = "multi_thread")]
async fn only_tables_with_rows_of_the_slots_are_copied() {
    let cluster = TestCluster::migrated(2).await;
    let mut first = start_api_ending_at(&cluster, "subscribed").await;
    let put = first.request(reqwest::Method::PUT, "/drives/2/path/a/b.txt").json(&json!({"size_bytes": 1}));
    assert_eq!(put.send().await.unwrap().status(), 201);
    let id = register(&cluster, "1", "0").await;
    until_dead(&mut first).await;
    let late = "INSERT INTO records (collection, key, slot, document) VALUES ('late', 'k', 4, '{}')";
    cluster.psql(0, late).await.unwrap();
    let mut second = start_api_ending_at(&cluster, "cutover").await;
    until_dead(&mut second).await;
    let copied = "SELECT array_agg(r.srrelid::regclass::text ORDER BY r.srrelid::regclass::text)
                    FROM pg_subscription AS s JOIN pg_subscription_rel AS r ON r.srsubid = s.oid
                   WHERE s.subname LIKE '%\\_f' AND r.srsublsn IS NOT NULL";
    assert_eq!(cluster.value::<Vec<String>>(1, copied).await, ["file_metadata", "folders"]);
    let survivor = Api::start_with(&cluster, &PATIENT).await;
    let ended = until_stage(&survivor, &id, "done").await;
    assert_eq!(ended["verified"], true, "{ended}");
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM records WHERE key = 'k'").await, 1);
    assert_nothing_left(&cluster, 2).await;
}

/// A crash of the target between the end of a table's slot on the source and the commit that the table is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_has_lost_its_slot_begins_again() {
    let cluster = TestCluster::migrated(2).await;
    let mut first = start_api_ending_at(&cluster, "forward_made").await;
    for user in [0, 2, 5040] {
        let path = format!("/drives/{user}/path/a/b.txt");
        let put = first.request(reqwest::Method::PUT, &path).json(&json!({"size_bytes": 1})).send().await.unwrap();
        assert_eq!(put.status(), 201);
    }
    let id = register(&cluster, "1", "0").await;
    until_dead(&mut first).await;
    let states = "SELECT count(*) = 5 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel";
    poll::until_true("the rows to be copied", async || cluster.value(1, states).await).await;
    let lost =
        "UPDATE pg_subscription_rel SET srsubstate = 'f', srsublsn = NULL WHERE srrelid = 'file_metadata'::regclass";
    cluster.psql(1, lost).await.unwrap();
    let survivor = Api::start_with(&cluster, &PATIENT).await;
    let ended = until_stage(&survivor, &id, "done").await;
    assert_eq!(ended["verified"], true, "{ended}");
    let is_told = ended["events"].as_array().unwrap().iter().filter_map(|event| event["what"].as_str());
    assert_eq!(is_told.filter(|what| what.starts_with("the copy begins again")).count(), 1, "{ended}");
    for user in [0, 2, 5040] {
        let (_, found) = survivor.get_json(&format!("/drives/{user}/path/a/b.txt")).await;
        assert_eq!((&found["data"]["size_bytes"], &found["data"]["shard_id"]), (&json!(1), &json!(1)), "{found}");
    }
    assert_nothing_left(&cluster, 2).await;
    let audit = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(audit.code, 0, "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_at_a_step_comes_back() {
    a_server_dies(
        &["forward_made", "reverse_made", "frozen", "given_up", "handed_over", "reverse_started", "objects_removed"],
        0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_at_a_step_comes_back() {
    a_server_dies(
        &["forward_made", "reverse_made", "frozen", "given_up", "handed_over", "reverse_started", "objects_removed"],
        1,
    )
    .await;
}
