//! Rate limits: a rate and a burst for each caller, kept by this process, or by all processes through Redis.
//!
//! ```text
//! limiter ── local (cells in memory, bounded) ── gcra (the arithmetic)
//!    └────── shared (one script on the Redis server, by its clock)
//! caller: who is counted        loads: how many bulk loads a caller runs at a time
//! ```
//!
//! The rules and why: docs/decisions/0021-rate-limits.md.

mod caller;
mod gcra;
mod limiter;
mod loads;
mod local;
mod shared;

pub use caller::{CallerKey, parse_address_range, ranges_contain, trusted_origin};
pub use gcra::RateQuota;
pub use limiter::{CallerStanding, RateLimiter, TakeOutcome};
pub use loads::{LoadPermit, RunningLoads};
