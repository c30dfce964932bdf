//! Files: one by one, by lists and streams, in bulk, and what conditions and limits do.

mod bulk;
mod bulk_faults;
mod bulk_formats;
mod conditions;
mod field_limits;
mod fields;
mod group_changes;
mod imports;
mod ingest;
mod listing;
mod own_ids;
mod page_plan;
mod query;
mod single_file;
mod writer;
