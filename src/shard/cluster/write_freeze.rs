//! The slots whose writes a shard refuses for the moment of a handover, as this process knows them.
//!
//! A refused row costs the rest of its batch a second statement. So the callers of a frozen slot do not try again and
//! again: they share a look at the freezes, and try when the slot's freeze has ended.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::shard::slot::Slot;

/// One bit a slot, in the order in which PostgreSQL's `get_bit` counts.
type SlotMask = Vec<u8>;

/// The frozen slots of one shard, as the last look found them. Only a hint: the shard itself refuses or takes a write.
#[derive(Default)]
pub(super) struct WriteFreeze {
    /// A mask for each freeze; usually none.
    frozen: ArcSwap<Vec<SlotMask>>,
    looks: AtomicU64,
    /// Held during a look: a single task looks at a time.
    turn: Mutex<()>,
}

impl WriteFreeze {
    /// True if the last look found the slot frozen.
    pub(super) fn covers(&self, slot: Slot) -> bool {
        let has_bit =
            |mask: &SlotMask| mask.get(slot.index() / 8).is_some_and(|byte| (byte >> (slot.index() % 8)) & 1 == 1);
        self.frozen.load().iter().any(has_bit)
    }

    /// How many looks have ended.
    pub(super) fn look_count(&self) -> u64 {
        self.looks.load(Ordering::Acquire)
    }

    /// Looks again, unless another caller's look began and ended since `look_count` was `seen`. A look that gives `None`
    /// has failed, and counts as a look that found no freeze: the next write finds out.
    ///
    /// Cancel safe: a look that is dropped changes nothing.
    pub(super) async fn look_after(&self, seen: u64, look: impl Future<Output = Option<Vec<SlotMask>>>) {
        let _turn = self.turn.lock().await;
        // The first look that ended meanwhile may have begun before.
        if self.look_count() < seen + 2 {
            let frozen = look.await.unwrap_or_default();
            self.frozen.store(frozen.into());
            self.looks.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    #[tokio::test]
    async fn a_freeze_lasts_until_a_look_finds_it_gone() {
        let freeze = WriteFreeze::default();
        let mut mask = vec![0; 630];
        mask[1] = 0b1000_0001; // slots 8 and 15
        freeze.look_after(freeze.look_count(), ready(Some(vec![vec![0; 630], mask]))).await;
        let frozen: Vec<_> = Slot::all().filter(|slot| freeze.covers(*slot)).collect();
        assert_eq!(frozen, [slot(8), slot(15)]);
        freeze.look_after(freeze.look_count(), ready(None)).await;
        assert!(!freeze.covers(slot(8)), "a failed look leaves the answer to the next write");
    }

    #[tokio::test]
    async fn a_look_serves_those_who_came_before_it_began() {
        let freeze = WriteFreeze::default();
        let seen = freeze.look_count();
        freeze.look_after(seen, ready(Some(Vec::new()))).await;
        freeze.look_after(seen, ready(Some(vec![vec![1; 630]]))).await;
        assert!(freeze.covers(slot(0)), "the first look may have begun too early");
        freeze.look_after(seen, async { panic!("the second look began late enough") }).await;
        assert_eq!(freeze.look_count(), 2);
    }
}
