//! The meaning of a PostgreSQL error for the failed call and for its shard, in one table.
//!
//! Only this file knows SQLSTATE values (PostgreSQL manual, appendix A).

use std::fmt;

use crate::shard::error::ShardError;
use crate::shard::slot::{ShardId, Slot};

/// The guard refused a write for slots that the shard does not own (see `migrations/0002_ownership.sql`).
const NOT_OWNER: &str = "SD001";

/// A later coordinator of moves has raised the shard's fence (see `migrations/0006_moves.sql`).
const OVERTAKEN: &str = "SD005";

/// A resource that a running server lacks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ServerResource {
    /// Space on a disk.
    Disk,
    /// Memory.
    Memory,
    /// Connections.
    Connections,
    /// A limit of the server's settings for a statement, such as `temp_file_limit`.
    Limit,
}

impl ServerResource {
    /// Every resource.
    pub const ALL: [Self; 4] = [Self::Disk, Self::Memory, Self::Connections, Self::Limit];

    /// The resource's name in metrics and in `/health`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Connections => "connections",
            Self::Limit => "limit",
        }
    }
}

impl fmt::Display for ServerResource {
    /// Follows "the server of shard 1 ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "has no space left on its disk; reads go on, writes need space",
            Self::Memory => "has no memory left for a statement",
            Self::Connections => "has no connection left (max_connections, or the limit of the role or database)",
            Self::Limit => "has stopped a statement at a limit of its settings, such as temp_file_limit",
        })
    }
}

/// The meaning of a driver's error for the failed call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DbFault {
    /// The guard refused: the slot's owner is another shard.
    NotOwner,
    /// The connection broke; an idempotent call may be repeated on a new connection.
    ConnectionLost,
    /// The server takes no calls: it starts or stops, or nothing listens at its address.
    Unavailable,
    /// The server answers, but lacks a resource for this call.
    Exhausted(ServerResource),
    /// The server refused the write, which changed nothing: the server is a former primary, or was set to read-only.
    ReadOnly,
    /// The call lost against another transaction and may be repeated unchanged.
    Conflict,
    /// The server stopped the statement at the server's own time limit.
    Timeout,
    /// A constraint failed, or the column cannot hold a value.
    RowRefused,
    /// Anything else.
    Unexpected,
}

/// The meaning of each SQLSTATE or class. The first matching row counts. A code without a row is `Unexpected`.
const FAULTS_BY_SQLSTATE: &[(&str, DbFault)] = &[
    (NOT_OWNER, DbFault::NotOwner),
    ("08", DbFault::ConnectionLost),    // connection exceptions
    ("22", DbFault::RowRefused),        // data exceptions
    ("23503", DbFault::Conflict),       // foreign_key_violation: the folder was deleted since the service looked
    ("23", DbFault::RowRefused),        // integrity constraints
    ("25006", DbFault::ReadOnly),       // read_only_sql_transaction
    ("25P03", DbFault::ConnectionLost), // idle_in_transaction_session_timeout: the server has closed the session
    ("25P04", DbFault::ConnectionLost), // transaction_timeout: the same
    ("40001", DbFault::Conflict),       // serialization_failure
    ("40P01", DbFault::Conflict),       // deadlock_detected
    ("53100", DbFault::Exhausted(ServerResource::Disk)),
    ("53200", DbFault::Exhausted(ServerResource::Memory)),
    ("53300", DbFault::Exhausted(ServerResource::Connections)),
    ("53", DbFault::Exhausted(ServerResource::Limit)), // 53400, configuration_limit_exceeded
    ("55P03", DbFault::Conflict),                      // lock_not_available
    ("57014", DbFault::Timeout),                       // query_canceled
    ("57P01", DbFault::ConnectionLost),                // admin_shutdown: this session, or the whole server
    ("57P02", DbFault::ConnectionLost),                // crash_shutdown
    ("57P03", DbFault::Unavailable),                   // cannot_connect_now
    ("57P05", DbFault::ConnectionLost),                // idle_session_timeout
];

/// The words of the database, or of the driver where there are none: without the line of PostgreSQL's source that the
/// driver adds.
pub(in crate::shard) fn words_of(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |database| database.message().to_owned())
}

impl DbFault {
    /// The meaning of this driver's error.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(db) => db.code().map_or(Self::Unexpected, |code| Self::of_sqlstate(&code)),
            sqlx::Error::Io(io) => match io.kind() {
                std::io::ErrorKind::ConnectionRefused => Self::Unavailable,
                _ => Self::ConnectionLost,
            },
            sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => Self::ConnectionLost,
            _ => Self::Unexpected,
        }
    }

    fn of_sqlstate(code: &str) -> Self {
        let found = FAULTS_BY_SQLSTATE.iter().find(|(prefix, _)| code.starts_with(prefix));
        found.map_or(Self::Unexpected, |(_, fault)| *fault)
    }

    /// True if the connection is useless now: it broke, or the server refuses such calls.
    #[must_use]
    pub fn ends_connection(self) -> bool {
        matches!(self, Self::ConnectionLost | Self::Unavailable | Self::ReadOnly)
    }

    /// True if the call counts as lost; enough lost calls in a row open the circuit. A server that refuses has
    /// answered, so the call is not lost.
    #[must_use]
    pub fn counts_as_loss(self) -> bool {
        matches!(self, Self::ConnectionLost | Self::Unavailable)
    }

    /// The caller's error, for a call that will not be repeated.
    #[must_use]
    pub fn into_error(self, shard: ShardId, source: sqlx::Error) -> ShardError {
        match self {
            Self::NotOwner => ShardError::Moving,
            Self::ConnectionLost | Self::Unavailable | Self::ReadOnly => ShardError::Unavailable { shard },
            Self::Exhausted(resource) => ShardError::Exhausted { shard, resource },
            Self::Conflict => ShardError::Overloaded { shard },
            Self::Timeout => ShardError::Timeout { shard },
            Self::RowRefused => {
                let constraint = source.as_database_error().and_then(|db| db.constraint()).map(str::to_owned);
                ShardError::RowRefused { shard, constraint }
            }
            Self::Unexpected => ShardError::Unexpected { shard, source },
        }
    }
}

