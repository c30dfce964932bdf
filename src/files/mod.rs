//! Files: what a file is, its statements, single writes and bulk loads.
//!
//! ```text
//! service → cache (first pages)
//!         → writer (group commit) ──┐
//!         → bulk (streams) ─────────┼→ store (statements) → shard
//!         → lookup (files by id) ────┘
//! ```

pub mod bulk;
mod error;
mod input;
mod limits;
mod lookup;
mod model;
mod page_codec;
mod service;
mod store;
mod tag;
mod values;
mod writer;

pub use error::FileError;
pub use input::{FileInput, LoadedFile, PatchInput};
pub use limits::{TEXT_LIMITS, TextLimit, check_user};
pub use model::{File, FileCursor, FilePage, FilePageSize, FilePatch, NewFile, UserId};
pub use page_codec::CACHE_FORMAT;
pub use service::{FileService, IngestedFile};
pub use tag::{FileCondition, FileTag};
