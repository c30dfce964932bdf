//! The generic cell rate algorithm: a number for each caller, the moment at which all taken units will be earned.
//!
//! `take.lua` does the same on a Redis server.

use std::time::Duration;

/// A rate in units a second, and a burst of units after a pause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateQuota {
    per_second: u64,
    burst: u64,
}

const SECOND: u64 = 1_000_000_000;

impl RateQuota {
    /// So many units a second (1 to 1,000,000), so many at once (at least 1).
    #[must_use]
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second: per_second.clamp(1, 1_000_000), burst: burst.max(1) }
    }

    /// Units a second.
    #[must_use]
    pub fn per_second(self) -> u64 {
        self.per_second
    }

    /// Units at once.
    #[must_use]
    pub fn burst(self) -> u64 {
        self.burst
    }

    /// The time to earn so many units.
    #[must_use]
    pub fn time_of(self, units: u64) -> Duration {
        Duration::from_nanos(self.nanos(units))
    }

    fn nanos(self, units: u64) -> u64 {
        units.saturating_mul(SECOND / self.per_second)
    }

    /// The time's worth of units left at this moment; `None` in debt.
    fn room(self, paid: u64, now: u64) -> Option<u64> {
        (now.max(paid) - now <= self.nanos(self.burst)).then(|| now + self.nanos(self.burst) - paid.max(now))
    }

    /// Takes `cost` units at `now`, if so many are there; gives how many are left. `paid` is the moment at which
    /// all taken units will be earned; both are nanoseconds of the same clock.
    ///
    /// # Errors
    /// The time until so many units are there. Nothing was taken.
    pub(super) fn take(self, paid: &mut u64, now: u64, cost: u64) -> Result<u64, Duration> {
        let unit = SECOND / self.per_second;
        match self.room(*paid, now).and_then(|room| room.checked_sub(self.nanos(cost))) {
            Some(left) => {
                *paid = now.max(*paid) + self.nanos(cost);
                Ok(left / unit)
            }
            None => Err(self.wait(*paid, now, cost)),
        }
    }

    /// Takes `cost` units, or as many as there are.
    pub(super) fn take_available(self, paid: &mut u64, now: u64, cost: u64) {
        *paid = (now.max(*paid) + self.nanos(cost)).min(now + self.nanos(self.burst));
    }

    /// Takes `cost` units, if need be as a debt; gives the time until the debt is paid.
    pub(super) fn charge(self, paid: &mut u64, now: u64, cost: u64) -> Duration {
        *paid = now.max(*paid).saturating_add(self.nanos(cost));
        self.wait(*paid, now, 0)
    }

    /// The time until `cost` units are there.
    fn wait(self, paid: u64, now: u64, cost: u64) -> Duration {
        let taken = (paid.max(now) - now).saturating_add(self.nanos(cost));
        Duration::from_nanos(taken.saturating_sub(self.nanos(self.burst)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = RateQuota::new(10, 5);
        let (mut paid, now) = (0, 7 * SECOND);
        for left in (0..5).rev() {
            assert_eq!(rate.take(&mut paid, now, 1), Ok(left));
        }
        assert_eq!(rate.take(&mut paid, now, 1), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(&mut paid, now, 3), Err(Duration::from_millis(300)));
        assert_eq!(rate.take(&mut paid, now + SECOND / 10, 1), Ok(0));
        assert_eq!(rate.take(&mut paid, now + 60 * SECOND, 5), Ok(0));
    }

    #[test]
    fn a_debt_is_earned_before_anything_else() {
        let rate = RateQuota::new(10, 5);
        let (mut paid, now) = (0, SECOND);
        assert_eq!(rate.charge(&mut paid, now, 5), Duration::ZERO);
        assert_eq!(rate.charge(&mut paid, now, 20), Duration::from_secs(2));
        assert_eq!(rate.take(&mut paid, now, 1), Err(Duration::from_millis(2100)));
        assert_eq!(rate.take(&mut paid, now + 2 * SECOND + SECOND / 10, 1), Ok(0));
    }

    proptest! {
        /// At any time and for any cost: never more than the burst and the earned units, and a refusal names the
        /// shortest wait that is enough.
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 1_u64..5000, burst in 1_u64..5000,
            asks in prop::collection::vec((0_u64..50_000_000, 1_u64..20), 1..200),
        ) {
            let rate = RateQuota::new(per_second, burst);
            let (mut paid, mut now, mut taken) = (0, SECOND, 0_u64);
            for (pause, cost) in asks {
                now += pause;
                match rate.take(&mut paid, now, cost) {
                    Ok(left) => {
                        taken += cost;
                        prop_assert!(left <= burst);
                    }
                    Err(wait) => {
                        let wait = u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(wait > 0);
                        prop_assert!(cost > burst || rate.take(&mut paid.clone(), now + wait, cost).is_ok());
                        prop_assert!(rate.take(&mut paid.clone(), now + wait - 1, cost).is_err());
                    }
                }
                let earned = (now - SECOND) / (SECOND / per_second);
                prop_assert!(taken <= burst + earned + 1, "{taken} of {burst} and {earned}");
            }
        }
    }
}
