//! `shardrive serve`: opens the shards, serves the API, and stops without losing a request.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::config::ConfigArgs;
use super::output::say;
use super::{CliError, load_settings};
use crate::audit::AuditLog;
use crate::auth::{AuthSettings, ProviderUrl, SignInProvider, TokenVerifier};
use crate::cache::Cache;
use crate::config::{SettingFlags, Settings};
use crate::drive::{DriveService, purge_in_background};
use crate::events::EventsStatus;
use crate::files::FileService;
use crate::http::{ApiServer, AppState, ShardSampler, TlsCertificate};
use crate::limits::{RateLimiter, RunningLoads};
use crate::records::{Collection, RecordError, RecordService};
use crate::reshard::{MoveService, TestStop, drive_in_background};
use crate::shard::{AdminKeys, Cluster, expire_in_background, migrate};
use crate::stats::fold_in_background;
use crate::telemetry::{TraceExport, process};

const EXAMPLES: &str = "\
Examples:
  shardrive serve --migrate --bind 0.0.0.0:8000
  shardrive serve --config /etc/shardrive.toml";

/// Serve the API until SIGTERM or Ctrl-C
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The address to listen on, in place of `BIND_ADDR`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// Migrate the shards' databases first
    #[arg(long)]
    migrate: bool,
    /// For tests: end at this step of a move
    #[arg(long, hide = true)]
    end_at_step: Option<String>,
}

impl ServeArgs {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let settings = load_settings(&SettingFlags { bind: self.bind, ..self.config.into_flags() })?;
        if self.migrate {
            migrate(&settings.shards, settings.shard_limits.connect_timeout).await?;
        }
        let is_tls = settings.edge.tls.is_some();
        let announce = move |addresses: &[SocketAddr]| print_addresses(addresses, is_tls);
        Box::pin(serve(settings, stop_signal(|| std::process::exit(1))?, TestStop::ends_at(self.end_at_step), announce))
            .await
    }
}

/// Opens the shards and serves them until `stop` ends; then finishes the requests in progress. `listening` gets the
/// addresses as soon as the server is bound.
///
/// # Errors
/// If the databases do not match the settings, or the address is taken.
pub(crate) async fn serve(
    settings: Settings,
    stop: impl Future<Output = ()> + Send,
    testing: TestStop,
    listening: impl FnOnce(&[SocketAddr]),
) -> Result<(), CliError> {
    // First, as its keys or files may be missing.
    let sign_in = set_up_sign_in(settings.auth)?;
    let tls = settings.edge.tls.map(TlsCertificate::load).transpose().map_err(CliError::Failed)?;
    process::mark_start();
    let traces = TraceExport::start(&settings.traces)
        .map_err(|why| CliError::Failed(format!("no client for OTEL_EXPORTER_OTLP_ENDPOINT can be made: {why}")))?;
    let cluster = Box::pin(Cluster::open(settings.shards, settings.shard_limits)).await?;
    let limiter = settings.edge.rate.map(|rate| Arc::new(RateLimiter::new(rate, settings.cache.url.clone())));
    if let Some(limiter) = &limiter {
        cluster.spawn(limiter.keep_connected(cluster.stop_token().clone()));
    }
    if let Some(tls) = &tls {
        cluster.spawn(Arc::clone(tls).follow_files(cluster.stop_token().clone()));
    }
    let cache = Cache::start(Arc::clone(&cluster), settings.cache);
    let files = Arc::new(FileService::start(Arc::clone(&cluster), Arc::clone(&cache), settings.writer));
    let records = Arc::new(RecordService::start(Arc::clone(&cluster), Arc::clone(&cache), settings.writer));
    declare_collections(&records, settings.collections).await?;
    fold_in_background(&cluster);
    expire_in_background(&cluster);
    purge_in_background(&cluster, &cache, settings.trash_keep_days);
    let events = EventsStatus::start(&cluster, &settings.events);
    drive_in_background(&cluster, testing);
    if let Some(provider) = sign_in.as_ref().and_then(|(_, provider)| provider.clone()) {
        cluster.spawn(provider.keep_fetching(cluster.stop_token().clone()));
    }
    let audit = AuditLog::new(Arc::clone(&cluster), settings.audit_keep_days);
    audit.expire_in_background();
    let state = AppState {
        cluster: Arc::clone(&cluster),
        drives: DriveService::new(Arc::clone(&cluster), Arc::clone(&cache)),
        files,
        records,
        cache,
        requests: MoveService::new(Arc::clone(&cluster)),
        admin_keys: AdminKeys::new(Arc::clone(&cluster)),
        audit,
        connect_timeout: settings.shard_limits.connect_timeout,
        bulk: settings.bulk,
        bulk_permits: Semaphore::new(settings.bulk.loads),
        loads: RunningLoads::new(settings.edge.loads_per_caller.unwrap_or(RunningLoads::share_of(settings.bulk.loads))),
        limiter,
        proxies: settings.edge.proxies,
        stats_timeout: settings.stats_timeout,
        sign_in: sign_in.map(|(verifier, _)| Arc::new(verifier)),
        events,
        write_queue: settings.writer.queue,
        sampler: ShardSampler::start(&cluster, settings.stats_timeout),
        draining: CancellationToken::new(),
    };
    let server = ApiServer::bind(&settings.server, tls.as_ref(), state)
        .map_err(|source| CliError::Listen { address: settings.server.bind.clone(), source })?;
    listening(server.addresses());
    let served = server.run(stop).await;
    log::info!("all requests have ended; closing the shards' connections");
    cluster.shut_down().await;
    traces.shut_down().await;
    Ok(served?)
}

