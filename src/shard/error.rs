//! What can go wrong on the way to a shard, and what PostgreSQL's error codes mean for us.
//!
//! The only file that knows SQLSTATE values (PostgreSQL manual, appendix A).

use super::slot::{ShardId, Slot};

/// The guard refused a write for slots that the shard does not own (see `migrations/0002_ownership.sql`).
const NOT_OWNER: &str = "SD001";

/// A later coordinator of moves has raised the shard's fence (see `migrations/0006_moves.sql`).
const OVERTAKEN: &str = "SD005";

/// Why a call to a shard did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The shard cannot be reached, or does not answer.
    #[error("shard {shard} is not available")]
    Unavailable {
        /// The shard that was asked.
        shard: ShardId,
    },
    /// The shard answered too late. A write may or may not have happened.
    #[error("shard {shard} did not answer in time")]
    Timeout {
        /// The shard that was asked.
        shard: ShardId,
    },
    /// All connections are busy, or the queue of writes is full.
    #[error("shard {shard} has too much to do")]
    Overloaded {
        /// The shard that was asked.
        shard: ShardId,
    },
    /// A slot is changing hands and nobody owned it until the deadline.
    #[error("a slot is on its way to another shard")]
    Moving,
    /// The request's `Idempotency-Key` has been used for another request.
    #[error("the key has been used for another request")]
    KeyReused,
    /// PostgreSQL refused the row: a constraint of the table, or a value that it cannot hold.
    #[error("shard {shard} refused the row")]
    RowRefused {
        /// The shard that was asked.
        shard: ShardId,
        /// The constraint's name, if it was one.
        constraint: Option<String>,
    },
    /// Anything else. The text is for the log, not for clients.
    #[error("shard {shard} failed unexpectedly")]
    Unexpected {
        /// The shard that was asked.
        shard: ShardId,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
}

impl ShardError {
    /// Its kind in one word, for traces: no value is in it.
    #[must_use]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Timeout { .. } => "timeout",
            Self::Overloaded { .. } => "overloaded",
            Self::Moving => "moving",
            Self::KeyReused => "key_reused",
            Self::RowRefused { .. } => "row_refused",
            Self::Unexpected { .. } => "unexpected",
        }
    }

    /// The same error for the next of several callers who share one call.
    #[must_use]
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Unavailable { shard } => Self::Unavailable { shard: *shard },
            Self::Timeout { shard } => Self::Timeout { shard: *shard },
            Self::Overloaded { shard } => Self::Overloaded { shard: *shard },
            Self::Moving => Self::Moving,
            Self::KeyReused => Self::KeyReused,
            Self::RowRefused { shard, constraint } => {
                Self::RowRefused { shard: *shard, constraint: constraint.clone() }
            }
            Self::Unexpected { shard, source } => {
                Self::Unexpected { shard: *shard, source: sqlx::Error::Protocol(source.to_string()) }
            }
        }
    }
}

/// What an error of the driver means for the call that met it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DbFault {
    /// The guard refused: the slot's owner is another shard.
    NotOwner,
    /// The connection broke; the call may be repeated on a new one if it is idempotent.
    ConnectionLost,
    /// The server takes no calls: it starts, stops, or has no free connection.
    Unavailable,
    /// The server takes no writes, and this one has changed nothing: it is no primary any more, or it was told to be read-only.
    ReadOnly,
    /// The call lost against another transaction and may be repeated as it is.
    Conflict,
    /// The server gave up after its own time limit.
    Timeout,
    /// A constraint or a value that the column cannot hold.
    RowRefused,
    /// Anything else.
    Unexpected,
}

impl DbFault {
    /// What this error of the driver means.
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
        match code {
            NOT_OWNER => Self::NotOwner,
            // Administrator's shutdown, crash of another backend; starting up, idle for too long.
            "57P01" | "57P02" => Self::ConnectionLost,
            "57P03" | "57P05" => Self::Unavailable,
            "25006" => Self::ReadOnly,
            // deadlock, serialization failure, lock timeout
            "40001" | "40P01" | "55P03" => Self::Conflict,
            "57014" | "25P03" => Self::Timeout,
            _ => match code.get(..2) {
                Some("08") => Self::ConnectionLost,
                Some("53") => Self::Unavailable,
                Some("22" | "23") => Self::RowRefused,
                _ => Self::Unexpected,
            },
        }
    }

    /// True if the connection is of no further use: it broke, or its server takes no calls such as this one.
    #[must_use]
    pub fn ends_connection(self) -> bool {
        matches!(self, Self::ConnectionLost | Self::Unavailable | Self::ReadOnly)
    }

    /// The error for a caller, of a call that will not be tried again.
    #[must_use]
    pub fn into_error(self, shard: ShardId, source: sqlx::Error) -> ShardError {
        match self {
            Self::NotOwner => ShardError::Moving,
            Self::ConnectionLost | Self::Unavailable | Self::ReadOnly => ShardError::Unavailable { shard },
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

/// The slots that the guard named when it refused a write, or `None` if this is another error.
#[must_use]
pub(crate) fn refused_slots(error: &sqlx::Error) -> Option<Vec<Slot>> {
    let db = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    if db.code() != NOT_OWNER {
        return None;
    }
    let list = db.detail()?.strip_prefix("refused slots: ")?;
    list.split(',').map(|number| number.parse().ok().and_then(Slot::new)).collect()
}

/// True if the shard refuses a coordinator of moves, as a later one has taken over.
#[must_use]
pub(crate) fn is_overtaken(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|db| db.code()).is_some_and(|code| code == OVERTAKEN)
}

/// True if a row with the same key is there already.
#[must_use]
pub(crate) fn is_duplicate_key(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|db| db.is_unique_violation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_has_its_meaning() {
        for (code, fault) in [
            ("SD001", DbFault::NotOwner),
            ("57P01", DbFault::ConnectionLost),
            ("08006", DbFault::ConnectionLost),
            ("57P03", DbFault::Unavailable),
            ("53300", DbFault::Unavailable),
            ("57P02", DbFault::ConnectionLost),
            ("25006", DbFault::ReadOnly),
            ("40P01", DbFault::Conflict),
            ("57014", DbFault::Timeout),
            ("23514", DbFault::RowRefused),
            ("22021", DbFault::RowRefused),
            ("42P01", DbFault::Unexpected),
            ("", DbFault::Unexpected),
        ] {
            assert_eq!(DbFault::of_sqlstate(code), fault, "{code}");
        }
    }
}
