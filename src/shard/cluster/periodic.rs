//! Periodic tasks on every shard, for as long as the cluster runs. Their runs are spread and come in waves
//! (`waves.rs`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::routing::Cluster;
use super::waves::{first_wave, wave_after};
use crate::shard::error::ShardError;
use crate::shard::server::shard::Shard;

/// The pause before the next run of a task that reported more work.
const MORE_WORK_PAUSE: Duration = Duration::from_millis(50);
/// Work that is repeated on one shard. Every API process runs the task; where only one process may work, the
/// statements decide which one.
pub(crate) trait PeriodicTask: Send + 'static {
    /// The pause from the end of a run to the next run.
    const INTERVAL: Duration;
    /// The longest pause while there is nothing to do.
    const LONGEST_PAUSE: Duration = Self::INTERVAL;
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
    /// Nothing was there to do: each pause is twice as long as the last one, up to the longest.
    Idle,
    /// Nothing until the interval is over.
    Done,
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
    tokio::time::sleep_until(first_wave(shard.id(), C::INTERVAL)).await;
    let mut pause = C::INTERVAL;
    loop {
        if shard.require_healthy().is_ok() {
            let progress = task.run_once(&shard).await;
            pause = pause_after(
                progress.as_ref().copied().unwrap_or(TaskProgress::Done),
                pause,
                C::INTERVAL,
                C::LONGEST_PAUSE,
            );
            // The health probe reports an unreachable shard.
            if let Err(error) = progress
                && !matches!(error, ShardError::Unavailable { .. })
            {
                log::warn!("{} shard {} failed: {error}", C::LABEL, shard.id());
            }
        }
        tokio::time::sleep_until(wave_after(Instant::now(), pause)).await;
    }
}

/// The pause to the next run.
fn pause_after(progress: TaskProgress, last: Duration, interval: Duration, longest: Duration) -> Duration {
    match progress {
        TaskProgress::Idle => (last.max(interval / 2) * 2).min(longest),
        TaskProgress::Done => interval,
        TaskProgress::MoreWork => MORE_WORK_PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_while_there_is_nothing_to_do() {
        let (interval, longest) = (Duration::from_secs(1), Duration::from_secs(4));
        let mut pause = interval;
        let found = [
            (TaskProgress::Idle, 2000),
            (TaskProgress::Idle, 4000),
            (TaskProgress::Idle, 4000),
            (TaskProgress::Done, 1000),
            (TaskProgress::MoreWork, 50),
            (TaskProgress::Idle, 1000),
        ];
        for (progress, expected) in found {
            pause = pause_after(progress, pause, interval, longest);
            assert_eq!(pause.as_millis(), expected, "{progress:?}");
        }
        assert_eq!(pause_after(TaskProgress::Idle, interval, interval, interval), interval);
    }
}
