//! Is the map what a plan takes it for? An open move may still change it.
//!
//! A plan for named slots is safe by itself: no two open moves may have one slot. A plan for whole shards is made of all that the map
//! says, and so is refused while an open move can make it wrong.

use crate::reshard::coordinate::slot_move::{MoveRequest, SlotMove};
use crate::reshard::coordinate::stage::MoveStage;
use crate::shard::ShardId;

/// What a plan is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlanScope {
    /// Slots that somebody named.
    Slots,
    /// All slots of a shard, which is to own none afterwards.
    Drain(ShardId),
    /// All slots of all shards.
    Rebalance,
}

/// What an open move may still do to the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    /// Bring its slots from the source to the target.
    Forward,
    /// Bring them back to the source: it does, or was asked to.
    Back,
    /// Bring them back, if somebody asks for it.
    PerhapsBack,
    Nothing,
}

fn effect(stage: MoveStage, wish: Option<MoveRequest>) -> Effect {
    match stage {
        MoveStage::Plan
        | MoveStage::Preflight
        | MoveStage::Copy
        | MoveStage::CatchUp
        | MoveStage::Verify
        | MoveStage::Flip => Effect::Forward,
        MoveStage::Watch if wish == Some(MoveRequest::RollBack) => Effect::Back,
        MoveStage::Watch => Effect::PerhapsBack,
        MoveStage::Return => Effect::Back,
        MoveStage::CleanUp | MoveStage::Done | MoveStage::Cancelled | MoveStage::RolledBack | MoveStage::Failed => {
            Effect::Nothing
        }
    }
}

/// Why a plan of this scope cannot be made now; `None` if it can.
#[must_use]
pub(in crate::reshard) fn find_unsettled(scope: PlanScope, open: &[SlotMove]) -> Option<String> {
    open.iter()
        .find_map(|open| reason_to_wait(scope, (open.id, open.source, open.target), effect(open.stage, open.wish)))
}

fn reason_to_wait(scope: PlanScope, (id, source, target): (i64, ShardId, ShardId), effect: Effect) -> Option<String> {
    match (scope, effect) {
        (PlanScope::Slots, _) | (_, Effect::Nothing) | (PlanScope::Rebalance, Effect::PerhapsBack) => None,
        (PlanScope::Drain(shard), Effect::Forward) if target == shard => Some(format!(
            "move {id} brings slots to shard {shard}; wait for its end or cancel it (shardrive shards cancel {id}), then ask again"
        )),
        (PlanScope::Drain(shard), Effect::Back) if source == shard => Some(format!(
            "the rollback of move {id} brings slots back to shard {shard}; wait for its end, then ask again"
        )),
        (PlanScope::Drain(shard), Effect::PerhapsBack) if source == shard => Some(format!(
            "move {id} can still be rolled back, which would bring slots back to shard {shard}; end its rollback window \
             (shardrive shards finish {id}) or wait for its end, then ask again"
        )),
        (PlanScope::Drain(_), _) => None,
        (PlanScope::Rebalance, Effect::Forward) => {
            Some(format!("move {id} brings slots to shard {target}; wait for its end, then ask again"))
        }
        (PlanScope::Rebalance, Effect::Back) => Some(format!(
            "the rollback of move {id} brings slots back to shard {source}; wait for its end, then ask again"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_waits_for_each_move_that_can_make_it_wrong() {
        let shard = ShardId::new;
        // Slots on their way from shard 0 to shard 1: what a drain of each and a rebalance are told.
        for (stage, wish, drain_of_source, drain_of_target, rebalance) in [
            (MoveStage::Plan, None, None, Some("brings slots to shard 1"), Some("brings slots to shard 1")),
            (MoveStage::Copy, None, None, Some("cancel 7"), Some("brings")),
            (MoveStage::Flip, None, None, Some("brings"), Some("brings")),
            (MoveStage::Watch, None, Some("finish 7"), None, None),
            (MoveStage::Watch, Some(MoveRequest::Finish), Some("finish 7"), None, None),
            (MoveStage::Watch, Some(MoveRequest::RollBack), Some("back to shard 0"), None, Some("back to shard 0")),
            (MoveStage::Return, None, Some("back to shard 0"), None, Some("back to shard 0")),
            (MoveStage::CleanUp, None, None, None, None),
        ] {
            let is = |scope, expected: Option<&str>| {
                let found = reason_to_wait(scope, (7, shard(0), shard(1)), effect(stage, wish));
                let fits = match (&found, expected) {
                    (Some(found), Some(expected)) => found.contains(expected) && found.contains("move 7"),
                    (found, expected) => found.is_none() && expected.is_none(),
                };
                assert!(fits, "{stage:?} {wish:?} {scope:?}: {found:?}");
            };
            is(PlanScope::Drain(shard(0)), drain_of_source);
            is(PlanScope::Drain(shard(1)), drain_of_target);
            is(PlanScope::Drain(shard(2)), None);
            is(PlanScope::Rebalance, rebalance);
            is(PlanScope::Slots, None);
        }
    }
}
