//! Why a local server failed, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// The fault of a local server.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// This machine has no suitable PostgreSQL.
    #[error("found no PostgreSQL 15 or newer on this machine; {hint}")]
    NoBinaries {
        /// The command that installs PostgreSQL.
        hint: String,
    },
    /// The data folder was made by another major version.
    #[error(
        "{} was made by PostgreSQL {made_by}, which is not on this machine any more; \
         install that version again, or remove the folder to start anew",
        folder.display()
    )]
    OtherVersion {
        /// The data folder.
        folder: PathBuf,
        /// The major version that made the folder.
        made_by: u32,
    },
    /// PostgreSQL refuses to run as root, and there is no other user to run it.
    #[error(
        "PostgreSQL does not run as root, and this machine has no user \"postgres\"; \
         run shardrive as an ordinary user, or make that user: useradd --system postgres"
    )]
    NoAccount,
    /// The user who runs PostgreSQL may not enter a folder above the data.
    #[error(
        "we are root, so the user \"postgres\" runs PostgreSQL, and it may not enter {}; \
         choose another place with --dir, for example --dir /var/lib/shardrive, or allow it: chmod o+x {}",
        closed.display(), closed.display()
    )]
    Unreachable {
        /// The closed folder.
        closed: PathBuf,
    },
    /// The folder belongs to a running program.
    #[error("{} is in use by another shardrive; stop that one first, or choose another folder with --dir", .0.display())]
    InUse(PathBuf),
    /// The folder holds another number of shards.
    #[error(
        "{} holds {found} shards, and {given} were asked for; start it with --shards {found}, \
         or choose another folder with --dir",
        folder.display()
    )]
    OtherCount {
        /// The cluster's folder.
        folder: PathBuf,
        /// The number of shards in the folder.
        found: usize,
        /// The requested number of shards.
        given: usize,
    },
    /// No port is free.
    #[error("found no free port on 127.0.0.1")]
    NoPort,
    /// A server program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program's name.
        program: String,
        /// The program's output.
        output: String,
    },
    /// The server ended during its start.
    #[error("the PostgreSQL server in {} ended at its start; the end of its log:\n{log}", folder.display())]
    Ended {
        /// The data folder.
        folder: PathBuf,
        /// The end of the log.
        log: String,
    },
    /// The server runs, but does not answer.
    #[error("the PostgreSQL server in {} did not answer in time ({reason}); the end of its log:\n{log}", folder.display())]
    NoAnswer {
        /// The data folder.
        folder: PathBuf,
        /// The error of the last connection attempt.
        reason: String,
        /// The end of the log.
        log: String,
    },
    /// The cache server ended during its start, or did not answer.
    #[error("the cache server in {} did not start; its log:\n{log}", folder.display())]
    CacheEnded {
        /// The server's folder.
        folder: PathBuf,
        /// The server's log.
        log: String,
    },
    /// A statement failed.
    #[error("a statement on the local PostgreSQL server failed: {0}")]
    Statement(#[from] sqlx::Error),
    /// A file could not be read, written or run.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl LocalError {
    /// For `map_err`: an input or output error of this file.
    pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
