//! A table that moves with its slots: everything that such a table needs, asked of the database for each table of the
//! list.

use std::collections::BTreeSet;
use std::path::Path;

use shardrive::reshard::{CountTables, MOVED_TABLES, MovedTable};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::servers::{TestCluster, run, sqlstate, value};

/// Tables whose rows stay on their shard, and why.
const TABLES_THAT_STAY: &[(&str, &str)] = &[
    ("shardrive._sqlx_migrations", "which migrations this database has seen"),
    ("shardrive.admin_keys", "idempotency keys of /admin: actions concern the cluster, not a slot"),
    ("shardrive.audit_log", "operator actions, on shard 0"),
    ("shardrive.heartbeats", "a row that travels with one move"),
    ("shardrive.cache_fence", "the cache server in force for this shard"),
    ("shardrive.changed_keys", "notes of a move, for its comparison"),
    ("shardrive.collections", "the same rows on every shard"),
    ("shardrive.coordinator", "the coordinator's token, on shard 0"),
    ("shardrive.coverage", "which slots this shard owns"),
    ("shardrive.coordinator_fence", "the newest coordinator that this shard knows"),
    ("shardrive.identity", "which shard this is"),
    ("shardrive.local_moves", "the moves that this shard takes part in"),
    ("shardrive.move_events", "what happened to moves, on shard 0"),
    ("shardrive.move_objects", "what moves have made, on shard 0"),
    ("shardrive.moves", "the moves, on shard 0"),
    ("shardrive.outbox", "drained before a slot leaves (src/reshard/transfer/outbox_drained.rs)"),
    ("shardrive.record_counts", "set by the handover, as MovedTable::counts says"),
    ("shardrive.record_deltas", "set by the handover, as MovedTable::counts says"),
    ("shardrive.relay", "how far this shard's outbox is published"),
    ("shardrive.shard_counts", "kept by the triggers of the counts and of the map"),
    ("shardrive.shards", "the same rows on every shard"),
    ("shardrive.slot_counts", "set by the handover, as MovedTable::counts says"),
    ("shardrive.slot_deltas", "set by the handover, as MovedTable::counts says"),
    ("shardrive.slot_map", "the same slots on every shard"),
];

/// A slot of shard 0, and one of shard 1.
const OWN: i32 = 0;
const FOREIGN: i32 = 1;

/// Stores a row of a slot.
fn insert(table: &MovedTable, slot: i32) -> Option<String> {
    let (columns, values) = match table.short {
        "file_metadata" => ("user_id, file_name", format!("{slot}, 'a.txt'")),
        "folders" => (
            "user_id, folder_id, folder_name, tree_version",
            format!("{slot}, '00000000-0000-0000-0000-000000000000', '', 1"),
        ),
        "records" => ("collection, key, slot, document", format!("'kv', 'a', {slot}, '1'")),
        "idempotency_keys" => (
            "slot, key, request, shard_id, outcome",
            format!("{slot}, gen_random_uuid(), gen_random_uuid(), 0, '{{}}'"),
        ),
        _ => return None,
    };
    Some(format!("INSERT INTO {} ({columns}) VALUES ({values})", table.name))
}

/// Types whose equal values have the same text.
const ONE_TEXT_A_VALUE: [&str; 5] = [" bigint", " integer", " text", " uuid", " timestamp with time zone"];

/// Marks every slot as part of a move.
fn local_move(is_frozen: bool) -> String {
    format!(
        "INSERT INTO shardrive.local_moves (move_id, slots, frozen) VALUES (1, decode(repeat('ff', 630), 'hex'), {is_frozen})"
    )
}

/// Runs statements in a transaction that is taken back; gives the SQLSTATE of the refusal, or an empty text.
async fn refusal_of(db: &mut PgConnection, statements: &[&str]) -> String {
    run(db, "BEGIN").await.unwrap();
    let mut refusal = String::new();
    for statement in statements {
        if let Err(error) = run(db, statement).await {
            refusal = sqlstate::<u64>(Err(error));
            break;
        }
    }
    run(db, "ROLLBACK").await.unwrap();
    refusal
}

/// `name type` of each column, as PostgreSQL calls types.
fn shown(columns: &[(&str, &str)]) -> Vec<String> {
    columns.iter().map(|(name, kind)| format!("{name} {}", if *kind == "int" { "integer" } else { kind })).collect()
}

#[tokio::test]
async fn every_table_moves_or_has_a_reason_to_stay() {
    let cluster = TestCluster::migrated(1).await;
    let names = "SELECT table_schema || '.' || table_name FROM information_schema.tables
                  WHERE table_schema IN ('public', 'shardrive') AND table_type = 'BASE TABLE'";
    let found: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(names)).fetch_all(&mut cluster.connect(0).await).await.unwrap();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let listed = MOVED_TABLES.iter().map(|table| table.name).chain(TABLES_THAT_STAY.iter().map(|(name, _)| *name));
    let listed: BTreeSet<&str> = listed.collect();
    let unknown: Vec<_> = found.difference(&listed).collect();
    assert!(
        unknown.is_empty(),
        "{unknown:?}: rows of users move (src/reshard/transfer/tables.rs); a table that stays has its reason in TABLES_THAT_STAY"
    );
    assert_eq!(listed.difference(&found).collect::<Vec<_>>(), Vec::<&&str>::new(), "these tables are not there");
}

