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
        let counted = format!("SELECT rows FROM shardrive.slot_counts WHERE slot = {slot}");
        assert_eq!(value::<i64>(&mut look, &counted).await, 1, "slot {slot}");
        assert_eq!(shard_counts(&mut look).await, "documents 0 0, files 0 0", "slot {slot}");
    }
}

/// The counts of the whole shard, which must be the sums over its slots.
async fn shard_counts(db: &mut PgConnection) -> String {
    let of = |table: &str| {
        format!("SELECT string_agg(format('%s %s %s', kind, rows, bytes), ', ' ORDER BY kind) FROM {table}")
    };
    let counted: String = value(db, &of("shardrive.shard_counts")).await;
    let summed: String = value(db, &of("shardrive.owned_sums")).await;
    assert_eq!(counted, summed);
    counted
}

#[tokio::test]
async fn the_counts_of_a_shard_follow_folds_moves_and_set_ups() {
    let cluster = TestCluster::migrated(2).await;
    let mut db = cluster.connect(0).await;
    let bits = "set_bit(set_bit(decode(repeat('00', 630), 'hex'), 0, 1), 2, 1)";
    let freeze = format!("INSERT INTO shardrive.local_moves (move_id, slots, frozen) VALUES (9, {bits}, true)");
    let token = "(SELECT token FROM shardrive.coordinator_fence)";
    let give_up = format!("SELECT shardrive.give_up_slots(9, '{{0, 2}}', 1, 9, {token})");
    let set = |rows: i64, bytes: i64| {
        format!(
            "SELECT shardrive.set_counts('shardrive.slot_counts', 'shardrive.slot_deltas', '{{0, 2}}',
                                         '{{{rows}, {rows}}}', '{{{bytes}, {bytes}}}')"
        )
    };
    let files = "INSERT INTO file_metadata (user_id, file_name, size_bytes)
                 SELECT u, 'a', 10 + u FROM unnest('{0, 2, 4, 5040}'::int[]) AS u";
    let document = "INSERT INTO records (collection, key, slot, document) VALUES ('c', 'k', 2, '{}')";
    let steps: [(&str, &str); 15] = [
        (files, "documents 0 0, files 0 0"),
        (document, "documents 0 0, files 0 0"),
        (FILES, "documents 0 0, files 4 5086"),
        (DOCUMENTS, "documents 1 2, files 4 5086"),
        // A change that is not folded yet when its slot leaves.
        ("UPDATE file_metadata SET size_bytes = 1000 WHERE user_id = 2", "documents 1 2, files 4 5086"),
        ("SELECT shardrive.assign_slots('{2}', 1, 5)", "documents 0 0, files 3 5074"),
        (FILES, "documents 0 0, files 3 5074"),
        // Of the two slots, slot 0 alone is this shard's.
        (&set(7, 70), "documents 0 0, files 8 84"),
        ("SELECT shardrive.assign_slots('{2}', 0, 6)", "documents 1 2, files 15 154"),
        (&freeze, "documents 1 2, files 15 154"),
        (&give_up, "documents 0 0, files 1 14"),
        (&set(2, 20), "documents 0 0, files 1 14"),
        // By hand. Slot 1 was shard 1's, and is empty.
        ("DELETE FROM shardrive.slot_map WHERE slot = 4", "documents 0 0, files 0 0"),
        ("UPDATE shardrive.slot_map SET owner = 0, epoch = 10 WHERE slot < 3", "documents 1 2, files 4 40"),
        ("INSERT INTO shardrive.slot_map (slot, owner, epoch) VALUES (4, 0, 11)", "documents 1 2, files 5 54"),
    ];
    for (step, counts) in steps {
        run(&mut db, step).await.unwrap();
        assert_eq!(shard_counts(&mut db).await, counts, "{step}");
    }
}
