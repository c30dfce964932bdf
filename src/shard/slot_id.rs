//! Ids that carry the slot: a row is found by id without a question to every shard.
//!
//! An id sorts by its time and ends in its slot. An id is a `UUIDv7` (RFC 9562, section 5.7). The 12 bits after the
//! milliseconds hold a fraction of a millisecond, as in section 6.2 of the RFC, method 3:
//!
//! ```text
//! 019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e
//! └ time, random bits       │   └ the mark of our ids (24 bits)
//!                           └ the slot: 002a is 42
//! ```
//!
//! [`slot_of_id`] is the only place that reads the slot, besides `shardrive.slot_in` in the database, for
//! `shards verify` and for people. Ids of other makers have none.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::Utc;
use uuid::Uuid;

use super::slot::Slot;

/// The last three bytes of every id made here.
const MARK: u128 = 0x5d_4c_1e;
const MARK_BITS: u32 = 24;
/// Slot and mark: the fixed bits of an id.
const TAIL_BITS: u32 = 16 + MARK_BITS;
const VERSION_SHIFT: u32 = 76;
const VARIANT: u128 = 0b10 << 62;

/// Mints ids: a later id sorts after an earlier id, also within a millisecond and when the clock steps back.
#[derive(Default, Debug)]
pub struct IdClock {
    /// The tick given out last: milliseconds since 1970, and 12 bits of fraction.
    last_tick: AtomicU64,
}

impl IdClock {
    /// A new id for a row in `slot`.
    #[must_use]
    pub fn mint(&self, slot: Slot) -> Uuid {
        let tick = u128::from(self.next_tick());
        let random = u128::from(rand::random::<u32>() >> 10); // the 22 free bits
        Uuid::from_u128(
            (tick >> 12) << 80
                | 7 << VERSION_SHIFT
                | (tick & 0xfff) << 64
                | VARIANT
                | random << TAIL_BITS
                | tail_bits(slot),
        )
    }

    fn next_tick(&self) -> u64 {
        let micros = u64::try_from(Utc::now().timestamp_micros()).unwrap_or_default();
        let now = ((micros / 1000) << 12) | ((micros % 1000) * 4096 / 1000);
        // Relaxed: the counter orders no other memory.
        let last = self.last_tick.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        last.map_or(now, |last| now.max(last + 1))
    }
}

/// The slot in an id, or `None` for an id of another maker.
#[must_use]
pub(crate) fn slot_of_id(id: Uuid) -> Option<Slot> {
    let bits = id.as_u128();
    let ours = bits & ((1 << MARK_BITS) - 1) == MARK && id.get_version_num() == 7;
    let slot = u16::try_from(bits >> MARK_BITS & 0xffff).ok().filter(|_| ours)?;
    Slot::new(slot)
}

fn tail_bits(slot: Slot) -> u128 {
    u128::from(slot.number()) << MARK_BITS | MARK
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_carry_their_slot(slot in 0..5040_u16) {
            let slot = Slot::new(slot).unwrap();
            let minted = IdClock::default().mint(slot);
            prop_assert_eq!(slot_of_id(minted), Some(slot));
            prop_assert_eq!(minted.get_version_num(), 7);
            prop_assert_eq!(minted.get_variant(), uuid::Variant::RFC4122);
        }

        #[test]
        fn other_makers_ids_carry_no_slot(bits in any::<u128>()) {
            let foreign = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
            prop_assert_eq!(slot_of_id(foreign), None);
        }
    }

    #[test]
    fn minted_ids_sort_by_their_making_and_carry_the_time() {
        let clock = IdClock::default();
        let slot = Slot::new(7).unwrap();
        let before = Utc::now().timestamp_millis();
        let ids: Vec<_> = (0..100_000).map(|_| clock.mint(slot)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        let millis = i64::try_from(ids[0].as_u128() >> 80).unwrap();
        assert!((before..before + 1000).contains(&millis));
    }

    #[test]
    fn threads_share_a_clock_without_a_clash() {
        let clock = IdClock::default();
        let slot = Slot::new(0).unwrap();
        let mut ids: Vec<_> = std::thread::scope(|scope| {
            let mint = || (0..20_000).map(|_| clock.mint(slot)).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(mint)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 80_000);
    }
}
