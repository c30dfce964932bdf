//! The local count: a small cell for each caller, in a bounded table.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use super::CallerKey;

/// Parts of the table, each with a lock that is held for some tens of nanoseconds.
const PARTS: usize = 64;
/// Callers in a part. Together 65,536, of about 100 bytes each.
const CELLS: usize = 1024;
/// A full part drops default cells at most this often, in nanoseconds.
const SWEEP: u64 = 100_000_000;

/// The count of a caller. Moments are nanoseconds of the limiter's clock.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct CallerCell {
    /// The moment at which all units taken here will be earned: the local count.
    pub(super) paid: u64,
    /// Units taken ahead from the shared count, and until when they count.
    pub(super) reserved: u64,
    pub(super) reserved_until: u64,
    /// The shared count has nothing before this.
    pub(super) blocked_until: u64,
    /// Units left in the shared count at the last question.
    pub(super) shared_left: u64,
    /// Used units that the shared count has not taken.
    pub(super) owed: u64,
}

impl CallerCell {
    /// Adds units of the shared count, valid until then.
    pub(super) fn add_reserved(&mut self, now: u64, units: u64, until: u64) {
        if self.reserved_until <= now {
            self.reserved = 0;
        }
        self.reserved += units;
        self.reserved_until = until;
    }

    /// True if a new cell would say the same.
    fn is_default(&self, now: u64) -> bool {
        self.paid <= now && self.blocked_until <= now && (self.reserved == 0 || self.reserved_until <= now)
    }
}

#[derive(Default)]
struct CellPartition {
    cells: HashMap<CallerKey, CallerCell>,
    /// The shared cell of all callers for whom there is no room.
    overflow: CallerCell,
    swept: u64,
}

pub(super) struct CallerCells {
    parts: Box<[Mutex<CellPartition>]>,
    /// Seeded, so that nobody can choose addresses of a single part.
    hasher: RandomState,
}

impl CallerCells {
    pub(super) fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    pub(super) fn with_cell<T>(&self, caller: CallerKey, now: u64, work: impl FnOnce(&mut CallerCell) -> T) -> T {
        let index = usize::try_from(self.hasher.hash_one(caller) % 64).unwrap_or_default();
        let Some(part) = self.parts.get(index) else { return work(&mut CallerCell::default()) };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let CellPartition { cells, overflow, swept } = &mut *part;
        if let Some(cell) = cells.get_mut(&caller) {
            return work(cell);
        }
        if cells.len() >= CELLS && now >= swept.saturating_add(SWEEP) {
            *swept = now;
            cells.retain(|_, cell| !cell.is_default(now));
        }
        if cells.len() >= CELLS {
            return work(overflow);
        }
        work(cells.entry(caller).or_default())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap().cells.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_idle_callers_make_room() {
        let cells = CallerCells::new();
        for user in 0..200_000 {
            cells.with_cell(CallerKey::user(user), 1, |cell| cell.paid = 1_000_000_000);
        }
        assert!(cells.len() <= PARTS * CELLS);
        let kept = cells.with_cell(CallerKey::user(0), 1, |cell| cell.paid);
        assert_eq!(kept, 1_000_000_000, "whoever has a cell keeps it");
        let crowded = cells.with_cell(CallerKey::user(199_999), 1, |cell| cell.paid);
        assert_eq!(crowded, 1_000_000_000, "the overflow shares one");
        let later = 2_000_000_000;
        let fresh = cells.with_cell(CallerKey::user(199_999), later, |cell| cell.paid);
        assert_eq!(fresh, 0, "there is room again");
        cells.with_cell(CallerKey::user(199_999), later, |cell| cell.paid = 7);
        assert_eq!(cells.with_cell(CallerKey::user(199_999), later, |cell| cell.paid), 7);
    }
}
