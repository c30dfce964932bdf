//! The checks of a start: all faults are reported at once, and the cluster opens only without a fault.
//!
//! The facts of every database are gathered first. [`find_faults`] then judges all facts together, so that a start
//! names every fault.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sqlx::migrate::Migrator;

use crate::shard::cluster::routing::Cluster;
use crate::shard::map::SlotMap;
use crate::shard::server::health::ShardState;
use crate::shard::server::options::ShardOptions;
use crate::shard::server::pool::{RequiredRole, ShardIdentity, ShardLimits};
use crate::shard::server::shard::Shard;
use crate::shard::slot::{ShardId, shard_id};

mod facts;

use facts::reachable_shards;
pub use facts::shard_in;
pub(in crate::shard) use facts::{DatabaseProbe, ENCODING, OLDEST_SERVER, load_identity, probe_all};
pub(super) use facts::{FoundIdentity, probe_with_registered};

/// A fault to mend before the service may start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartFault {
    /// No shard answers at all.
    NoShardReachable(Vec<(ShardId, String)>),
    /// A shard does not answer, where all are needed.
    Unreachable(ShardId, String),
    /// Two URLs lead to the same database.
    SameDatabase(ShardId, ShardId),
    /// The server is too old.
    OldServer(ShardId, i32),
    /// The database keeps its texts in this encoding, and not in UTF-8.
    Encoding(ShardId, String),
    /// The URL leads to a standby.
    Standby(ShardId),
    /// The versions of the missing migrations.
    MissingMigrations(ShardId, Vec<i64>),
    /// The versions of migrations that removed something this program needs.
    NewerMigrations(ShardId, Vec<i64>),
    /// The versions of migrations that broke off or were changed after use.
    BrokenMigrations(ShardId, Vec<i64>),
    /// The database is not a shard yet.
    NotSetUp(ShardId),
    /// The database is another shard's.
    Swapped(ShardId, i32),
    /// The database belongs to another cluster than the first reachable shard.
    OtherCluster(ShardId),
    /// The cluster has another number of shards.
    ShardCount(ShardId, i32, usize),
    /// The database has no whole slot map.
    NoMap(ShardId),
    /// The database is empty, but the cluster was set up long ago.
    LostShard(ShardId),
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoShardReachable(reasons) => {
                write!(f, "no shard can be reached:")?;
                reasons.iter().try_for_each(|(shard, reason)| write!(f, " SHARD_{shard}_URL: {reason};"))
            }
            Self::Unreachable(shard, reason) => write!(f, "SHARD_{shard}_URL: cannot be reached: {reason}"),
            Self::SameDatabase(first, second) => {
                write!(f, "SHARD_{first}_URL and SHARD_{second}_URL name the same database; each shard needs its own")
            }
            Self::OldServer(shard, version) => {
                write!(f, "SHARD_{shard}_URL: PostgreSQL {} is too old; 15 or newer is needed", version / 10_000)
            }
            Self::Encoding(shard, encoding) => {
                write!(
                    f,
                    "SHARD_{shard}_URL: the encoding of the database is {encoding}; create it with ENCODING 'UTF8'"
                )
            }
            Self::Standby(shard) => write!(f, "SHARD_{shard}_URL: is a standby; name the primary"),
            Self::MissingMigrations(shard, versions) => {
                write!(f, "SHARD_{shard}_URL: lacks the migrations {versions:?}; run \"shardrive migrate\"")
            }
            Self::NewerMigrations(shard, versions) => {
                write!(
                    f,
                    "SHARD_{shard}_URL: has the migrations {versions:?} of a newer Shardrive, which this one is too old for; start a newer one"
                )
            }
            Self::BrokenMigrations(shard, versions) => write!(
                f,
                "SHARD_{shard}_URL: the migrations {versions:?} differ from this program's or broke off; \
                 restore the database or start the program that made it"
            ),
            Self::NotSetUp(shard) => {
                write!(f, "SHARD_{shard}_URL: is not a shard yet; run \"shardrive migrate\"")
            }
            Self::Swapped(shard, found) => {
                write!(f, "SHARD_{shard}_URL: leads to shard {found}; put the URLs in the order of their shards")
            }
            Self::OtherCluster(shard) => write!(f, "SHARD_{shard}_URL: belongs to another cluster than the others"),
            Self::ShardCount(shard, found, given) => write!(
                f,
                "SHARD_{shard}_URL: the slot map is for {found} shards, the settings name {given}; \
                 the number of shards never changes by the settings alone, as that would send users to the wrong shard"
            ),
            Self::NoMap(shard) => write!(f, "SHARD_{shard}_URL: has no whole slot map; restore shardrive.slot_map"),
            Self::LostShard(shard) => write!(
                f,
                "SHARD_{shard}_URL: is an empty database, but the cluster's other shards hold data; \
                 restore this shard from its backup"
            ),
        }
    }
}

