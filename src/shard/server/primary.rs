//! Finds the primary among a shard's servers.

use std::cmp::Reverse;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::Instant;

/// The delay after which the other servers are asked too, if the last known primary has not answered by then.
const HEDGE_DELAY: Duration = Duration::from_millis(100);
/// How long the other servers may still answer after one has claimed to be the primary, if no primary is known.
const CLAIM_GRACE: Duration = Duration::from_millis(500);

/// Which history a server writes. A promotion begins a new timeline of the same system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) struct ServerLineage {
    /// The system identifier, which `initdb` made up.
    pub(in crate::shard) system: i64,
    /// 1 at first; each promotion adds 1.
    pub(super) timeline: i32,
}

impl ServerLineage {
    /// True if a server on this lineage was promoted in place of a server on `other`.
    #[must_use]
    pub(in crate::shard) fn supersedes(self, other: Self) -> bool {
        self.system == other.system && self.timeline > other.timeline
    }
}

/// What a server reports of itself.
#[derive(sqlx::FromRow)]
struct ReportedRole {
    system: i64,
    /// None on a standby.
    timeline: Option<i32>,
    read_only: bool,
}

impl ReportedRole {
    fn lineage(&self) -> Option<ServerLineage> {
        self.timeline.map(|timeline| ServerLineage { system: self.system, timeline })
    }

    /// The better the server, the smaller.
    fn rank(&self) -> (bool, bool, Reverse<i32>) {
        (self.timeline.is_none(), self.read_only, Reverse(self.timeline.unwrap_or_default()))
    }

    /// True if there is no reason to wait for another server's answer.
    fn is_enough(&self, known: Option<ServerLineage>) -> bool {
        match (self.lineage(), known) {
            (Some(found), Some(known)) => !self.read_only && !known.supersedes(found),
            _ => false,
        }
    }
}

async fn probe_role(options: &PgConnectOptions) -> Result<(ReportedRole, PgConnection), sqlx::Error> {
    let mut connection = options.connect().await?;
    let role = sqlx::query_as(include_str!("../../../sql/shard/server_role.sql")).fetch_one(&mut connection).await?;
    Ok((role, connection))
}

/// The lineage of a server that takes writes; `None` for any other server.
pub(in crate::shard) async fn probe_writable_host(
    options: &PgConnectOptions,
) -> Result<Option<ServerLineage>, sqlx::Error> {
    let (role, _) = probe_role(options).await?;
    Ok(role.lineage().filter(|_| !role.read_only))
}

/// A connection to the primary among several servers, and the primary's index. `last` is asked first; the others are
/// asked when `last` fails or is slow. Of several primaries, the one promoted last is chosen. Without a primary, the
/// connection leads to a standby, without an index. The future may be dropped at any await.
pub(in crate::shard) async fn connect_to_primary(
    endpoints: &[PgConnectOptions],
    last: Option<usize>,
    known: Option<ServerLineage>,
) -> Result<(Option<usize>, PgConnection), sqlx::Error> {
    let mut asked: FuturesUnordered<_> = FuturesUnordered::new();
    let ask_one = |index: usize, options| async move { (index, probe_role(options).await) };
    let (first, mut others): (Vec<_>, Vec<_>) =
        endpoints.iter().enumerate().partition(|(index, _)| Some(*index) == last);
    let has_first = !first.is_empty();
    asked.extend(first.into_iter().map(|(index, options)| ask_one(index, options)));
    let mut hedge = has_first.then(|| Instant::now() + HEDGE_DELAY);

    let mut best: Option<(usize, ReportedRole, PgConnection)> = None;
    let mut failure = sqlx::Error::Io(std::io::ErrorKind::NotConnected.into());
    loop {
        if hedge.is_none() {
            asked.extend(others.drain(..).map(|(index, options)| ask_one(index, options)));
        }
        // Without a known primary, the others get time to claim the role before the first claim is accepted.
        let wait = hedge.or_else(|| {
            best.as_ref().filter(|(_, role, _)| role.timeline.is_some()).map(|_| Instant::now() + CLAIM_GRACE)
        });
        let answer = match wait {
            Some(until) => tokio::time::timeout_at(until, asked.next()).await,
            None => Ok(asked.next().await),
        };
        match answer {
            Ok(Some((index, Ok((role, connection))))) => {
                if role.is_enough(known) {
                    return Ok((Some(index), connection));
                }
                if best.as_ref().is_none_or(|(_, other, _)| role.rank() < other.rank()) {
                    best = Some((index, role, connection));
                }
                hedge = None;
            }
            Ok(Some((_, Err(error)))) => {
                failure = error;
                hedge = None;
            }
            Err(_) if hedge.is_some() => hedge = None,
            Ok(None) if !others.is_empty() => hedge = None,
            Ok(None) | Err(_) => break,
        }
    }
    match best {
        Some((index, role, connection)) => Ok((role.timeline.map(|_| index), connection)),
        None => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_server_is_a_primary_that_takes_writes_and_was_promoted_last() {
        let role = |timeline, read_only| ReportedRole { system: 1, timeline, read_only };
        let best_first = [role(Some(3), false), role(Some(2), false), role(Some(3), true), role(None, true)];
        assert!(best_first.is_sorted_by(|a, b| a.rank() < b.rank()));
        let known = Some(ServerLineage { system: 1, timeline: 3 });
        let enough: Vec<_> = best_first.iter().map(|role| role.is_enough(known)).collect();
        assert_eq!(enough, [true, false, false, false]);
        assert!(!best_first[0].is_enough(None), "the others are asked, too");
    }
}
