//! The handlers: a file for each kind of resource. `crate::http::routes` says which path leads to which handler.

pub(super) mod audit_log;
mod bulk_answers;
pub(super) mod collections;
pub(super) mod data;
pub(super) mod drives;
pub(super) mod files;
pub(super) mod files_bulk;
pub(super) mod health;
pub(super) mod key_value;
pub(super) mod moves;
pub(super) mod openapi;
mod record_answers;
pub(super) mod records;
pub(super) mod records_bulk;
pub(super) mod shards;
pub(super) mod stats;
pub(super) mod user_values;
