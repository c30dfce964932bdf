//! Parts of a request: the body, the path and the query, conditions, and the pace of an upload.

pub(super) mod body;
pub(super) mod bulk_body;
pub(super) mod conditional;
pub(super) mod extract;
pub(super) mod media_type;
pub(super) mod owner;
pub(super) mod upload_pace;
