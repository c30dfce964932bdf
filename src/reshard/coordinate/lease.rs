//! The coordinator's lease: one process at a time coordinates moves.
//!
//! The lease is an advisory lock of a session on shard 0, and the same session writes every state of a move. A process
//! that dies loses the lease at once; a stopped process loses the lease when its session has been silent for
//! [`SILENCE_LIMIT`]. Either process may still have a statement under way on another shard. Each lease has a higher
//! token, and a shard refuses statements with an older token.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::reshard::error::MoveError;
use crate::shard::{Cluster, ShardId};

/// How long the session of a coordinator may be silent, as PostgreSQL takes the time.
const SILENCE_LIMIT: &str = "3s";
/// Between two statements that keep the session alive.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(500);
/// How long shard 0 may take for such a statement.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(5);

/// The right to coordinate. A drop gives the right back.
pub(in crate::reshard) struct CoordinatorLease {
    db: Arc<Mutex<PgConnection>>,
    token: i64,
    lost: CancellationToken,
    _keepalive: AbortOnDropHandle<()>,
}

impl CoordinatorLease {
    /// Takes the lease, if no other process has it.
    ///
    /// # Errors
    /// If shard 0 is away.
    pub(in crate::reshard) async fn take(cluster: &Cluster) -> Result<Option<Self>, MoveError> {
        let control = ShardId::default();
        let Some(shard) = cluster.shard(control) else { return Ok(None) };
        let failed = MoveError::on(control);
        let mut db = shard.connect().await.map_err(&failed)?;
        let mine: bool = sqlx::query_scalar(include_str!("../../../sql/reshard/take_lease.sql"))
            .bind(SILENCE_LIMIT)
            .fetch_one(&mut db)
            .await
            .map_err(&failed)?;
        if !mine {
            return Ok(None);
        }
        let token = sqlx::query_scalar(include_str!("../../../sql/reshard/raise_token.sql"))
            .fetch_one(&mut db)
            .await
            .map_err(&failed)?;
        let (db, lost) = (Arc::new(Mutex::new(db)), CancellationToken::new());
        let keepalive = keep_session_alive(Arc::clone(&db), lost.clone());
        let keepalive = AbortOnDropHandle::new(cluster.runtime().spawn(keepalive));
        Ok(Some(Self { db, token, lost, _keepalive: keepalive }))
    }

    /// The number by which the shards know this coordinator.
    pub(in crate::reshard) fn token(&self) -> i64 {
        self.token
    }

    /// Cancelled when the session is lost.
    pub(in crate::reshard) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// The session.
    pub(in crate::reshard) async fn db(&self) -> MutexGuard<'_, PgConnection> {
        self.db.lock().await
    }
}

async fn keep_session_alive(db: Arc<Mutex<PgConnection>>, lost: CancellationToken) {
    let _lost = lost.drop_guard();
    loop {
        tokio::time::sleep(KEEPALIVE_INTERVAL).await;
        let mut db = db.lock().await;
        let statement = sqlx::query(include_str!("../../../sql/reshard/keep_session_alive.sql")).execute(&mut *db);
        if !matches!(tokio::time::timeout(KEEPALIVE_LIMIT, statement).await, Ok(Ok(_))) {
            return;
        }
    }
}
