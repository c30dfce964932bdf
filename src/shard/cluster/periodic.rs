//! Periodic tasks on every shard, for as long as the cluster runs.
//!
//! Every shard has its own point within the interval, so that the runs of many shards are spread over the interval. A
//! hundred runs at the same moment would take the processor from the requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::routing::Cluster;
use crate::shard::error::ShardError;
use crate::shard::server::shard::Shard;
use crate::shard::slot::ShardId;

/// The pause before the next run of a task that reported more work.
const MORE_WORK_PAUSE: Duration = Duration::from_millis(50);
/// The fractional parts of the multiples of this number lie as far from each other as possible, however many shards
/// there are (Knuth, The Art of Computer Programming, volume 3, section 6.4, theorem S).
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;

/// Work that is repeated on one shard. Every API process runs the task; where only one process may work, the
/// statements decide which one.
pub(crate) trait PeriodicTask: Send + 'static {
    /// The pause from the end of a run to the next run.
    const INTERVAL: Duration;
    /// The task's name for the log; the shard's number follows.
    const LABEL: &'static str;

    /// One run. The caller may drop the future at any await.
    ///
    /// # Errors
    /// An error of the shard's calls. The error is logged, and the next run tries again.
    fn run_once(&mut self, shard: &Shard) -> impl Future<Output = Result<TaskProgress, ShardError>> + Send;
}

/// How much work a run has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TaskProgress {
    /// Nothing until the interval is over.
    Idle,
    /// Perhaps as much again.
    MoreWork,
}

impl Cluster {
    /// Runs a task on each shard until the cluster shuts down, also on shards that join later. A run passes over an
    /// unreachable shard.
    pub(crate) fn run_periodically<C: PeriodicTask>(
        self: &Arc<Self>,
        mut task: impl FnMut(&Arc<Shard>) -> C + Send + 'static,
    ) {
        let cluster = Arc::clone(self);
        self.for_each_shard(move |shard| {
            let work = repeat_task(task(shard), Arc::clone(shard));
            let stop = cluster.stop_token().clone();
            cluster.spawn(async move {
                stop.run_until_cancelled(work).await;
            });
        });
    }
}

async fn repeat_task<C: PeriodicTask>(mut task: C, shard: Arc<Shard>) {
    let mut pause = phase_offset(shard.id(), C::INTERVAL);
    loop {
        tokio::time::sleep(pause).await;
        pause = C::INTERVAL;
        if shard.require_healthy().is_err() {
            continue;
        }
        match task.run_once(&shard).await {
            Ok(TaskProgress::MoreWork) => pause = MORE_WORK_PAUSE,
            // The health probe reports an unreachable shard.
            Ok(TaskProgress::Idle) | Err(ShardError::Unavailable { .. }) => {}
            Err(error) => log::warn!("{} shard {} failed: {error}", C::LABEL, shard.id()),
        }
    }
}

/// Ticks for periodic work on a shard; the first tick comes within one interval. Missed ticks are left out.
pub(crate) fn spread_ticks(shard: ShardId, interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + phase_offset(shard, interval), interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// A shard's point within an interval.
fn phase_offset(shard: ShardId, interval: Duration) -> Duration {
    interval.mul_f64((f64::from(shard.number()) * GOLDEN_RATIO).fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turns_of_many_shards_are_spread_over_the_interval() {
        let interval = Duration::from_secs(1);
        let mut points: Vec<Duration> = (0..100).map(|number| phase_offset(ShardId::new(number), interval)).collect();
        points.sort();
        assert_eq!(points[0], Duration::ZERO);
        let widest = points.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        let narrowest = points.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
        assert!(points[99] < interval && widest < interval / 50 && narrowest > interval / 200, "{points:?}");
    }
}