/// Why the cluster was not opened.
#[derive(Debug, thiserror::Error)]
#[error("{}", list_faults(.0))]
pub struct StartError(pub Vec<StartFault>);

fn list_faults(faults: &[StartFault]) -> String {
    faults.iter().map(|fault| format!("- {fault}")).collect::<Vec<_>>().join("\n")
}

/// The faults that forbid any change to the databases: a URL leads to the wrong database.
pub(super) fn identity_faults(probes: &[DatabaseProbe]) -> Vec<StartFault> {
    let mut faults = Vec::new();
    let mut seen: HashMap<&str, ShardId> = HashMap::new();
    let mut cluster = None;
    let counts = reachable_shards(probes).filter_map(|(_, facts)| usize::try_from(facts.identity?.shard_count).ok());
    let largest = counts.max().unwrap_or(probes.len());
    for (shard, facts) in reachable_shards(probes) {
        if let Some(first) = seen.insert(&facts.database_key, shard) {
            faults.push(StartFault::SameDatabase(first, shard));
            continue;
        }
        if facts.server_version < OLDEST_SERVER {
            faults.push(StartFault::OldServer(shard, facts.server_version));
        }
        if facts.encoding != ENCODING {
            faults.push(StartFault::Encoding(shard, facts.encoding.clone()));
        }
        if facts.is_standby {
            faults.push(StartFault::Standby(shard));
        }
        let Some(identity) = facts.identity else { continue };
        if *cluster.get_or_insert(identity.cluster_id) != identity.cluster_id {
            faults.push(StartFault::OtherCluster(shard));
            continue;
        }
        if identity.shard_id != shard.to_sql() {
            faults.push(StartFault::Swapped(shard, identity.shard_id));
        }
        // While a shard is added, some of the other shards have not learned of the new shard yet.
        let count = usize::try_from(identity.shard_count).unwrap_or(usize::MAX);
        if count > probes.len() || largest < probes.len() {
            faults.push(StartFault::ShardCount(shard, identity.shard_count, probes.len()));
        }
    }
    let served_before =
        reachable_shards(probes).any(|(_, facts)| facts.identity.is_some_and(|identity| identity.ready));
    if served_before && !faults.iter().any(|fault| matches!(fault, StartFault::ShardCount(..))) {
        let lost = reachable_shards(probes).filter(|(_, facts)| facts.identity.is_none());
        faults.extend(lost.map(|(shard, _)| StartFault::LostShard(shard)));
    }
    faults
}

