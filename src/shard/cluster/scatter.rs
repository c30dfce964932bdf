//! Asks every shard at once, by a deadline, and names the shards that did not answer.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::routing::Cluster;
use crate::shard::call::ShardCall;
use crate::shard::error::ShardError;
use crate::shard::slot::ShardId;

/// Each shard's answer, in the order of the shards' numbers.
#[derive(Debug)]
pub struct ScatterResult<T> {
    /// One entry for each shard.
    pub answers: Vec<(ShardId, Result<T, ShardError>)>,
}

impl<T> ScatterResult<T> {
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

/// How many shards are asked at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScatterBreadth {
    /// All shards at once: somebody waits for the answer.
    All,
    /// A few shards: background work. A hundred sessions that become busy at once would take the processor from
    /// requests.
    Few,
}

impl ScatterBreadth {
    fn of(self, shards: usize) -> usize {
        match self {
            Self::All => shards.max(1),
            Self::Few => shards.div_ceil(64).max(2),
        }
    }
}

impl Cluster {
    /// Runs a call on every shard at the same time. A shard without an answer at the deadline counts as
    /// [`ShardError::Timeout`], an unreachable shard at once as [`ShardError::Unavailable`].
    ///
    /// `None` means that the shard has nothing to report, and counts as an answer.
    pub async fn scatter<C: ShardCall>(&self, call: &C, deadline: Duration) -> ScatterResult<Option<C::Output>> {
        self.scatter_by(ScatterBreadth::All, call, deadline).await
    }

    /// As [`Cluster::scatter`], on a limited number of shards at a time; all shards share the deadline.
    pub async fn scatter_by<C: ShardCall>(
        &self,
        breadth: ScatterBreadth,
        call: &C,
        deadline: Duration,
    ) -> ScatterResult<Option<C::Output>> {
        let (shards, until) = (self.shards(), Instant::now() + deadline);
        let turns = &Semaphore::new(breadth.of(shards.len()));
        let asks = shards.iter().map(|shard| async move {
            let ask = async {
                let _turn = turns.acquire().await;
                shard.run(call).await
            };
            let answer = tokio::time::timeout_at(until, ask).await;
            (shard.id(), answer.unwrap_or(Err(ShardError::Timeout { shard: shard.id() })))
        });
        ScatterResult { answers: join_all(asks).await }
    }
}
