//! Why a call to a shard failed.

use super::server::fault::ServerResource;
use super::slot::ShardId;

/// Why a call to a shard did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The shard cannot be reached, or does not answer.
    #[error("shard {shard} is not available")]
    Unavailable {
        /// The unreachable shard.
        shard: ShardId,
    },
    /// The shard answered too late. A write may or may not have happened.
    #[error("shard {shard} did not answer in time")]
    Timeout {
        /// The late shard.
        shard: ShardId,
    },
    /// All connections are busy, or the queue of writes is full.
    #[error("shard {shard} is overloaded")]
    Overloaded {
        /// The busy shard.
        shard: ShardId,
    },
    /// The caller has reached the limit of calls on one shard.
    #[error("one caller has too many calls on shard {shard}")]
    CallerBusy {
        /// The shard with too many calls of the caller.
        shard: ShardId,
    },
    /// The server answers, and has run out of something.
    #[error("the server of shard {shard} {resource}")]
    Exhausted {
        /// The shard of the server.
        shard: ShardId,
        /// The resource that ran out.
        resource: ServerResource,
    },
    /// A slot is changing hands, and no shard owned the slot until the deadline.
    #[error("a slot is on its way to another shard")]
    Moving,
    /// The request's `Idempotency-Key` has been used for another request.
    #[error("the key has been used for another request")]
    KeyReused,
    /// PostgreSQL refused the row: a constraint failed, or a column cannot hold a value.
    #[error("shard {shard} refused the row")]
    RowRefused {
        /// The shard that refused.
        shard: ShardId,
        /// The name of the violated constraint; `None` for a value out of range.
        constraint: Option<String>,
    },
    /// Anything else. The text is for the log, not for clients.
    #[error("shard {shard} failed unexpectedly")]
    Unexpected {
        /// The shard with the fault.
        shard: ShardId,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
}

impl ShardError {
    /// The error's kind in one word, for traces. The word holds no client's value.
    #[must_use]
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Timeout { .. } => "timeout",
            Self::Overloaded { .. } => "overloaded",
            Self::CallerBusy { .. } => "caller_busy",
            Self::Exhausted { .. } => "exhausted",
            Self::Moving => "moving",
            Self::KeyReused => "key_reused",
            Self::RowRefused { .. } => "row_refused",
            Self::Unexpected { .. } => "unexpected",
        }
    }

    /// A copy of the error for the next of several callers who share one call.
    #[must_use]
    pub(crate) fn copy_for_caller(&self) -> Self {
        match self {
            Self::Unavailable { shard } => Self::Unavailable { shard: *shard },
            Self::Timeout { shard } => Self::Timeout { shard: *shard },
            Self::Overloaded { shard } => Self::Overloaded { shard: *shard },
            Self::CallerBusy { shard } => Self::CallerBusy { shard: *shard },
            Self::Exhausted { shard, resource } => Self::Exhausted { shard: *shard, resource: *resource },
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
