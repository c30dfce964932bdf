//! What a shard's own database does with writes, whoever sends them: the guard and the counts, by SQL alone.
//!
//! With two shards, even users are on shard 0 and odd ones on shard 1.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::poll;
use crate::support::servers::{TestCluster, run, sqlstate, value};

const NOT_OWNER: &str = "SD001";
const WRONG_ISOLATION: &str = "SD002";

async fn rows(connection: &mut PgConnection) -> i64 {
    value(connection, "SELECT count(*) FROM file_metadata").await
}

async fn copy(connection: &mut PgConnection, lines: &str) -> Result<u64, sqlx::Error> {
    let mut copy = connection.copy_in_raw("COPY file_metadata (user_id, file_name) FROM STDIN").await?;
    copy.send(lines.as_bytes()).await?;
    copy.finish().await
}

/// The counts, with what is wrong about them: `slots that differ from a scan`, `rows`, `bytes`.
async fn totals(connection: &mut PgConnection) -> (i64, i64, i64) {
    let differ = value(
        connection,
        "SELECT count(*)
           FROM shardrive.slot_totals AS t
           FULL JOIN (SELECT shardrive.slot_of(user_id) AS slot, count(*) AS n,
                             coalesce(sum(size_bytes), 0) AS b
                        FROM file_metadata GROUP BY 1) AS scan USING (slot)
          WHERE coalesce(t.rows, 0) <> coalesce(scan.n, 0) OR coalesce(t.bytes, 0) <> coalesce(scan.b, 0)",
    )
    .await;
    let rows = value(connection, "SELECT sum(rows)::bigint FROM shardrive.slot_totals").await;
    let bytes = value(connection, "SELECT sum(bytes)::bigint FROM shardrive.slot_totals").await;
    (differ, rows, bytes)
}

#[tokio::test]
async fn a_row_by_hand_is_stored_on_the_right_shard_only() {
    let cluster = TestCluster::migrated(2).await;
    let insert = "INSERT INTO file_metadata (user_id, file_name) VALUES (42, 'x.txt')";
    assert_eq!(cluster.psql(0, insert).await.unwrap(), 1);

    let error = cluster.psql(1, insert).await.unwrap_err();
    let text = error.as_database_error().unwrap().message().to_owned();
    assert_eq!(text, "slot 42 belongs to shard 0, this is shard 1");
    assert_eq!(sqlstate(Err::<(), _>(error)), NOT_OWNER);
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 0);
}

#[tokio::test]
async fn ids_by_default_are_version_7_and_sort_by_their_time() {
    let cluster = TestCluster::migrated(1).await;
    let mut connection = cluster.connect(0).await;
    let mut last = Uuid::nil();
    for _ in 0..20 {
        // The statement itself passes into the next millisecond, the grain of these ids.
        let sql =
            "INSERT INTO file_metadata (user_id, file_name) SELECT 42, 'x' FROM pg_sleep(0.002) RETURNING file_id";
        let id: Uuid = value(&mut connection, sql).await;
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert!(id > last, "{id} after {last}");
        let distance: i64 = sqlx::query_scalar("SELECT abs(extract(epoch FROM now()) * 1000 - $1)::bigint")
            .bind(i64::try_from(id.as_u128() >> 80).unwrap())
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(distance < 60_000, "{id} is {distance} ms from now");
        last = id;
    }
}

