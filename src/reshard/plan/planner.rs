//! Which slots should move where: pure functions of the slot map and of the slots' sizes.

use std::collections::BTreeMap;

use super::weights::{SlotLoad, cross_section, heavier_first, lightest, slot_weights, weight_of};
use crate::shard::{ShardId, Slot, SlotMap};

/// A shard whose weight is this close to the average is left alone.
const BAND: f64 = 0.10;
/// A plan that takes a smaller part off the heaviest shard is not worth the copying.
const LEAST_GAIN: f64 = 0.05;

/// Slots for a move from a shard to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotTransfer {
    /// The source shard.
    pub source: ShardId,
    /// The target shard.
    pub target: ShardId,
    /// The slots, in order.
    pub slots: Vec<Slot>,
}

/// How slots are dealt to shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DealStrategy {
    /// By rows and the bytes of documents, moving as little as possible; a shard without slots gets its share of slots.
    Load,
    /// As many slots on each, moving as few as possible.
    Slots,
    /// `user_id mod shards`, as in the textbook: nearly everything moves.
    Modulo,
}

/// Why there is no plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// The slots are dealt well already, or hardly better with a plan.
    #[error("{0}")]
    NothingToDo(String),
    /// No plan is possible.
    #[error("{0}")]
    Impossible(String),
}

/// Which slots go where, in the order of the pairs of shards.
fn transfers(moves: impl IntoIterator<Item = (Slot, ShardId, ShardId)>) -> Vec<SlotTransfer> {
    let mut pairs: BTreeMap<(ShardId, ShardId), Vec<Slot>> = BTreeMap::new();
    for (slot, source, target) in moves {
        pairs.entry((source, target)).or_default().push(slot);
    }
    let sorted = |((source, target), mut slots): ((ShardId, ShardId), Vec<Slot>)| {
        slots.sort_unstable();
        SlotTransfer { source, target, slots }
    };
    pairs.into_iter().map(sorted).collect()
}

/// Deals the slots evenly; the numbers of slots differ by one at most. Only surplus slots move: a new shard beside even
/// shards gets a `shards`-th of all slots, and nothing else moves. The `loads` decide which slots move: a shard gives
/// as large a part of its weight as of its slots.
#[must_use]
pub fn plan_growth(map: &SlotMap, loads: &[SlotLoad], shards: u16) -> Vec<SlotTransfer> {
    let (shards, weights) = (shards.max(1), slot_weights(loads));
    let owned: Vec<Vec<Slot>> = (0..shards).map(|shard| map.owned_by(ShardId::new(shard)).collect()).collect();
    let all: usize = owned.iter().map(Vec::len).sum();
    let (share, rest) = (all / usize::from(shards), all % usize::from(shards));
    // The larger shares stay on the largest shards, so that no slot moves only for a rounding.
    let mut order: Vec<usize> = (0..owned.len()).collect();
    order.sort_by_key(|shard| std::cmp::Reverse(owned.get(*shard).map_or(0, Vec::len)));
    let mut wanted = vec![share; owned.len()];
    for shard in order.into_iter().take(rest) {
        if let Some(wanted) = wanted.get_mut(shard) {
            *wanted += 1;
        }
    }
    let (mut surplus, mut lacking) = (Vec::new(), Vec::new());
    for ((shard, slots), wanted) in (0..).zip(owned).zip(wanted) {
        let (id, given, taken) =
            (ShardId::new(shard), slots.len().saturating_sub(wanted), wanted.saturating_sub(slots.len()));
        surplus.extend(cross_section(slots, given, &weights).map(|slot| (slot, id)));
        if taken > 0 {
            lacking.push((id, taken, taken));
        }
    }
    surplus.sort_by(|(a, _), (b, _)| heavier_first(&weights, *a, *b));
    let mut moves = Vec::with_capacity(surplus.len());
    for (slot, source) in surplus {
        // To the shard with the least of its share: each shard gets some slots of every weight.
        let least = lacking.iter_mut().max_by(|(a, left_a, all_a), (b, left_b, all_b)| {
            (*left_a * *all_b).cmp(&(*left_b * *all_a)).then(b.cmp(a))
        });
        if let Some((target, left, _)) = least.filter(|(_, left, _)| *left > 0) {
            *left -= 1;
            moves.push((slot, source, *target));
        }
    }
    transfers(moves)
}

