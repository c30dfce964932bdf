//! Replication slots of moves on the standbys of a shard.
//!
//! A primary that became a standby while a move was under way keeps the slots of that move, and with them its log, for ever: what
//! is written down for a move is removed on the primary. So every server of the shard is asked, also those for reads.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::direction::{Direction, stream_prefix};
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::shard::{Cluster, Shard, ShardOptions};

/// How long one server may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Removes the slots that no open move owns. A server that is away is asked in the next round.
pub(in crate::reshard) async fn reap(cluster: &Cluster, shard: &Shard, open: &[SlotMove]) {
    let of_open: Vec<String> =
        open.iter().flat_map(|open| Direction::BOTH.map(|way| way.stream_name(cluster.id(), open.id))).collect();
    let prefix = stream_prefix(cluster.id());
    for server in shard.options().each_server() {
        let reaping = reap_on(&server, &prefix, &of_open);
        match tokio::time::timeout(LIMIT, reaping).await {
            Ok(Ok(found)) => {
                for (name, bytes) in found {
                    log::warn!(
                        "{}, a standby of shard {}, kept {bytes} bytes of log for the slot {name} of a move that has ended; \
                         the slot is removed",
                        server.place(),
                        shard.id()
                    );
                }
            }
            Ok(Err(error)) => {
                log::debug!("looking for what moves left on {}, of shard {}: {error}", server.place(), shard.id());
            }
            Err(_) => {}
        }
    }
}

/// Removes the slots of a server, if it is a standby; gives their names, and how much log each kept.
async fn reap_on(server: &ShardOptions, prefix: &str, of_open: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let mut db: PgConnection = server.connect(LIMIT).await?;
    sqlx::query_as(include_str!("../../../sql/reshard/drop_standby_slots.sql"))
        .bind(prefix)
        .bind(of_open)
        .fetch_all(&mut db)
        .await
}
