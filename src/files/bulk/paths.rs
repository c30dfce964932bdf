//! The paths of a listing so far, so that a path that comes twice loses no file.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use unicode_normalization::UnicodeNormalization;

/// Paths in a generation. With two generations a path is found again within so many entries, in a few megabytes for a
/// listing of any length. A batch has fewer entries, so that no statement meets a path twice.
const GENERATION: usize = 65_536;

/// The paths and lines of the last entries.
#[derive(Default)]
pub(super) struct RecentPaths {
    /// With keys of its own for each listing, so that no client can make two paths with one hash.
    hasher: RandomState,
    new: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl RecentPaths {
    /// The earlier line of the path in any normal form; a new path is remembered.
    pub(super) fn note(&mut self, path: &str, line: u64) -> Option<u64> {
        let hash = if path.is_ascii() {
            self.hasher.hash_one(path)
        } else {
            self.hasher.hash_one(path.nfc().collect::<String>())
        };
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
    fn a_path_has_all_its_normal_forms() {
        let mut paths = RecentPaths::default();
        assert_eq!(paths.note("caf\u{e9}", 1), None);
        assert_eq!(paths.note("cafe\u{301}", 2), Some(1));
        assert_eq!(paths.note("cafe", 3), None);
    }

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
