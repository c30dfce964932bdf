//! The slot map: which shard owns which slot, and since when.

use std::time::Duration;

use super::slot::{ShardId, Slot};

/// How long a process may rely on a shard's map and on the cache in force, counted from the start of the read
/// (docs/decisions/0011-cache.md).
pub const VIEW_LEASE: Duration = Duration::from_millis(400);
/// How long a process waits before it relies on a newly read view. The wait is longer than a lease by the most that
/// two machines' clocks may drift apart in that time.
pub const VIEW_SETTLE: Duration = Duration::from_millis(450);

/// A slot's owner, and the epoch at which that shard became the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotOwnership {
    /// The shard whose rows count for the slot.
    pub owner: ShardId,
    /// Grows with every change of the slot's owner; starts at 1.
    pub epoch: i64,
}

/// The owner of each of the 5,040 slots.
///
/// Every shard keeps a copy. The copies differ for a moment while a slot changes hands; [`SlotMap::merge`] takes the
/// newer owner of each slot. So the copies of the shards that answer are enough.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotMap {
    slots: Vec<SlotOwnership>,
}

impl SlotMap {
    /// The first map of a cluster of `shards` shards: `slot mod shards`.
    ///
    /// Where `shards` divides 5,040, a user is on shard `user_id mod shards` exactly.
    #[must_use]
    pub fn initial(shards: u16) -> Self {
        let shards = shards.max(1);
        let owned = |slot: Slot| SlotOwnership { owner: ShardId::new(slot.number() % shards), epoch: 1 };
        Self { slots: Slot::all().map(owned).collect() }
    }

    /// A shard's copy, from the owners and epochs in the order of the slots. `None` if a slot is missing or a number
    /// is out of range.
    #[must_use]
    pub fn from_columns(owners: &[i32], epochs: &[i64]) -> Option<Self> {
        let slots: Option<Vec<_>> = owners
            .iter()
            .zip(epochs)
            .map(|(&owner, &epoch)| Some(SlotOwnership { owner: ShardId::from_sql(owner)?, epoch }))
            .collect();
        let slots = slots.filter(|slots| slots.len() == Slot::all().count() && owners.len() == epochs.len())?;
        Some(Self { slots })
    }

    /// The slot's owner and epoch.
    #[must_use]
    pub fn ownership(&self, slot: Slot) -> SlotOwnership {
        // A map always has 5,040 entries, and a slot is below 5,040.
        self.slots.get(slot.index()).copied().unwrap_or(SlotOwnership { owner: ShardId::default(), epoch: 0 })
    }

    /// The shard that owns a slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> ShardId {
        self.ownership(slot).owner
    }

    /// The map's epoch: the highest epoch of any slot. Every change of the map raises the epoch.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.slots.iter().map(|s| s.epoch).max().unwrap_or(0)
    }

    /// The highest number among the owners.
    #[must_use]
    pub fn highest_owner(&self) -> ShardId {
        self.slots.iter().map(|s| s.owner).max().unwrap_or_default()
    }

    /// The slots of a shard, in order.
    pub fn owned_by(&self, shard: ShardId) -> impl Iterator<Item = Slot> {
        Slot::all().zip(&self.slots).filter(move |(_, s)| s.owner == shard).map(|(slot, _)| slot)
    }

    /// Takes the newer owner of each slot from another copy.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            if theirs.epoch > mine.epoch {
                *mine = *theirs;
            }
        }
    }

    /// How many slots a shard owns.
    #[must_use]
    pub fn count_owned_by(&self, shard: ShardId) -> usize {
        self.slots.iter().filter(|s| s.owner == shard).count()
    }

    /// Owners and epochs in the order of the slots, as the shards store them.
    #[must_use]
    pub fn to_columns(&self) -> (Vec<i32>, Vec<i64>) {
        self.slots.iter().map(|s| (s.owner.to_sql(), s.epoch)).unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_map() -> impl Strategy<Value = SlotMap> {
        proptest::collection::vec((0i32..4, 1i64..6), 5040).prop_map(|entries| {
            let (owners, epochs): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
            SlotMap::from_columns(&owners, &epochs).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_merge_never_goes_back_an_epoch(mut left in any_map(), right in any_map()) {
            let before = left.clone();
            left.merge(&right);
            for slot in Slot::all() {
                let (old, new, other) = (before.ownership(slot), left.ownership(slot), right.ownership(slot));
                prop_assert_eq!(new.epoch, old.epoch.max(other.epoch));
                prop_assert!(new == old || new == other);
            }
            let once = left.clone();
            left.merge(&right);
            prop_assert_eq!(once, left);
        }

        #[test]
        fn columns_round_trip(map in any_map()) {
            let (owners, epochs) = map.to_columns();
            prop_assert_eq!(SlotMap::from_columns(&owners, &epochs), Some(map));
        }
    }

    #[test]
    fn a_map_with_a_hole_is_no_map() {
        let (owners, epochs) = SlotMap::initial(2).to_columns();
        assert_eq!(SlotMap::from_columns(&owners[1..], &epochs[1..]), None);
        assert_eq!(SlotMap::from_columns(&owners, &epochs[1..]), None);
        let mut negative = owners;
        negative[7] = -1;
        assert_eq!(SlotMap::from_columns(&negative, &epochs), None);
    }

    #[test]
    fn the_first_map_deals_evenly() {
        for shards in [1, 2, 3, 7, 11] {
            let map = SlotMap::initial(shards);
            for shard in 0..shards {
                let owned = map.count_owned_by(ShardId::new(shard));
                let even = 5040 / usize::from(shards);
                assert!(owned == even || owned == even + 1, "{shards} shards: {owned}");
            }
        }
    }
}
