//! Periodic tasks on every shard, for as long as the cluster runs.
//!
//! Every shard has its own point within the interval, so that the runs of many shards are spread over the interval. A
//! hundred runs at the same moment would take the processor from the requests. Within 25 ms runs come together, in waves: to
//! wake up takes a process more time than a look at a shard.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::time::Instant;

use super::routing::Cluster;
use crate::shard::error::ShardError;
use crate::shard::server::shard::Shard;
use crate::shard::slot::ShardId;

/// The pause before the next run of a task that reported more work.
const MORE_WORK_PAUSE: Duration = Duration::from_millis(50);
/// The fractional parts of the multiples of this number lie as far from each other as possible, however many shards
/// there are (Knuth, The Art of Computer Programming, volume 3, section 6.4, theorem S).
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
/// The time from one wave to the next.
const WAVE: Duration = Duration::from_millis(25);
/// The moment from which the waves of all shards count.
static WAVES_BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

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
    /// Nothing was there to do: each pause is twice as long as the last one.
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

/// The moment of the wave that is nearest to so long after `from`; for a pause shorter than from wave to wave that moment itself.
pub(crate) fn wave_after(from: Instant, pause: Duration) -> Instant {
    if pause < WAVE {
        return from + pause;
    }
    let begin = *WAVES_BEGIN;
    begin + nearest_wave((from + pause).saturating_duration_since(begin))
}

/// The first wave of a shard's looks, within one interval.
pub(crate) fn first_wave(shard: ShardId, interval: Duration) -> Instant {
    wave_after(Instant::now(), phase_offset(shard, interval))
}

fn nearest_wave(since: Duration) -> Duration {
    let waves = (since + WAVE / 2).as_nanos() / WAVE.as_nanos();
    WAVE.saturating_mul(u32::try_from(waves).unwrap_or(u32::MAX))
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

    #[test]
    fn looks_at_many_shards_come_in_few_waves_of_about_the_same_size() {
        let interval = Duration::from_millis(200);
        let mut sizes = std::collections::BTreeMap::new();
        for number in 0..64 {
            let point = nearest_wave(Duration::from_hours(1) + phase_offset(ShardId::new(number), interval));
            *sizes.entry(point.as_millis() % interval.as_millis()).or_insert(0) += 1;
        }
        assert!(sizes.keys().eq(&[0, 25, 50, 75, 100, 125, 150, 175]), "{sizes:?}");
        assert!(sizes.values().all(|size| (6..=10).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_look_that_takes_a_moment_does_not_shift_the_next_ones() {
        let (mut now, interval) = (Duration::ZERO, Duration::from_millis(100));
        for turn in 1..1000_u32 {
            now = nearest_wave(now + Duration::from_micros(900) + interval);
            assert_eq!(now, interval * turn);
        }
    }

    #[test]
    fn every_wave_is_later_and_near_the_end_of_the_pause() {
        let begin = *WAVES_BEGIN;
        for pause in [1, 10, 12, 13, 24, 25, 26, 100, 300].map(Duration::from_millis) {
            for since in (0..60_000).step_by(137).map(Duration::from_micros) {
                let waited = wave_after(begin + since, pause).saturating_duration_since(begin + since);
                assert!(waited >= pause.min(WAVE / 2) && waited.abs_diff(pause) <= WAVE / 2, "{pause:?}: {waited:?}");
            }
        }
    }

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
