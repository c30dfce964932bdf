//! Whether the cutover may begin now: a pure function of the facts.

use std::time::Duration;

/// The facts before a cutover or a rollback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutoverFacts {
    /// How long a row took from the owner to the other shard.
    pub lag: Duration,
    /// True if all rows have been compared, or the move skips the comparison.
    pub verified: bool,
    /// Changes that have not been compared. The write freeze compares them.
    pub pending: i64,
    /// Both shards answer their health checks.
    pub healthy: bool,
    /// How long ago the last attempt was given up; `None`: this is the first.
    pub since_last_attempt: Option<Duration>,
    /// How many attempts were given up.
    pub attempts: i32,
}

/// What the facts allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutoverDecision {
    /// Begin an attempt.
    Begin,
    /// Wait, and collect the facts again.
    Wait(&'static str),
}

/// The longest lag of an attempt: the writers of the slots wait for about as long.
pub(super) const LARGEST_LAG: Duration = Duration::from_millis(60);
/// The most changes that a write freeze compares.
pub(super) const MOST_PENDING: i64 = 300;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether to begin an attempt now. Each attempt that was given up makes the next pause longer, so that the writers of
/// the slots are not stopped again and again.
#[must_use]
pub fn decide(facts: CutoverFacts) -> CutoverDecision {
    if !facts.verified {
        return CutoverDecision::Wait("not every row has been compared");
    }
    if !facts.healthy {
        return CutoverDecision::Wait("a shard does not answer");
    }
    let attempts = u32::try_from(facts.attempts).unwrap_or(0).min(8);
    let pause = (Duration::from_millis(100) * 2u32.pow(attempts)).min(LONGEST_PAUSE);
    if facts.since_last_attempt.is_some_and(|since| since < pause) {
        return CutoverDecision::Wait("the last attempt was a moment ago");
    }
    if facts.lag > LARGEST_LAG {
        return CutoverDecision::Wait("the other shard is too far behind");
    }
    if facts.pending > MOST_PENDING {
        return CutoverDecision::Wait("too many changes are to be compared");
    }
    CutoverDecision::Begin
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: CutoverFacts = CutoverFacts {
        lag: Duration::from_millis(5),
        verified: true,
        pending: 3,
        healthy: true,
        since_last_attempt: None,
        attempts: 0,
    };

    #[test]
    fn each_fact_alone_can_hold_it_up() {
        assert_eq!(decide(GOOD), CutoverDecision::Begin);
        for facts in [
            CutoverFacts { verified: false, ..GOOD },
            CutoverFacts { healthy: false, ..GOOD },
            CutoverFacts { lag: LARGEST_LAG * 2, ..GOOD },
            CutoverFacts { pending: MOST_PENDING + 1, ..GOOD },
            CutoverFacts { since_last_attempt: Some(Duration::ZERO), attempts: 1, ..GOOD },
        ] {
            assert!(matches!(decide(facts), CutoverDecision::Wait(_)), "{facts:?}");
        }
        assert_eq!(
            decide(CutoverFacts { since_last_attempt: Some(LONGEST_PAUSE), attempts: 100, ..GOOD }),
            CutoverDecision::Begin
        );
    }

    proptest! {
        #[test]
        fn nothing_unverified_is_cut_over(lag in 0u64..100, pending in -5i64..500, attempts in -1i32..100, healthy: bool) {
            let facts = CutoverFacts { lag: Duration::from_millis(lag), verified: false, pending, healthy, attempts, since_last_attempt: None };
            prop_assert_ne!(decide(facts), CutoverDecision::Begin);
        }
    }
}
