//! Asking every shard at once, by a deadline, and saying who did not answer.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Cluster, ShardCall, ShardError, ShardId};

/// What each shard answered, in the order of their numbers.
#[derive(Debug)]
pub struct Gathered<T> {
    /// One entry a shard.
    pub answers: Vec<(ShardId, Result<T, ShardError>)>,
}

impl<T> Gathered<T> {
    /// True if every shard answered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answers.iter().all(|(_, answer)| answer.is_ok())
    }

    /// The answers alone.
    pub fn into_answers(self) -> impl Iterator<Item = T> {
        self.answers.into_iter().filter_map(|(_, answer)| answer.ok())
    }
}

impl Cluster {
    /// Runs a call on every shard at the same time. A shard that has not answered at the deadline counts as
    /// [`ShardError::Timeout`], one that is known to be away as [`ShardError::Unavailable`] at once.
    ///
    /// Calls that answer `None` are those of a shard that has nothing to say; they count as answered.
    pub async fn scatter<C: ShardCall>(&self, call: &C, deadline: Duration) -> Gathered<Option<C::Output>> {
        let asks = self.shards().iter().map(|shard| async move {
            let answer = tokio::time::timeout(deadline, shard.run(call)).await;
            (shard.id(), answer.unwrap_or(Err(ShardError::Timeout { shard: shard.id() })))
        });
        Gathered { answers: join_all(asks).await }
    }
}
