//! Whether the cutover may begin now: a pure function of the facts.

use std::time::Duration;

/// What is known before a flip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutoverFacts {
    /// How long a row took from the owner to the other shard.
    pub lag: Duration,
    /// True if all rows have been compared, or somebody asked explicitly not to.
    pub verified: bool,
    /// Changes that have not been compared; they are while nobody can write.
    pub pending: i64,
    /// Both shards answer their health checks.
    pub healthy: bool,
    /// How long ago the last try was given up; `None`: there was none.
    pub since_last_try: Option<Duration>,
    /// How many tries were given up.
    pub tries: i32,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutoverDecision {
    /// Flip.
    Flip,
    /// Wait, and look again.
    Wait(&'static str),
}

/// The longest lag with which a flip is tried: the writers of the slots wait for about as long.
pub(super) const LARGEST_LAG: Duration = Duration::from_millis(60);
/// The most changes that are left to be compared while nobody can write.
pub(super) const MOST_PENDING: i64 = 300;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether to flip now. After a try that was given up it waits longer each time, so that the writers of the slots are
/// not stopped again and again.
#[must_use]
pub fn decide(facts: CutoverFacts) -> CutoverDecision {
    if !facts.verified {
        return CutoverDecision::Wait("not every row has been compared");
    }
    if !facts.healthy {
        return CutoverDecision::Wait("a shard does not answer");
    }
    let tries = u32::try_from(facts.tries).unwrap_or(0).min(8);
    let pause = (Duration::from_millis(100) * 2u32.pow(tries)).min(LONGEST_PAUSE);
    if facts.since_last_try.is_some_and(|since| since < pause) {
        return CutoverDecision::Wait("the last try was a moment ago");
    }
    if facts.lag > LARGEST_LAG {
        return CutoverDecision::Wait("the other shard is too far behind");
    }
    if facts.pending > MOST_PENDING {
        return CutoverDecision::Wait("too many changes are to be compared");
    }
    CutoverDecision::Flip
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
        since_last_try: None,
        tries: 0,
    };

    #[test]
    fn each_fact_alone_can_hold_it_up() {
        assert_eq!(decide(GOOD), CutoverDecision::Flip);
        for facts in [
            CutoverFacts { verified: false, ..GOOD },
            CutoverFacts { healthy: false, ..GOOD },
            CutoverFacts { lag: LARGEST_LAG * 2, ..GOOD },
            CutoverFacts { pending: MOST_PENDING + 1, ..GOOD },
            CutoverFacts { since_last_try: Some(Duration::ZERO), tries: 1, ..GOOD },
        ] {
            assert!(matches!(decide(facts), CutoverDecision::Wait(_)), "{facts:?}");
        }
        assert_eq!(
            decide(CutoverFacts { since_last_try: Some(LONGEST_PAUSE), tries: 100, ..GOOD }),
            CutoverDecision::Flip
        );
    }

    proptest! {
        #[test]
        fn nothing_unverified_is_flipped(lag in 0u64..100, pending in -5i64..500, tries in -1i32..100, healthy: bool) {
            let facts = CutoverFacts { lag: Duration::from_millis(lag), verified: false, pending, healthy, tries, since_last_try: None };
            prop_assert_ne!(decide(facts), CutoverDecision::Flip);
        }
    }
}
