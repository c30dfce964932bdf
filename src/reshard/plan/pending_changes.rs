//! Whether an open move may still change the map that a plan is made on.
//!
//! A plan for named slots is safe by itself: no two open moves may have one slot. A plan for whole shards depends on
//! the whole map, and so is refused while an open move can make the plan wrong.

use crate::reshard::coordinate::slot_move::{MoveRequest, SlotMove};
use crate::reshard::coordinate::stage::MoveStage;
use crate::shard::ShardId;

/// The scope of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlanScope {
    /// Named slots.
    Slots,
    /// All slots of a shard, which is to own none afterwards.
    Drain(ShardId),
    /// All slots of all shards.
    Rebalance,
}

/// The effect that an open move may still have on the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    /// Slots go from the source to the target.
    Forward,
    /// Slots go back to the source: a rollback is under way or requested.
    Back,
    /// Slots go back if an operator requests a rollback.
    PerhapsBack,
    Nothing,
}

fn effect(stage: MoveStage, request: Option<MoveRequest>) -> Effect {
    match stage {
        MoveStage::Plan
        | MoveStage::Preflight
        | MoveStage::Copy
        | MoveStage::CatchUp
        | MoveStage::Verify
        | MoveStage::Cutover => Effect::Forward,
        MoveStage::RollbackWindow if request == Some(MoveRequest::RollBack) => Effect::Back,
        MoveStage::RollbackWindow => Effect::PerhapsBack,
        MoveStage::Rollback => Effect::Back,
        MoveStage::CleanUp | MoveStage::Done | MoveStage::Cancelled | MoveStage::RolledBack | MoveStage::Failed => {
            Effect::Nothing
        }
    }
}

/// Why a plan of this scope must wait; `None` if the plan can be made.
#[must_use]
pub(in crate::reshard) fn find_unsettled(scope: PlanScope, open: &[SlotMove]) -> Option<String> {
    open.iter()
        .find_map(|open| reason_to_wait(scope, (open.id, open.source, open.target), effect(open.stage, open.request)))
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
        // Slots on their way from shard 0 to shard 1: the refusals of a drain of each, and of a rebalance.
        for (stage, request, drain_of_source, drain_of_target, rebalance) in [
            (MoveStage::Plan, None, None, Some("brings slots to shard 1"), Some("brings slots to shard 1")),
            (MoveStage::Copy, None, None, Some("cancel 7"), Some("brings")),
            (MoveStage::Cutover, None, None, Some("brings"), Some("brings")),
            (MoveStage::RollbackWindow, None, Some("finish 7"), None, None),
            (MoveStage::RollbackWindow, Some(MoveRequest::Finish), Some("finish 7"), None, None),
            (
                MoveStage::RollbackWindow,
                Some(MoveRequest::RollBack),
                Some("back to shard 0"),
                None,
                Some("back to shard 0"),
            ),
            (MoveStage::Rollback, None, Some("back to shard 0"), None, Some("back to shard 0")),
            (MoveStage::CleanUp, None, None, None, None),
        ] {
            let is = |scope, expected: Option<&str>| {
                let found = reason_to_wait(scope, (7, shard(0), shard(1)), effect(stage, request));
                let fits = match (&found, expected) {
                    (Some(found), Some(expected)) => found.contains(expected) && found.contains("move 7"),
                    (found, expected) => found.is_none() && expected.is_none(),
                };
                assert!(fits, "{stage:?} {request:?} {scope:?}: {found:?}");
            };
            is(PlanScope::Drain(shard(0)), drain_of_source);
            is(PlanScope::Drain(shard(1)), drain_of_target);
            is(PlanScope::Drain(shard(2)), None);
            is(PlanScope::Rebalance, rebalance);
            is(PlanScope::Slots, None);
        }
    }
}
