//! The examples, run as their readers run them.

use std::path::Path;

use tokio::process::Command;

use crate::support::api::Api;
use crate::support::servers::TestCluster;

#[tokio::test]
async fn the_shop_runs_and_can_run_again() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop/run");
    for run in 1..=2 {
        let done = Command::new(&script).arg(api.base()).output().await.unwrap();
        let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
        assert!(done.status.success(), "{out}\n{err}");
        assert!(out.contains("\"stored\":5") && out.contains("412: it was paid meanwhile"), "{out}");
        let (_, orders) = api.get_json("/records/orders?shard_key=1").await;
        assert_eq!(orders["record_count"], 2 * run);
        assert_eq!(orders["records"][0]["document"]["state"], "paid");
    }
    let users: Vec<i64> = vec![
        cluster.value(0, "SELECT count(*) FROM records WHERE collection = 'orders' AND shard_key = '2'").await,
        cluster.value(1, "SELECT count(*) FROM records WHERE collection = 'orders' AND shard_key = '1'").await,
    ];
    assert_eq!(users, [2, 4]);
}
