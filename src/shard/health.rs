//! Is a shard there? One task a shard asks it, so that no request has to find out by waiting.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shard;

/// What the last look at a shard found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardState {
    /// It answers.
    Healthy,
    /// It refuses connections, does not answer in time, or is not the database that it should be.
    Unreachable,
}

impl ShardState {
    /// The word for it in `/health` and `/stats`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How long a look at a shard may take, and how often there is one.
pub(super) struct Watch {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

/// Looks at a shard until `stop` is cancelled, and tells what it finds by the shard's state.
pub(super) async fn watch_shard(shard: Arc<Shard>, watch: Watch, stop: CancellationToken) {
    let mut connection = None;
    while !stop.is_cancelled() {
        let found = match within(watch.timeout, look_at(&shard, &mut connection)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("no answer in {} ms", watch.timeout.as_millis())),
        };
        if found.is_err() {
            connection = None;
        }
        report(&shard, found);
        tokio::select! {
            () = tokio::time::sleep(watch.interval) => {}
            () = shard.suspected() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Waits for a look, the limit in two halves: if this process itself stood still (frozen, or starved of processor time),
/// the first half is over at once, and the answer that lies in the socket is read in the second.
async fn within<T>(limit: Duration, look: impl Future<Output = T>) -> Option<T> {
    let mut look = std::pin::pin!(look);
    match tokio::time::timeout(limit / 2, &mut look).await {
        Ok(found) => Some(found),
        Err(_) => tokio::time::timeout(limit / 2, look).await.ok(),
    }
}

/// One look: over the connection that is there, or else over a new one, so that the end of one session by itself
/// (an administrator's `pg_terminate_backend`) is no news.
async fn look_at(shard: &Shard, connection: &mut Option<PgConnection>) -> Result<(), sqlx::Error> {
    if let Some(mut open) = connection.take()
        && open.ping().await.is_ok()
    {
        *connection = Some(open);
        return Ok(());
    }
    *connection = Some(shard.connect().await?);
    Ok(())
}

fn report(shard: &Shard, found: Result<(), String>) {
    let state = if found.is_ok() { ShardState::Healthy } else { ShardState::Unreachable };
    let changed = shard.set_state(state);
    match found {
        Ok(()) if changed => log::info!("shard {} at {} is healthy", shard.id(), shard.options().place()),
        Err(reason) if changed => {
            log::warn!("shard {} at {} is unreachable: {reason}", shard.id(), shard.options().place());
        }
        _ => {}
    }
}

/// Waits until the state is `wanted`; never ends if the sender is gone.
pub(super) async fn until(receiver: &mut watch::Receiver<ShardState>, wanted: ShardState) {
    if receiver.wait_for(|state| *state == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}
