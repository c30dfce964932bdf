//! Moves of slots by plain SQL, step by step, as any tool with connections to both shards could do.

use shardrive::reshard::{CountTables, MOVED_TABLES, MovedTable};
use sqlx::PgConnection;

use super::servers::{TestCluster, run, value};

/// The bytes of a row, as they are counted.
fn bytes(table: &MovedTable) -> &'static str {
    match table.short {
        "file_metadata" => "size_bytes",
        "records" => "octet_length(document::text)",
        other => panic!("tests/it/support/moves.rs does not say what the bytes of a row of {other} are"),
    }
}

/// Some slots on the way to another shard. A test calls the steps in the order of this file.
pub struct Move {
    source: PgConnection,
    target: PgConnection,
    slots: String,
    to: usize,
    epoch: i64,
}

impl Move {
    /// A move with an epoch above all earlier epochs.
    pub async fn new(cluster: &TestCluster, slots: &[i32], from: usize, to: usize) -> Self {
        let slots = format!("'{{{}}}'::int[]", slots.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        let newest = format!("SELECT max(epoch) FROM shardrive.slot_map WHERE slot = ANY ({slots})");
        let (mut source, mut target) = (cluster.connect(from).await, cluster.connect(to).await);
        let epoch = value::<i64>(&mut source, &newest).await.max(value(&mut target, &newest).await) + 1;
        Self { source, target, slots, to, epoch }
    }

    /// Runs all steps.
    pub async fn run(&mut self) {
        self.leave().await;
        self.copy().await;
        self.arrive().await;
        self.clean().await;
    }

    /// The old owner gives the slots up; from now on no shard owns them.
    pub async fn leave(&mut self) {
        let sql = self.assignment();
        value::<i32>(&mut self.source, &sql).await;
    }

    /// Copies the rows, and counts the rows by hand: rows written with `session_replication_role = replica` are not
    /// counted.
    pub async fn copy(&mut self) {
        let Self { source, target, slots, .. } = self;
        run(target, "BEGIN; SET LOCAL session_replication_role = replica").await.unwrap();
        for table in MOVED_TABLES {
            let MovedTable { name, slot: (slot, _), .. } = table;
            // A generated column is computed where the row arrives.
            let columns = "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute";
            let stored = "attnum > 0 AND NOT attisdropped AND attgenerated = ''";
            let columns: String =
                value(source, &format!("{columns} WHERE attrelid = '{name}'::regclass AND {stored}")).await;
            let rows = format!("COPY (SELECT {columns} FROM {name} WHERE {slot} = ANY ({slots})) TO STDOUT");
            let mut lines = Vec::new();
            let mut stream = source.copy_out_raw(&rows).await.unwrap();
            while let Some(part) = futures_util::StreamExt::next(&mut stream).await {
                lines.extend_from_slice(&part.unwrap());
            }
            drop(stream);
            let mut sink = target.copy_in_raw(&format!("COPY {name} ({columns}) FROM STDIN")).await.unwrap();
            sink.send(lines).await.unwrap();
            sink.finish().await.unwrap();
            if let Some(counts) = table.counts {
                run(target, &deltas(table, counts, slots, "")).await.unwrap();
            }
        }
        run(target, "COMMIT").await.unwrap();
    }

    /// The new owner takes the slots.
    pub async fn arrive(&mut self) {
        let sql = self.assignment();
        value::<i32>(&mut self.target, &sql).await;
    }

    /// The new owner takes the slots before the old owner gives the slots up, as in the service; both sides store the
    /// epoch before.
    pub async fn hand_over(&mut self) {
        let Self { source, target, slots, to, epoch } = self;
        let before: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT epoch FROM shardrive.slot_map WHERE slot = ANY ({slots}) ORDER BY slot"
        )))
        .fetch_all(&mut *source)
        .await
        .unwrap();
        let before = before.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let set = format!(
            "UPDATE shardrive.slot_map AS m SET owner = {to}, epoch = {epoch}, previous_epoch = t.before
               FROM unnest((SELECT array_agg(s ORDER BY s) FROM unnest({slots}) AS s), '{{{before}}}'::bigint[]) AS t (slot, before)
              WHERE m.slot = t.slot"
        );
        run(target, &set).await.unwrap();
        run(source, &set).await.unwrap();
    }

    /// Deletes the rows that the old owner still holds, with their counts.
    pub async fn clean(&mut self) {
        let slots = &self.slots;
        for table in MOVED_TABLES {
            let delete = format!("DELETE FROM {} WHERE {} = ANY ({slots})", table.name, table.slot.0);
            let deltas = table.counts.map_or_else(String::new, |counts| deltas(table, counts, slots, "-"));
            let sql = format!("BEGIN; SET LOCAL session_replication_role = replica; {deltas}; {delete}; COMMIT");
            run(&mut self.source, &sql).await.unwrap();
        }
    }

    fn assignment(&self) -> String {
        let Self { slots, to, epoch, .. } = self;
        format!("SELECT shardrive.assign_slots({slots}, {to}, {epoch})")
    }
}

fn deltas(table: &MovedTable, counts: CountTables, slots: &str, sign: &str) -> String {
    let (MovedTable { name, slot: (slot, _), .. }, CountTables { deltas, .. }, bytes) = (table, counts, bytes(table));
    format!(
        "INSERT INTO {deltas} (slots, rows, bytes)
         SELECT array_agg(slot), array_agg({sign}n), array_agg({sign}b)
           FROM (SELECT ({slot})::int AS slot, count(*) AS n, coalesce(sum({bytes}), 0)::bigint AS b
                   FROM {name} WHERE {slot} = ANY ({slots}) GROUP BY 1) AS moved
         HAVING count(*) > 0"
    )
}