/// Weighs rows and stored bytes. Shards within ten per cent of the average are left alone; the other shards give their
/// surplus, or take what is missing.
///
/// # Errors
/// `NothingToDo` if all are within the band, or little would be gained.
pub fn plan_rebalance(map: &SlotMap, loads: &[SlotLoad], shards: u16) -> Result<Vec<SlotTransfer>, PlanError> {
    if (0..shards).any(|shard| map.owned_by(ShardId::new(shard)).next().is_none()) {
        return Ok(plan_growth(map, loads, shards));
    }
    let weights = slot_weights(loads);
    let mut totals: Vec<f64> = (0..shards)
        .map(|shard| map.owned_by(ShardId::new(shard)).map(|slot| weight_of(&weights, slot)).sum())
        .collect();
    let average = totals.iter().sum::<f64>() / f64::from(shards.max(1));
    let heaviest = |totals: &[f64]| totals.iter().copied().fold(0.0, f64::max);
    let before = heaviest(&totals);
    let is_off = |total: f64| (total - average).abs() > average * BAND;
    if !totals.iter().any(|total| is_off(*total)) {
        return Err(PlanError::NothingToDo("every shard is within 10 % of the average".to_owned()));
    }
    let mut slots: Vec<(Slot, u16)> = Slot::all().map(|slot| (slot, map.owner(slot).number())).collect();
    // The heaviest first: few slots make the difference.
    slots.sort_by(|(a, _), (b, _)| heavier_first(&weights, *a, *b));
    let mut moves = Vec::new();
    for (slot, owner) in slots {
        let weight = weight_of(&weights, slot);
        let Some(target) = lightest(&totals, 0..shards).filter(|target| *target != owner) else { continue };
        let (from, to) = (usize::from(owner), usize::from(target));
        let (Some(source_total), Some(target_total)) = (totals.get(from).copied(), totals.get(to).copied()) else {
            continue;
        };
        // Neither side may pass the average, or the slot would come back with the next plan.
        if source_total - weight >= average
            && target_total + weight <= average
            && (is_off(source_total) || is_off(target_total))
        {
            if let Some(total) = totals.get_mut(from) {
                *total -= weight;
            }
            if let Some(total) = totals.get_mut(to) {
                *total += weight;
            }
            moves.push((slot, ShardId::new(owner), ShardId::new(target)));
        }
    }
    let gain = (before - heaviest(&totals)) / before;
    if moves.is_empty() || gain < LEAST_GAIN {
        return Err(PlanError::NothingToDo("no plan takes 5 % or more off the heaviest shard".to_owned()));
    }
    Ok(transfers(moves))
}

/// All slots of a shard go to the other shards, each slot to the lightest shard, the heaviest slots first.
///
/// # Errors
/// `Impossible` if there is no other shard, or no such shard; `NothingToDo` if the shard owns no slot.
pub fn plan_drain(
    map: &SlotMap,
    loads: &[SlotLoad],
    shards: u16,
    drained: ShardId,
) -> Result<Vec<SlotTransfer>, PlanError> {
    if drained.number() >= shards {
        return Err(PlanError::Impossible(format!("there is no shard {drained}")));
    }
    if shards < 2 {
        return Err(PlanError::Impossible("there is no other shard to take the slots".to_owned()));
    }
    let weights = slot_weights(loads);
    let mut totals: Vec<f64> = (0..shards)
        .map(|shard| map.owned_by(ShardId::new(shard)).map(|slot| weight_of(&weights, slot)).sum())
        .collect();
    let mut slots: Vec<Slot> = map.owned_by(drained).collect();
    if slots.is_empty() {
        return Err(PlanError::NothingToDo(format!("shard {drained} owns no slot")));
    }
    slots.sort_by(|a, b| heavier_first(&weights, *a, *b));
    let mut moves = Vec::new();
    for slot in slots {
        let Some(target) = lightest(&totals, (0..shards).filter(|shard| *shard != drained.number())) else { continue };
        if let Some(total) = totals.get_mut(usize::from(target)) {
            *total += weight_of(&weights, slot);
        }
        moves.push((slot, drained, ShardId::new(target)));
    }
    Ok(transfers(moves))
}

