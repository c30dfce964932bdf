//! The transaction of a mirror: compares the staged listing with the drive, checks what would go, and applies all by
//! one statement.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row as _};

use super::model::{DeletePolicy, DifferenceChange, EntryCounts, MirrorDifference, MirrorOptions, MirrorSummary};
use crate::cache::CacheKey;
use crate::drive::error::{DriveError, RefusedEntry};
use crate::drive::model::EntryKind;
use crate::files::bulk::RecordPosition;
use crate::files::{UserId, hold_drives, spoiled_keys};
use crate::shard::{ShardId, is_conflict, is_duplicate_key};
use crate::writes::SlotWrite;

/// How many differences, and how many faults, are told one by one.
const LISTED: i64 = 100;

/// Makes a drive what a staged listing says.
pub(super) struct MirrorWrite<'a> {
    pub(super) user: UserId,
    pub(super) options: &'a MirrorOptions,
    /// The listing had entries that were rejected: nothing is deleted.
    pub(super) has_rejections: bool,
}

/// What the transaction has come to.
pub(super) enum MirrorOutcome {
    /// The drive is changed.
    Applied(MirrorSummary),
    /// Nothing was to be written, or the mirror was to tell alone.
    Compared(MirrorSummary),
    /// The mirror is refused, and nothing is changed.
    Refused(DriveError),
}

impl MirrorWrite<'_> {
    fn root(&self) -> String {
        self.options.root.to_string()
    }

    /// Begins the transaction. False: the shard does not own the slot. `None`: the listing is not staged on this
    /// connection.
    async fn begin(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<bool>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../../sql/drive/begin_mirror.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .fetch_one(&mut *connection)
            .await?;
        let (is_owned, is_staged): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
        sqlx::query(include_str!("../../../sql/drive/lock_root.sql")).bind(self.user.get()).execute(connection).await?;
        Ok(is_staged.then_some(is_owned))
    }

    /// Compares the listing with the drive.
    async fn compare(&self, connection: &mut PgConnection) -> Result<MirrorSummary, sqlx::Error> {
        sqlx::query(include_str!("../../../sql/drive/match_folders.sql"))
            .bind(self.user.get())
            .bind(self.root())
            .execute(&mut *connection)
            .await?;
        sqlx::query(include_str!("../../../sql/drive/number_folders.sql")).execute(&mut *connection).await?;
        sqlx::query(include_str!("../../../sql/drive/analyze_folders.sql")).execute(&mut *connection).await?;
        let (refused, refused_beyond) = find_faults(connection).await?;
        let deletes_withheld =
            self.options.delete != DeletePolicy::Keep && (self.has_rejections || !refused.is_empty());
        let deletes = self.options.delete != DeletePolicy::Keep && !deletes_withheld;
        sqlx::query(include_str!("../../../sql/drive/find_folder_changes.sql"))
            .bind(deletes)
            .execute(&mut *connection)
            .await?;
        sqlx::query(include_str!("../../../sql/drive/find_file_changes.sql"))
            .bind(self.user.get())
            .bind(deletes)
            .execute(&mut *connection)
            .await?;
        let counted = self.count(connection).await?;
        let differences = list_differences(connection).await?;
        Ok(MirrorSummary { differences, refused, refused_beyond, deletes_withheld, ..counted })
    }

    async fn count(&self, connection: &mut PgConnection) -> Result<MirrorSummary, sqlx::Error> {
        let row = sqlx::query(include_str!("../../../sql/drive/count_changes.sql"))
            .bind(self.root())
            .fetch_one(connection)
            .await?;
        let count = |column: usize| row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or_default());
        let created = EntryCounts { folders: count(0)?, files: count(1)? };
        let updated = EntryCounts { folders: count(2)?, files: count(3)? };
        let deleted = EntryCounts { folders: count(4)?, files: count(5)? };
        let unchanged = EntryCounts {
            folders: count(6)?.saturating_sub(updated.folders),
            files: count(7)?.saturating_sub(created.files + updated.files),
        };
        Ok(MirrorSummary { created, updated, unchanged, deleted, ..MirrorSummary::default() })
    }

    /// Why the mirror must not be applied.
    async fn find_refusal(
        &self,
        connection: &mut PgConnection,
        compared: &mut MirrorSummary,
    ) -> Result<Option<DriveError>, sqlx::Error> {
        let deletes = compared.deleted.entries();
        let there = compared.unchanged.entries() + compared.updated.entries() + deletes;
        let most = self.options.max_delete.most(there);
        if deletes > most {
            return Ok(Some(DriveError::TooManyDeletes { deletes, there, most }));
        }
        let clash: Option<String> = sqlx::query_scalar(include_str!("../../../sql/drive/find_mirror_clash.sql"))
            .bind(self.user.get())
            .fetch_optional(connection)
            .await?;
        Ok(clash.map(|path| DriveError::KindStays {
            path,
            withheld_for: compared.deletes_withheld.then(|| std::mem::take(&mut compared.refused)),
        }))
    }

    async fn run(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
        holds_drive: bool,
    ) -> Result<Option<MirrorOutcome>, sqlx::Error> {
        match self.begin(connection, shard).await? {
            Some(true) => {}
            Some(false) => return Ok(None),
            None => return Ok(Some(MirrorOutcome::Refused(DriveError::MirrorInterrupted))),
        }
        if holds_drive {
            hold_drives(&mut *connection, [self.user]).await?;
        }
        let mut compared = self.compare(connection).await?;
        if let Some(refusal) = self.find_refusal(connection, &mut compared).await? {
            return Ok(Some(MirrorOutcome::Refused(refusal)));
        }
        if self.options.dry_run || !compared.has_differences() {
            return Ok(Some(MirrorOutcome::Compared(compared)));
        }
        if self.options.delete == DeletePolicy::Purge {
            // Before the statement, whose snapshot then has all files of the folders that go.
            hold_drives(&mut *connection, [self.user]).await?;
        }
        sqlx::query(include_str!("../../../sql/drive/apply_mirror.sql"))
            .bind(self.user.get())
            .bind(self.options.delete == DeletePolicy::Purge)
            .execute(connection)
            .await?;
        Ok(Some(MirrorOutcome::Applied(compared)))
    }
}

