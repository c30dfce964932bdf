//! What a process knows of all fences, and on which slots and fences readers and writers may rely.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fence_view::{FenceView, KnownSlots, MapCopy, ShardFence, SlotTenure};
use crate::shard::{Cluster, PerShard, Shard, ShardId, Slot};

/// What is known of all fences.
pub(super) struct KnownFences {
    cluster: Arc<Cluster>,
    views: PerShard<ArcSwapOption<FenceView>>,
    slots: ArcSwap<KnownSlots>,
    /// Changes with every look, and wakes waiting writers.
    pulse: watch::Sender<()>,
}

/// A slot, under the fence and the epoch in force.
pub(super) struct SettledSlot {
    pub(super) owner: ShardId,
    pub(super) epoch: i64,
    pub(super) view: Arc<FenceView>,
}

impl SettledSlot {
    /// The cache server in force.
    pub(super) fn server(&self) -> Option<&Arc<str>> {
        self.view.fence.server.as_ref()
    }

    /// True if values that are kept under one of both may be used under the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.owner == other.owner && self.epoch == other.epoch && self.view.prefix == other.view.prefix
    }
}

impl KnownFences {
    /// Nothing is known of these shards yet.
    pub(super) fn new(cluster: &Arc<Cluster>) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            views: PerShard::new(),
            slots: ArcSwap::default(),
            pulse: watch::channel(()).0,
        }
    }

    /// True if all fences are settled and closed. Then no process can show a value from before a write.
    pub(super) fn are_all_closed(&self) -> bool {
        let now = Instant::now();
        let is_closed = |view: &FenceView| view.fence.server.is_none() && view.is_settled(now);
        let mut shards = self.cluster.shards().iter();
        shards.all(|shard| self.place(shard.id()).load().as_deref().is_some_and(is_closed))
    }

    /// The settled view of a slot, if the view is settled.
    pub(super) fn settled(&self, slot: Slot) -> Option<SettledSlot> {
        let now = Instant::now();
        let known = self.slots.load().get(slot).filter(|known| known.now.is_settled(now))?;
        self.settled_slot(known.now, now)
    }

    /// Every place in which some process may look for values of a slot, if that is settled: the place of the owner and,
    /// for as long as a change of hands has not settled, the place of the owner before.
    pub(super) fn relied_on(&self, slot: Slot) -> Option<(SettledSlot, Option<SettledSlot>)> {
        let now = Instant::now();
        let known = self.slots.load().get(slot)?;
        let place = self.settled_slot(known.now, now)?;
        if known.now.is_settled(now) {
            return Some((place, None));
        }
        let before = known.before.filter(|before| before.is_settled(now))?;
        Some((place, Some(self.settled_slot(before, now)?)))
    }

    fn settled_slot(&self, tenure: SlotTenure, now: Instant) -> Option<SettledSlot> {
        let view = self.view(tenure.owner)?;
        view.is_settled(now).then_some(SettledSlot { owner: tenure.owner, epoch: tenure.epoch, view })
    }

    /// What this process last heard about a slot, settled or not.
    pub(super) fn latest(&self, slot: Slot) -> Option<SettledSlot> {
        let SlotTenure { owner, epoch, .. } = self.slots.load().get(slot)?.now;
        Some(SettledSlot { owner, epoch, view: self.view(owner)? })
    }

    /// Requests a look at the fence of this shard if the last look is too old to rely on, or else at every fence of
    /// which that is true.
    pub(super) fn refresh(&self, owner: &Shard) {
        let now = Instant::now();
        let is_old = |shard: &Shard| self.view(shard.id()).is_none_or(|view| !view.is_fresh(now));
        if is_old(owner) {
            return owner.request_look();
        }
        self.cluster.shards().iter().filter(|shard| is_old(shard)).for_each(|shard| shard.request_look());
    }

    /// Changes with every look at a fence.
    pub(super) fn pulse(&self) -> watch::Receiver<()> {
        self.pulse.subscribe()
    }

    /// Takes over what a look at a shard's fence found. The look was started at `looked` and has ended now.
    pub(super) fn learn_fence(&self, shard: ShardId, fence: ShardFence, looked: Instant) {
        let place = self.place(shard);
        let prefix = |fence: &ShardFence| {
            let cluster = self.cluster.id().simple();
            format!("shardrive:{cluster}:{shard}:{}:{:x}", fence.generation, fence.started).into()
        };
        let view = FenceView::after(place.load().as_deref(), fence, looked, Instant::now(), prefix);
        place.store(Some(Arc::new(view)));
        self.pulse.send_replace(());
    }

    /// Takes over a shard's copy of the map, which was read just now.
    pub(super) fn learn_slots(&self, map: &MapCopy) {
        let now = Instant::now();
        self.slots.rcu(|slots| slots.learn(map, now));
    }

    fn view(&self, shard: ShardId) -> Option<Arc<FenceView>> {
        self.place(shard).load_full()
    }

    fn place(&self, shard: ShardId) -> &ArcSwapOption<FenceView> {
        self.views.get_or_make(shard, ArcSwapOption::empty)
    }
}
