//! Idempotency keys of operator actions. An action is many transactions: its key is claimed first, then stored with the
//! answer.
//!
//! The next try repeats an action whose process died. Each action finds the work of the first try (a shard that was
//! added, a move that is on its way) and does not repeat that work.

use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use super::RequestKey;
use crate::shard::call::ShardCall;
use crate::shard::cluster::routing::Cluster;
use crate::shard::error::ShardError;
use crate::shard::slot::ShardId;

/// The keys, on shard 0.
#[derive(Clone)]
pub struct AdminKeys(Arc<Cluster>);

/// The state of a key.
#[derive(Debug)]
pub enum AdminClaim {
    /// The action is to be done.
    Yours,
    /// Another request is doing the action.
    Running,
    /// The action was done, with this status and body.
    Done(u16, String),
}

impl AdminKeys {
    /// The keys of a cluster.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self(cluster)
    }

    /// Begins an action. After `Yours` the caller runs the action, and then calls [`AdminKeys::end`].
    ///
    /// # Errors
    /// `KeyReused`, or the shard's.
    pub async fn begin(&self, key: RequestKey) -> Result<AdminClaim, ShardError> {
        match self.run(&BeginAdminKey(key)).await? {
            None => Ok(AdminClaim::Yours),
            Some((request, _, _)) if request != key.request => Err(ShardError::KeyReused),
            Some((_, None, _)) => Ok(AdminClaim::Running),
            Some((_, Some(status), body)) => read_answer(status, body),
        }
    }

    /// Keeps the answer, or with `None` frees the key: nothing was done.
    ///
    /// # Errors
    /// The shard's.
    pub async fn end(&self, key: RequestKey, answer: Option<(u16, &str)>) -> Result<(), ShardError> {
        self.run(&EndAdminKey { key: key.key, answer }).await
    }

    async fn run<C: ShardCall>(&self, call: &C) -> Result<C::Output, ShardError> {
        let first = self.0.shard(ShardId::new(0)).ok_or(ShardError::Moving)?;
        first.run(call).await?.ok_or(ShardError::Moving)
    }
}

/// The answer that is kept for a key. An answer that cannot be read is an error, and not an empty 200.
fn read_answer(status: i32, body: Option<String>) -> Result<AdminClaim, ShardError> {
    match (u16::try_from(status), body) {
        (Ok(status), Some(body)) => Ok(AdminClaim::Done(status, body)),
        _ => {
            let source = sqlx::Error::Decode(format!("the answer of an act is kept with the status {status}").into());
            Err(ShardError::Unexpected { shard: ShardId::new(0), source })
        }
    }
}

struct BeginAdminKey(RequestKey);

type KeptAnswer = (Uuid, Option<i32>, Option<String>);

impl ShardCall for BeginAdminKey {
    /// `None`: the action begins now.
    type Output = Option<KeptAnswer>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Option<KeptAnswer>>, sqlx::Error> {
        let claimed: Option<Uuid> = sqlx::query_scalar(include_str!("../../../sql/idempotency/claim_admin.sql"))
            .bind(self.0.key)
            .bind(self.0.request)
            .fetch_optional(&mut *connection)
            .await?;
        if claimed.is_some() {
            return Ok(Some(None));
        }
        let kept = sqlx::query_as(include_str!("../../../sql/idempotency/find_admin.sql"))
            .bind(self.0.key)
            .fetch_optional(connection)
            .await?;
        // The key is gone in between: the action was refused. The client shall try again.
        Ok(Some(Some(kept.unwrap_or((self.0.request, None, None)))))
    }

    /// A second try would find the first try running.
    fn is_repeatable(&self) -> bool {
        false
    }
}

struct EndAdminKey<'a> {
    key: Uuid,
    answer: Option<(u16, &'a str)>,
}

impl ShardCall for EndAdminKey<'_> {
    type Output = ();

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<()>, sqlx::Error> {
        let statement = match self.answer {
            Some((status, body)) => sqlx::query(include_str!("../../../sql/idempotency/end_admin.sql"))
                .bind(self.key)
                .bind(i32::from(status))
                .bind(body),
            None => sqlx::query(include_str!("../../../sql/idempotency/release_admin.sql")).bind(self.key),
        };
        statement.execute(connection).await?;
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_is_no_empty_200() {
        assert!(matches!(read_answer(202, Some("{}".into())), Ok(AdminClaim::Done(202, body)) if body == "{}"));
        for (status, body) in [(70_000, Some("{}".into())), (-1, Some("{}".into())), (200, None)] {
            assert!(matches!(read_answer(status, body), Err(ShardError::Unexpected { .. })), "{status}");
        }
    }
}
