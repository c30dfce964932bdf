//! The state of all handlers: the shards, the services on the shards, limits and sign-in.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::auth::TokenVerifier;
use crate::cache::Cache;
use crate::drive::DriveService;
use crate::events::EventsStatus;
use crate::files::FileService;
use crate::files::bulk::BulkLimits;
use crate::http::metrics::sampler::ShardSampler;
use crate::limits::RateLimiter;
use crate::limits::RunningLoads;
use crate::records::RecordService;
use crate::reshard::MoveService;
use crate::shard::AdminKeys;
use crate::shard::Cluster;

/// The state of all handlers.
pub struct AppState {
    /// The shards.
    pub cluster: Arc<Cluster>,
    /// The files.
    pub files: Arc<FileService>,
    /// The folders.
    pub drives: DriveService,
    /// The documents.
    pub records: Arc<RecordService>,
    /// The cache.
    pub cache: Arc<Cache>,
    /// Moves of slots.
    pub requests: MoveService,
    /// The idempotency keys of operator actions.
    pub admin_keys: AdminKeys,
    /// The log of operator actions.
    pub audit: AuditLog,
    /// How long a new shard may take to answer.
    pub connect_timeout: Duration,
    /// The limits of a bulk load.
    pub bulk: BulkLimits,
    /// Permits for bulk loads of the process: each load holds memory.
    pub bulk_permits: Semaphore,
    /// Permits for bulk loads of each caller.
    pub loads: Arc<RunningLoads>,
    /// The rate limit; `None`: no limit.
    pub limiter: Option<Arc<RateLimiter>>,
    /// Trusted proxies, with an `X-Forwarded-For` that counts.
    pub proxies: Vec<IpNet>,
    /// How long `/stats` waits for a shard.
    pub stats_timeout: Duration,
    /// The check of tokens; `None`: sign-in is off.
    pub sign_in: Option<Arc<TokenVerifier>>,
    /// The state of the relays of events.
    pub events: Arc<EventsStatus>,
    /// How many single writes may wait for a shard.
    pub write_queue: usize,
    /// The samples of rows and moves for `/metrics`.
    pub sampler: Arc<ShardSampler>,
    /// Cancelled when the service begins to stop.
    pub draining: CancellationToken,
}
