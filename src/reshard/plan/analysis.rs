//! The costs of another number of shards, by each way of dealing slots to shards.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::planner::{DealStrategy, plan_growth, plan_strategy};
use super::weights::SlotLoad;
use crate::payload::text_if_inexact;
use crate::shard::{SLOT_COUNT, ShardId, Slot, SlotMap};

/// Points of each shard on the ring.
const POINTS: u64 = 160;

/// The cost of a way of dealing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct StrategyCost {
    /// `slots`, `modulo` or `ring`.
    #[schema(value_type = String, example = "slots")]
    pub strategy: &'static str,
    /// Moving slots, of 5,040.
    #[schema(example = 1680)]
    pub slots: usize,
    /// Moving users with rows; null if the count took too long.
    pub users: Option<i64>,
    /// Moving rows.
    pub rows: i64,
    /// Moving bytes.
    pub bytes: i64,
}

/// Where a user would be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct SampleUser {
    /// The user.
    pub user_id: i64,
    /// The same as a text, where the number is above 2^53 − 1 and readers that keep numbers as doubles round it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id_text: Option<String>,
    /// The user's slot.
    pub slot: u16,
    /// The shard now.
    pub now: u16,
    /// The shard by each way of dealing.
    #[schema(value_type = BTreeMap<String, u16>)]
    pub then: BTreeMap<&'static str, u16>,
}

/// All ways side by side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ClusterAnalysis {
    /// How many shards there are.
    pub shards_now: usize,
    /// How many there would be.
    pub shards_then: u16,
    /// Slots with rows, of 5,040.
    #[schema(example = 5040)]
    pub slots_in_use: usize,
    /// An oddity of the spread of rows, and its remedy; null if the spread is even.
    pub note: Option<String>,
    /// The cost of each way. The ring is compared with a ring of the present number of shards, as no cluster uses a
    /// ring.
    pub strategies: Vec<StrategyCost>,
    /// The first users there are.
    pub sample: Vec<SampleUser>,
}

