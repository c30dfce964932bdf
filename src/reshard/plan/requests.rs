//! What operators ask for: plans, new moves, and requests to moves. The coordinator does the work.

use std::sync::Arc;

use futures_util::future::join_all;

use super::analysis::{ClusterAnalysis, analyse};
use super::pending_changes::{PlanScope, find_unsettled};
use super::planned::{MoveOptions, NewMove, PlannedMoves};
use super::planner::{DealStrategy, PlanError, SlotTransfer, plan_drain, plan_strategy};
use super::preflight;
use super::preflight::PreflightReport;
use super::shard_totals::{CountUsers, PLANNING_LIMIT, PlannedTotals, SAMPLED_USERS, SampleUsers};
use super::weights::{SlotLoad, SlotLoads};
use crate::reshard::coordinate::slot_move::{MoveEvent, MoveRequest, SlotMove};
use crate::reshard::coordinate::stage::MoveStage;
use crate::reshard::coordinate::store;
use crate::reshard::error::MoveError;
use crate::reshard::transfer::side::MoveSides;
use crate::shard::{BorrowedConnection, Cluster, ScatterBreadth, ShardError, ShardId, Slot, SlotMap};

/// Why a plan, a move or a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A wrong request.
    #[error("{reason}")]
    Invalid {
        /// The wrong field.
        field: &'static str,
        /// What to change.
        reason: String,
    },
    /// Something else is in the way: another move, or the move's stage.
    #[error("{0}")]
    Conflict(String),
    /// There is no such move.
    #[error("there is no move {0}")]
    NotFound(i64),
    /// A shard did not do its part.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A shard's server did not do its part.
    #[error(transparent)]
    Move(#[from] MoveError),
}

fn invalid(field: &'static str, reason: String) -> RequestError {
    RequestError::Invalid { field, reason }
}

/// The entry point of the commands and the API.
pub struct MoveService {
    cluster: Arc<Cluster>,
}

impl MoveService {
    /// A service on this cluster's connections.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Plans the move of these slots to a shard, from all other shards, with a preflight. Slots that the shard owns
    /// already stay where they are.
    ///
    /// # Errors
    /// `Invalid` if there is no such shard; `Conflict` if a slot is in another move; otherwise the shards' errors.
    pub async fn plan_move(&self, slots: &[Slot], target: ShardId) -> Result<PlannedMoves, RequestError> {
        self.cluster.refresh_shards(ScatterBreadth::All).await;
        self.cluster.refresh_map().await;
        if self.cluster.shard(target).is_none() {
            let last = self.cluster.shards().len().saturating_sub(1);
            return Err(invalid("to", format!("there is no shard {target}; the shards are 0 to {last}")));
        }
        if slots.is_empty() {
            return Err(invalid("slots", "no slot was named".to_owned()));
        }
        let map = self.cluster.map();
        let mut transfers: Vec<SlotTransfer> = Vec::new();
        for slot in slots {
            let source = map.owner(*slot);
            if source == target {
                continue;
            }
            match transfers.iter_mut().find(|transfer| transfer.source == source) {
                Some(transfer) => transfer.slots.push(*slot),
                None => transfers.push(SlotTransfer { source, target, slots: vec![*slot] }),
            }
        }
        if transfers.is_empty() {
            let reason = format!("shard {target} owns these slots already");
            return Ok(PlannedMoves::nothing_to_do(PlanScope::Slots, &map, reason));
        }
        self.refuse_overlap(&transfers).await?;
        let loads = self.read_loads_of(&transfers).await?;
        self.assess_transfers("move", PlanScope::Slots, &map, &loads, transfers).await
    }

    /// Plans to empty a shard.
    ///
    /// # Errors
    /// `Invalid` if there is no such shard or no other shard, `Conflict` if an open move can bring the shard slots;
    /// otherwise the shards' errors.
    pub async fn plan_drain(&self, shard: ShardId) -> Result<PlannedMoves, RequestError> {
        let scope = PlanScope::Drain(shard);
        self.check_settled(scope).await?;
        let (map, loads) = self.read_loads().await?;
        let plan = plan_drain(&map, &loads.0, self.shard_count(), shard);
        self.assess_plan("drain", scope, &map, &loads, plan).await
    }

    /// Plans to deal the slots anew.
    ///
    /// # Errors
    /// `Conflict` if an open move changes the map; otherwise the shards' errors.
    pub async fn plan_rebalance(&self, strategy: DealStrategy) -> Result<PlannedMoves, RequestError> {
        self.check_settled(PlanScope::Rebalance).await?;
        let (map, loads) = self.read_loads().await?;
        let plan = plan_strategy(&map, &loads.0, self.shard_count(), strategy);
        self.assess_plan("rebalance", PlanScope::Rebalance, &map, &loads, plan).await
    }

