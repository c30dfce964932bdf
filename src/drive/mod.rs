//! The drive of a user: a tree of folders, with files in the folders.
//!
//! ```text
//! service → store, resolve, trash, tree (reads) → shard
//!         → change (one transaction of operations) → folder_changes, file_changes → context → resolve, statements → writes → shard
//!         → purge, mirror (a listing, in one transaction) → writes → shard
//! expire (background): purges old trash
//! ```

mod change;
mod context;
mod error;
mod expire;
mod file_changes;
mod folder_changes;
pub mod mirror;
mod model;
mod operation;
mod purge;
mod resolve;
mod service;
mod statements;
mod store;
mod trash;
mod tree;

pub use error::{DriveError, RefusedEntry, RefusedOperation};
pub use expire::purge_in_background;
pub use model::{
    Child, ChildrenCursor, ChildrenPage, ChildrenQuery, DriveEntry, DriveSummary, EntryKind, Folder, NameOrder,
    PathEntry,
};
pub use operation::{DriveOperation, EntryCondition, EntryTarget, FolderTarget, NameConflict, OperationResult};
pub use service::{DriveService, PurgeResult};
pub use trash::{TrashCursor, TrashPage, TrashedEntry};
pub use tree::{TreeEntry, TreePage, TreeSelection, check_start_after};
