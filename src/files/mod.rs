//! Files: what a file is, its statements, single writes and bulk loads.
//!
//! ```text
//! service → cache (first pages)
//!         → lookup (files by id) → store (reads) → shard
//!         → insert, update, delete (group commit), bulk (streams) → writes → shard
//! ```

pub mod bulk;
mod delete;
mod error;
mod input;
mod insert;
mod limits;
mod lookup;
mod model;
mod page;
mod path;
mod placement;
mod service;
mod statistics;
mod store;
mod tag;
mod update;
mod values;
mod view;

pub use error::FileError;
pub use input::{ContentInput, FileInput, LoadedFile, PatchInput};
pub(crate) use limits::fault_of_constraint;
pub use limits::{TEXT_LIMITS, TextLimit, check_user};
pub use model::{File, FileContent, FileCursor, FilePatch, NewFile, UserId};
pub(crate) use page::spoiled_keys;
pub use page::{CACHE_FORMAT, FilePage};
pub use path::{DrivePath, check_entry_name};
pub(crate) use placement::hold_drives;
pub use service::{FileService, IngestedFile};
pub(crate) use statistics::{MANY_ROWS, refresh_statistics};
pub(crate) use store::find_file_state;
pub use tag::{FileCondition, FileTag};
pub use values::{BorrowedText, TimeInput};
pub(crate) use view::optional_file as read_file_row;
