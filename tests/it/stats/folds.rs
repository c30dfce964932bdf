//! The folding of counts beside changes of owners, which write to the same rows.

use sqlx::PgConnection;

use crate::support::poll;
use crate::support::servers::{TestCluster, run, value};

const FILES: &str = include_str!("../../../sql/stats/fold_deltas.sql");
const DOCUMENTS: &str = include_str!("../../../sql/stats/fold_record_deltas.sql");

/// A statement by which shard 0 stops owning a slot.
fn loss(slot: i32, by_move: bool) -> String {
    if by_move {
        format!(
            "SELECT shardrive.give_up_slots({slot}, '{{{slot}}}', 1, 9, (SELECT token FROM shardrive.coordinator_fence))"
        )
    } else {
        format!("SELECT shardrive.assign_slots('{{{slot}}}', 1, 9)")
    }
}

/// True once a session of this database waits for a lock.
async fn until_one_waits(db: &mut PgConnection) {
    let waits =
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    poll::until_true("a session to wait", async || value(db, waits).await).await;
}

/// The two folds stand in one transaction here, as each of them writes to its rows in an order of its own.
#[tokio::test]
async fn a_fold_and_a_change_of_owners_wait_for_each_other_in_one_order() {
    let cluster = TestCluster::migrated(2).await;
    let (mut fold, mut look) = (cluster.connect(0).await, cluster.connect(0).await);
    for (slot, by_move, first, second) in [
        (0, false, FILES, DOCUMENTS),
        (2, false, DOCUMENTS, FILES),
        (4, true, FILES, DOCUMENTS),
        (6, true, DOCUMENTS, FILES),
    ] {
        let rows = format!(
            "INSERT INTO file_metadata (user_id, file_name) VALUES ({slot}, 'a');
             INSERT INTO records (collection, key, slot, document) VALUES ('c', 'k{slot}', {slot}, '{{}}');
             INSERT INTO shardrive.local_moves (move_id, slots, frozen)
             VALUES ({slot}, set_bit(decode(repeat('00', 630), 'hex'), {slot}, 1), true)"
        );
        cluster.psql(0, &rows).await.unwrap();
        run(&mut fold, "BEGIN").await.unwrap();
        assert_eq!(value::<i64>(&mut fold, first).await, 1);
        let mut owner = cluster.connect(0).await;
        let losing = tokio::spawn(async move { value::<i32>(&mut owner, &loss(slot, by_move)).await });
        until_one_waits(&mut look).await;
        assert_eq!(value::<i64>(&mut fold, second).await, 1);
        run(&mut fold, "COMMIT").await.unwrap();
        assert_eq!(losing.await.unwrap(), 1, "slot {slot}");
        let counted = format!("SELECT sum(rows)::bigint FROM shardrive.slot_counts WHERE slot = {slot} AND NOT owned");
        assert_eq!(value::<i64>(&mut look, &counted).await, 1, "slot {slot}");
    }
}
