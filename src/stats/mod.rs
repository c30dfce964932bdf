//! How much is where: counts from all shards at once, the folding of their deltas, and the audit of both.

mod counts;
mod fold;
mod verify;

pub use counts::{ClusterStats, CountMethod, ShardStats, ShardStatus, gather};
pub use fold::fold_in_background;
pub use verify::{AuditError, VerifyFinding, VerifyReport, audit};
