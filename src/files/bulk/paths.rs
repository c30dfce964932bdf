//! The paths that a listing has named, so that no file is lost under a path that comes twice.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Paths in a generation. Two generations are kept: a path that comes again within so many entries is found, in a few megabytes
/// however long the listing is. One batch holds fewer entries, so that no statement meets a path twice.
const GENERATION: usize = 65_536;

/// The paths of the last entries and their lines.
#[derive(Default)]
pub(super) struct RecentPaths {
    /// With keys of its own for each listing, so that nobody can make two paths fall on one hash.
    hasher: RandomState,
    new: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl RecentPaths {
    /// The line on which the path came before; else it is noted.
    pub(super) fn note(&mut self, path: &str, line: u64) -> Option<u64> {
        let hash = self.hasher.hash_one(path);
        if let Some(earlier) = self.new.get(&hash).or_else(|| self.old.get(&hash)) {
            return Some(*earlier);
        }
        if self.new.len() >= GENERATION {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(hash, line);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_comes_again_is_found_in_bounded_memory() {
        let mut paths = RecentPaths::default();
        for line in 1..300_000 {
            assert_eq!(paths.note(&format!("folder/{line}"), line), None);
            let before = line.saturating_sub(60_000).max(1);
            assert_eq!(paths.note(&format!("folder/{before}"), line), Some(before));
            assert!(paths.new.len() + paths.old.len() <= 2 * GENERATION);
        }
    }
}
