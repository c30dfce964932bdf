//! Drive metadata: what a file is, where it is kept, how one comes in alone or by the million.
//!
//! ```text
//! service → writer (group commit) ──┐
//!         → reader (gathered reads) ┼→ store (statements) → shard
//!         → bulk (streams) ─────────┘
//! ```

pub mod bulk;
mod id;
mod input;
mod json;
mod model;
mod page_bytes;
mod reader;
mod service;
mod store;
mod time;
mod writer;

pub use id::IdClock;
pub use input::{FieldFault, FileInput, PatchInput, check_user};
pub use json::{JsonFault, named_field, read_json, shorten};
pub use model::{Cursor, File, FilePatch, NewFile, Page, PageSize, UserId};
pub use service::{FileError, Files, Ingested};
pub use writer::WriterLimits;
