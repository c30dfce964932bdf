//! `/drives/{user_id}` and `/folders/{folder_id}`: the tree of a user's folders.

mod answers;
pub(in crate::http) mod batch;
pub(in crate::http) mod browse;
pub(in crate::http) mod folders;
pub(in crate::http) mod paths;
pub(in crate::http) mod sync;
pub(in crate::http) mod trash;
pub(in crate::http) mod tree;
