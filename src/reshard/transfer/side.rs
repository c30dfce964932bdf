//! The two shards of a move, with a fenced connection to each: an earlier coordinator can no longer change owners
//! there.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, FromRow};
use tokio::time::Instant;

use super::direction::Direction;
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;
use crate::shard::{Cluster, Shard, ShardId, ShardState, Slot};

/// Between two questions for a state that comes soon.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// One of the two shards, and the coordinator's connection to it.
pub(in crate::reshard) struct MoveSide {
    pub(in crate::reshard) shard: Arc<Shard>,
    pub(in crate::reshard) db: PgConnection,
    pub(in crate::reshard) token: i64,
}

/// The source and the target of a move.
pub(in crate::reshard) struct MoveSides {
    pub(in crate::reshard) source: MoveSide,
    pub(in crate::reshard) target: MoveSide,
}

impl MoveSides {
    /// Connects to both shards, and raises the fence on each.
    ///
    /// # Errors
    /// `Late` if this process does not know one of the shards yet; otherwise as [`MoveSide::open`].
    pub(in crate::reshard) async fn open(
        cluster: &Cluster,
        slot_move: &SlotMove,
        token: i64,
    ) -> Result<Self, MoveError> {
        let shard = |id| cluster.shard(id).ok_or(MoveError::Late("knowing the shards of the move"));
        let source = MoveSide::open(shard(slot_move.source)?, token).await?;
        let target = MoveSide::open(shard(slot_move.target)?, token).await?;
        Ok(Self { source, target })
    }

    /// Connects to both shards for a caller that changes nothing.
    ///
    /// # Errors
    /// The shards'.
    pub(in crate::reshard) async fn open_unfenced(source: &Arc<Shard>, target: &Arc<Shard>) -> Result<Self, MoveError> {
        Ok(Self { source: MoveSide::open_unfenced(source).await?, target: MoveSide::open_unfenced(target).await? })
    }

    /// The shard that gives and the shard that gets.
    pub(in crate::reshard) fn along(&mut self, direction: Direction) -> (&mut MoveSide, &mut MoveSide) {
        match direction {
            Direction::Forward => (&mut self.source, &mut self.target),
            Direction::Reverse => (&mut self.target, &mut self.source),
        }
    }

    pub(in crate::reshard) fn are_healthy(&self) -> bool {
        [&self.source, &self.target].iter().all(|side| side.shard.state() == ShardState::Healthy)
    }

    /// See [`MoveSide::read_by`].
    ///
    /// # Errors
    /// The shards'.
    pub(in crate::reshard) async fn read_by(&mut self, plan: ReadPlan) -> Result<(), MoveError> {
        self.source.read_by(plan).await?;
        self.target.read_by(plan).await
    }
}

/// How a session's statements find rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reshard) enum ReadPlan {
    /// By an index that gives the order of the statement.
    OrderedIndex,
    /// As the planner thinks best.
    Planner,
}

impl MoveSide {
    /// Connects and raises the fence. Statements of an earlier coordinator that are under way there have either ended
    /// when this returns or will be refused.
    ///
    /// # Errors
    /// `Overtaken` if a later coordinator was here before; otherwise the shard's.
    pub(in crate::reshard) async fn open(shard: &Arc<Shard>, token: i64) -> Result<Self, MoveError> {
        let mut side = Self::open_unfenced(shard).await?;
        let raise = sqlx::query(include_str!("../../../sql/reshard/raise_coordinator_fence.sql")).bind(token);
        raise.execute(&mut side.db).await.map_err(side.failed())?;
        side.token = token;
        Ok(side)
    }

    /// Connects for a caller that changes nothing.
    ///
    /// # Errors
    /// The shard's.
    pub(in crate::reshard) async fn open_unfenced(shard: &Arc<Shard>) -> Result<Self, MoveError> {
        let failed = MoveError::on(shard.id());
        let mut db = shard.connect().await.map_err(&failed)?;
        sqlx::query(include_str!("../../../sql/reshard/set_up_session.sql")).execute(&mut db).await.map_err(&failed)?;
        Ok(Self { shard: Arc::clone(shard), db, token: 0 })
    }

    pub(in crate::reshard) fn id(&self) -> ShardId {
        self.shard.id()
    }

    /// Turns the driver's error into this shard's.
    pub(in crate::reshard) fn failed(&self) -> impl Fn(sqlx::Error) -> MoveError + use<> {
        MoveError::on(self.shard.id())
    }

    /// Decides how later statements of this session find rows.
    ///
    /// # Errors
    /// The shard's.
    pub(in crate::reshard) async fn read_by(&mut self, plan: ReadPlan) -> Result<(), MoveError> {
        let failed = self.failed();
        let other_plans = match plan {
            ReadPlan::OrderedIndex => "off",
            ReadPlan::Planner => "on",
        };
        let statement = sqlx::query(include_str!("../../../sql/reshard/set_index_order.sql")).bind(other_plans);
        statement.execute(&mut self.db).await.map(drop).map_err(failed)
    }

    /// Runs a composed statement that gives no rows and takes no parameters.
    pub(in crate::reshard) async fn run(&mut self, sql: String) -> Result<(), MoveError> {
        let failed = self.failed();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.db).await.map(drop).map_err(failed)
    }

    /// The one row of a composed statement with these keys as its parameters.
    pub(in crate::reshard) async fn one<T>(&mut self, sql: String, keys: &[Option<&[String]>]) -> Result<T, MoveError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let failed = self.failed();
        let mut statement = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for key in keys {
            statement = statement.bind(key.map(<[String]>::to_vec));
        }
        statement.fetch_one(&mut self.db).await.map_err(failed)
    }

    /// The rows of a composed statement with these arrays of texts as its parameters.
    pub(in crate::reshard) async fn list<T>(
        &mut self,
        sql: String,
        arrays: &[Option<Vec<String>>],
    ) -> Result<Vec<T>, MoveError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let failed = self.failed();
        let mut statement = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for array in arrays {
            statement = statement.bind(array.clone());
        }
        statement.fetch_all(&mut self.db).await.map_err(failed)
    }

    /// Waits until every transaction that wrote here when this was called has ended; false at the deadline.
    ///
    /// A later writer reads the map and the local moves only after it has the writers' lock, and so sees the caller's
    /// changes.
    pub(in crate::reshard) async fn wait_for_writers(&mut self, until: Instant) -> Result<bool, MoveError> {
        let failed = self.failed();
        let writers: Vec<String> = sqlx::query_scalar(include_str!("../../../sql/reshard/list_writers.sql"))
            .fetch_all(&mut self.db)
            .await
            .map_err(&failed)?;
        loop {
            let left: i64 = sqlx::query_scalar(include_str!("../../../sql/reshard/count_writers.sql"))
                .bind(&writers)
                .fetch_one(&mut self.db)
                .await
                .map_err(&failed)?;
            if left == 0 {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Who owns these slots in this shard's map, each owner once with its highest epoch.
    pub(in crate::reshard) async fn owners(&mut self, slots: &[Slot]) -> Result<Vec<(i32, i64)>, MoveError> {
        let failed = self.failed();
        let slots: Vec<i32> = slots.iter().map(|slot| slot.to_sql()).collect();
        let statement = sqlx::query_as(include_str!("../../../sql/reshard/list_owners.sql")).bind(slots);
        statement.fetch_all(&mut self.db).await.map_err(failed)
    }
}
