//! The drive of a user: a tree of folders, with files in the folders.
//!
//! ```text
//! service → store (reads) → shard
//!         → change (one transaction of operations) → operations → statements → writes → shard
//! ```

mod change;
mod error;
mod model;
mod operation;
mod service;
mod statements;
mod store;

pub use error::DriveError;
pub use model::{Child, ChildrenCursor, ChildrenPage, DriveEntry, EntryKind, Folder};
pub use operation::{DriveOperation, FolderTarget};
pub use service::DriveService;
