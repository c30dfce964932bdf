//! Lists that only grow while other threads read, such as the list of shards.

use std::sync::{Arc, OnceLock};

use crate::shard::server::shard::Shard;
use crate::shard::slot::ShardId;

/// The shards, in the order of the numbers. A new shard makes a longer list behind the old list, so that a borrowed
/// list stays valid for as long as the cluster lives. Shards join rarely, and an old list costs only a few pointers.
pub(in crate::shard) struct ShardList {
    shards: Vec<Arc<Shard>>,
    longer: OnceLock<Box<Self>>,
}

impl ShardList {
    pub(in crate::shard) fn new(shards: Vec<Arc<Shard>>) -> Self {
        Self { shards, longer: OnceLock::new() }
    }

    /// The shards there are now.
    pub(in crate::shard) fn current_shards(&self) -> &[Arc<Shard>] {
        &self.last_list().shards
    }

    /// Appends a shard; a single caller at a time. False if the shard's number is not the next.
    pub(in crate::shard) fn push(&self, shard: Arc<Shard>) -> bool {
        let last = self.last_list();
        if shard.id().index() != last.shards.len() {
            return false;
        }
        let mut shards = last.shards.clone();
        shards.push(shard);
        last.longer.set(Box::new(Self::new(shards))).is_ok()
    }

    fn last_list(&self) -> &Self {
        let mut list = self;
        while let Some(longer) = list.longer.get() {
            list = longer;
        }
        list
    }
}

/// The number of values in a part of a [`PerShard`].
const PART_SIZE: usize = 16;

/// One value for each shard, made at the first request for the shard.
pub(crate) struct PerShard<T> {
    values: [OnceLock<T>; PART_SIZE],
    further: OnceLock<Box<Self>>,
}

impl<T> PerShard<T> {
    pub(crate) fn new() -> Self {
        Self { values: std::array::from_fn(|_| OnceLock::new()), further: OnceLock::new() }
    }

    /// The shard's value. `make` runs once, even if several callers ask at the same time.
    pub(crate) fn get_or_make(&self, shard: ShardId, make: impl FnOnce() -> T) -> &T {
        let (mut part, mut index) = (self, shard.index());
        loop {
            match part.values.get(index) {
                Some(value) => return value.get_or_init(make),
                None => {
                    part = part.further.get_or_init(|| Box::new(Self::new()));
                    index -= PART_SIZE;
                }
            }
        }
    }
}

impl<T> Default for PerShard<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_one_value() {
        let values = PerShard::new();
        for round in 0..2 {
            for number in [0, 15, 16, 40, 5039] {
                assert_eq!(*values.get_or_make(ShardId::new(number), || (number, round)), (number, 0));
            }
        }
    }
}
