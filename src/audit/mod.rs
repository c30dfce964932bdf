//! The audit log, kept on shard 0: who did what to the cluster, when and from where.
//!
//! ```text
//! service (begin, end, refused attempts, list) → act, entry → table → shardrive.audit_log
//!   └── tries (bounds the recorded attempts)      expire (background)
//! ```
//!
//! The rule: no action without its entry. docs/decisions/0025-audit.md says why shard 0 keeps the log.

mod act;
mod entry;
mod expire;
mod service;
mod table;
mod tries;

pub use act::{ActionOutcome, OperatorAction};
pub use entry::{ActionDetails, Actor, EntryCursor, EntryFilter, LoggedAction, NewEntry};
pub use service::{AuditLog, BegunAction};
