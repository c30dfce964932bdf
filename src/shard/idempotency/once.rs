//! A call that runs at most once for its key.

use sqlx::{Connection, PgConnection};

use super::{CallOutcome, FindKey, RequestKey, find_refused, is_key_there};
use crate::shard::call::ShardCall;
use crate::shard::slot::{ShardId, Slot};

/// Makes `call` unless an earlier call with the key was made. `seal` gives the outcome to store; `None` if the call has
/// changed nothing, and another try may be made.
pub(crate) struct IdempotentCall<'a, C, S> {
    pub(crate) call: &'a C,
    pub(crate) slot: Slot,
    pub(crate) key: &'a RequestKey,
    pub(crate) seal: S,
}

impl<C: ShardCall, S: Fn(&C::Output) -> Option<String> + Sync> ShardCall for IdempotentCall<'_, C, S> {
    type Output = CallOutcome<C::Output>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        match (FindKey { slot: self.slot, key: self.key.key }).call(connection, shard).await? {
            None => return Ok(None),
            Some(Some(known)) => return Ok(Some(CallOutcome::Replayed(known))),
            Some(None) => {}
        }
        match self.make(connection, shard).await {
            Err(error) if is_key_there(&error) => {
                // Another request with the key was faster, or the record is too old: then the next try is the first.
                let there = find_refused(connection, &[(self.slot, self.key.key)]).await?;
                match there.known.into_iter().next() {
                    Some((_, _, known)) => Ok(Some(CallOutcome::Replayed(known))),
                    None if !there.foreign.is_empty() => Ok(None),
                    None => Ok(self.make(connection, shard).await?.map(CallOutcome::Applied)),
                }
            }
            made => Ok(made?.map(CallOutcome::Applied)),
        }
    }

    fn name(&self) -> &'static str {
        self.call.name()
    }

    /// A second try finds the key of the first try, whatever the call does.
    fn is_repeatable(&self) -> bool {
        true
    }
}

impl<C: ShardCall, S: Fn(&C::Output) -> Option<String> + Sync> IdempotentCall<'_, C, S> {
    async fn make(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<C::Output>, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let made = match self.call.call(&mut transaction, shard).await {
            Ok(Some(output)) => match (self.seal)(&output) {
                None => Ok(Some(output)),
                Some(outcome) => {
                    let keep = sqlx::query(include_str!("../../../sql/idempotency/keep.sql"))
                        .bind(self.slot.to_sql())
                        .bind(self.key.key)
                        .bind(self.key.request)
                        .bind(shard.to_sql())
                        .bind(outcome);
                    keep.execute(&mut *transaction).await.map(|_| Some(output))
                }
            },
            other => other,
        };
        match made {
            Ok(Some(output)) => {
                transaction.commit().await?;
                Ok(Some(output))
            }
            // The error of the statement matters, not the end of the transaction.
            other => {
                let _ = transaction.rollback().await;
                other
            }
        }
    }
}
