//! Bounds the recorded attempts in an hour, so that a caller without the scope cannot fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most refused attempts that a process records in an hour; at most about 300 MB in 400 days.
const MAX_PER_HOUR: u32 = 100;
const HOUR: Duration = Duration::from_hours(1);

/// The recorded and unrecorded attempts of the present hour.
pub(super) struct AttemptLog(Mutex<HourlyAttempts>);

struct HourlyAttempts {
    since: Instant,
    recorded: u32,
    unrecorded: u64,
}

impl AttemptLog {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HourlyAttempts { since: Instant::now(), recorded: 0, unrecorded: 0 }))
    }

    /// True if this attempt is to be recorded, with the number of unrecorded attempts before.
    pub(super) fn admit_entry(&self, now: Instant) -> Option<u64> {
        let mut hour = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(hour.since) >= HOUR {
            (hour.since, hour.recorded) = (now, 0);
        }
        if hour.recorded >= MAX_PER_HOUR {
            hour.unrecorded += 1;
            return None;
        }
        hour.recorded += 1;
        Some(std::mem::take(&mut hour.unrecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_an_hour_and_the_rest_is_counted() {
        let (tries, now) = (AttemptLog::new(), Instant::now());
        let noted = (0..1000).filter(|_| tries.admit_entry(now).is_some()).count();
        assert_eq!(noted, 100);
        assert_eq!(tries.admit_entry(now + HOUR * 2), Some(900));
        assert_eq!(tries.admit_entry(now + HOUR * 2), Some(0));
    }
}
