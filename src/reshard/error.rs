//! Why a step of a move failed, and what that means for the move.

use crate::shard::{DbFault, ShardId, is_overtaken};

/// Why a step of a move was not done.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A statement failed, or a shard is away. The step is tried again, by this process or another.
    #[error("shard {shard} did not do it")]
    Shard {
        /// The shard.
        shard: ShardId,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// A shard did not do its part in time; the step is tried again.
    #[error("{0} took too long")]
    Late(&'static str),
    /// Another coordinator has taken over, or the connection that holds the lease broke.
    #[error("another process coordinates the moves now")]
    Overtaken,
    /// Something is wrong that trying again does not heal. The text is for people, without anything secret.
    #[error("{0}")]
    Refused(String),
}

impl MoveError {
    /// The error for a statement on this shard.
    pub(super) fn on(shard: ShardId) -> impl Fn(sqlx::Error) -> Self {
        move |source| if is_overtaken(&source) { Self::Overtaken } else { Self::Shard { shard, source } }
    }

    /// True if the server is there and refuses the statement: tried often enough, that is not going to change.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Shard { source, .. } => {
                matches!(DbFault::of(source), DbFault::Unexpected | DbFault::RowRefused | DbFault::NotOwner)
            }
            Self::Late(_) | Self::Overtaken => false,
            Self::Refused(_) => true,
        }
    }

    /// What may be shown of it: no text of the database, but the code by which its manual names the error.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Shard { source, .. } => match source.as_database_error().and_then(|error| error.code()) {
                Some(code) => format!("{self} (SQLSTATE {code})"),
                None => self.to_string(),
            },
            _ => self.to_string(),
        }
    }
}
