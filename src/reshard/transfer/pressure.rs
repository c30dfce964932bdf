//! The throttle of a copy: when it pauses for the requests of clients, and for how long.
//!
//! The copy is made by PostgreSQL alone; the throttle is a check that the keys of its rows pass (`throttle_copy`
//! in `migrations/0002_ownership.sql`). A pause has an end of its own there, so that a coordinator that goes away stops
//! nothing for long.

use std::time::Duration;

use tokio::time::Instant;

use super::side::MoveSide;
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;
use crate::shard::Shard;

/// Between two samples of the others.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The length of a pause. The next sample prolongs the pause if the reason is still there.
pub(in crate::reshard) const PAUSE: Duration = Duration::from_secs(2);
/// A pause that has lasted this long has not helped: something else is slow, and the copy goes on for as long.
const LONGEST: Duration = Duration::from_secs(10);
/// A standby that is further behind than this has more to do than it can.
const STANDBY_LIMIT: i64 = 64 << 20;
/// Requests may take this many times as long as usual …
const SLOWER: u32 = 2;
/// … and this much in any case.
const ALWAYS_FINE: Duration = Duration::from_millis(50);
/// Fewer requests between two samples say nothing about their p99.
const ENOUGH: u64 = 100;

/// What is known of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MovePressure {
    /// Bytes of the log by which the target's slowest standby is behind.
    pub standby_lag: i64,
    /// The p99 of what requests waited for the two shards lately; `None`: there were too few.
    pub latency: Option<Duration>,
    /// The same before the copy began.
    pub usual: Option<Duration>,
}

/// Why the copy should wait, if it should.
#[must_use]
pub fn reason_to_wait(pressure: MovePressure) -> Option<&'static str> {
    let limit = pressure.usual.map_or(ALWAYS_FINE, |usual| (usual * SLOWER).max(ALWAYS_FINE));
    if pressure.standby_lag > STANDBY_LIMIT {
        Some("a standby of the target is behind")
    } else if pressure.latency.is_some_and(|latency| latency > limit) {
        Some("requests take longer than usual")
    } else {
        None
    }
}

/// What the requests of this process waited for one shard.
#[derive(Default, Debug)]
struct RequestLatency {
    /// Before the copy.
    usual: Option<Duration>,
    seen: Vec<u64>,
}

impl RequestLatency {
    /// The p99 of the requests since the last sample with enough requests; the first sample is of all since the process
    /// began.
    fn sample(&mut self, shard: &Shard) -> Option<Duration> {
        let requests = &shard.counters().requests;
        let (time, _) = requests.percentile_since(&self.seen, 99).filter(|(_, count)| *count >= ENOUGH)?;
        self.seen = requests.bucket_counts();
        Some(time)
    }
}

