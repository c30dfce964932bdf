//! `shards verify`: reads every row of every shard, and compares the rows with the map, the counts and the slots of the
//! keys.
//!
//! Each shard is read in one snapshot, so that writes may go on meanwhile. While slots change hands, a finding may be
//! temporary: verify again after the move. Rows of slots on the move count nowhere, and are no finding.

use sqlx::PgConnection;

use super::verify_tree::{TreeFault, audit_trees};
use crate::shard::{Cluster, DbFault, Shard, ShardError, ShardId};

/// A table with counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CountedKind {
    /// Rows of `file_metadata`.
    Files,
    /// Rows of `records`.
    Documents,
}

impl std::fmt::Display for CountedKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Files => "file_metadata",
            Self::Documents => "records",
        })
    }
}

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VerifyFinding {
    /// A slot has no owner, or several.
    Owners {
        /// The slot's number.
        slot: i32,
        /// The shards that claim the slot.
        owners: Vec<ShardId>,
    },
    /// A shard's coverage, by which it takes or refuses writes, and its map differ.
    Coverage {
        /// The shard.
        shard: ShardId,
        /// The slot's number.
        slot: i32,
    },
    /// Rows stand on a shard that does not own their slot. No answer shows such rows.
    Stray {
        /// Which rows.
        kind: CountedKind,
        /// The shard that holds the rows.
        shard: ShardId,
        /// The slot's number.
        slot: i32,
        /// How many rows.
        rows: i64,
    },
    /// Rows stand in another slot than the key says: the key of a document, or the id of a file. A request by the key
    /// alone does not find such rows.
    Misplaced {
        /// Which rows.
        kind: CountedKind,
        /// The shard that holds the rows.
        shard: ShardId,
        /// The slot's number.
        slot: i32,
        /// How many rows.
        rows: i64,
    },
    /// A tree of folders is broken.
    Tree {
        /// What is wrong.
        fault: TreeFault,
        /// The shard.
        shard: ShardId,
        /// The slot's number.
        slot: i32,
        /// How many rows.
        rows: i64,
    },
    /// The counts of a whole shard, which `GET /stats` shows, differ from the sums of its slots' counts.
    ShardCounts {
        /// Which rows.
        kind: CountedKind,
        /// The shard.
        shard: ShardId,
        /// Rows and bytes that the shard's counts say.
        counted: (i64, String),
        /// Rows and bytes that its slots' counts say together.
        slots: (i64, String),
    },
    /// The counts differ from the rows.
    Drift {
        /// Which rows.
        kind: CountedKind,
        /// The shard.
        shard: ShardId,
        /// The slot's number.
        slot: i32,
        /// Rows and bytes by the scan.
        scanned: (i64, String),
        /// Rows and bytes by the counts.
        counted: (i64, String),
    },
}

impl std::fmt::Display for VerifyFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owners { slot, owners } if owners.is_empty() => write!(f, "slot {slot} has no owner"),
            Self::Owners { slot, owners } => {
                let owners: Vec<_> = owners.iter().map(ToString::to_string).collect();
                write!(f, "slot {slot} is claimed by the shards {}", owners.join(", "))
            }
            Self::Coverage { shard, slot } => {
                write!(f, "shard {shard}: the map and the coverage differ in who owns slot {slot}")
            }
            Self::Stray { kind, shard, slot, rows } => {
                write!(f, "shard {shard} holds {rows} rows of {kind} in slot {slot}, which it does not own")
            }
            Self::Misplaced { kind, shard, slot, rows } => {
                let (rows_of, keys) = match kind {
                    CountedKind::Files => ("files", "ids"),
                    CountedKind::Documents => ("documents", "keys"),
                };
                write!(f, "shard {shard} holds {rows} {rows_of} in slot {slot} whose {keys} belong to other slots")
            }
            Self::Tree { fault, shard, slot, rows } => write!(f, "shard {shard}, slot {slot}: {rows} {fault}"),
            Self::ShardCounts { kind, shard, counted, slots } => write!(
                f,
                "shard {shard}: its counts say {} rows of {kind} and {} bytes, the counts of its slots {} and {} together",
                counted.0, counted.1, slots.0, slots.1
            ),
            Self::Drift { kind, shard, slot, scanned, counted } => write!(
                f,
                "shard {shard}, slot {slot}: {} rows of {kind} and {} bytes are there, the counts say {} and {}",
                scanned.0, scanned.1, counted.0, counted.1
            ),
        }
    }
}

/// The result of `shards verify`.
#[derive(Clone, Default, Debug)]
pub struct VerifyReport {
    /// Files of each shard, on the slots of the shard.
    pub rows: Vec<(ShardId, u64)>,
    /// Documents of each shard, on the slots of the shard.
    pub documents: Vec<(ShardId, u64)>,
    /// Folders of each shard besides the roots, on the slots of the shard.
    pub folders: Vec<(ShardId, u64)>,
    /// The first [`VerifyReport::LISTED`] findings.
    pub findings: Vec<VerifyFinding>,
    /// The number of all findings.
    pub total_findings: u64,
}

impl VerifyReport {
    /// The most findings in a report.
    pub const LISTED: usize = 100;

    fn find(&mut self, finding: VerifyFinding) {
        self.total_findings += 1;
        if self.findings.len() < Self::LISTED {
            self.findings.push(finding);
        }
    }
}

/// A shard could not be read; only all shards together can be verified.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard} could not be read: {source}")]
pub struct AuditError {
    shard: ShardId,
    #[source]
    source: ShardError,
}

