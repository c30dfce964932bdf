//! Asks every shard at once, by a deadline, and names the shards that did not answer.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::routing::Cluster;
use crate::shard::call::ShardCall;
use crate::shard::error::ShardError;
use crate::shard::slot::ShardId;

/// What each shard answered, in the order of their numbers.
#[derive(Debug)]
pub struct ScatterResult<T> {
    /// One entry a shard.
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
    /// All of them: somebody waits for the answer.
    All,
    /// A few: it is work in the background, and a hundred sessions that became busy at once would take the processor from
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
    /// Runs a call on every shard at the same time. A shard that has not answered at the deadline counts as
    /// [`ShardError::Timeout`], one that is known to be away as [`ShardError::Unavailable`] at once.
    ///
    /// Calls that answer `None` are those of a shard that has nothing to say; they count as answered.
    pub async fn scatter<C: ShardCall>(&self, call: &C, deadline: Duration) -> ScatterResult<Option<C::Output>> {
        self.scatter_by(ScatterBreadth::All, call, deadline).await
    }

    /// As [`Cluster::scatter`], so many at the same time; all of them share the deadline.
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