#[tokio::test]
async fn every_kind_of_write_to_a_foreign_slot_is_refused_whole() {
    let cluster = TestCluster::migrated(2).await;
    let mut zero = cluster.connect(0).await;
    run(&mut zero, "INSERT INTO file_metadata (user_id, file_name) VALUES (42, 'a'), (44, 'b')").await.unwrap();
    // Rows of an earlier owner, as a move leaves them behind for a while.
    let foreign = "SET session_replication_role = replica;
                   INSERT INTO file_metadata (user_id, file_name) VALUES (7, 'old');
                   RESET session_replication_role";
    run(&mut zero, foreign).await.unwrap();

    for sql in [
        "INSERT INTO file_metadata (user_id, file_name) VALUES (42, 'c'), (43, 'd')",
        "INSERT INTO file_metadata (user_id, file_name) SELECT n, 'n' FROM generate_series(0, 9999) AS n",
        "UPDATE file_metadata SET file_name = 'new' WHERE user_id = 7",
        "UPDATE file_metadata SET file_name = 'new'",
        "DELETE FROM file_metadata WHERE user_id = 7",
        "DELETE FROM file_metadata",
        "WITH gone AS (DELETE FROM file_metadata WHERE user_id = 7 RETURNING 1) SELECT count(*) FROM gone",
        "MERGE INTO file_metadata AS f USING (VALUES (43::bigint)) AS v (u) ON f.user_id = v.u
          WHEN NOT MATCHED THEN INSERT (user_id, file_name) VALUES (v.u, 'merged')",
    ] {
        assert_eq!(sqlstate(run(&mut zero, sql).await), NOT_OWNER, "{sql}");
        let kept: Vec<String> = sqlx::query_scalar("SELECT user_id || file_name FROM file_metadata ORDER BY 1")
            .fetch_all(&mut zero)
            .await
            .unwrap();
        assert_eq!(kept, ["42a", "44b", "7old"], "{sql}");
    }
    assert_eq!(sqlstate(copy(&mut zero, "42\tx\n43\ty\n").await), NOT_OWNER);
    assert_eq!(rows(&mut zero).await, 3);
    assert_eq!(copy(&mut zero, "42\tx\n46\ty\n").await.unwrap(), 2);
    assert_eq!(value::<i64>(&mut zero, "SELECT sum(rows)::bigint FROM shardrive.slot_totals").await, 4);
}

#[tokio::test]
async fn a_refusal_names_all_foreign_slots() {
    let cluster = TestCluster::migrated(2).await;
    let error = cluster
        .psql(0, "INSERT INTO file_metadata (user_id, file_name) VALUES (5, 'a'), (42, 'b'), (5043, 'c'), (5, 'd')")
        .await
        .unwrap_err();
    let error = error.into_database_error().unwrap();
    let error = error.downcast::<sqlx::postgres::PgDatabaseError>();
    assert_eq!(error.detail(), Some("refused slots: 3,5"));
}

#[tokio::test]
async fn an_isolation_that_would_not_see_a_new_owner_is_refused() {
    let cluster = TestCluster::migrated(2).await;
    let mut zero = cluster.connect(0).await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        run(&mut zero, &format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        let insert = run(&mut zero, "INSERT INTO file_metadata (user_id, file_name) VALUES (42, 'x')").await;
        assert_eq!(sqlstate(insert), WRONG_ISOLATION, "{level}");
        run(&mut zero, "ROLLBACK").await.unwrap();
    }
    assert_eq!(rows(&mut zero).await, 0);
}

#[tokio::test]
async fn a_change_of_owner_waits_for_writers_and_refuses_those_after_it() {
    const INSERT: &str = "INSERT INTO file_metadata (user_id, file_name) VALUES (42, 'x')";
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = $$MODE$$ AND NOT granted";
    let cluster = TestCluster::migrated(2).await;
    let mut watch = cluster.connect(0).await;

    // One that has written before the change, and one that has begun before, but writes later.
    let mut writer = cluster.connect(0).await;
    run(&mut writer, "BEGIN").await.unwrap();
    run(&mut writer, INSERT).await.unwrap();
    let mut idle = cluster.connect(0).await;
    run(&mut idle, "BEGIN").await.unwrap();
    assert_eq!(rows(&mut idle).await, 0);

    let mut mover = cluster.connect(0).await;
    let change = tokio::spawn(async move { run(&mut mover, "SELECT shardrive.assign_slots('{42}', 1, 2)").await });
    poll::until_true("the change to wait for the writer", async || {
        value::<i64>(&mut watch, &waiting.replace("$$MODE$$", "'ExclusiveLock'")).await == 1
    })
    .await;

    // One whose statement has begun, with its snapshot, before the change is there.
    let mut late = cluster.connect(0).await;
    let late = tokio::spawn(async move { run(&mut late, INSERT).await });
    poll::until_true("the late writer to wait for the change", async || {
        value::<i64>(&mut watch, &waiting.replace("$$MODE$$", "'ShareLock'")).await == 1
    })
    .await;
    assert!(!change.is_finished());

    run(&mut writer, "COMMIT").await.unwrap();
    change.await.unwrap().unwrap();
    assert_eq!(sqlstate(late.await.unwrap()), NOT_OWNER);
    assert_eq!(sqlstate(run(&mut idle, INSERT).await), NOT_OWNER);
    run(&mut idle, "ROLLBACK").await.unwrap();
    assert_eq!(rows(&mut watch).await, 1);

    // The other shard does not own the slot before it is told, and an older epoch changes nothing.
    assert_eq!(sqlstate(cluster.psql(1, INSERT).await), NOT_OWNER);
    assert_eq!(cluster.value::<i32>(1, "SELECT shardrive.assign_slots('{42}', 1, 2)").await, 1);
    cluster.psql(1, INSERT).await.unwrap();
    assert_eq!(cluster.value::<i32>(0, "SELECT shardrive.assign_slots('{42}', 0, 2)").await, 0);
    assert_eq!(sqlstate(cluster.psql(0, INSERT).await), NOT_OWNER);
}