    async fn assess_plan(
        &self,
        kind: &'static str,
        scope: PlanScope,
        map: &SlotMap,
        loads: &SlotLoads,
        plan: Result<Vec<SlotTransfer>, PlanError>,
    ) -> Result<PlannedMoves, RequestError> {
        match plan {
            Ok(transfers) => {
                self.refuse_overlap(&transfers).await?;
                self.assess_transfers(kind, scope, map, loads, transfers).await
            }
            Err(PlanError::NothingToDo(reason)) => Ok(PlannedMoves::nothing_to_do(scope, map, reason)),
            Err(PlanError::Impossible(reason)) => Err(invalid("shard", reason)),
        }
    }

    /// Refuses a plan while an open move may change the map. To be called before the map is read.
    async fn check_settled(&self, scope: PlanScope) -> Result<(), RequestError> {
        let (mut connection, failed) = self.control_shard().await?;
        let open = store::open_moves(&mut connection).await.map_err(failed)?;
        connection.give_back();
        find_unsettled(scope, &open).map_or(Ok(()), |reason| Err(RequestError::Conflict(reason)))
    }

    fn shard_count(&self) -> u16 {
        u16::try_from(self.cluster.shards().len()).unwrap_or(u16::MAX)
    }

    /// Compares the ways of dealing slots to another number of shards.
    ///
    /// # Errors
    /// `Invalid` for a number of shards that cannot be; otherwise the shards' errors.
    pub async fn analyse(&self, shards: u16) -> Result<ClusterAnalysis, RequestError> {
        if shards == 0 || shards > crate::shard::SLOT_COUNT {
            return Err(invalid("shards", "shards must be a number from 1 to 5040".to_owned()));
        }
        let (map, loads) = self.read_loads().await?;
        let gathered = self.cluster.scatter(&SampleUsers, PLANNING_LIMIT).await;
        let mut sample: Vec<i64> = gathered.into_answers().flatten().flatten().collect();
        sample.sort_unstable();
        sample.dedup();
        sample.truncate(usize::try_from(SAMPLED_USERS).unwrap_or(0));
        let gathered = self.cluster.scatter(&CountUsers, PLANNING_LIMIT).await;
        let users = gathered.is_complete().then(|| {
            let mut users = vec![0_i64; Slot::all().count()];
            for (slot, count) in gathered.into_answers().flatten().flatten() {
                if let Some(place) = usize::try_from(slot).ok().and_then(|slot| users.get_mut(slot)) {
                    *place += count;
                }
            }
            users
        });
        Ok(analyse(&map, self.cluster.shards().len(), shards, &loads.0, users.as_deref(), &sample))
    }

    /// The map, and the load of each slot by its owner's counts.
    async fn read_loads(&self) -> Result<(Arc<SlotMap>, SlotLoads), RequestError> {
        self.cluster.refresh_shards(ScatterBreadth::All).await;
        self.cluster.refresh_map().await;
        let map = self.cluster.map();
        let mut loads = SlotLoads::default();
        let asked = PlannedTotals { slots: Slot::all().map(Slot::to_sql).collect() };
        for (shard, answer) in self.cluster.scatter(&asked, PLANNING_LIMIT).await.answers {
            loads.add(answer?.unwrap_or_default(), |slot| map.owner(slot) == shard);
        }
        Ok((map, loads))
    }

    /// The loads of the slots that would move, by their owners' counts.
    async fn read_loads_of(&self, transfers: &[SlotTransfer]) -> Result<SlotLoads, RequestError> {
        let mut loads = SlotLoads::default();
        let answers = transfers.iter().map(async |transfer| {
            let asked = PlannedTotals { slots: transfer.slots.iter().map(|slot| slot.to_sql()).collect() };
            self.shard(transfer.source)?.run(&asked).await.map_err(RequestError::from)
        });
        for answer in join_all(answers).await {
            loads.add(answer?.unwrap_or_default(), |_| true);
        }
        Ok(loads)
    }

    /// Refuses slots that are in another move.
    async fn refuse_overlap(&self, transfers: &[SlotTransfer]) -> Result<(), RequestError> {
        let slots: Vec<i32> = transfers.iter().flat_map(|transfer| &transfer.slots).map(|slot| slot.to_sql()).collect();
        let (mut connection, failed) = self.control_shard().await?;
        let overlap = store::find_overlap(&mut connection, &slots).await.map_err(failed)?;
        connection.give_back();
        overlap.map_or(Ok(()), |overlap| Err(RequestError::Conflict(store::describe_overlap(overlap))))
    }

