//! `shardrive ls`, `tree`, `mv`, `rm` and `restore`: a user's drive behind a running service, as by their namesakes of
//! Unix.

mod entry;
mod list;
mod move_entry;
mod pages;
mod path;
mod remove;
mod restore;
mod tree;
mod user_drive;

pub(super) use list::ListArgs;
pub(super) use move_entry::MoveEntryArgs;
pub(super) use remove::RemoveArgs;
pub(super) use restore::RestoreArgs;
pub(super) use tree::TreeArgs;
