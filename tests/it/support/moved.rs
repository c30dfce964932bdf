//! The conditions after moves: for the clients during the moves, and on the servers.

use shardrive::reshard::MOVED_TABLES;

use super::api::Api;
use super::load::Load;
use super::poll;
use super::program::shardrive;
use super::servers::TestCluster;

/// Checks that no client noticed a move. Every acknowledged file must exist once on its owner; counts, scan and
/// `shards verify` must agree.
pub async fn assert_moves_unnoticed(cluster: &TestCluster, api: &Api, load: Load, shards: usize) {
    let seen = load.stop().await;
    seen.assert_no_fault();
    assert_eq!(seen.find_wrong_rows(cluster, shards).await, Vec::<String>::new());
    let (_, mut counted) = api.get_json("/stats").await;
    let (_, mut scanned) = api.get_json("/stats?exact=scan").await;
    for stats in [&mut counted, &mut scanned] {
        stats.as_object_mut().unwrap().remove("shard_pool_sizes"); // of the moment
    }
    assert_eq!(counted, scanned);
    assert_eq!(counted["total_records"], seen.acknowledged());
    let audit = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(audit.code, 0, "{audit:?}");
}

/// No replication object, change tracking, staged row or record of a move is left on the first `shards` servers.
pub async fn assert_nothing_left(cluster: &TestCluster, shards: usize) {
    let staged = MOVED_TABLES.iter().map(|table| {
        format!(
            ", (SELECT 'staged in {0} ' || count(*) FROM (SELECT {1} AS slot FROM {0}) AS moved JOIN shardrive.slot_map AS m USING (slot)
                WHERE m.owner <> (SELECT shard_id FROM shardrive.identity) HAVING count(*) > 0)",
            table.name, table.slot.0
        )
    });
    let left = "SELECT concat_ws(' ',
        (SELECT string_agg(slot_name, ',') FROM pg_replication_slots),
        (SELECT string_agg(pubname, ',') FROM pg_publication),
        (SELECT string_agg(subname, ',') FROM pg_subscription),
        (SELECT string_agg('local move ' || move_id, ',') FROM shardrive.local_moves),
        (SELECT 'keys ' || count(*) FROM shardrive.changed_keys HAVING count(*) > 0),
        (SELECT 'heartbeats ' || count(*) FROM shardrive.heartbeats HAVING count(*) > 0),
        (SELECT 'objects ' || count(*) FROM shardrive.move_objects HAVING count(*) > 0),
        (SELECT 'open ' || count(*) FROM shardrive.moves WHERE ended_at IS NULL HAVING count(*) > 0)";
    let left = format!("{left}{})", staged.collect::<String>());
    for shard in 0..shards {
        poll::until("nothing of a move to be left", async || {
            let found: String = cluster.value(shard, &left).await;
            if found.is_empty() { Ok(()) } else { Err((shard, found)) }
        })
        .await;
    }
}