/// All faults that forbid to serve.
fn find_faults(probes: &[DatabaseProbe], migrator: &Migrator) -> Vec<StartFault> {
    if probes.iter().all(Result::is_err) {
        let reasons = probes
            .iter()
            .enumerate()
            .filter_map(|(index, probe)| Some((shard_id(index), probe.as_ref().err()?.clone())));
        return vec![StartFault::NoShardReachable(reasons.collect())];
    }
    let mut faults = identity_faults(probes);
    for (shard, facts) in reachable_shards(probes) {
        let known = |version: i64| migrator.iter().find(|migration| migration.version == version);
        let applied = |version: i64| facts.migrations.iter().any(|applied| applied.version == version);

        let missing: Vec<_> = migrator.iter().map(|m| m.version).filter(|version| !applied(*version)).collect();
        // During an update, programs of the release before still run, and may start again, on the new schema.
        let newest = migrator.iter().map(|m| m.version).max().unwrap_or(0);
        let newer: Vec<_> = facts
            .migrations
            .iter()
            .filter(|m| known(m.version).is_none() && m.required_migration() > newest)
            .map(|m| m.version)
            .collect();
        let broken: Vec<_> = facts
            .migrations
            .iter()
            .filter(|m| !m.success || known(m.version).is_some_and(|known| *known.checksum != *m.checksum))
            .map(|m| m.version)
            .collect();

        let nothing_there = facts.migrations.is_empty() && faults.contains(&StartFault::LostShard(shard));
        if !missing.is_empty() && !nothing_there {
            faults.push(StartFault::MissingMigrations(shard, missing));
        } else if !faults.contains(&StartFault::LostShard(shard)) {
            match facts.identity {
                Some(identity) if identity.ready => {
                    if facts.map.is_none() {
                        faults.push(StartFault::NoMap(shard));
                    }
                }
                _ => faults.push(StartFault::NotSetUp(shard)),
            }
        }
        if !newer.is_empty() {
            faults.push(StartFault::NewerMigrations(shard, newer));
        }
        if !broken.is_empty() {
            faults.push(StartFault::BrokenMigrations(shard, broken));
        }
    }
    faults
}

impl Cluster {
    /// Opens the cluster: probes every database, reports all faults at once, and starts the health probes.
    ///
    /// An unreachable shard is no fault as long as another shard answers. Its users are served as soon as the shard
    /// answers and turns out to be the right database.
    ///
    /// # Errors
    /// All faults found.
    pub async fn open(urls: Vec<ShardOptions>, limits: ShardLimits) -> Result<Arc<Self>, StartError> {
        let named = urls.len();
        let (urls, probes) = probe_with_registered(urls, limits.connect_timeout).await;
        let faults = find_faults(&probes, &migrator());
        if !faults.is_empty() {
            return Err(StartError(faults));
        }
        let cluster_id =
            reachable_shards(&probes).find_map(|(_, facts)| Some(facts.identity?.cluster_id)).unwrap_or_default();
        let mut map: Option<SlotMap> = None;
        for copy in reachable_shards(&probes).filter_map(|(_, facts)| facts.map.as_ref()) {
            match &mut map {
                Some(map) => map.merge(copy),
                None => map = Some(copy.clone()),
            }
        }
        let schema_version = migrator().iter().map(|migration| migration.version).max();
        let mut shards = Vec::with_capacity(urls.len());
        for (index, (options, probe)) in urls.into_iter().zip(&probes).enumerate() {
            let state = match probe {
                Ok(_) => ShardState::Healthy,
                Err(reason) => {
                    log::warn!("shard {index} is unreachable: {reason}");
                    ShardState::Unreachable
                }
            };
            let identity =
                ShardIdentity { cluster_id, shard: shard_id(index), schema_version, role: RequiredRole::Primary };
            let options = options.with_session_settings(limits.call_timeout);
            shards.push(Arc::new(Shard::new(options, identity, limits, state)));
        }
        let map = map.ok_or_else(|| StartError(vec![StartFault::NoMap(ShardId::default())]))?;
        let cluster = Self::assemble((cluster_id, schema_version), shards, map, limits).await;
        cluster.register_named_shards(named).await;
        Ok(cluster)
    }
}

/// The migrations of this program, kept in a table of the service's own schema.
pub(in crate::shard) fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.create_schema("shardrive");
    // A newer release may have added migrations during an update.
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name("shardrive._sqlx_migrations");
    migrator
}

#[cfg(test)]
mod tests;
