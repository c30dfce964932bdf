//! Slots that change their owner from outside, step by step, as any tool with a connection to both shards could do it.

use super::servers::{TestCluster, run, value};

/// Some slots on their way from one shard to another. The steps are to be taken in the order in which they stand here.
pub struct Move<'a> {
    cluster: &'a TestCluster,
    slots: String,
    from: usize,
    to: usize,
    epoch: i64,
}

impl<'a> Move<'a> {
    /// A move that is later than all moves before it.
    pub async fn new(cluster: &'a TestCluster, slots: &[i32], from: usize, to: usize) -> Self {
        let slots = format!("'{{{}}}'::int[]", slots.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        let newest = format!("SELECT max(epoch) FROM shardrive.slot_map WHERE slot = ANY ({slots})");
        let epoch = cluster.value::<i64>(from, &newest).await.max(cluster.value(to, &newest).await) + 1;
        Self { cluster, slots, from, to, epoch }
    }

    /// All steps.
    pub async fn run(&self) {
        self.leave().await;
        self.copy().await;
        self.arrive().await;
        self.clean().await;
    }

    /// The old owner gives the slots up; from here on nobody owns them.
    pub async fn leave(&self) {
        self.assign(self.from).await;
    }

    /// The rows, and their counts by hand: rows that come with `session_replication_role = replica` are not counted.
    pub async fn copy(&self) {
        let Self { slots, .. } = self;
        let mut source = self.cluster.connect(self.from).await;
        let mut target = self.cluster.connect(self.to).await;
        run(&mut target, "BEGIN; SET LOCAL session_replication_role = replica").await.unwrap();
        let rows =
            format!("COPY (SELECT * FROM file_metadata WHERE shardrive.slot_of(user_id) = ANY ({slots})) TO STDOUT");
        let mut lines = Vec::new();
        let mut stream = source.copy_out_raw(&rows).await.unwrap();
        while let Some(part) = futures_util::StreamExt::next(&mut stream).await {
            lines.extend_from_slice(&part.unwrap());
        }
        drop(stream);
        let mut sink = target.copy_in_raw("COPY file_metadata FROM STDIN").await.unwrap();
        sink.send(lines).await.unwrap();
        sink.finish().await.unwrap();
        run(&mut target, &self.deltas("")).await.unwrap();
        run(&mut target, "COMMIT").await.unwrap();
    }

    /// The new owner takes the slots.
    pub async fn arrive(&self) {
        self.assign(self.to).await;
    }

    /// The rows that the old owner still holds, and their counts, go.
    pub async fn clean(&self) {
        let Self { slots, .. } = self;
        let delete = format!("DELETE FROM file_metadata WHERE shardrive.slot_of(user_id) = ANY ({slots})");
        let deltas = self.deltas("-");
        let sql = format!("BEGIN; SET LOCAL session_replication_role = replica; {deltas}; {delete}; COMMIT");
        self.cluster.psql(self.from, &sql).await.unwrap();
    }

    async fn assign(&self, shard: usize) {
        let Self { slots, to, epoch, .. } = self;
        let mut db = self.cluster.connect(shard).await;
        value::<i32>(&mut db, &format!("SELECT shardrive.assign_slots({slots}, {to}, {epoch})")).await;
    }

    fn deltas(&self, sign: &str) -> String {
        let Self { slots, .. } = self;
        format!(
            "INSERT INTO shardrive.slot_deltas (slots, rows, bytes)
             SELECT array_agg(slot), array_agg({sign}n), array_agg({sign}b)
               FROM (SELECT shardrive.slot_of(user_id) AS slot, count(*) AS n,
                            coalesce(sum(size_bytes), 0)::bigint AS b
                       FROM file_metadata WHERE shardrive.slot_of(user_id) = ANY ({slots}) GROUP BY 1) AS moved
             HAVING count(*) > 0"
        )
    }
}
