//! How much each caller may ask for: a rate and a burst for each, kept by this process, or by all through Redis.
//!
//! ```text
//! Limiter ── local (cells in memory, bounded) ── gcra (the arithmetic)
//!    ├────── shared (one script on the Redis server, by its clock)
//!    └────── late (answers of it that no request waits for any more)
//! caller: who is counted        loads: how many bulk loads each runs at a time
//! ```
//!
//! The rules and why: docs/decisions/0021-rate-limits.md.

mod caller;
mod gcra;
mod late;
mod limiter;
mod loads;
mod local;
mod shared;

pub use caller::{AddressRange, CallerKey, trusted_origin};
pub use gcra::RateQuota;
pub use limiter::{CallerStanding, RateLimiter, TakeOutcome};
pub use loads::{LoadPermit, RunningLoads};
