//! The drive: a tree of folders.

mod folders;
