//! Many small calls as one statement: group commit for writes, batched reads.

pub(super) mod batched_reads;
pub(super) mod group_commit;
pub(super) mod row_queue;
