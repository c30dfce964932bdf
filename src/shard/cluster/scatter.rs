//! Asks every shard at once, by a deadline, and names the shards that did not answer.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::routing::Cluster;
use crate::shard::call::ShardCall;
use crate::shard::coverage::SlotCoverage;
use crate::shard::error::ShardError;
use crate::shard::server::pool::ShardLimits;
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

/// Between two tries while a slot changes hands.
const MOVE_PAUSE: Duration = Duration::from_millis(5);
/// Two shards own a slot for less than this, mostly.
const CHANGE_OF_HANDS: Duration = Duration::from_millis(50);

/// How long a scatter may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScatterLimits {
    /// Each try.
    pub(crate) try_limit: Duration,
    /// All tries together.
    pub(crate) total: Duration,
}

/// What the shards answered to a scatter of several tries.
pub(crate) struct CoveredAnswers<T> {
    /// One entry a shard, of the last try.
    pub(crate) answers: Vec<(ShardId, Result<Option<T>, ShardError>)>,
    /// True if every shard answered, and the answers cover every slot once.
    pub(crate) is_covered: bool,
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
    fn limit_for(self, shards: usize) -> usize {
        match self {
            Self::All => shards.max(1),
            Self::Few => shards.div_ceil(64).max(2),
        }
    }
}

impl Cluster {
    /// The limits of a scatter for a caller who waits for every slot.
    pub(crate) fn scatter_limits(&self) -> ScatterLimits {
        let ShardLimits { call_timeout, move_timeout, .. } = *self.limits();
        ScatterLimits { try_limit: call_timeout, total: move_timeout.max(call_timeout) }
    }

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
        let turns = &Semaphore::new(breadth.limit_for(shards.len()));
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

    /// Asks every shard, and asks again while a slot changes hands, until the answers cover every slot once. Ends
    /// without that when a shard does not answer, or when the time is over.
    pub(crate) async fn scatter_until_covered<C: ShardCall>(
        &self,
        breadth: ScatterBreadth,
        call: &C,
        limits: ScatterLimits,
        coverage: impl Fn(&C::Output) -> SlotCoverage,
    ) -> CoveredAnswers<C::Output> {
        let first = Instant::now();
        let until = first + limits.total;
        let mut has_refreshed = false;
        let mut earlier = None;
        loop {
            let begun = Instant::now();
            let left = until.saturating_duration_since(begun).min(limits.try_limit);
            let result = self.scatter_by(breadth, call, left).await;
            let all_answered = result.is_complete();
            // The last try had less time than the others, and says less of the shards.
            if let Some(answers) = earlier.filter(|_| !all_answered && Instant::now() >= until) {
                return CoveredAnswers { answers, is_covered: false };
            }
            let ScatterResult { answers } = result;
            let covered = answers.iter().filter_map(|(_, answer)| Some(coverage(answer.as_ref().ok()?.as_ref()?)));
            let is_covered = all_answered && SlotCoverage::is_every_slot_once(covered);
            // Another try must have the time of this try, or would find the shards late that answered now.
            let took = begun.elapsed() * 2;
            let is_over = || Instant::now() + MOVE_PAUSE + took >= until;
            if !is_covered && all_answered && !is_over() {
                if !has_refreshed && first.elapsed() > CHANGE_OF_HANDS {
                    // Perhaps the owner of the missing slots is a shard that this process does not know yet.
                    has_refreshed = tokio::time::timeout_at(until, self.refresh_map()).await.is_ok();
                }
                if !is_over() {
                    tokio::time::sleep(MOVE_PAUSE).await;
                    earlier = Some(answers);
                    continue;
                }
            }
            return CoveredAnswers { answers, is_covered };
        }
    }
}
