//! The state that every handler shares: the shards, the services on them, limits and sign-in.

use crate::audit::AuditLog;
use crate::auth::TokenVerifier;
use crate::cache::Cache;
use crate::events::EventsStatus;
use crate::files::FileService;
use crate::files::bulk::BulkLimits;
use crate::http::metrics::sampler::ShardSampler;
use crate::limits::AddressRange;
use crate::limits::RateLimiter;
use crate::limits::RunningLoads;
use crate::records::RecordService;
use crate::reshard::MoveService;
use crate::shard::AdminKeys;
use crate::shard::Cluster;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What the handlers work with.
pub struct AppState {
    /// The shards.
    pub cluster: Arc<Cluster>,
    /// The files.
    pub files: Arc<FileService>,
    /// The documents.
    pub records: Arc<RecordService>,
    /// The cache.
    pub cache: Arc<Cache>,
    /// Moves of slots.
    pub requests: MoveService,
    /// What acts on the cluster were asked for with a key.
    pub admin_keys: AdminKeys,
    /// Where acts of operators are noted before they are done.
    pub audit: AuditLog,
    /// How long a new shard may take to answer.
    pub connect_timeout: Duration,
    /// What a bulk load may ask for.
    pub bulk: BulkLimits,
    /// One for each bulk load that may run at the same time: each holds memory.
    pub bulk_permits: Semaphore,
    /// How many of them one caller may run.
    pub loads: Arc<RunningLoads>,
    /// How much callers may ask for; `None` for as much as they like.
    pub limiter: Option<Arc<RateLimiter>>,
    /// Those whose `X-Forwarded-For` counts.
    pub proxies: Vec<AddressRange>,
    /// How long `/stats` waits for a shard.
    pub stats_timeout: Duration,
    /// Who may call; `None` while sign-in is off.
    pub sign_in: Option<Arc<TokenVerifier>>,
    /// What is told of changes.
    pub events: Arc<EventsStatus>,
    /// How many single writes may wait for a shard.
    pub write_queue: usize,
    /// What `/metrics` tells besides counts.
    pub sampler: Arc<ShardSampler>,
    /// Cancelled when the service begins to stop.
    pub draining: CancellationToken,
}
