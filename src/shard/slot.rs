//! Slots and shard numbers: the slot of a user, the shard of a slot in a new cluster.

use std::fmt;

use md5::{Digest, Md5};

/// How many slots there are. Fixed for good: 5,040 has 60 divisors, so that many shard counts deal it evenly.
pub const SLOT_COUNT: u16 = 5040;

/// One of the [`SLOT_COUNT`] virtual shards; all rows of a user are in one slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a user: `user_id mod 5040`, Euclidean, so never negative.
    #[must_use]
    pub fn of_user(user_id: i64) -> Self {
        let slot = user_id.rem_euclid(i64::from(SLOT_COUNT));
        Self(u16::try_from(slot).unwrap_or_default()) // always below 5,040
    }

    /// The slot of a text: its MD5, read as a 128-bit big-endian number, mod 5040.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        let digest: [u8; 16] = Md5::digest(key).into();
        Self::of_hash(u128::from_be_bytes(digest))
    }

    /// The slot of a hash that spreads its inputs evenly.
    #[must_use]
    pub fn of_hash(hash: u128) -> Self {
        let slot = hash % u128::from(SLOT_COUNT);
        Self(u16::try_from(slot).unwrap_or_default()) // always below 5,040
    }

    /// The slot with this number, or `None` if there is no such slot.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number < SLOT_COUNT).then_some(Self(number))
    }

    /// The slot with this number as PostgreSQL sends it.
    #[must_use]
    pub fn from_sql(number: i32) -> Option<Self> {
        u16::try_from(number).ok().and_then(Self::new)
    }

    /// The slot's number, 0 to 5,039.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// The slot's number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The slot's number as PostgreSQL's `int`.
    #[must_use]
    pub fn to_sql(self) -> i32 {
        i32::from(self.0)
    }

    /// Every slot, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOT_COUNT).map(Self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a shard: 0 for `SHARD_0_URL`, and so on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ShardId(u16);

impl ShardId {
    /// The shard with this number.
    #[must_use]
    pub fn new(number: u16) -> Self {
        Self(number)
    }

    /// The shard with this number as PostgreSQL sends it.
    #[must_use]
    pub fn from_sql(number: i32) -> Option<Self> {
        u16::try_from(number).ok().map(Self)
    }

    /// The shard's number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// The shard's number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The shard's number as PostgreSQL's `int`.
    #[must_use]
    pub fn to_sql(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

pub(in crate::shard) fn shard_id(index: usize) -> ShardId {
    ShardId::new(u16::try_from(index).unwrap_or(u16::MAX)) // the settings allow 5,040 shards at most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::map::SlotMap;
    use proptest::prelude::*;

    /// A changed value would send every stored document to another slot.
    #[test]
    fn golden_slots_of_texts() {
        for (key, on_shards_of_2_to_5) in [
            ("", [0, 0, 2, 1]),
            ("a", [1, 1, 1, 2]),
            ("user:123", [1, 2, 1, 2]),
            ("test_key", [1, 2, 1, 0]),
            ("product:456", [0, 0, 2, 1]),
            ("unicode_测试_key", [0, 2, 2, 0]),
        ] {
            let slot = Slot::of_key(key).number();
            assert_eq!([slot % 2, slot % 3, slot % 4, slot % 5], on_shards_of_2_to_5, "{key}");
        }
    }

    /// Ten thousand keys lie evenly: no shard is more than a twentieth away from the even share.
    #[test]
    fn texts_are_spread_evenly() {
        for shards in 2..=5_u16 {
            let mut keys = vec![0_i32; usize::from(shards)];
            (0..10_000).for_each(|key| keys[usize::from(Slot::of_key(&format!("user:{key}")).number() % shards)] += 1);
            let share = 10_000 / i32::from(shards);
            assert!(keys.iter().all(|count| (count - share).abs() * 20 <= share), "{keys:?}");
        }
    }

    #[test]
    fn golden_slots() {
        for (user, slot) in
            [(0, 0), (42, 42), (5039, 5039), (5040, 0), (123_456_789, 1989), (-1, 5039), (i64::MAX, 2527)]
        {
            assert_eq!(Slot::of_user(user).number(), slot, "user {user}");
        }
    }

    fn any_divisor() -> impl Strategy<Value = u16> {
        proptest::sample::select(
            (1..=SLOT_COUNT).filter(|shards| SLOT_COUNT.is_multiple_of(*shards)).collect::<Vec<_>>(),
        )
    }

    proptest! {
        #[test]
        fn with_a_divisor_of_5040_shards_a_user_is_on_user_id_mod_shards(user in any::<i64>(), shards in any_divisor()) {
            let owner = SlotMap::initial(shards).owner(Slot::of_user(user));
            prop_assert_eq!(i64::from(owner.number()), user.rem_euclid(i64::from(shards)));
        }

        #[test]
        fn every_user_has_one_slot_below_the_count(user in any::<i64>()) {
            let slot = Slot::of_user(user);
            prop_assert!(slot.number() < SLOT_COUNT);
            prop_assert_eq!(Slot::new(slot.number()), Some(slot));
            prop_assert_eq!(Slot::from_sql(slot.to_sql()), Some(slot));
        }
    }

    #[test]
    fn the_modulo_rule_holds_for_every_divisor() {
        for shards in (1..=SLOT_COUNT).filter(|s| SLOT_COUNT.is_multiple_of(*s)) {
            let map = SlotMap::initial(shards);
            for user in (0..20_000).chain(i64::MAX - 6000..i64::MAX) {
                let owner = map.owner(Slot::of_user(user)).number();
                assert_eq!(i64::from(owner), user % i64::from(shards), "user {user}, {shards} shards");
            }
        }
    }
}
