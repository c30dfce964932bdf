//! Records an operator action before it is done, and its outcome afterwards.

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::expire::delete_expired_entries;
use super::table::{AddEntry, EndEntry, ListEntries};
use super::tries::AttemptLog;
use super::{ActionOutcome, EntryCursor, EntryFilter, LoggedAction, NewEntry};
use crate::payload::PageSize;
use crate::shard::{Cluster, ShardCall, ShardError, ShardId};

/// The audit log of a cluster.
pub struct AuditLog {
    cluster: Arc<Cluster>,
    keep_days: u16,
    attempts: AttemptLog,
}

/// A recorded action in progress. The caller must pass the outcome to [`AuditLog::end_action`].
#[must_use = "an act that has ended has an outcome"]
#[derive(Debug)]
pub struct BegunAction {
    id: Uuid,
    entry: NewEntry,
}

impl AuditLog {
    /// The log of this cluster, which keeps new entries for `keep_days`.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, keep_days: u16) -> Self {
        Self { cluster, keep_days, attempts: AttemptLog::new() }
    }

    /// Deletes expired entries until the cluster shuts down.
    pub fn expire_in_background(&self) {
        self.cluster.spawn(delete_expired_entries(Arc::clone(&self.cluster)));
    }

    /// Records that an action is about to begin. After an error the caller must not do the action.
    ///
    /// A cancelled call may have recorded the action, whose entry then stays "begun".
    ///
    /// # Errors
    /// The error of shard 0.
    pub async fn begin_action(&self, entry: NewEntry) -> Result<BegunAction, ShardError> {
        let begun = BegunAction { id: Uuid::new_v4(), entry };
        let add = AddEntry { id: begun.id, entry: &begun.entry, outcome: None, keep_days: self.keep_days };
        match self.run_on_first_shard(&add).await {
            Ok(()) => Ok(begun),
            Err(error) => {
                log_action(&begun.entry, "not done", Some("audit_unavailable"));
                Err(error)
            }
        }
    }

    /// Records how an action ended. If the record fails, the action is done all the same, and its entry stays
    /// "begun".
    pub async fn end_action(&self, begun: BegunAction, outcome: ActionOutcome) {
        log_action(&begun.entry, outcome.as_str(), outcome.problem_code());
        if let Err(error) = self.run_on_first_shard(&EndEntry { id: begun.id, outcome }).await {
            log::warn!("the outcome of an action could not be recorded; its entry stays \"begun\": {error}");
        }
    }

    /// Records a refused attempt, unless there were too many in this hour. The attempt is refused in any case.
    pub async fn record_refused_attempt(&self, mut entry: NewEntry, code: &'static str) {
        let Some(passed_over) = self.attempts.admit_entry(Instant::now()) else { return };
        if passed_over > 0 {
            entry.details.add_field("tries_not_noted", &passed_over.into());
        }
        let outcome = ActionOutcome::Refused(code);
        log_action(&entry, outcome.as_str(), outcome.problem_code());
        let add = AddEntry { id: Uuid::new_v4(), entry: &entry, outcome: Some(outcome), keep_days: self.keep_days };
        if let Err(error) = self.run_on_first_shard(&add).await {
            log::warn!("a refused attempt could not be recorded: {error}");
        }
    }

    /// A page of entries, the newest first, and the cursor of the next page, if any.
    ///
    /// # Errors
    /// The error of shard 0.
    pub async fn list_entries(
        &self,
        filter: &EntryFilter,
        size: PageSize,
    ) -> Result<(Vec<LoggedAction>, Option<EntryCursor>), ShardError> {
        let mut entries = self.run_on_first_shard(&ListEntries { filter, limit: size.rows() }).await?;
        let next = size.cut(&mut entries, LoggedAction::byte_count, LoggedAction::cursor);
        Ok((entries, next))
    }

    async fn run_on_first_shard<C: ShardCall>(&self, call: &C) -> Result<C::Output, ShardError> {
        let first = self.cluster.shard(ShardId::default()).ok_or(ShardError::Moving)?;
        first.run(call).await?.ok_or(ShardError::Moving)
    }
}

/// One line in the log for each action.
fn log_action(entry: &NewEntry, outcome: &str, code: Option<&str>) {
    let NewEntry { act, actor, source, details, .. } = entry;
    let source = source.map_or_else(|| "-".to_owned(), |source| source.to_string());
    log::info!(
        target: "audit",
        act = act.as_str(), actor = actor.name.as_str(), scope = actor.scope, source = source.as_str(), details:serde = details.0,
        outcome, code = code.unwrap_or("-");
        "{} by {}: {outcome}", act.as_str(), actor.name
    );
}
