//! Replication slots of moves on the standbys of a shard.
//!
//! A clean-up removes objects on the primary alone. A primary that became a standby during a move would keep the move's
//! slots, and its log with them, for ever. So every server of the shard is asked, also the replicas.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::direction::{Direction, stream_prefix};
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::shard::{Cluster, Shard, ShardOptions};

/// How long one server may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Removes the slots that no open move owns. A server that is away gets its turn in the next round.
pub(in crate::reshard) async fn remove_ended(cluster: &Cluster, shard: &Shard, open: &[SlotMove]) {
    let of_open: Vec<String> =
        open.iter().flat_map(|open| Direction::BOTH.map(|way| way.stream_name(cluster.id(), open.id))).collect();
    let prefix = stream_prefix(cluster.id());
    let servers = shard.options().each_server();
    if servers.len() < 2 {
        return; // the primary alone, whose slots are recorded
    }
    for server in servers {
        let removal = remove_ended_on(&server, &prefix, &of_open);
        match tokio::time::timeout(LIMIT, removal).await {
            Ok(Ok(found)) => {
                for (name, bytes) in found {
                    log::warn!(
                        "{}, a standby of shard {}, kept {bytes} bytes of log for the slot {name} of a move that has ended; \
                         the slot is removed",
                        server.address(),
                        shard.id()
                    );
                }
            }
            Ok(Err(error)) => {
                log::debug!("removing slots of ended moves on {}, of shard {}: {error}", server.address(), shard.id());
            }
            Err(_) => {}
        }
    }
}

/// Removes the slots of a server, if the server is a standby; returns the slots' names, and how much log each kept.
async fn remove_ended_on(
    server: &ShardOptions,
    prefix: &str,
    of_open: &[String],
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let mut db: PgConnection = server.connect(LIMIT).await?;
    sqlx::query_as(include_str!("../../../sql/reshard/drop_standby_slots.sql"))
        .bind(prefix)
        .bind(of_open)
        .fetch_all(&mut db)
        .await
}
