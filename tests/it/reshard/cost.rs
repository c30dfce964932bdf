//! What a move costs: as much as is moved, however much else there is.

use crate::support::moved::assert_nothing_left;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

/// Files of 600 users on each shard, a hundred each, and as many documents.
const ROWS: i64 = 60_000;

async fn filled() -> TestCluster {
    let cluster = TestCluster::migrated(2).await;
    for shard in 0..2 {
        let files = format!(
            "INSERT INTO file_metadata (user_id, file_name)
             SELECT {shard} + 2 * (n % 600), 'f' || n FROM generate_series(1, {ROWS}) AS n"
        );
        let documents = format!(
            "INSERT INTO records (collection, key, slot, document)
             SELECT 'data', n::text, {shard} + 2 * (n % 600), '{{}}' FROM generate_series(1, {ROWS}) AS n"
        );
        for statement in [&files, &documents, "ANALYZE"] {
            cluster.psql(shard, statement).await.unwrap();
        }
    }
    cluster
}

/// Rows of both tables that anybody has looked at, by whatever way.
async fn looked_at(cluster: &TestCluster, shard: usize) -> i64 {
    let read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
                 WHERE relname IN ('file_metadata', 'records')";
    cluster.value(shard, read).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_of_few_slots_reads_the_rows_of_these_slots() {
    let cluster = filled().await;
    let before = [looked_at(&cluster, 0).await, looked_at(&cluster, 1).await];
    let moved =
        shardrive(&["shards", "move", "--slots", "2,4,6", "--to", "1", "--rollback-window", "0"], &cluster.variables())
            .await;
    assert_eq!(moved.code, 0, "{moved:?}");
    for (shard, before) in before.into_iter().enumerate() {
        // Copied, compared and removed: 600 rows, a few times. Once through one table would be a hundred times as many.
        let read = looked_at(&cluster, shard).await - before;
        assert!((300..6_000).contains(&read), "shard {shard}: {read} rows");
    }
    let owned = "SELECT count(*) FROM file_metadata WHERE user_id % 5040 IN (2, 4, 6)";
    assert_eq!([cluster.value::<i64>(0, owned).await, cluster.value(1, owned).await], [0, 300]);
    assert_nothing_left(&cluster, 2).await;
}
