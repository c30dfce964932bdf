//! The HTTP server: binds the address, then runs until stopped.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::AppConfig;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, dev};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::acceptor::{ClientLink, ConnectionAcceptor, listen_on};
use super::connections::{ConnectionLimits, ConnectionTable};
use super::cors::CorsOrigins;
use super::middleware::EdgeOptions;
use super::request_id::with_request_id;
use super::tls::TlsCertificate;
use crate::http::dashboard::DashboardFeed;
use crate::http::guards::sign_in::SignInState;
use crate::http::metrics::request_counts::RequestCounts;
use crate::http::routes::{RouteGuards, configure, endpoints};
use crate::http::state::AppState;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to close its side of a closed connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where to listen, and with how much.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// `host:port`; port 0 takes any free port.
    pub bind: String,
    /// Worker threads.
    pub workers: usize,
    /// How long a stopping server goes on serving, so that load balancers notice the stop.
    pub drain_delay: Duration,
    /// How long a stop then waits for running requests.
    pub shutdown_timeout: Duration,
    /// How many connections there may be, and for how long without a request.
    pub connections: ConnectionLimits,
    /// The sites whose scripts may read answers.
    pub cors: Option<CorsOrigins>,
}

/// A listening server.
pub struct ApiServer {
    server: dev::Server,
    addresses: Vec<SocketAddr>,
    draining: CancellationToken,
    closing: Arc<AtomicBool>,
    drain_delay: Duration,
}

impl ApiServer {
    /// Starts to listen. Nothing is answered before [`ApiServer::run`].
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn bind(options: &ServerOptions, tls: Option<&Arc<TlsCertificate>>, state: AppState) -> io::Result<Self> {
        let draining = state.draining.clone();
        let (state, counts) = (
            Data::new(state),
            Data::new(RequestCounts::new(endpoints().iter().map(|endpoint| endpoint.path().to_owned()))),
        );
        let feed = Data::new(DashboardFeed::new());
        let cluster = Arc::clone(&state.cluster);
        let looks = feed.clone().into_inner().run(state.clone().into_inner(), counts.clone().into_inner());
        let closing = Arc::new(AtomicBool::new(false));
        let connections = ConnectionTable::new(options.connections.clone(), HEAD_TIMEOUT);
        state.cluster.spawn(Arc::clone(&connections).watch(state.cluster.stop_token().clone()));
        let kept_connections = Data::from(Arc::clone(&connections));
        let (say_goodbye, cors, over_tls) = (Arc::clone(&closing), options.cors.clone(), tls.is_some());
        let app = move || {
            let proxies: Rc<[IpNet]> = state.proxies.as_slice().into();
            let sign_in = state
                .sign_in
                .clone()
                .map(|verifier| Rc::new(SignInState::new(verifier, state.limiter.clone(), Rc::clone(&proxies))));
            let limiter = state.limiter.clone().map(|limiter| (limiter, Rc::clone(&proxies)));
            let guards = RouteGuards { sign_in, limiter };
            let routes = move |config: &mut ServiceConfig| configure(config, &guards);
            let edge = Rc::new(EdgeOptions {
                closing: Arc::clone(&say_goodbye),
                over_tls,
                cors: cors.clone(),
                is_limited: state.limiter.is_some(),
                proxies: Rc::clone(&proxies),
            });
            let wrap = move |request, service: &_| with_request_id(Rc::clone(&edge), request, service);
            let app = App::new().app_data(state.clone()).app_data(counts.clone()).app_data(feed.clone());
            app.app_data(kept_connections.clone()).wrap_fn(wrap).configure(routes)
        };
        let tls = tls.map(|tls| tls.server_config().map_err(io::Error::other)).transpose()?;
        let acceptor = ConnectionAcceptor::new(connections, tls);
        let mut builder = ServerBuilder::new()
            .workers(options.workers)
            .max_concurrent_connections(options.connections.total.div_ceil(options.workers).max(1))
            .shutdown_timeout(options.shutdown_timeout.as_secs())
            .disable_signals();
        let mut addresses = Vec::new();
        for socket in listen_on(&options.bind)? {
            let address = socket.local_addr()?;
            addresses.push(address);
            let (app, acceptor, keep_alive) = (app.clone(), acceptor.clone(), options.connections.keep_alive);
            let ending = builder.graceful_shutdown_signal();
            builder = builder.listen(format!("http {address}"), socket, move || {
                let ending = ending.clone();
                let http = HttpService::build()
                    .graceful_shutdown_signal(move || {
                        let ending = ending.clone();
                        async move { ending.notified().await }
                    })
                    // Work for a gone client stops.
                    .h1_allow_half_closed(false)
                    .client_request_timeout(HEAD_TIMEOUT)
                    .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                    .keep_alive(KeepAlive::Timeout(keep_alive))
                    .local_addr(address)
                    .on_connect_ext(|link: &ClientLink, data: &mut dev::Extensions| {
                        data.insert(Arc::clone(link.connection()));
                    });
                // The default config names no host: no answer has links to this server.
                let app = app().into_factory().map_err(|error: actix_web::Error| error.error_response());
                acceptor.clone().in_front_of(http.finish(map_config(app, |()| AppConfig::default())))
            })?;
        }
        cluster.spawn(looks);
        Ok(Self { server: builder.run(), addresses, draining, closing, drain_delay: options.drain_delay })
    }

    /// The addresses of the listening sockets.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `stop` ends. Then `/health/ready` fails, and for the drain delay everything is still served, each
    /// answer with `Connection: close`: a connection closes after an answer, never under a request on the way.
    /// After the drain delay nothing new is accepted, and running requests finish, for as long as the options allow.
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
