//! How many bulk loads each caller runs at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::CallerKey;

/// Running loads by caller. The process bounds the number of loads, and so of entries.
#[derive(Debug)]
pub struct RunningLoads {
    each: usize,
    running: Mutex<HashMap<CallerKey, usize>>,
}

/// The right to run a load, until dropped.
#[derive(Debug)]
pub struct LoadPermit {
    loads: Arc<RunningLoads>,
    caller: CallerKey,
}

impl RunningLoads {
    /// So many for each caller.
    #[must_use]
    pub fn new(each: usize) -> Arc<Self> {
        Arc::new(Self { each, running: Mutex::default() })
    }

    /// The default share of a caller: half of `all`, so that no caller alone takes every permit.
    #[must_use]
    pub fn share_of(all: usize) -> usize {
        (all / 2).max(1)
    }

    /// The right to one more load; `None` at the caller's limit.
    #[must_use]
    pub fn begin(self: &Arc<Self>, caller: CallerKey) -> Option<LoadPermit> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(caller).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(LoadPermit { loads: Arc::clone(self), caller })
    }
}

impl Drop for LoadPermit {
    fn drop(&mut self) {
        let mut running = self.loads.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_half_and_never_nothing() {
        assert_eq!([1, 2, 3, 8].map(RunningLoads::share_of), [1, 1, 1, 4]);
    }

    #[test]
    fn each_caller_has_so_many() {
        let loads = RunningLoads::new(2);
        let (one, other) = (CallerKey::user(1), CallerKey::user(2));
        let held = [loads.begin(one).unwrap(), loads.begin(one).unwrap()];
        assert!(loads.begin(one).is_none());
        assert!(loads.begin(other).is_some());
        drop(held);
        assert!(loads.begin(one).is_some());
        assert!(loads.running.lock().unwrap().is_empty());
    }
}