    /// Rows, bytes and findings of a plan.
    async fn assess_transfers(
        &self,
        kind: &'static str,
        scope: PlanScope,
        map: &SlotMap,
        loads: &SlotLoads,
        transfers: Vec<SlotTransfer>,
    ) -> Result<PlannedMoves, RequestError> {
        let mut planned = PlannedMoves { moves: Vec::new(), findings: Vec::new(), scope, epoch: map.epoch() };
        for transfer in transfers {
            let (source, target) = (self.shard(transfer.source)?, self.shard(transfer.target)?);
            let findings = async {
                let mut sides = MoveSides::open_unfenced(source, target).await?;
                preflight::inspect_and_try(&transfer.slots, &mut sides).await
            };
            let findings = source
                .while_healthy_for(Some(PLANNING_LIMIT), target.while_healthy_for(Some(PLANNING_LIMIT), findings));
            let PreflightReport { findings, disk } = Box::pin(findings).await???;
            for finding in findings {
                if !planned.findings.contains(&finding) {
                    planned.findings.push(finding);
                }
            }
            let sum = |part: fn(&SlotLoad) -> i64| {
                transfer.slots.iter().filter_map(|slot| loads.of(*slot)).map(part).fold(0, i64::saturating_add)
            };
            planned.moves.push(NewMove {
                kind,
                source: transfer.source,
                target: transfer.target,
                rows: sum(|load| load.rows),
                bytes: sum(SlotLoad::shown_bytes),
                disk,
                slots: transfer.slots,
            });
        }
        Ok(planned)
    }

    fn shard(&self, id: ShardId) -> Result<&Arc<crate::shard::Shard>, RequestError> {
        let shard = self.cluster.shard(id).ok_or_else(|| invalid("slots", format!("there is no shard {id}")))?;
        shard.require_healthy()?;
        Ok(shard)
    }

    /// Registers all moves of a plan, or none, and returns the numbers.
    ///
    /// # Errors
    /// `Conflict` after a fatal finding, for a slot in another move, after or before a change of the map, and during a
    /// set-up; otherwise the shards' errors.
    pub async fn start(&self, planned: &PlannedMoves, options: MoveOptions) -> Result<Vec<i64>, RequestError> {
        let fatal: Vec<_> = planned.findings.iter().filter(|finding| finding.fatal).map(|f| f.what.as_str()).collect();
        if !fatal.is_empty() {
            return Err(RequestError::Conflict(fatal.join("; ")));
        }
        if planned.moves.is_empty() {
            return Ok(Vec::new());
        }
        self.cluster.refresh_map().await;
        if self.cluster.map().epoch() != planned.epoch {
            let reason = "slots have changed their owners since the plan was made; plan again";
            return Err(RequestError::Conflict(reason.to_owned()));
        }
        let (mut connection, failed) = self.control_shard().await?;
        let made = store::create_moves(&mut connection, planned, options).await.map_err(failed)?;
        connection.give_back();
        made.map_err(RequestError::Conflict)
    }

    /// The latest moves, newest first.
    ///
    /// # Errors
    /// The shard's.
    pub async fn list(&self, limit: i64) -> Result<Vec<SlotMove>, RequestError> {
        let (mut connection, failed) = self.control_shard().await?;
        let moves = store::latest_moves(&mut connection, limit).await.map_err(failed)?;
        connection.give_back();
        Ok(moves)
    }

    /// A move and its events.
    ///
    /// # Errors
    /// `NotFound`, or the shard's.
    pub async fn find(&self, id: i64) -> Result<(SlotMove, Vec<MoveEvent>), RequestError> {
        let (mut connection, failed) = self.control_shard().await?;
        let found = store::find_move(&mut connection, id).await.map_err(failed)?;
        connection.give_back();
        found.ok_or(RequestError::NotFound(id))
    }

    /// Submits a request to a move; the coordinator fulfils it soon.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` if the move cannot fulfil the request in its stage, or the shard's.
    pub async fn submit(&self, id: i64, request: MoveRequest) -> Result<SlotMove, RequestError> {
        let (mut connection, failed) = self.control_shard().await?;
        let is_saved = store::save_request(&mut connection, id, request).await.map_err(&failed)?;
        let found = store::find_move(&mut connection, id).await.map_err(failed)?;
        connection.give_back();
        let (found, _) = found.ok_or(RequestError::NotFound(id))?;
        if is_saved || found.stage == request.end() || found.outcome == Some(request.end()) {
            return Ok(found);
        }
        let stages: Vec<_> = request.stages().iter().map(|stage| MoveStage::as_str(*stage)).collect();
        Err(RequestError::Conflict(format!(
            "move {id} is at {}; {} can be done at {}",
            found.stage.as_str(),
            request.as_str(),
            stages.join(", ")
        )))
    }

    /// A connection to the control shard, which keeps the moves.
    async fn control_shard(
        &self,
    ) -> Result<(BorrowedConnection, impl Fn(sqlx::Error) -> RequestError + use<>), RequestError> {
        let control = ShardId::default();
        let connection = self.shard(control)?.borrow_connection().await?;
        Ok((connection, move |error| RequestError::Move(MoveError::on(control)(error))))
    }
}
