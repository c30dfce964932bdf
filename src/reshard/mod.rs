//! Moving slots between shards while they serve: plan, copy, compare, flip, watch, and the way back.
//!
//! ```text
//! requests (people, the API) → store (rows of shardrive.moves) → driver (one process, by the lease)
//!     → preflight, stream, verify, decide, handover, clean → side → PostgreSQL
//! ```
//!
//! Copy and catching up are PostgreSQL's logical replication, driven by plain SQL. docs/resharding.md tells what each stage
//! does, what a crash in it leaves, and how to undo it.

mod analysis;
mod clean;
mod compose;
mod decide;
mod driver;
mod error;
mod handover;
mod lease;
mod plan;
mod preflight;
mod pressure;
mod requests;
mod side;
mod slots;
mod stage;
mod steps;
mod store;
mod stream;
mod tables;
mod testing;
mod told;
mod verify;
mod view;

pub use analysis::{Analysis, SampleUser, StrategyCost, analyse};
pub use decide::{Decision, FlipFacts, decide};
pub use driver::drive_in_background;
pub use error::MoveError;
pub use plan::{Load, PlanError, Strategy, Transfer, plan_drain, plan_growth, plan_rebalance, plan_strategy};
pub use preflight::{Disk, Finding};
pub use pressure::{Pressure, reason_to_wait};
pub use requests::{MoveOptions, Planned, RequestError, Requests};
pub use slots::{parse_slots, show_slots};
pub use stage::Stage;
pub use steps::WAY_BACK_ARMED;
pub use store::{Event, Move, NewMove, Wish};
pub use testing::Testing;
pub use view::{MoveView, PlanView, PlannedMove};
