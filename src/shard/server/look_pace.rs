//! How often a shard is looked at, by health probes and by reads of the cache's fence.

use std::time::{Duration, Instant};

use super::options::clock_micros;

/// The shards of a cluster with more than these are looked at half as often, and rest: their looks take processor time
/// together.
const MANY_SHARDS: usize = 32;
/// A shard rests once no request has needed the shard for this time.
const REST_AFTER: Duration = Duration::from_secs(2);
/// A use within this time after the last recorded one is not recorded.
const USE_STEP: Duration = Duration::from_millis(100);
/// How often a resting shard is looked at.
const REST_INTERVAL: Duration = Duration::from_secs(1);
/// A probe is left out if another session has found the same within one and three quarters of an interval, or within
/// this time. The looks at the fence come as often.
const LONGEST_TRUST: Duration = Duration::from_millis(350);
/// The same for a shard at rest.
const LONGEST_TRUST_AT_REST: Duration = Duration::from_millis(1750);

/// The intervals between looks at one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LookPace {
    in_use: Duration,
    at_rest: Duration,
}

impl LookPace {
    /// For a cluster of so many shards, each of which would be looked at once an `interval` if they were few.
    pub(crate) fn new(interval: Duration, shards: usize) -> Self {
        if shards <= MANY_SHARDS {
            return Self { in_use: interval, at_rest: interval };
        }
        Self { in_use: interval * 2, at_rest: REST_INTERVAL.max(interval * 2) }
    }

    /// The time to the next look at a shard, which may rest.
    pub(crate) fn interval(self, rests: bool) -> Duration {
        if rests { self.at_rest } else { self.in_use }
    }

    /// How long a good look of another session stands for a probe.
    pub(super) fn trust(self, rests: bool) -> Duration {
        let longest = if rests && self.at_rest > self.in_use { LONGEST_TRUST_AT_REST } else { LONGEST_TRUST };
        (self.interval(rests) * 7 / 4).min(longest)
    }
}

/// True if `used`, by [`clock_micros`], is less than [`USE_STEP`] before `now`.
pub(super) fn is_just_now(used: u64, now: Instant) -> bool {
    time_since(used, now) < USE_STEP
}

/// True if `used`, by [`clock_micros`], is at least [`REST_AFTER`] before `now`.
pub(super) fn is_long_ago(used: u64, now: Instant) -> bool {
    time_since(used, now) >= REST_AFTER
}

fn time_since(used: u64, now: Instant) -> Duration {
    Duration::from_micros(clock_micros(now).saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_shards_are_looked_at_half_as_often_and_rest() {
        let usual = Duration::from_millis(100);
        let pace = |shards| LookPace::new(usual, shards);
        let found = [2, 32, 33, 500].map(pace).map(|pace| (pace.in_use.as_millis(), pace.at_rest.as_millis()));
        assert_eq!(found, [(100, 100), (100, 100), (200, 1000), (200, 1000)]);
        let slow = Duration::from_secs(3);
        assert_eq!(LookPace::new(slow, 33).at_rest, slow * 2, "never more often than in use");
    }

    #[test]
    fn a_use_is_just_now_for_a_tenth_of_a_second_and_long_ago_after_two() {
        // After the moment from which the clock counts.
        let now = Instant::now() + Duration::from_secs(1);
        let used = clock_micros(now);
        assert!(!is_long_ago(used, now) && is_just_now(used, now));
        assert!(!is_just_now(used, now + USE_STEP));
        assert!(!is_long_ago(used, now + REST_AFTER - Duration::from_millis(1)));
        assert!(is_long_ago(used, now + REST_AFTER));
        assert!(!is_long_ago(clock_micros(now + REST_AFTER), now), "another thread was later");
    }
}
