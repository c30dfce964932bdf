//! Whether the answers of all shards together cover every slot exactly once.
//!
//! The shards are asked at the same time but answer at slightly different moments, and slots may change hands in
//! between. A count of the slots is not enough. Suppose one slot moves in and another moves out between two answers:
//! the answers count 5,040 slots, yet one slot is counted twice and another not at all. So each answer also carries
//! an exclusive-or over the hashes of its slots.

use super::slot::SLOT_COUNT;

/// The slots that one shard's answer covers, from the same snapshot as the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotCoverage {
    /// How many slots the shard owned.
    pub slots: i64,
    /// The exclusive-or of the hashes of these slots.
    pub digest: i64,
    /// The exclusive-or of the hashes of all other slots.
    pub other_digest: i64,
}

impl SlotCoverage {
    /// True if each slot is in exactly one of the answers.
    #[must_use]
    pub fn is_every_slot_once(answers: impl IntoIterator<Item = Self>) -> bool {
        let (mut slots, mut digest, mut whole) = (0, 0, 0);
        for answer in answers {
            slots += answer.slots;
            digest ^= answer.digest;
            whole = answer.digest ^ answer.other_digest;
        }
        slots == i64::from(SLOT_COUNT) && digest == whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer about these slots, with any hash that scatters.
    fn of(owned: impl Fn(i64) -> bool) -> SlotCoverage {
        let hash =
            |slot: i64| slot.wrapping_add(1).wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(23).wrapping_mul(slot | 1);
        let digest =
            |wanted: bool| (0..5040).filter(|slot| owned(*slot) == wanted).fold(0, |all, slot| all ^ hash(slot));
        let slots = i64::try_from((0..5040).filter(|slot| owned(*slot)).count()).unwrap();
        SlotCoverage { slots, digest: digest(true), other_digest: digest(false) }
    }

    #[test]
    fn only_a_partition_is_whole() {
        let (even, odd) = (of(|slot| slot % 2 == 0), of(|slot| slot % 2 == 1));
        assert!(SlotCoverage::is_every_slot_once([even, odd]));
        assert!(SlotCoverage::is_every_slot_once([of(|_| true), of(|_| false)]));
        assert!(!SlotCoverage::is_every_slot_once([even]));
        assert!(!SlotCoverage::is_every_slot_once([even, odd, even]));
        assert!(!SlotCoverage::is_every_slot_once([]));
        // 5,040 slots in all, but a slot twice and another not at all.
        let swapped = of(|slot| slot % 2 == 1 && slot != 1 || slot == 0);
        assert_eq!(even.slots + swapped.slots, 5040);
        assert!(!SlotCoverage::is_every_slot_once([even, swapped]));
    }
}