/// Prints the addresses on standard output at once, as scripts that start the service wait for this line.
pub(super) fn print_addresses(addresses: &[SocketAddr], is_tls: bool) {
    let scheme = if is_tls { "https" } else { "http" };
    for address in addresses {
        say!("listening on {scheme}://{address}");
    }
}

/// The verifier of the callers' tokens, and the provider whose keys must be fetched.
type SignInParts = (TokenVerifier, Option<Arc<SignInProvider>>);

/// Creates the verifier, and logs how callers sign in.
fn set_up_sign_in(settings: Option<AuthSettings>) -> Result<Option<SignInParts>, CliError> {
    let Some(settings) = settings else {
        log::warn!("sign-in is off: every client that reaches the address may do anything (docs/security.md)");
        return Ok(None);
    };
    match settings.provider_url() {
        Some(url) => log::info!("callers sign in with tokens of {}", url.as_str()),
        None => log::info!("callers sign in with tokens signed with SHARDRIVE_AUTH_SECRET"),
    }
    if settings.provider_url().is_some_and(ProviderUrl::is_exposed) {
        log::warn!("the sign-in provider's keys come over plain HTTP: only in a network where nobody can change them");
    }
    TokenVerifier::new(settings).map(Some).map_err(CliError::Failed)
}

/// Declares the collections of the settings. If a shard is unreachable, an earlier start has most likely declared the
/// collection, so the start goes on.
async fn declare_collections(records: &RecordService, collections: Vec<Collection>) -> Result<(), CliError> {
    for collection in collections {
        let name = collection.name.clone();
        match records.declare(collection).await {
            Ok(_) => {}
            Err(RecordError::Shard(error)) => {
                log::warn!("collection {name} could not be declared on every shard: {error}")
            }
            Err(error) => return Err(CliError::Failed(format!("SHARDRIVE_COLLECTIONS: {error}"))),
        }
    }
    Ok(())
}

/// Ends at the first SIGTERM or SIGINT. A second signal calls `stop_at_once`.
///
/// # Errors
/// If the system refuses the signal handlers.
pub(crate) fn stop_signal(
    stop_at_once: impl FnOnce() + Send + 'static,
) -> Result<impl Future<Output = ()> + Send, std::io::Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut any = async move || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    Ok(async move {
        let name = any().await;
        log::info!("{name}: finishing the requests in progress");
        tokio::spawn(async move {
            let name = any().await;
            log::warn!("{name} again: stopping at once");
            stop_at_once();
        });
    })
}
