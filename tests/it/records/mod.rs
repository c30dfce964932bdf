//! Documents in collections, by every call that takes or gives them.

mod cached;
mod documents;
mod hot_rows;
mod kept_whole;
mod pages;
mod simple_calls;