#[tokio::test]
async fn counts_are_exact_after_every_kind_of_change() {
    let cluster = TestCluster::migrated(1).await;
    let mut db = cluster.connect(0).await;
    let id = "'00000000-0000-4000-8000-00000000000";
    for (sql, rows, bytes) in [
        ("SELECT 1".to_owned(), 0, 0),
        ("INSERT INTO file_metadata (user_id, file_name, size_bytes) VALUES (1, 'a', 10), (1, 'b', NULL), (2, 'c', 5)".to_owned(), 3, 15),
        (format!("INSERT INTO file_metadata (user_id, file_id, file_name, size_bytes) VALUES (3, {id}1', 'd', 7)"), 4, 22),
        // The same id again: left out, and changed instead.
        (format!("INSERT INTO file_metadata (user_id, file_id, file_name, size_bytes) VALUES (3, {id}1', 'd', 9) ON CONFLICT DO NOTHING"), 4, 22),
        (format!("INSERT INTO file_metadata (user_id, file_id, file_name, size_bytes) VALUES (3, {id}1', 'd', 9), (3, {id}2', 'e', 1)
                  ON CONFLICT (user_id, file_id) DO UPDATE SET size_bytes = excluded.size_bytes"), 5, 25),
        ("UPDATE file_metadata SET size_bytes = 100 WHERE user_id = 1".to_owned(), 5, 215),
        ("WITH gone AS (DELETE FROM file_metadata WHERE user_id = 2 RETURNING *)
          INSERT INTO file_metadata (user_id, file_name, size_bytes) SELECT 9, file_name, size_bytes FROM gone".to_owned(), 5, 215),
        ("UPDATE file_metadata SET size_bytes = NULL WHERE user_id = 9".to_owned(), 5, 210),
        ("BEGIN; DELETE FROM file_metadata; INSERT INTO file_metadata (user_id, file_name) VALUES (5, 'z'); ROLLBACK".to_owned(), 5, 210),
        ("BEGIN; INSERT INTO file_metadata (user_id, file_name) VALUES (5, 'z'); SAVEPOINT s;
          DELETE FROM file_metadata WHERE user_id = 1; ROLLBACK TO s; COMMIT".to_owned(), 6, 210),
        ("DELETE FROM file_metadata WHERE user_id = 1".to_owned(), 4, 10),
        ("DELETE FROM file_metadata WHERE user_id = 12345".to_owned(), 4, 10),
        ("WITH gone AS (DELETE FROM file_metadata WHERE user_id = 9 RETURNING user_id)
          INSERT INTO file_metadata (user_id, file_name, size_bytes) SELECT user_id + 1, 'w', 4 FROM gone".to_owned(), 4, 14),
        ("INSERT INTO file_metadata (user_id, file_name, size_bytes) SELECT n, 'n', 1 FROM generate_series(0, 9999) AS n".to_owned(), 10_004, 10_014),
        ("TRUNCATE file_metadata".to_owned(), 0, 0),
        ("TRUNCATE file_metadata".to_owned(), 0, 0),
        ("INSERT INTO file_metadata (user_id, file_name, size_bytes) VALUES (1, 'a', 1)".to_owned(), 1, 1),
    ] {
        run(&mut db, &sql).await.unwrap();
        assert_eq!(totals(&mut db).await, (0, rows, bytes), "{sql}");
    }
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused() {
    let cluster = TestCluster::migrated(1).await;
    let mut db = cluster.connect(0).await;
    for (values, constraint) in [
        ("(-1, 'x', NULL, NULL)", "file_metadata_user_id_check"),
        ("(1, '', NULL, NULL)", "file_metadata_file_name_check"),
        ("(1, 'a/x', NULL, NULL)", "file_metadata_file_name_check"),
        ("(1, '..', '00000000-0000-0000-0000-000000000000', NULL)", "file_metadata_entry_check"),
        ("(1, 'x', NULL, -1)", "file_metadata_size_bytes_check"),
    ] {
        let sql = format!("INSERT INTO file_metadata (user_id, file_name, folder_id, size_bytes) VALUES {values}");
        let error = run(&mut db, &sql).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some(constraint), "{sql}");
    }
    run(&mut db, "INSERT INTO file_metadata (user_id, file_name) VALUES (1, '..')").await.unwrap();
    // A name in a folder is judged by a trigger: of each row of a statement, of a rename, in the trash as well.
    let root = "'00000000-0000-0000-0000-000000000000'";
    let trashed =
        "INSERT INTO file_metadata (user_id, file_name, folder_id, trashed_at) VALUES (1, 'gone', $root, now())";
    run(&mut db, &trashed.replace("$root", root)).await.unwrap();
    for statement in [
        "INSERT INTO file_metadata (user_id, file_name, folder_id) VALUES (1, 'a', $root), (2, '.', $root), (3, 'c', NULL)",
        "UPDATE file_metadata SET folder_id = $root WHERE file_name = '..'",
        "UPDATE file_metadata SET file_name = '.' WHERE file_name = 'gone'",
    ] {
        let error = run(&mut db, &statement.replace("$root", root)).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some("file_metadata_entry_check"), "{statement}");
    }
}

#[tokio::test]
async fn a_row_that_the_service_could_not_find_again_is_not_made_by_hand() {
    let cluster = TestCluster::migrated(2).await;
    let mut db = cluster.connect(0).await;
    run(&mut db, "INSERT INTO file_metadata (user_id, file_name) VALUES (42, 'a')").await.unwrap();
    run(&mut db, "INSERT INTO shardrive.collections (name, key_type, shard_key, records_per_key) VALUES ('notes', 'integer', 'user_id', 'many')")
        .await
        .unwrap();
    run(&mut db, "INSERT INTO records (collection, key, slot, document) VALUES ('store', '42', 42, '1')")
        .await
        .unwrap();
    run(
        &mut db,
        "INSERT INTO records (collection, key, slot, shard_key, document) VALUES ('notes', 'n', 42, '42', '1')",
    )
    .await
    .unwrap();
    for (sql, column) in [
        // Another user of the same shard, of the same slot, of another shard.
        ("UPDATE file_metadata SET user_id = 44", "user_id"),
        ("UPDATE file_metadata SET user_id = 5082, file_name = 'b'", "user_id"),
        ("UPDATE file_metadata SET user_id = 43", "user_id"),
        ("UPDATE file_metadata SET file_id = gen_random_uuid()", "file_id"),
        ("UPDATE records SET key = '44' WHERE collection = 'store'", "key"),
        ("UPDATE records SET slot = 44 WHERE collection = 'store'", "slot"),
        ("UPDATE records SET collection = 'kv' WHERE collection = 'store'", "collection"),
        ("UPDATE records SET shard_key = '44' WHERE collection = 'notes'", "shard_key"),
        ("UPDATE records SET shard_key = NULL WHERE collection = 'notes'", "shard_key"),
    ] {
        let error = run(&mut db, sql).await.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("SD008"), "{sql}");
        let error = error.downcast::<sqlx::postgres::PgDatabaseError>();
        assert!(error.message().contains(column), "{sql}: {}", error.message());
        assert!(error.hint().is_some_and(|hint| hint.contains("INSERT")), "{sql}");
    }
    for change in [
        "UPDATE file_metadata SET user_id = 42, file_name = 'b'",
        "UPDATE records SET document = '2', shard_key = shard_key",
    ] {
        run(&mut db, change).await.unwrap();
    }
    run(&mut db, "SELECT shardrive.make_folders(42, ARRAY['a folder'])").await.unwrap();
    for (values, constraint) in [
        ("file_metadata SET modified_at = 'infinity'", "file_metadata_times_check"),
        ("file_metadata SET created_at = '-infinity'", "file_metadata_times_check"),
        ("file_metadata SET modified_at = '270000-01-01'", "file_metadata_times_check"),
        ("file_metadata SET trashed_at = 'infinity'", "file_metadata_times_check"),
        ("folders SET created_at = 'infinity' WHERE parent_id IS NOT NULL", "file_metadata_times_check"),
        ("folders SET trashed_at = 'infinity' WHERE parent_id IS NOT NULL", "folders_trashed_at_check"),
        ("records SET created_at = 'infinity'", "records_times_check"),
    ] {
        let error = run(&mut db, &format!("UPDATE {values}")).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some(constraint), "{values}");
    }
}

#[tokio::test]
async fn every_kind_of_change_in_a_moving_slot_is_noted_and_no_other() {
    let cluster = TestCluster::migrated(1).await;
    let mark = "INSERT INTO shardrive.local_moves (move_id, slots) VALUES (1, set_bit(decode(repeat('00', 630), 'hex'), 2, 1))";
    cluster.psql(0, mark).await.unwrap();
    let changes = [
        (0, "INSERT INTO file_metadata (user_id, file_name) VALUES (3, 'a'), (4, 'b')"),
        (0, "INSERT INTO file_metadata (user_id, file_name) VALUES (3, 'c')"),
        (1, "INSERT INTO file_metadata (user_id, file_name) VALUES (2, 'a')"),
        (2, "INSERT INTO file_metadata (user_id, file_name) VALUES (2, 'b'), (3, 'd'), (2, 'c')"),
        (3, "UPDATE file_metadata SET file_name = 'e'"),
        (0, "UPDATE file_metadata SET file_name = 'f' WHERE user_id <> 2"),
        (0, "DELETE FROM file_metadata WHERE user_id = 4"),
        (3, "DELETE FROM file_metadata"),
        (
            1,
            "INSERT INTO records (collection, key, slot, document) VALUES ('store', '2', 2, '1'), ('store', '3', 3, '1')",
        ),
        (0, "INSERT INTO records (collection, key, slot, document) VALUES ('store', '4', 4, '1')"),
        (1, "UPDATE records SET document = '2'"),
        (0, "DELETE FROM records WHERE slot = 3"),
        (1, "DELETE FROM records"),
        (
            1,
            "INSERT INTO shardrive.idempotency_keys (slot, key, request, shard_id, outcome)
             SELECT slot, gen_random_uuid(), gen_random_uuid(), 0, '' FROM generate_series(1, 4) AS slot",
        ),
        (0, "DELETE FROM shardrive.idempotency_keys WHERE slot <> 2"),
        (1, "DELETE FROM shardrive.idempotency_keys"),
    ];
    for (expected, change) in changes {
        cluster.psql(0, "DELETE FROM shardrive.changed_keys").await.unwrap();
        cluster.psql(0, change).await.unwrap();
        let noted: i64 = cluster.value(0, "SELECT count(DISTINCT key) FROM shardrive.changed_keys").await;
        assert_eq!(noted, expected, "{change}");
    }
}

#[tokio::test]
async fn the_coverage_follows_every_change_of_the_map() {
    let cluster = TestCluster::migrated(3).await;
    // Each bit, and the three numbers made anew.
    let differences = "SELECT count(*) FILTER (WHERE (get_bit(c.owned, m.slot) = 1) <> (m.owner = i.shard_id))
                              + (max(c.slots) <> count(*) FILTER (WHERE m.owner = i.shard_id))::int
                              + (max(c.digest) <> coalesce(bit_xor(hashint4extended(m.slot, 0)) FILTER (WHERE m.owner = i.shard_id), 0))::int
                              + (max(c.others) <> coalesce(bit_xor(hashint4extended(m.slot, 0)) FILTER (WHERE m.owner <> i.shard_id), 0))::int
                         FROM shardrive.slot_map AS m, shardrive.coverage AS c, shardrive.identity AS i";
    let changes = [
        "SELECT 1",
        "SELECT shardrive.assign_slots('{0,1,2,5037,5038,5039}', 0, 2)",
        "SELECT shardrive.assign_slots('{0,1,2,5037,5038,5039}', 1, 3)",
        "SELECT shardrive.assign_slots('{0,1}', 2, 3)",
        "UPDATE shardrive.slot_map SET owner = 2",
        "UPDATE shardrive.slot_map SET owner = slot % 2, epoch = epoch + 1 WHERE slot BETWEEN 100 AND 2600",
        "BEGIN; DELETE FROM shardrive.slot_map WHERE slot IN (7, 8); INSERT INTO shardrive.slot_map VALUES (7, 0, 9), (8, 1, 9); COMMIT",
    ];
    for change in changes {
        for shard in 0..3 {
            cluster.psql(shard, change).await.unwrap();
            assert_eq!(cluster.value::<i64>(shard, differences).await, 0, "{change} on shard {shard}");
        }
    }
}
