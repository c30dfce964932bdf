//! The coordinator's lease: one process at a time coordinates moves.
//!
//! It is an advisory lock of a session on shard 0, and every state of a move is written by that same session. A process
//! that dies loses it at once, one that is frozen when its session has been silent for [`SILENCE`]. Either may still
//! have a statement under way on another shard; the token, which grows with every lease, is what refuses it there.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::reshard::error::MoveError;
use crate::shard::{Cluster, ShardId};

/// How long the session of a coordinator may be silent, as PostgreSQL takes it.
const SILENCE: &str = "3s";
/// How often it gives a sign of life.
const SIGN: Duration = Duration::from_millis(500);
/// How long shard 0 may take for it.
const SIGN_LIMIT: Duration = Duration::from_secs(5);

/// The right to coordinate. Dropping it gives it back.
pub(in crate::reshard) struct CoordinatorLease {
    db: Arc<Mutex<PgConnection>>,
    token: i64,
    lost: CancellationToken,
    _signs: AbortOnDropHandle<()>,
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
        let mine: bool = sqlx::query_scalar(include_str!("../../../sql/reshard/try_lease.sql"))
            .bind(SILENCE)
            .fetch_one(&mut db)
            .await
            .map_err(&failed)?;
        if !mine {
            return Ok(None);
        }
        let token = sqlx::query_scalar(include_str!("../../../sql/reshard/next_token.sql"))
            .fetch_one(&mut db)
            .await
            .map_err(&failed)?;
        let (db, lost) = (Arc::new(Mutex::new(db)), CancellationToken::new());
        let signs = give_signs(Arc::clone(&db), lost.clone());
        let signs = AbortOnDropHandle::new(cluster.runtime().spawn(signs));
        Ok(Some(Self { db, token, lost, _signs: signs }))
    }

    /// What the shards know this coordinator by.
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

async fn give_signs(db: Arc<Mutex<PgConnection>>, lost: CancellationToken) {
    let _lost = lost.drop_guard();
    loop {
        tokio::time::sleep(SIGN).await;
        let mut db = db.lock().await;
        let sign = sqlx::query(include_str!("../../../sql/reshard/keep_lease.sql")).execute(&mut *db);
        if !matches!(tokio::time::timeout(SIGN_LIMIT, sign).await, Ok(Ok(_))) {
            return;
        }
    }
}