#[tokio::test]
async fn a_table_that_moves_has_everything_that_a_move_needs() {
    let cluster = TestCluster::migrated(2).await;
    let mut db = cluster.connect(0).await;
    let mut faults = Vec::new();
    for table in MOVED_TABLES {
        let mut found = shape_faults(&mut db, table).await;
        match insert(table, OWN).zip(insert(table, FOREIGN)) {
            Some((own, foreign)) => {
                found.extend(guard_faults(&mut db, table, &own, &foreign).await);
                found.extend(note_faults(&mut db, table, &own).await);
                if let Some(counts) = table.counts {
                    found.extend(count_faults(&mut db, counts, &own).await);
                }
            }
            None => found.push("this test has no row of the table: fn insert".to_owned()),
        }
        found.extend(statement_faults(table));
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", table.name)));
    }
    assert!(faults.is_empty(), "forgotten:\n{}", faults.join("\n"));
}

/// Key, index of slots, throttle.
async fn shape_faults(db: &mut PgConnection, table: &MovedTable) -> Vec<String> {
    let MovedTable { name, slot, key, by_slot, .. } = table;
    let mut faults = Vec::new();
    // An index may hold columns behind its key.
    let columns = "SELECT array_agg(attname || ' ' || format_type(coalesce(nullif(typbasetype, 0), atttypid), NULL) ORDER BY place)
                     FROM pg_index CROSS JOIN unnest(indkey) WITH ORDINALITY AS part (attnum, place)
                     JOIN pg_attribute AS a ON a.attnum = part.attnum AND place <= indnkeyatts
                     JOIN pg_type AS t ON t.oid = atttypid";
    let primary: Vec<String> =
        value(db, &format!("{columns} WHERE indrelid = '{name}'::regclass AND indisprimary AND attrelid = indrelid"))
            .await;
    if primary != shown(key) {
        faults.push(format!("tables.rs: `key` is not the primary key: {primary:?}"));
    }
    let rest = key.iter().filter(|(column, _)| *column != slot.0);
    if **by_slot != std::iter::once(slot).chain(rest).copied().collect::<Vec<_>>() {
        faults.push("tables.rs: `by_slot` is not the slot and the rest of the key".to_owned());
    }
    let replica: String =
        value(db, &format!("SELECT relreplident::text FROM pg_class WHERE oid = '{name}'::regclass")).await;
    if replica != "d" {
        faults.push("migrations: the replica identity is not the primary key".to_owned());
    }
    let begins = "pg_get_indexdef(indexrelid, 1, false)";
    run(db, &format!("BEGIN; CREATE INDEX slot_probe ON {name} (({}))", slot.0)).await.unwrap();
    let has_index: bool = value(
        db,
        &format!(
            "SELECT count(*) > 1 FROM pg_index WHERE indrelid = '{name}'::regclass AND indpred IS NULL AND {begins} =
                    (SELECT {begins} FROM pg_index WHERE indexrelid = 'slot_probe'::regclass)",
        )
        .replace("'slot_probe'", &format!("'{}.slot_probe'", name.split('.').next().unwrap())),
    )
    .await;
    run(db, "ROLLBACK").await.unwrap();
    if !has_index {
        faults.push(format!("migrations: no index begins with the slot, {}", slot.0));
    }
    let throttled = "SELECT count(*) > 0 FROM pg_attribute JOIN pg_constraint AS c ON contypid = atttypid
                      WHERE attnotnull AND pg_get_constraintdef(c.oid) LIKE '%throttle_copy(%'";
    if !value::<bool>(db, &format!("{throttled} AND attrelid = '{name}'::regclass")).await {
        faults.push("migrations: no column's type calls shardrive.throttle_copy, which throttles the copy".to_owned());
    }
    if table.hash.contains("hash_record_extended") {
        let kinds = format!(
            "SELECT array_agg(attname || ' ' || format_type(coalesce(nullif(typbasetype, 0), atttypid), NULL))
               FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
              WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        let others: Vec<String> = value::<Vec<String>>(db, &kinds).await;
        let others = others.iter().filter(|column| !ONE_TEXT_A_VALUE.iter().any(|kind| column.ends_with(kind)));
        faults.extend(others.map(|column| format!("tables.rs: a comparison of values may not see all of {column}")));
    }
    faults
}

/// The triggers that refuse writes to slots of others, to frozen slots, and a TRUNCATE during a move.
async fn guard_faults(db: &mut PgConnection, table: &MovedTable, own: &str, foreign: &str) -> Vec<String> {
    let name = table.name;
    let (first, _) = table.key[0];
    let (update, delete) = (format!("UPDATE {name} SET {first} = {first}"), format!("DELETE FROM {name}"));
    let (marked, frozen, truncate) = (local_move(false), local_move(true), format!("TRUNCATE {name}"));
    let mut faults = Vec::new();
    for (what, wanted, statements) in [
        ("a row of an own slot is refused", "", vec![own, &update, &delete]),
        ("the guard lets an INSERT into another shard's slot pass", "SD001", vec![foreign]),
        ("the guard lets an INSERT into a frozen slot pass", "SD001", vec![&frozen, own]),
        ("the guard lets an UPDATE of a frozen slot pass", "SD001", vec![own, &frozen, &update]),
        ("the guard lets a DELETE from a frozen slot pass", "SD001", vec![own, &frozen, &delete]),
        ("the guard lets a TRUNCATE pass during a move", "SD001", vec![&marked, &truncate]),
    ] {
        let refusal = refusal_of(db, &statements).await;
        if refusal != wanted {
            faults.push(format!("migrations: {what} (SQLSTATE {refusal:?})"));
        }
    }
    faults
}

/// The keys of changed rows, which a move compares once more before its cutover.
async fn note_faults(db: &mut PgConnection, table: &MovedTable, own: &str) -> Vec<String> {
    let MovedTable { name, short, key, .. } = table;
    let (first, _) = key[0];
    let columns: Vec<_> = key.iter().map(|(column, _)| format!("t.{column}::text")).collect();
    let of_rows = format!(
        "SELECT count(*) > 0 FROM shardrive.changed_keys AS c JOIN {name} AS t ON c.key = ARRAY[{}] WHERE c.table_name = '{short}'",
        columns.join(", ")
    );
    let of_gone = format!("SELECT count(*) > 0 FROM shardrive.changed_keys WHERE table_name = '{short}'");
    run(db, &format!("BEGIN; {}", local_move(false))).await.unwrap();
    let mut faults = Vec::new();
    for (what, statement, is_noted) in [
        ("INSERT", own.to_owned(), &of_rows),
        ("UPDATE", format!("UPDATE {name} SET {first} = {first}"), &of_rows),
        ("DELETE", format!("DELETE FROM {name}"), &of_gone),
    ] {
        run(db, &format!("DELETE FROM shardrive.changed_keys; {statement}")).await.unwrap();
        if !value::<bool>(db, is_noted).await {
            faults.push(format!("migrations: an {what} during a move leaves no key in shardrive.changed_keys"));
        }
    }
    run(db, "ROLLBACK").await.unwrap();
    faults
}

/// The deltas of each change, and the copy of the map that sums are made by.
async fn count_faults(db: &mut PgConnection, counts: CountTables, own: &str) -> Vec<String> {
    let CountTables { totals, deltas, .. } = counts;
    let mut faults = Vec::new();
    run(db, &format!("BEGIN; {own}")).await.unwrap();
    if !value::<bool>(db, &format!("SELECT count(*) > 0 FROM {deltas} WHERE {OWN} = ANY (slots)")).await {
        faults.push(format!("migrations: an INSERT leaves no delta in {deltas}"));
    }
    let counted = "SELECT sum(rows)::bigint FROM shardrive.shard_counts";
    run(db, &format!("UPDATE {totals} SET rows = rows + 7 WHERE slot = {OWN}")).await.unwrap();
    if value::<i64>(db, counted).await != 7 {
        faults.push(format!("migrations: shardrive.shard_counts does not follow {totals}"));
    }
    run(db, &format!("UPDATE shardrive.slot_map SET owner = 1, epoch = epoch + 1 WHERE slot = {OWN}")).await.unwrap();
    if value::<i64>(db, counted).await != 0 {
        faults.push(format!("migrations: {totals} does not leave shardrive.shard_counts with its slots"));
    }
    run(db, "ROLLBACK").await.unwrap();
    faults
}

/// The statements about all counted tables.
fn statement_faults(table: &MovedTable) -> Vec<String> {
    let Some(CountTables { totals, deltas, .. }) = table.counts else { return Vec::new() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/stats");
    let statements: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    let mut faults = Vec::new();
    for (beginning, words, what) in [
        ("fold_", format!("DELETE FROM {deltas}"), "folds its deltas"),
        ("vacuum_deltas", deltas.to_owned(), "vacuums its deltas"),
        ("vacuum_deltas", totals.to_owned(), "vacuums its counts"),
        ("count_owned", deltas.to_owned(), "counts its deltas for /stats"),
        ("scan_owned", format!("FROM {} ", table.short), "scans it for /stats?exact=scan"),
        ("audit_", format!("FROM {}", table.short), "reads it for `shards verify`"),
    ] {
        if !statements.iter().any(|(name, text)| name.starts_with(beginning) && text.contains(&words)) {
            faults.push(format!("sql/stats/{beginning}*: no statement {what}"));
        }
    }
    faults
}
