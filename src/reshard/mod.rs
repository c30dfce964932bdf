//! Moves slots between shards while they serve: plan, copy, compare, cut over, roll back, clean up.
//!
//! ```text
//! requests (people, the API) → store (rows of shardrive.moves) → driver (one process, by the lease)
//!     → preflight, stream, verify, decide, handover, clean_up → side → PostgreSQL
//! ```
//!
//! Copy and catching up are PostgreSQL's logical replication, driven by plain SQL. docs/resharding.md describes what
//! each stage does, what a crash leaves, and how to undo the stage.

mod coordinate;
mod error;
mod plan;
pub(super) mod slot_set;
mod transfer;

pub use coordinate::decide::{CutoverDecision, CutoverFacts, decide};
pub use coordinate::driver::drive_in_background;
pub use coordinate::slot_move::{MoveEvent, MoveRequest, SlotMove};
pub use coordinate::stage::MoveStage;
pub use coordinate::steps::ROLLBACK_READY;
pub use coordinate::testing::TestStop;
pub use error::MoveError;
pub use plan::analysis::{ClusterAnalysis, SampleUser, StrategyCost, analyse};
pub use plan::pending_changes::PlanScope;
pub use plan::planned::{MoveOptions, NewMove, PlannedMoves};
pub use plan::planner::{
    DealStrategy, PlanError, SlotTransfer, plan_drain, plan_growth, plan_rebalance, plan_strategy,
};
pub use plan::preflight::{DiskForecast, PreflightFinding};
pub use plan::requests::{MoveService, RequestError};
pub use plan::view::{MoveView, PlanView, PlannedMove};
pub use plan::weights::SlotLoad;
pub use slot_set::{parse_slots, show_slots};
pub use transfer::pressure::{MovePressure, reason_to_wait};
pub use transfer::tables::{CountTables, MovedTable, TABLES as MOVED_TABLES};
