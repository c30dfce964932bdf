//! Moves of slots between shards: what they promise, what they cost, and every way to interrupt them.

mod cost;
mod faults;
mod moved_tables;
mod moves;
mod plans;
mod requests;
mod throttle;

use serde_json::Value;

use crate::support::api::Api;
use crate::support::program::{CommandOutput, shardrive};
use crate::support::servers::TestCluster;

const EVEN: &str = "0,2,4,6";

/// A busy machine is no fault of a shard here.
const PATIENT: [(&str, &str); 4] = [
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000"),
    ("SHARDRIVE_STATS_TIMEOUT_MS", "30000"),
];

async fn start(cluster: &TestCluster, programs: usize) -> (Vec<Api>, Vec<String>) {
    let mut apis = Vec::new();
    for _ in 0..programs {
        apis.push(Api::start_with(cluster, &PATIENT).await);
    }
    let bases = apis.iter().map(|api| api.base().to_owned()).collect();
    (apis, bases)
}

async fn shards(cluster: &TestCluster, arguments: &[&str]) -> CommandOutput {
    let mut all = vec!["shards"];
    all.extend(arguments);
    all.push("--json");
    shardrive(&all, &cluster.variables()).await
}

/// Runs a command that must go well; gives its last move.
async fn moved(cluster: &TestCluster, arguments: &[&str]) -> Value {
    let done = shards(cluster, arguments).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.json().as_array().unwrap().last().unwrap().clone()
}