/// The plan of a strategy for this many shards.
///
/// # Errors
/// `NothingToDo` if nothing is to be moved.
pub fn plan_strategy(
    map: &SlotMap,
    loads: &[SlotLoad],
    shards: u16,
    strategy: DealStrategy,
) -> Result<Vec<SlotTransfer>, PlanError> {
    let plan = match strategy {
        DealStrategy::Load => return plan_rebalance(map, loads, shards),
        DealStrategy::Slots => plan_growth(map, loads, shards),
        DealStrategy::Modulo => {
            let modulo = SlotMap::initial(shards);
            let moved = Slot::all().map(|slot| (slot, map.owner(slot), modulo.owner(slot)));
            transfers(moved.filter(|(_, source, target)| source != target))
        }
    };
    if plan.is_empty() { Err(PlanError::NothingToDo("every slot is where it should be".to_owned())) } else { Ok(plan) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
    use proptest::strategy::Strategy as Generator;

    fn count(plan: &[SlotTransfer]) -> usize {
        plan.iter().map(|transfer| transfer.slots.len()).sum()
    }

    fn applied(map: &SlotMap, plan: &[SlotTransfer]) -> SlotMap {
        let (mut owners, mut epochs) = map.to_columns();
        for transfer in plan {
            for slot in &transfer.slots {
                assert_eq!(map.owner(*slot), transfer.source);
                assert_ne!(transfer.source, transfer.target);
                owners[slot.index()] = transfer.target.to_sql();
                epochs[slot.index()] += 1;
            }
        }
        SlotMap::from_columns(&owners, &epochs).unwrap()
    }

    fn any_map(shards: i32) -> impl Generator<Value = SlotMap> {
        proptest::collection::vec(0..shards, 5040)
            .prop_map(|owners| SlotMap::from_columns(&owners, &vec![1; 5040]).unwrap())
    }

    fn any_loads() -> impl Generator<Value = Vec<SlotLoad>> {
        proptest::collection::vec((0i64..1000, 0i64..100_000), 5040).prop_map(|loads| {
            loads.into_iter().map(|(rows, bytes)| SlotLoad { rows, bytes, file_bytes: bytes }).collect()
        })
    }

    #[test]
    fn one_more_shard_takes_its_share_and_nothing_else_moves() {
        for before in 1..=60 {
            let map = SlotMap::initial(before);
            let plan = plan_growth(&map, &[], before + 1);
            let share = 5040 / usize::from(before + 1);
            assert!((share..=share + 1).contains(&count(&plan)), "{before}: {}", count(&plan));
            assert!(plan.iter().all(|transfer| transfer.target == ShardId::new(before)), "{before}");
            assert_eq!(plan_growth(&applied(&map, &plan), &[], before + 1), []);
        }
    }

    /// The first users are all in the first slots, as in a tour.
    #[test]
    fn new_shards_take_their_share_of_the_rows_as_well() {
        let few: Vec<SlotLoad> =
            (0..5040).map(|slot| SlotLoad { rows: if slot < 200 { 30 } else { 0 }, ..SlotLoad::default() }).collect();
        for (before, after) in [(2, 3), (2, 5), (3, 4)] {
            let map = applied(&SlotMap::initial(before), &plan_growth(&SlotMap::initial(before), &few, after));
            for shard in (0..after).map(ShardId::new) {
                let (rows, share) =
                    (map.owned_by(shard).map(|slot| few[slot.index()].rows).sum::<i64>(), 6000 / i64::from(after));
                assert!((rows - share).abs() <= 90, "{before} to {after}: {rows} of {share} rows on shard {shard}");
            }
        }
    }

    #[test]
    fn numbers_from_a_generator_are_evened_out_within_the_band() {
        for (step, shards) in [(1_i64 << 22, 2), (1 << 22, 3), (2, 2), (10, 2), (10, 3), (10, 5), (1 << 12, 4)] {
            let (map, mut loads) = (SlotMap::initial(shards), vec![SlotLoad::default(); 5040]);
            for number in 0..5_000 {
                loads[Slot::of_user(number * step).index()].rows += 1;
            }
            let rows_of = |map: &SlotMap, shard: u16| {
                map.owned_by(ShardId::new(shard)).map(|slot| loads[slot.index()].rows).sum::<i64>()
            };
            let most = (0..shards).map(|shard| rows_of(&map, shard)).max().unwrap();
            let average = 5_000 / i64::from(shards);
            let after = match plan_rebalance(&map, &loads, shards) {
                Ok(plan) => applied(&map, &plan),
                // The steps may fit the number of shards: then all is even without a plan.
                Err(_) => map,
            };
            for shard in 0..shards {
                let rows = rows_of(&after, shard);
                assert!(
                    (rows - average).abs() * 10 <= average,
                    "steps of {step}: shard {shard} has {rows}, before {most}"
                );
            }
        }
    }

    #[test]
    fn a_lone_document_is_not_half_of_everything() {
        let mut loads: Vec<SlotLoad> = (0..5040).map(|_| SlotLoad { rows: 10, ..SlotLoad::default() }).collect();
        loads[7] = SlotLoad { rows: 11, bytes: 50, file_bytes: i64::MAX };
        assert!(matches!(plan_rebalance(&SlotMap::initial(3), &loads, 3), Err(PlanError::NothingToDo(_))));
        loads[7].bytes = 100 << 20;
        assert!(plan_rebalance(&SlotMap::initial(3), &loads, 3).is_ok_and(|plan| count(&plan) > 0), "a large one is");
    }

    #[test]
    fn the_textbook_moves_most_of_it() {
        let plan = plan_strategy(&SlotMap::initial(2), &[], 3, DealStrategy::Modulo).unwrap();
        assert_eq!(count(&plan), 5040 * 2 / 3);
        assert_eq!(applied(&SlotMap::initial(2), &plan).to_columns().0, SlotMap::initial(3).to_columns().0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn even_shares_from_any_map_with_the_least_movement(map in any_map(5)) {
            let plan = plan_growth(&map, &[], 5);
            let after = applied(&map, &plan);
            for shard in (0..5).map(ShardId::new) {
                prop_assert_eq!(after.count_owned_by(shard), 1008);
            }
            let surplus: usize = (0..5).map(|shard| map.count_owned_by(ShardId::new(shard)).saturating_sub(1008)).sum();
            prop_assert_eq!(count(&plan), surplus);
        }

        #[test]
        fn a_drained_shard_owns_nothing_and_the_others_keep_theirs(map in any_map(4), loads in any_loads()) {
            let plan = plan_drain(&map, &loads, 4, ShardId::new(1)).unwrap();
            prop_assert_eq!(count(&plan), map.count_owned_by(ShardId::new(1)));
            let after = applied(&map, &plan);
            prop_assert_eq!(after.count_owned_by(ShardId::new(1)), 0);
        }

        #[test]
        fn a_rebalance_takes_from_the_heavy_only_and_ends_in_the_band(mut loads in any_loads(), heavy in 2i64..20) {
            let map = SlotMap::initial(3);
            for slot in map.owned_by(ShardId::new(0)) {
                loads[slot.index()].rows *= heavy;
                loads[slot.index()].bytes *= heavy;
            }
            let plan = plan_rebalance(&map, &loads, 3).unwrap();
            prop_assert!(plan.iter().all(|transfer| transfer.source == ShardId::new(0)));
            let again = plan_rebalance(&applied(&map, &plan), &loads, 3);
            prop_assert!(matches!(again, Err(PlanError::NothingToDo(_))), "{:?}", again);
        }

        #[test]
        fn what_is_even_stays(loads in any_loads()) {
            prop_assert!(plan_rebalance(&SlotMap::initial(4), &loads, 4).is_err());
        }
    }
}