/// The pauses of one move, and what they are decided by.
#[derive(Default, Debug)]
pub(in crate::reshard) struct CopyThrottle {
    paused: Option<Instant>,
    free_until: Option<Instant>,
    sampled: Option<Instant>,
    source: RequestLatency,
    target: RequestLatency,
}

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reshard) enum ThrottleChange {
    /// The copy waits from now on, for this reason.
    Waits(&'static str),
    /// It goes on.
    GoesOn,
}

impl CopyThrottle {
    /// True while the copy waits.
    pub(in crate::reshard) fn is_pausing(&self) -> bool {
        self.paused.is_some()
    }

    /// Samples the others, once a second at most; returns what has changed.
    ///
    /// # Errors
    /// The target's.
    pub(in crate::reshard) async fn sample(
        &mut self,
        source: &MoveSide,
        target: &mut MoveSide,
    ) -> Result<Option<ThrottleChange>, MoveError> {
        let now = Instant::now();
        let is_first = self.sampled.is_none();
        if self.sampled.is_some_and(|sampled| now - sampled < SAMPLE_INTERVAL) {
            return Ok(None);
        }
        self.sampled = Some(now);
        let mut reason = None;
        for (latency, shard) in [(&mut self.source, &source.shard), (&mut self.target, &target.shard)] {
            let found = latency.sample(shard);
            if is_first {
                latency.usual = found;
            } else {
                reason =
                    reason.or(reason_to_wait(MovePressure { standby_lag: 0, latency: found, usual: latency.usual }));
            }
        }
        let standby_lag = standby_lag(target).await?;
        let reason = reason.or(reason_to_wait(MovePressure { standby_lag, latency: None, usual: None }));
        Ok(self.judge(reason, now))
    }

    /// Decides by the reason to wait, if there is a reason; returns what has changed.
    fn judge(&mut self, reason: Option<&'static str>, now: Instant) -> Option<ThrottleChange> {
        match (self.paused, reason) {
            (None, Some(reason)) if self.free_until.is_none_or(|free| now >= free) => {
                self.paused = Some(now);
                Some(ThrottleChange::Waits(reason))
            }
            (Some(since), reason) if reason.is_none() || now - since >= LONGEST => {
                self.paused = None;
                self.free_until = reason.map(|_| now + LONGEST);
                Some(ThrottleChange::GoesOn)
            }
            _ => None,
        }
    }

    /// Pauses the copy on the target for a while, or lets it go on.
    pub(in crate::reshard) async fn apply(&self, slot_move: &SlotMove, target: &mut MoveSide) -> Result<(), MoveError> {
        let millis = if self.is_pausing() { i32::try_from(PAUSE.as_millis()).unwrap_or(i32::MAX) } else { 0 };
        let failed = target.failed();
        let statement = sqlx::query(include_str!("../../../sql/reshard/set_throttle.sql"));
        let statement = statement.bind(slot_move.id).bind(slot_move.copy_rate).bind(millis);
        statement.execute(&mut target.db).await.map(drop).map_err(failed)
    }
}

/// Bytes of the log by which the slowest standby of a shard is behind.
async fn standby_lag(side: &mut MoveSide) -> Result<i64, MoveError> {
    let failed = side.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/measure_standby_lag.sql"));
    statement.fetch_one(&mut side.db).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_come_first() {
        let millis = Duration::from_millis;
        let quiet = MovePressure { standby_lag: 0, latency: Some(millis(20)), usual: Some(millis(10)) };
        for (pressure, waits) in [
            (quiet, false),
            (MovePressure { latency: None, usual: None, ..quiet }, false),
            (MovePressure { latency: Some(millis(51)), ..quiet }, true),
            (MovePressure { latency: Some(millis(51)), usual: None, ..quiet }, true),
            (MovePressure { latency: Some(millis(51)), usual: Some(millis(40)), ..quiet }, false),
            (MovePressure { latency: Some(millis(81)), usual: Some(millis(40)), ..quiet }, true),
            (MovePressure { standby_lag: STANDBY_LIMIT, ..quiet }, false),
            (MovePressure { standby_lag: STANDBY_LIMIT + 1, latency: None, ..quiet }, true),
        ] {
            assert_eq!(reason_to_wait(pressure).is_some(), waits, "{pressure:?}");
        }
    }

    #[test]
    fn a_pause_that_does_not_help_ends() {
        let (mut throttle, start) = (CopyThrottle::default(), Instant::now());
        assert_eq!(throttle.judge(None, start), None);
        assert_eq!(throttle.judge(Some("slow"), start), Some(ThrottleChange::Waits("slow")));
        assert_eq!(throttle.judge(Some("slow"), start + PAUSE), None);
        assert!(throttle.is_pausing());
        assert_eq!(throttle.judge(Some("slow"), start + LONGEST), Some(ThrottleChange::GoesOn));
        assert_eq!(throttle.judge(Some("slow"), start + LONGEST + PAUSE), None);
        assert_eq!(throttle.judge(Some("slow"), start + LONGEST * 2), Some(ThrottleChange::Waits("slow")));
        assert_eq!(throttle.judge(None, start + LONGEST * 2 + PAUSE), Some(ThrottleChange::GoesOn));
        assert_eq!(throttle.judge(Some("slow"), start + LONGEST * 2 + PAUSE), Some(ThrottleChange::Waits("slow")));
    }
}
