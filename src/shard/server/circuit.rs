//! The circuit breaker of a shard: the states, and one function from state and event to the next state.

/// The circuit opens after this many lost calls in a row, with no answer in between. A single lost call may be the
/// end of one session.
pub(super) const LOSSES_TO_OPEN: u32 = 5;

/// Whether calls go to a shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CircuitBreaker {
    /// Calls go to the shard.
    Closed,
    /// Calls go to the shard on trial, after a first answer. The first lost call opens the circuit again.
    HalfOpen,
    /// Calls are refused at once, without a wait.
    Open,
}

/// An event that may change the circuit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) enum CircuitEvent {
    /// The health probe got the right answer from the right database.
    ProbeSucceeded,
    /// The health probe failed.
    ProbeFailed,
    /// A call was answered.
    CallAnswered,
    /// This many calls were lost since the last answer. A lost call had a broken connection, no connection or no
    /// answer.
    CallsLost(u32),
}

impl CircuitBreaker {
    /// The state after an event.
    #[must_use]
    pub(in crate::shard) fn state_after(self, event: CircuitEvent) -> Self {
        match (self, event) {
            (_, CircuitEvent::ProbeFailed) => Self::Open,
            (Self::Open, CircuitEvent::ProbeSucceeded) => Self::HalfOpen,
            (Self::HalfOpen, CircuitEvent::ProbeSucceeded | CircuitEvent::CallAnswered) => Self::Closed,
            (Self::HalfOpen, CircuitEvent::CallsLost(_)) => Self::Open,
            (Self::Closed, CircuitEvent::CallsLost(run)) if run >= LOSSES_TO_OPEN => Self::Open,
            // An answer that was on its way when the circuit opened tells nothing of the shard's present state.
            (same, _) => same,
        }
    }

    /// True if calls may go.
    #[must_use]
    pub fn admits_calls(self) -> bool {
        self != Self::Open
    }

    /// The state's word in `/health`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CircuitBreaker::{Closed, HalfOpen, Open};
    use super::CircuitEvent::{CallAnswered, CallsLost, ProbeFailed, ProbeSucceeded};
    use super::*;

    #[test]
    fn every_event_has_its_effect_in_every_state() {
        let few = CallsLost(LOSSES_TO_OPEN - 1);
        let many = CallsLost(LOSSES_TO_OPEN);
        for (event, from_closed, from_half_open, from_open) in [
            (ProbeSucceeded, Closed, Closed, HalfOpen),
            (ProbeFailed, Open, Open, Open),
            (CallAnswered, Closed, Closed, Open),
            (few, Closed, Open, Open),
            (many, Open, Open, Open),
        ] {
            assert_eq!(Closed.state_after(event), from_closed, "closed, {event:?}");
            assert_eq!(HalfOpen.state_after(event), from_half_open, "half-open, {event:?}");
            assert_eq!(Open.state_after(event), from_open, "open, {event:?}");
        }
    }

    #[test]
    fn whatever_happened_two_good_looks_close_it() {
        for state in [Closed, HalfOpen, Open] {
            assert_eq!(state.state_after(ProbeSucceeded).state_after(ProbeSucceeded), Closed);
        }
    }
}