/// Compares the ways of dealing for another number of shards.
#[must_use]
pub fn analyse(
    map: &SlotMap,
    shards_now: usize,
    shards_then: u16,
    loads: &[SlotLoad],
    users: Option<&[i64]>,
    sample: &[i64],
) -> ClusterAnalysis {
    // A shard that owns nothing yet would not be on the ring.
    let owning = Slot::all().map(|slot| map.owner(slot)).collect::<BTreeSet<_>>().len();
    let now = u16::try_from(owning).unwrap_or(u16::MAX);
    let even = placed(map, &plan_growth(map, loads, shards_then));
    let modulo = placed(map, &plan_strategy(map, loads, shards_then, DealStrategy::Modulo).unwrap_or_default());
    let (ring_now, ring_then) = (ring(now), ring(shards_then));
    let ways: [(&'static str, Vec<ShardId>, Vec<ShardId>); 3] = [
        ("slots", owners(map), even),
        ("modulo", owners(map), modulo),
        (
            "ring",
            Slot::all().map(|slot| on_ring(&ring_now, slot)).collect(),
            Slot::all().map(|slot| on_ring(&ring_then, slot)).collect(),
        ),
    ];
    let cost = |(strategy, before, after): &(&'static str, Vec<ShardId>, Vec<ShardId>)| {
        let moved: Vec<usize> =
            Slot::all().map(Slot::index).filter(|slot| before.get(*slot) != after.get(*slot)).collect();
        let sum = |part: fn(&SlotLoad) -> i64| {
            moved.iter().filter_map(|slot| loads.get(*slot)).map(part).fold(0, i64::saturating_add)
        };
        StrategyCost {
            strategy,
            slots: moved.len(),
            users: users.map(|users| moved.iter().filter_map(|slot| users.get(*slot)).sum()),
            rows: sum(|load| load.rows),
            bytes: sum(SlotLoad::shown_bytes),
        }
    };
    let place = |user: &i64| {
        let slot = Slot::of_user(*user);
        let then = ways.iter().filter_map(|(way, _, after)| Some((*way, after.get(slot.index())?.number())));
        let user_id_text = text_if_inexact(*user);
        SampleUser {
            user_id: *user,
            user_id_text,
            slot: slot.number(),
            now: map.owner(slot).number(),
            then: then.collect(),
        }
    };
    ClusterAnalysis {
        shards_now,
        shards_then,
        slots_in_use: in_use(loads).count(),
        note: note(map, shards_now, loads),
        strategies: ways.iter().map(cost).collect(),
        sample: sample.iter().map(place).collect(),
    }
}

/// The slots with rows.
fn in_use(loads: &[SlotLoad]) -> impl Iterator<Item = usize> {
    loads.iter().enumerate().filter(|(_, load)| load.rows > 0).map(|(slot, _)| slot)
}

/// A note if a shard has much more than its share of the rows, with the reason where the numbers show one.
fn note(map: &SlotMap, shards: usize, loads: &[SlotLoad]) -> Option<String> {
    let mut rows: BTreeMap<ShardId, i64> = BTreeMap::new();
    for slot in Slot::all() {
        let held = loads.get(slot.index()).map_or(0, |load| load.rows);
        let sum = rows.entry(map.owner(slot)).or_default();
        *sum = sum.saturating_add(held);
    }
    let total = rows.values().fold(0_i64, |sum, rows| sum.saturating_add(*rows));
    let (heaviest, most) = rows.into_iter().max_by_key(|(_, rows)| *rows)?;
    let share = total / i64::try_from(shards).ok()?.max(1);
    if most <= share.saturating_add(share / 10) {
        return None;
    }
    let percent = i128::from(most) * 100 / i128::from(total.max(1));
    let step = step(in_use(loads));
    let why = match step {
        Some(step) => format!(
            ", as the user numbers come in steps of {step} (or a multiple), and user_id mod 5040 keeps the steps"
        ),
        None => String::new(),
    };
    Some(format!(
        "shard {heaviest} holds {percent} % of the rows{why}; \"rebalance\" deals the slots that are in use evenly"
    ))
}

/// The largest step in which all these slots follow one another, around the circle of slots; `None` for fewer than two
/// slots.
fn step(mut slots: impl Iterator<Item = usize>) -> Option<usize> {
    let first = slots.next()?;
    let all = usize::from(SLOT_COUNT);
    let step = slots.fold(all, |step, slot| greatest_common_divisor(step, slot - first));
    (1 < step && step < all).then_some(step)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn owners(map: &SlotMap) -> Vec<ShardId> {
    Slot::all().map(|slot| map.owner(slot)).collect()
}

/// The owners after a plan.
fn placed(map: &SlotMap, plan: &[super::planner::SlotTransfer]) -> Vec<ShardId> {
    let mut owners = owners(map);
    for transfer in plan {
        for slot in &transfer.slots {
            if let Some(owner) = owners.get_mut(slot.index()) {
                *owner = transfer.target;
            }
        }
    }
    owners
}

/// A consistent-hash ring: each shard at many points.
fn ring(shards: u16) -> BTreeMap<u64, ShardId> {
    let points = |shard: u16| (0..POINTS).map(move |point| (mix(u64::from(shard) << 32 | point), ShardId::new(shard)));
    (0..shards.max(1)).flat_map(points).collect()
}

/// The shard of the next point on the ring.
fn on_ring(ring: &BTreeMap<u64, ShardId>, slot: Slot) -> ShardId {
    let at = mix(u64::MAX ^ u64::from(slot.number()));
    ring.range(at..).next().or_else(|| ring.first_key_value()).map_or_else(ShardId::default, |(_, shard)| *shard)
}

/// Scatters numbers over all 64 bits (the finaliser of `SplitMix64`).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_steps_are_named() {
        let loads_of = |step: i64| {
            let mut loads = vec![SlotLoad::default(); 5040];
            for number in 0..1_000 {
                loads[Slot::of_user(number * step).index()].rows += 1;
            }
            loads
        };
        let map = SlotMap::initial(2);
        for (step, in_use, named) in
            [(1 << 22, 315, "steps of 16 "), (10, 504, "steps of 10 "), (2, 1000, "steps of 2 ")]
        {
            let found = analyse(&map, 2, 3, &loads_of(step), None, &[]);
            assert_eq!(found.slots_in_use, in_use, "{step}");
            let note = found.note.unwrap();
            assert!(note.contains("shard 0 holds 100 % of the rows") && note.contains(named), "{note}");
        }
        assert_eq!(analyse(&map, 2, 3, &loads_of(1), None, &[]).note, None);
        assert_eq!(analyse(&map, 2, 3, &vec![SlotLoad::default(); 5040], None, &[]).note, None);
        let alone = analyse(&map, 2, 3, &loads_of(5040), None, &[]).note.unwrap();
        assert!(!alone.contains("steps"), "{alone}");
    }

    #[test]
    fn from_two_to_three_a_third_moves_by_slots_and_two_thirds_by_modulo() {
        let loads = vec![SlotLoad { rows: 2, file_bytes: 10, ..SlotLoad::default() }; 5040];
        let users = vec![1; 5040];
        let found = analyse(&SlotMap::initial(2), 2, 3, &loads, Some(&users), &[0, 1, 42]);
        let slots: Vec<_> = found.strategies.iter().map(|cost| cost.slots).collect();
        assert_eq!(slots[..2], [1680, 3360]);
        assert!((1200..2200).contains(&slots[2]), "{slots:?}");
        assert_eq!(found.strategies[0].rows, 3360);
        assert_eq!(found.strategies[1].users, Some(3360));
        assert_eq!((found.sample[2].slot, found.sample[2].now, found.sample[2].then["modulo"]), (42, 0, 0));
    }
}
