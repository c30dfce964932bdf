//! What handlers read of a request: the body, the path and the query, conditions, and the pace of an upload.

pub(super) mod body;
pub(super) mod conditional;
pub(super) mod extract;
pub(super) mod upload_pace;