/// Verifies all shards.
///
/// # Errors
/// If any shard cannot be read to the end.
pub async fn audit(cluster: &Cluster) -> Result<VerifyReport, AuditError> {
    let mut audit = VerifyReport::default();
    let mut connections = Vec::new();
    for shard in cluster.shards() {
        connections.push((shard, open(shard).await.map_err(|error| failed(shard, error))?));
    }
    let mut claims: Vec<Vec<ShardId>> = Vec::new();
    for (shard, connection) in &mut connections {
        let slots = read_slots(connection, CountedKind::Files).await.map_err(|error| failed(shard, error))?;
        claims.resize(claims.len().max(slots.len()), Vec::new());
        for row in slots.iter().filter(|row| row.owner == shard.id().to_sql()) {
            if let Some(owners) = usize::try_from(row.slot).ok().and_then(|slot| claims.get_mut(slot)) {
                owners.push(shard.id());
            }
        }
        let files = judge_slots(shard.id(), CountedKind::Files, &slots, &mut audit);
        let slots = read_slots(connection, CountedKind::Documents).await.map_err(|error| failed(shard, error))?;
        let documents = judge_slots(shard.id(), CountedKind::Documents, &slots, &mut audit);
        judge_shard_counts(connection, shard.id(), &mut audit).await.map_err(|error| failed(shard, error))?;
        let (folders, faults) = audit_trees(connection, shard.id()).await.map_err(|error| failed(shard, error))?;
        for (slot, fault, rows) in faults {
            audit.find(VerifyFinding::Tree { fault, shard: shard.id(), slot, rows });
        }
        audit.folders.push((shard.id(), folders));
        audit.rows.push((shard.id(), files));
        audit.documents.push((shard.id(), documents));
    }
    for (slot, owners) in (0..).zip(claims) {
        if owners.len() != 1 {
            audit.find(VerifyFinding::Owners { slot, owners });
        }
    }
    Ok(audit)
}

/// A slot in one shard's database.
#[derive(sqlx::FromRow)]
struct SlotRow {
    slot: i32,
    owner: i32,
    scanned_rows: i64,
    /// In digits: sizes are numbers of clients, and a sum may exceed 64 bits.
    scanned_bytes: String,
    counted_rows: i64,
    counted_bytes: String,
    misplaced_rows: i64,
    moving: bool,
    /// Read with the files.
    #[sqlx(default)]
    coverage_differs: bool,
}

async fn open(shard: &Shard) -> Result<PgConnection, sqlx::Error> {
    let mut connection = shard.connect().await?;
    sqlx::query(include_str!("../../sql/stats/no_time_limit.sql")).execute(&mut connection).await?;
    sqlx::query(include_str!("../../sql/stats/begin_audit.sql")).execute(&mut connection).await?;
    Ok(connection)
}

async fn read_slots(connection: &mut PgConnection, kind: CountedKind) -> Result<Vec<SlotRow>, sqlx::Error> {
    let statement = match kind {
        CountedKind::Files => include_str!("../../sql/stats/audit_slots.sql"),
        CountedKind::Documents => include_str!("../../sql/stats/audit_record_slots.sql"),
    };
    sqlx::query_as(statement).fetch_all(connection).await
}

/// Compares the counts of the whole shard with the counts of its slots.
async fn judge_shard_counts(
    connection: &mut PgConnection,
    shard: ShardId,
    audit: &mut VerifyReport,
) -> Result<(), sqlx::Error> {
    type Row = (String, i64, String, i64, String);
    let statement = include_str!("../../sql/stats/audit_shard_counts.sql");
    let found: Vec<Row> = sqlx::query_as(statement).fetch_all(connection).await?;
    for (kind, rows, bytes, slot_rows, slot_bytes) in found {
        let kind = if kind == "files" { CountedKind::Files } else { CountedKind::Documents };
        let (counted, slots) = ((rows, bytes), (slot_rows, slot_bytes));
        if counted != slots {
            audit.find(VerifyFinding::ShardCounts { kind, shard, counted, slots });
        }
    }
    Ok(())
}

/// Checks a shard's rows of one kind, and gives how many rows stand in the shard's slots.
fn judge_slots(shard: ShardId, kind: CountedKind, slots: &[SlotRow], audit: &mut VerifyReport) -> u64 {
    let mut owned_rows = 0;
    for row in slots {
        let slot = row.slot;
        if row.coverage_differs {
            audit.find(VerifyFinding::Coverage { shard, slot });
        }
        if row.owner == shard.to_sql() {
            owned_rows += u64::try_from(row.scanned_rows).unwrap_or(0);
        } else if row.moving {
            // Rows on the move count nowhere, and are neither stray nor drift.
            continue;
        } else if row.scanned_rows > 0 {
            audit.find(VerifyFinding::Stray { kind, shard, slot, rows: row.scanned_rows });
        }
        if row.misplaced_rows > 0 {
            audit.find(VerifyFinding::Misplaced { kind, shard, slot, rows: row.misplaced_rows });
        }
        let scanned = (row.scanned_rows, row.scanned_bytes.clone());
        let counted = (row.counted_rows, row.counted_bytes.clone());
        if scanned != counted {
            audit.find(VerifyFinding::Drift { kind, shard, slot, scanned, counted });
        }
    }
    owned_rows
}

fn failed(shard: &Shard, error: sqlx::Error) -> AuditError {
    let fault = DbFault::of(&error);
    AuditError { shard: shard.id(), source: fault.into_error(shard.id(), error) }
}
