//! When periodic work on the shards runs.
//!
//! Every shard has its own point within the interval, so that the runs of many shards are spread over the interval. A
//! hundred runs at the same moment would take the processor from the requests. Runs that are due within 25 ms of each
//! other come together, in a wave, so that the process wakes up less often.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::shard::slot::ShardId;

/// The fractional parts of the multiples of this number lie as far from each other as possible, however many shards
/// there are (Knuth, The Art of Computer Programming, volume 3, section 6.4, theorem S).
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
/// The time from one wave to the next.
const WAVE: Duration = Duration::from_millis(25);
/// The moment from which the waves of all shards count.
static WAVES_BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The moment of the wave nearest to the end of a pause that begins at `from`. A pause shorter than [`WAVE`] ends
/// exactly.
pub(crate) fn wave_after(from: Instant, pause: Duration) -> Instant {
    if pause < WAVE {
        return from + pause;
    }
    let begin = *WAVES_BEGIN;
    begin + nearest_wave((from + pause).saturating_duration_since(begin))
}

/// The first run on a shard, within one interval.
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
}
