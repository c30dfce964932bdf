//! `shards verify` of the trees of folders: what two requests of the same moment could leave, and what hands could.

use sqlx::PgConnection;

use crate::shard::ShardId;

/// What is wrong with a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeFault {
    /// Folders on a shard that does not own their slot.
    Stray,
    /// Folders that no way from the root leads to: the folder above is missing, or they stand in a circle.
    LostFolders,
    /// Files whose folder is missing.
    LostFiles,
    /// Names that a file and a folder of one folder share.
    SharedNames,
}

impl std::fmt::Display for TreeFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stray => "folders on a shard that does not own the slot",
            Self::LostFolders => "folders that no way from the root leads to",
            Self::LostFiles => "files whose folder is missing",
            Self::SharedNames => "names that a file and a folder share",
        })
    }
}

/// The trees of a slot.
#[derive(sqlx::FromRow)]
struct SlotTrees {
    slot: i32,
    owner: i32,
    moving: bool,
    folders: i64,
    lost_folders: i64,
    lost_files: i64,
    shared_names: i64,
}

/// Reads all trees of a shard: the number of folders in the shard's slots, and each fault with its slot and its number
/// of rows.
pub(super) async fn audit_trees(
    connection: &mut PgConnection,
    shard: ShardId,
) -> Result<(u64, Vec<(i32, TreeFault, i64)>), sqlx::Error> {
    let slots: Vec<SlotTrees> =
        sqlx::query_as(include_str!("../../sql/stats/audit_folders.sql")).fetch_all(connection).await?;
    let mut folders = 0;
    let mut faults = Vec::new();
    for row in slots {
        let is_owned = row.owner == shard.to_sql();
        if is_owned {
            folders += u64::try_from(row.folders).unwrap_or(0);
        } else if row.moving {
            // Rows on the move count nowhere, and come in any order.
            continue;
        }
        let stray = if is_owned { 0 } else { row.folders };
        let found = [
            (TreeFault::Stray, stray),
            (TreeFault::LostFolders, row.lost_folders),
            (TreeFault::LostFiles, row.lost_files),
            (TreeFault::SharedNames, row.shared_names),
        ];
        faults.extend(found.into_iter().filter(|(_, rows)| *rows > 0).map(|(fault, rows)| (row.slot, fault, rows)));
    }
    Ok((folders, faults))
}
