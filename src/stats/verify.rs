//! `shards verify`: reads every row of every shard, and compares it with the map, the counts and its own key.
//!
//! Each shard is read in one snapshot, so that writes may go on meanwhile. While slots change hands, a finding may be
//! one of the moment: audit again when the move is over. Rows that a move has brought already, or has not removed yet,
//! are none.

use sqlx::PgConnection;

use crate::shard::{Cluster, DbFault, Shard, ShardError, ShardId};

/// What is counted.
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

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VerifyFinding {
    /// A slot has no owner, or more than one: the shards that say they own it.
    Owners {
        /// The slot's number.
        slot: i32,
        /// Who claims it.
        owners: Vec<ShardId>,
    },
    /// Rows stand on a shard that does not own their slot. They are shown to nobody.
    Stray {
        /// Which rows.
        kind: CountedKind,
        /// Where they are.
        shard: ShardId,
        /// Their slot's number.
        slot: i32,
        /// How many there are.
        rows: i64,
    },
    /// Rows stand in another slot than their key says: the key of a document, the id of a file. A request that names no
    /// more than the key will not find them.
    Misplaced {
        /// Which rows.
        kind: CountedKind,
        /// Where they are.
        shard: ShardId,
        /// The slot's number.
        slot: i32,
        /// How many there are.
        rows: i64,
    },
    /// The counts differ from the rows.
    Drift {
        /// Of which rows.
        kind: CountedKind,
        /// On which shard.
        shard: ShardId,
        /// For which slot.
        slot: i32,
        /// Rows and bytes that are there.
        scanned: (i64, String),
        /// Rows and bytes that the counts tell of.
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
            Self::Drift { kind, shard, slot, scanned, counted } => write!(
                f,
                "shard {shard}, slot {slot}: {} rows of {kind} and {} bytes are there, the counts say {} and {}",
                scanned.0, scanned.1, counted.0, counted.1
            ),
        }
    }
}

/// What the audit read and found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Files on each shard that count.
    pub rows: Vec<(ShardId, u64)>,
    /// Documents on each shard that count.
    pub documents: Vec<(ShardId, u64)>,
    /// What must not be, the first [`VerifyReport::LISTED`] of each shard and kind.
    pub findings: Vec<VerifyFinding>,
    /// How many findings there are.
    pub total_findings: u64,
}

impl VerifyReport {
    /// How many findings are listed.
    pub const LISTED: usize = 100;

    fn find(&mut self, finding: VerifyFinding) {
        self.total_findings += 1;
        if self.findings.len() < Self::LISTED {
            self.findings.push(finding);
        }
    }
}

/// Why there is no audit. All shards must be there for it.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard} could not be read: {source}")]
pub struct AuditError {
    shard: ShardId,
    #[source]
    source: ShardError,
}

/// Audits all shards.
///
/// # Errors
/// If any shard cannot be read to its end.
pub async fn audit(cluster: &Cluster) -> Result<VerifyReport, AuditError> {
    let mut audit = VerifyReport { rows: Vec::new(), documents: Vec::new(), findings: Vec::new(), total_findings: 0 };
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

/// What a shard says of a slot.
#[derive(sqlx::FromRow)]
struct SlotRow {
    slot: i32,
    owner: i32,
    scanned_rows: i64,
    /// In digits: sizes that clients tell of may add up to more than 64 bits hold.
    scanned_bytes: String,
    counted_rows: i64,
    counted_bytes: String,
    misplaced_rows: i64,
    moving: bool,
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

/// Finds what is wrong with a shard's rows of one kind, and gives how many of them count.
fn judge_slots(shard: ShardId, kind: CountedKind, slots: &[SlotRow], audit: &mut VerifyReport) -> u64 {
    let mut owned_rows = 0;
    for row in slots {
        let slot = row.slot;
        if row.owner == shard.to_sql() {
            owned_rows += u64::try_from(row.scanned_rows).unwrap_or(0);
        } else if row.moving {
            // Rows on their way are counted by nobody, and neither stray nor drift.
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
