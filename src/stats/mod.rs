//! How much is where: counts from all shards at once, the folding of their deltas, and the audit of both.

mod audit;
mod fold;
mod gather;

pub use audit::{Audit, AuditError, Finding, audit};
pub use fold::fold_in_background;
pub use gather::{Method, ShardStats, Stats, Status, gather};
