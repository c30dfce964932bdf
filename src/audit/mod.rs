//! The audit log, kept on shard 0: who did what to the cluster, when and from where.
//!
//! ```text
//! Audit (begin, end, tried, list) → act, entry → table → shardrive.audit_log
//!   └── tries (how many refused tries are noted)      expire (background)
//! ```
//!
//! The rule: an act that cannot be noted is not done. Why it is kept where it is: docs/decisions/0025-audit.md.

mod act;
mod entry;
mod expire;
mod service;
mod table;
mod tries;

pub use act::{ActionOutcome, OperatorAction};
pub use entry::{ActionDetails, Actor, EntryCursor, EntryFilter, LoggedAction, NewEntry};
pub use service::{AuditLog, BegunAction};