/// Marks the entries whose paths other entries have: the first of them, and how many more there are.
async fn find_faults(connection: &mut PgConnection) -> Result<(Vec<RefusedEntry>, u64), sqlx::Error> {
    let rows: Vec<(i64, i64, String, i64)> = sqlx::query_as(include_str!("../../../sql/drive/find_listing_faults.sql"))
        .bind(LISTED)
        .fetch_all(connection)
        .await?;
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    let beyond = rows.first().map_or(0, |(.., all)| all - LISTED);
    let entry = |(record, line, reason, _): (i64, i64, String, i64)| RefusedEntry {
        place: RecordPosition { record: number(record), line: number(line) },
        reason,
    };
    Ok((rows.into_iter().map(entry).collect(), number(beyond)))
}

async fn list_differences(connection: &mut PgConnection) -> Result<Vec<MirrorDifference>, sqlx::Error> {
    let rows: Vec<(String, bool, String)> =
        sqlx::query_as(include_str!("../../../sql/drive/list_changes.sql")).bind(LISTED).fetch_all(connection).await?;
    let difference = |(change, is_folder, path): (String, bool, String)| MirrorDifference {
        change: match change.as_str() {
            "create" => DifferenceChange::Create,
            "update" => DifferenceChange::Update,
            _ => DifferenceChange::Delete,
        },
        kind: if is_folder { EntryKind::Folder } else { EntryKind::File },
        path,
    };
    Ok(rows.into_iter().map(difference).collect())
}

impl SlotWrite for MirrorWrite<'_> {
    type Output = MirrorOutcome;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.user).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<MirrorOutcome>, sqlx::Error> {
        match self.apply_once(connection, shard, false).await {
            // Another request has given a name away, or deleted a folder, since the comparison.
            Err(error) if is_duplicate_key(&error) || is_conflict(&error) => {
                self.apply_once(connection, shard, true).await
            }
            done => done,
        }
    }

    fn has_changed(outcome: &MirrorOutcome) -> bool {
        matches!(outcome, MirrorOutcome::Applied(_))
    }
}

impl MirrorWrite<'_> {
    /// Makes the drive what the listing says. With `holds_drive`, nobody else puts anything into its folders from the
    /// comparison on.
    async fn apply_once(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
        holds_drive: bool,
    ) -> Result<Option<MirrorOutcome>, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let outcome = self.run(&mut transaction, shard, holds_drive).await?;
        if matches!(outcome, Some(MirrorOutcome::Applied(_))) {
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        Ok(outcome)
    }
}
