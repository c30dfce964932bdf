//! What a process knows of a shard's fence, and when a reader or writer may rely on the fence. Pure functions: the
//! caller passes the time.
//!
//! Every shard's database says which cache server is in force for its rows: the shard's **fence**. A process looks at
//! each fence all the time, and relies on a fence only while the fence is **settled**: first seen at least [`SETTLE`]
//! ago, and seen by a look that was started less than [`LEASE`] ago. Whatever a reader relies on was thus true less
//! than a lease ago. Whatever a writer relies on has been true for longer than a lease. So no reader can still rely on
//! an older fence than a writer relied on at its acknowledgement (docs/decisions/0011-cache.md has the proof).

use std::sync::Arc;

use tokio::time::Instant;

use crate::shard::{ShardId, Slot, SlotMap, VIEW_LEASE as LEASE, VIEW_SETTLE as SETTLE};

/// A shard's fence, as one look found the row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ShardFence {
    /// Grows with every opening and closing; 0 if there has never been a cache.
    pub(super) generation: i64,
    /// The cache server in force; `None`: closed.
    pub(super) server: Option<Arc<str>>,
    /// When the shard's own server was started, in microseconds. Part of every key: a shard that was restored from a
    /// backup may give the same generation a second time, and must not find the values of the first.
    pub(super) started: i64,
}

impl ShardFence {
    /// True if everything that was known of `other` holds for this fence.
    fn is_same(&self, other: &Self) -> bool {
        let same_start = self.server.is_none() || self.started == other.started;
        self.generation == other.generation && self.server == other.server && same_start
    }
}

/// A shard's fence, as this process knows it.
#[derive(Clone, Debug)]
pub(super) struct FenceView {
    pub(super) fence: ShardFence,
    /// What the keys of this shard start with.
    pub(super) prefix: Arc<str>,
    /// When the fence was first seen in this state: the end of that look.
    since: Instant,
    /// When the newest look with the same result was started.
    looked: Instant,
}

impl FenceView {
    /// The view after a look that was started at `looked` and has ended now.
    pub(super) fn after(
        before: Option<&Self>,
        fence: ShardFence,
        looked: Instant,
        now: Instant,
        prefix: impl FnOnce(&ShardFence) -> Arc<str>,
    ) -> Self {
        match before.filter(|before| before.fence.is_same(&fence)) {
            Some(before) if before.fence.started == fence.started => {
                Self { fence, prefix: Arc::clone(&before.prefix), since: before.since, looked }
            }
            Some(before) => Self { prefix: prefix(&fence), fence, since: before.since, looked },
            None => Self { prefix: prefix(&fence), fence, since: now, looked },
        }
    }

    /// True if the newest look is still good.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked) < LEASE
    }

    /// True if readers and writers may rely on the fence. Where there has never been a cache, nobody can know of a
    /// cache.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        let is_old = self.fence.generation == 0 || now.saturating_duration_since(self.since) >= SETTLE;
        self.is_fresh(now) && is_old
    }
}

/// Who owns a slot, under which epoch, and since when this process knows the owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotTenure {
    pub(super) owner: ShardId,
    pub(super) epoch: i64,
    since: Instant,
}

impl SlotTenure {
    /// True if the owner has been known for long enough. The owner's [`FenceView`] says whether the owner still holds.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= SETTLE
    }
}

/// A slot's owner, and the owner before.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownSlot {
    pub(super) now: SlotTenure,
    /// `None` if this process did not know the owner before, or there may have been another owner between the two.
    pub(super) before: Option<SlotTenure>,
}

/// A shard's copy of the map, and the epoch that each slot had before, where that is known.
pub(super) struct MapCopy {
    pub(super) map: SlotMap,
    pub(super) previous: Vec<Option<i64>>,
}

/// Every slot, merged from the shards' copies of the map.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownSlots(Vec<KnownSlot>);

impl KnownSlots {
    /// Takes what is newer in a shard's copy of the map, read before `now`.
    pub(super) fn learn(&self, copy: &MapCopy, now: Instant) -> Self {
        let newer = |slot: Slot| {
            let theirs = copy.map.ownership(slot);
            let previous = copy.previous.get(slot.index()).copied().flatten();
            match self.get(slot) {
                Some(mine) if mine.now.epoch >= theirs.epoch => mine,
                mine => KnownSlot {
                    now: SlotTenure { owner: theirs.owner, epoch: theirs.epoch, since: now },
                    before: mine.map(|mine| mine.now).filter(|mine| previous == Some(mine.epoch)),
                },
            }
        };
        Self(Slot::all().map(newer).collect())
    }

