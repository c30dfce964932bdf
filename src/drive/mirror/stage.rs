//! The staging of a listing: rows on their way into temporary tables of one connection.
//!
//! The connection is the mirror's own, as the client sets the pace. No transaction is open between two chunks.

use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgCopyIn};

use crate::drive::error::DriveError;
use crate::files::bulk::ListingPart;
use crate::shard::{DbFault, LaneConnection, LaneError, Shard};

/// A part of a listing on its way to its shard.
pub enum ListingChunk {
    /// Files or folders.
    Part(ListingPart),
    /// The listing is whole. With `true`, it had entries that were rejected.
    End(bool),
}

/// A listing on a shard, for as long as this value lives.
pub(super) struct StagedListing {
    lane: LaneConnection,
}

impl StagedListing {
    /// Opens the connection and makes the tables.
    pub(super) async fn begin(shard: &Arc<Shard>) -> Result<Self, DriveError> {
        shard.require_healthy().map_err(DriveError::Shard)?;
        let mut lane = LaneConnection::new(Arc::clone(shard));
        let made = lane
            .run(async |connection| {
                for statement in [
                    include_str!("../../../sql/drive/drop_staged.sql"),
                    include_str!("../../../sql/drive/stage_listing.sql"),
                    include_str!("../../../sql/drive/stage_listed_folders.sql"),
                    include_str!("../../../sql/drive/stage_folders.sql"),
                    include_str!("../../../sql/drive/stage_changes.sql"),
                ] {
                    sqlx::query(statement).execute(&mut *connection).await?;
                }
                Ok(())
            })
            .await;
        made.map_err(|error| staging_error(shard, error))?;
        Ok(Self { lane })
    }

    /// Takes a part of the listing.
    pub(super) async fn push(&mut self, part: ListingPart) -> Result<(), DriveError> {
        self.run(async |connection| {
            let (statement, rows) = match part {
                ListingPart::Files(rows) => (include_str!("../../../sql/drive/copy_listing.sql"), rows),
                ListingPart::Folders(rows) => (include_str!("../../../sql/drive/copy_listed_folders.sql"), rows),
            };
            let mut stream: PgCopyIn<_> = connection.copy_in_raw(statement).await?;
            stream.send(rows).await?;
            stream.finish().await
        })
        .await
        .map(|_| ())
    }

    /// The connection with the whole listing.
    pub(super) fn finish(&mut self) -> &mut LaneConnection {
        &mut self.lane
    }

    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, DriveError> {
        if !self.lane.is_open() {
            return Err(DriveError::MirrorInterrupted);
        }
        let shard = Arc::clone(self.lane.shard());
        self.lane.run(work).await.map_err(|error| staging_error(&shard, error))
    }
}

fn staging_error(shard: &Shard, error: LaneError) -> DriveError {
    const UNDEFINED_TABLE: &str = "42P01";
    match error {
        LaneError::Shard(error) => DriveError::Shard(error),
        // Another connection has taken the place of the one with the tables.
        LaneError::Database(error) if has_code(&error, UNDEFINED_TABLE) => DriveError::MirrorInterrupted,
        LaneError::Database(error) => DriveError::Shard(DbFault::of(&error).into_error(shard.id(), error)),
    }
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|found| found == code)
}
