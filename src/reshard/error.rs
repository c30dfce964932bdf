//! Why a step of a move failed, and what that means for the move.

use crate::shard::{DbFault, ShardId, is_overtaken};

/// Why a step of a move was not done.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A statement failed, or a shard is away. This process or another repeats the step.
    #[error("a statement failed on shard {shard}")]
    Shard {
        /// The shard.
        shard: ShardId,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// The shard is away, or did not answer within the time of a step; the step is repeated.
    #[error("shard {0} is away or does not answer")]
    Away(ShardId),
    /// Something did not happen in time; the step is repeated.
    #[error("{0} took too long")]
    Late(&'static str),
    /// Another coordinator has taken over, or the connection that holds the lease broke.
    #[error("another process coordinates the moves now")]
    Overtaken,
    /// A fault that no repetition heals. The text is for people, without any secret.
    #[error("{0}")]
    Refused(String),
}

impl MoveError {
    /// The error for a statement on this shard.
    pub(super) fn on(shard: ShardId) -> impl Fn(sqlx::Error) -> Self {
        move |source| if is_overtaken(&source) { Self::Overtaken } else { Self::Shard { shard, source } }
    }

    /// True if the server is there and refuses the statement: after enough repetitions the refusal is final.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Shard { source, .. } => {
                matches!(DbFault::of(source), DbFault::Unexpected | DbFault::RowRefused | DbFault::NotOwner)
            }
            Self::Away(_) | Self::Late(_) | Self::Overtaken => false,
            Self::Refused(_) => true,
        }
    }

    /// The public text: no text of the database, but the code by which PostgreSQL's manual names the error.
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