    pub(super) fn get(&self, slot: Slot) -> Option<KnownSlot> {
        self.0.get(slot.index()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_millis(50);

    fn fence(generation: i64, server: Option<&str>) -> ShardFence {
        ShardFence { generation, server: server.map(Into::into), started: 1 }
    }

    /// Looks at a fence every step, each look lasting a step, from `from` on.
    fn look(mut view: Option<FenceView>, found: &ShardFence, from: Instant, looks: u32) -> FenceView {
        for look in 0..looks {
            let start = from + STEP * look;
            view = Some(FenceView::after(view.as_ref(), found.clone(), start, start + STEP, |_| "p".into()));
        }
        view.unwrap()
    }

    #[test]
    fn what_was_seen_for_long_and_a_moment_ago_is_settled() {
        let start = Instant::now();
        let found = fence(3, Some("a"));
        // First seen at the end of the first look, one step after the start.
        let view = look(None, &found, start, 9);
        assert!(!view.is_settled(start + STEP + SETTLE - Duration::from_millis(1)));
        assert!(view.is_settled(start + STEP + SETTLE));
        // The last look was started eight steps after the start.
        assert!(view.is_settled(start + STEP * 8 + LEASE - Duration::from_millis(1)));
        assert!(!view.is_settled(start + STEP * 8 + LEASE));
        // A process that was stopped: the next look makes the view fresh again, and nothing else has changed.
        let later = start + Duration::from_secs(60);
        assert!(look(Some(view), &found, later, 1).is_settled(later + STEP));
    }

    #[test]
    fn every_change_has_to_settle_anew() {
        let start = Instant::now();
        let open = look(None, &fence(3, Some("a")), start, 12);
        let now = start + STEP * 13;
        assert!(open.is_settled(now));
        let restarted = ShardFence { started: 2, ..fence(3, Some("a")) };
        for changed in [fence(4, None), fence(4, Some("a")), fence(3, Some("b")), restarted] {
            assert!(!look(Some(open.clone()), &changed, now - STEP, 1).is_settled(now), "{changed:?}");
        }
        // A closed fence is as closed after a restart of the shard.
        let closed = look(None, &fence(4, None), start, 12);
        assert!(closed.is_settled(now));
        let restarted = ShardFence { started: 2, ..fence(4, None) };
        assert!(look(Some(closed), &restarted, now - STEP, 1).is_settled(now));
    }

    #[test]
    fn where_there_was_never_a_cache_the_first_look_suffices() {
        let start = Instant::now();
        let view = look(None, &fence(0, None), start, 1);
        assert!(view.is_settled(start + STEP));
        assert!(!view.is_settled(start + LEASE));
    }

    /// A map of two shards in which the slot 7 has this epoch, and had the epoch `before` until now.
    fn copy(epoch: i64, previous: Option<i64>) -> MapCopy {
        let (owners, mut epochs) = SlotMap::initial(2).to_columns();
        epochs[7] = epoch;
        let mut all = vec![None; owners.len()];
        all[7] = previous;
        MapCopy { map: SlotMap::from_columns(&owners, &epochs).unwrap(), previous: all }
    }

    #[test]
    fn a_slot_that_changed_hands_has_to_settle_alone() {
        let (start, slot) = (Instant::now(), Slot::of_user(7));
        let known = KnownSlots::default().learn(&copy(1, None), start);
        let later = start + SETTLE;
        let known = known.learn(&copy(2, Some(1)), later).learn(&copy(1, None), later);
        assert_eq!(known.get(slot).unwrap().now.epoch, 2);
        assert!(!known.get(slot).unwrap().now.is_settled(later));
        assert!(known.get(slot).unwrap().now.is_settled(later + SETTLE));
        assert!(known.get(Slot::of_user(8)).unwrap().now.is_settled(later));
    }

    #[test]
    fn the_owner_before_counts_only_if_there_was_none_between() {
        let (start, slot) = (Instant::now(), Slot::of_user(7));
        let known = KnownSlots::default().learn(&copy(3, Some(2)), start);
        assert!(known.get(slot).unwrap().before.is_none(), "this process did not know of it");
        let later = start + SETTLE;
        for (epoch, previous, expected) in
            [(4, Some(3), Some(3)), (9, Some(3), Some(3)), (5, Some(4), None), (4, None, None)]
        {
            let before = known.learn(&copy(epoch, previous), later).get(slot).unwrap().before;
            assert_eq!(before.map(|before| before.epoch), expected, "{epoch} after {previous:?}");
            assert!(before.is_none_or(|before| before.is_settled(later)), "known for long");
        }
    }
}