/// The slots that the guard named when it refused a write; `None` for any other error.
#[must_use]
pub(crate) fn refused_slots(error: &sqlx::Error) -> Option<Vec<Slot>> {
    let db = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    if db.code() != NOT_OWNER {
        return None;
    }
    let list = db.detail()?.strip_prefix("refused slots: ")?;
    list.split(',').map(|number| number.parse().ok().and_then(Slot::new)).collect()
}

/// True if the shard refused a coordinator because a later one has taken over.
#[must_use]
pub(crate) fn is_overtaken(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|db| db.code()).is_some_and(|code| code == OVERTAKEN)
}

/// True if another transaction was in the way, and trying again may do.
#[must_use]
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_)) && DbFault::of(error) == DbFault::Conflict
}

/// True if a row with the same key is there already.
#[must_use]
pub(crate) fn is_duplicate_key(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|db| db.is_unique_violation())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each row: the meaning, whether the connection closes, whether the call counts as lost, and the caller's
    /// error.
    #[test]
    fn each_sqlstate_has_its_outcome() {
        use DbFault as F;
        for (code, fault, closed, lost, kind) in [
            ("SD001", F::NotOwner, false, false, "moving"),
            ("08006", F::ConnectionLost, true, true, "unavailable"),
            ("08P01", F::ConnectionLost, true, true, "unavailable"),
            ("22021", F::RowRefused, false, false, "row_refused"),
            ("23503", F::Conflict, false, false, "overloaded"),
            ("23514", F::RowRefused, false, false, "row_refused"),
            ("25006", F::ReadOnly, true, false, "unavailable"),
            ("25P03", F::ConnectionLost, true, true, "unavailable"),
            ("25P04", F::ConnectionLost, true, true, "unavailable"),
            ("40001", F::Conflict, false, false, "overloaded"),
            ("40P01", F::Conflict, false, false, "overloaded"),
            ("53100", F::Exhausted(ServerResource::Disk), false, false, "exhausted"),
            ("53200", F::Exhausted(ServerResource::Memory), false, false, "exhausted"),
            ("53300", F::Exhausted(ServerResource::Connections), false, false, "exhausted"),
            ("53400", F::Exhausted(ServerResource::Limit), false, false, "exhausted"),
            ("53000", F::Exhausted(ServerResource::Limit), false, false, "exhausted"),
            ("55P03", F::Conflict, false, false, "overloaded"),
            ("57014", F::Timeout, false, false, "timeout"),
            ("57P01", F::ConnectionLost, true, true, "unavailable"),
            ("57P02", F::ConnectionLost, true, true, "unavailable"),
            ("57P03", F::Unavailable, true, true, "unavailable"),
            ("57P05", F::ConnectionLost, true, true, "unavailable"),
            ("42P01", F::Unexpected, false, false, "unexpected"),
            ("", F::Unexpected, false, false, "unexpected"),
        ] {
            let found = F::of_sqlstate(code);
            assert_eq!(found, fault, "{code}");
            let error = found.into_error(ShardId::new(0), sqlx::Error::WorkerCrashed);
            assert_eq!(
                (found.ends_connection(), found.counts_as_loss(), error.kind_name()),
                (closed, lost, kind),
                "{code}"
            );
        }
    }

    #[test]
    fn every_row_of_the_table_can_be_reached() {
        for (row, (code, fault)) in FAULTS_BY_SQLSTATE.iter().enumerate() {
            assert_eq!(DbFault::of_sqlstate(code), *fault, "{code}");
            let above = FAULTS_BY_SQLSTATE.iter().take(row).find(|(prefix, _)| code.starts_with(prefix));
            assert_eq!(above, None, "{code} is hidden by the row above it");
        }
    }

    #[test]
    fn a_server_that_refuses_connections_is_away() {
        let io = |kind: std::io::ErrorKind| DbFault::of(&sqlx::Error::Io(kind.into()));
        assert_eq!(io(std::io::ErrorKind::ConnectionRefused), DbFault::Unavailable);
        assert_eq!(io(std::io::ErrorKind::ConnectionReset), DbFault::ConnectionLost);
        assert_eq!(DbFault::of(&sqlx::Error::WorkerCrashed), DbFault::ConnectionLost);
        assert_eq!(DbFault::of(&sqlx::Error::RowNotFound), DbFault::Unexpected);
    }
}
