//! The HTTP server: built, then run until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::KeepAlive;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer, dev};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::counts::RequestCounts;
use super::dashboard::Feed;
use super::request_id::observe;
use super::routes::configure;
use super::sample::Sampler;
use super::sign_in::SignIn;
use crate::auth::Verifier;
use crate::cache::Cache;
use crate::events::Events;
use crate::files::Files;
use crate::files::bulk::BulkLimits;
use crate::records::Records;
use crate::reshard::Requests;
use crate::shard::{AdminKeys, Cluster};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to close a connection that we close.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may lie idle: longer than the load balancers in front keep theirs (60 s is usual), so that
/// none of them sends a request into a connection that is being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections for each worker at most; more wait in the backlog.
const MAX_CONNECTIONS: usize = 10_000;

/// Where to listen, and with how much.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerOptions {
    /// `host:port`; port 0 takes any free one.
    pub bind: String,
    /// Threads that serve.
    pub workers: usize,
    /// How long a stop goes on serving, so that whoever sends requests here can notice it and send no more.
    pub drain_delay: Duration,
    /// How long a stop waits for requests in flight after that.
    pub shutdown_timeout: Duration,
}

/// What the handlers work with.
pub struct AppState {
    /// The shards.
    pub cluster: Arc<Cluster>,
    /// The files.
    pub files: Arc<Files>,
    /// The documents.
    pub records: Arc<Records>,
    /// The cache.
    pub cache: Arc<Cache>,
    /// Moves of slots.
    pub requests: Requests,
    /// What acts on the cluster were asked for with a key.
    pub admin_keys: AdminKeys,
    /// How long a new shard may take to answer.
    pub connect_timeout: Duration,
    /// What a bulk load may ask for.
    pub bulk: BulkLimits,
    /// One for each bulk load that may run at the same time: each holds memory.
    pub bulk_permits: Semaphore,
    /// How long `/stats` waits for a shard.
    pub stats_timeout: Duration,
    /// Who may call; `None` while sign-in is off.
    pub sign_in: Option<Arc<Verifier>>,
    /// What is told of changes.
    pub events: Arc<Events>,
    /// How many single writes may wait for a shard.
    pub write_queue: usize,
    /// What `/metrics` tells besides counts.
    pub sampler: Arc<Sampler>,
    /// Cancelled when the service begins to stop.
    pub draining: CancellationToken,
}

/// A server that listens.
pub struct Server {
    server: dev::Server,
    addresses: Vec<SocketAddr>,
    draining: CancellationToken,
    closing: Arc<AtomicBool>,
    drain_delay: Duration,
}

impl Server {
    /// Starts to listen. Nothing is answered before [`Server::run`].
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn bind(options: &ServerOptions, state: AppState) -> io::Result<Self> {
        let draining = state.draining.clone();
        let (state, counts) = (Data::new(state), Data::new(RequestCounts::new()));
        let feed = Data::new(Feed::new());
        let cluster = Arc::clone(&state.cluster);
        let looks = feed.clone().into_inner().run(state.clone().into_inner(), counts.clone().into_inner());
        let closing = Arc::new(AtomicBool::new(false));
        let say_goodbye = Arc::clone(&closing);
        let app = move || {
            let sign_in = state.sign_in.clone().map(|verifier| Rc::new(SignIn::new(verifier)));
            let routes = move |config: &mut ServiceConfig| configure(config, sign_in.as_ref());
            let say_goodbye = Arc::clone(&say_goodbye);
            let wrap = move |request, service: &_| observe(Arc::clone(&say_goodbye), request, service);
            let app = App::new().app_data(state.clone()).app_data(counts.clone()).app_data(feed.clone());
            app.wrap_fn(wrap).configure(routes)
        };
        let server = HttpServer::new(app)
            .workers(options.workers)
            .max_connections(MAX_CONNECTIONS)
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .tcp_nodelay(true)
            .shutdown_timeout(options.shutdown_timeout.as_secs())
            .disable_signals()
            .bind(&options.bind)?;
        let addresses = server.addrs();
        cluster.spawn(looks);
        Ok(Self { server: server.run(), addresses, draining, closing, drain_delay: options.drain_delay })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `stop` ends. Then `/health/ready` says so, and for the drain delay everything is still served, each answer
    /// with `Connection: close`: a connection is closed by the one who answered on it, never under a request that is on its way.
    /// After that nothing new is accepted, and what is in flight is finished, for as long as the options allow.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> io::Result<()> {
        tokio::select! {
            ended = &mut self.server => return ended,
            () = stop => {}
        }
        self.draining.cancel();
        self.closing.store(true, Ordering::Relaxed);
        tokio::select! {
            ended = &mut self.server => return ended,
            () = tokio::time::sleep(self.drain_delay) => {}
        }
        let handle = self.server.handle();
        let (ended, ()) = tokio::join!(self.server, handle.stop(true));
        ended
    }
}
