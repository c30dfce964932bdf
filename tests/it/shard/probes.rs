//! How often a process asks a shard that has nothing to tell.

use std::collections::BTreeSet;

use crate::support::api::Api;
use crate::support::poll;
use crate::support::servers::TestCluster;

/// When the newest look at the fence and the newest health probe began.
const NEWEST: &str = "SELECT ARRAY[
    max(query_start) FILTER (WHERE query LIKE '-- The fence%'),
    max(query_start) FILTER (WHERE query LIKE '-- True if the server takes writes%')]::text[]
  FROM pg_stat_activity WHERE pid <> pg_backend_pid()";

#[tokio::test]
async fn a_look_at_the_fence_takes_the_place_of_a_health_probe() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_HEALTH_INTERVAL_MS", "100")]).await;
    let (mut looks, mut probes) = (BTreeSet::new(), BTreeSet::new());
    // On a busy machine a look may come too late, and a probe is made.
    poll::until("ten looks with three probes at most", async || {
        let newest: Vec<Option<String>> = cluster.value(0, NEWEST).await;
        let [look, probe] = newest.try_into().unwrap();
        looks.extend(look);
        probes.extend(probe);
        let seen = (looks.len(), probes.len());
        match seen {
            (10.., ..=3) => return Ok(()),
            (10.., _) => (looks.clear(), probes.clear()),
            _ => ((), ()),
        };
        Err(seen)
    })
    .await;
    assert_eq!(api.get_json("/health").await.1["status"], "healthy");
}
