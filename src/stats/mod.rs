//! How many rows and bytes each shard holds: counts, the folding of deltas, and `shards verify`.

mod counts;
mod fold;
mod verify;
mod verify_tree;

pub use counts::{ClusterStats, CountMethod, ShardStats, ShardStatus, count_all};
pub use fold::fold_in_background;
pub use verify::{AuditError, VerifyFinding, VerifyReport, audit};
pub use verify_tree::TreeFault;
