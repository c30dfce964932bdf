//! Connection limits: a total, a number for each client address, and an idle timeout.
//!
//! The server's own clock for the head of a request covers only the first request of a connection. A client with one
//! good request, and then the next byte by byte, would keep the connection for ever; here the time runs out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;
use ipnet::IpNet;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::silent_addresses::SilentAddresses;
use crate::limits::{CallerKey, ranges_contain};
use crate::telemetry::metrics::Counter;

/// How often idle connections are looked for.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The log warns of a refused address this often at most.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// A connection without a request that ends sooner is a health probe, or a client changed its mind.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// How many there may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From an address; trusted proxies have no such limit.
    pub per_address: usize,
    /// Trusted proxies.
    pub proxies: Vec<IpNet>,
    /// How long a connection may lie idle between two requests.
    pub keep_alive: Duration,
}

pub(in crate::http) struct ConnectionTable {
    limits: ConnectionLimits,
    /// How long a connection may be idle.
    idle_limit: Duration,
    started: Instant,
    open: Mutex<OpenCounts>,
    counters: ConnectionCounters,
}

#[derive(Default)]
struct OpenCounts {
    by_address: HashMap<CallerKey, usize>,
    all: Vec<Weak<ClientConnection>>,
    last_warning: Option<Instant>,
    silent: SilentAddresses,
}

/// Counters of ended connections, for `/metrics`.
#[derive(Default)]
pub(in crate::http) struct ConnectionCounters {
    /// Connections with a request.
    pub(in crate::http) used: Counter,
    /// Connections without a request.
    pub(in crate::http) silent: Counter,
    /// Connections over the limit of an address.
    pub(in crate::http) refused: Counter,
    pub(in crate::http) handshakes: HandshakeCounters,
}

/// Counters of TLS handshakes.
#[derive(Default)]
pub(in crate::http) struct HandshakeCounters {
    pub(in crate::http) done: Counter,
    pub(in crate::http) failed: Counter,
    pub(in crate::http) timed_out: Counter,
}

pub(super) struct ClientConnection {
    connections: Arc<ConnectionTable>,
    peer: IpAddr,
    address: Option<CallerKey>,
    /// Running requests.
    busy: AtomicUsize,
    /// The end of the last request, in milliseconds since the start.
    used: AtomicU64,
    opened: Instant,
    /// A request came.
    has_requested: AtomicBool,
    close: Notify,
}

impl ConnectionTable {
    /// Connections within these limits, with so much time for the head of a request.
    pub(in crate::http) fn new(limits: ConnectionLimits, head: Duration) -> Arc<Self> {
        let idle_limit = limits.keep_alive + head;
        let (open, counters) = (Mutex::default(), ConnectionCounters::default());
        Arc::new(Self { limits, idle_limit, started: Instant::now(), open, counters })
    }

    pub(in crate::http) fn counters(&self) -> &ConnectionCounters {
        &self.counters
    }

    pub(in crate::http) fn count(&self) -> usize {
        self.lock().all.iter().filter(|connection| connection.strong_count() > 0).count()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts an accepted connection; `None` at the limit of the address.
    pub(super) fn enter(self: &Arc<Self>, stream: &TcpStream) -> Option<Arc<ClientConnection>> {
        let peer = stream.peer_addr().ok()?.ip();
        let Some(address) = self.count_address(peer) else {
            self.counters.refused.add(1);
            return None;
        };
        let connection = Arc::new(ClientConnection {
            connections: Arc::clone(self),
            peer,
            address,
            busy: AtomicUsize::new(0),
            used: AtomicU64::new(self.now()),
            opened: Instant::now(),
            has_requested: AtomicBool::new(false),
            close: Notify::new(),
        });
        self.lock().all.push(Arc::downgrade(&connection));
        Some(connection)
    }

    /// Counts a connection by address; a trusted proxy has no count. `None` at the limit of the address.
    fn count_address(&self, peer: IpAddr) -> Option<Option<CallerKey>> {
        if ranges_contain(&self.limits.proxies, peer) {
            return Some(None);
        }
        let (key, mut open) = (CallerKey::address(peer), self.lock());
        let count = open.by_address.entry(key).or_default();
        if *count < self.limits.per_address {
            *count += 1;
            return Some(Some(key));
        }
        if open.last_warning.is_none_or(|last_warning| last_warning.elapsed() >= WARNING_INTERVAL) {
            open.last_warning = Some(Instant::now());
            log::warn!(
                "{peer} has {} connections, and gets no more (SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS; a proxy belongs into \
                 SHARDRIVE_TRUSTED_PROXIES)",
                self.limits.per_address
            );
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenCounts> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes idle connections, until `stop` is cancelled.
    pub(in crate::http) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut beat = tokio::time::interval(IDLE_CHECK_INTERVAL);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            self.close_idle();
            let silent = self.lock().silent.report(Instant::now());
            for (address, count) in silent {
                log::warn!(
                    "{address} opened {count} connections within a minute and sent no request on them; they are closed \
                     after some seconds, and SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS bounds them"
                );
            }
        }
    }

    fn close_idle(&self) {
        let oldest = self.now().saturating_sub(u64::try_from(self.idle_limit.as_millis()).unwrap_or(u64::MAX));
        let mut idle = Vec::new();
        self.lock().all.retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let is_idle =
                connection.busy.load(Ordering::Acquire) == 0 && connection.used.load(Ordering::Relaxed) < oldest;
            // Dropped outside of the lock, as the drop of a connection takes the lock.
            idle.push((is_idle, connection));
            !is_idle
        });
        for (_, connection) in idle.iter().filter(|(is_idle, _)| *is_idle) {
            connection.close.notify_one();
        }
    }
}

impl ClientConnection {
    /// Waits until the connection is to be closed.
    pub(in crate::http) async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let has_requested = *self.has_requested.get_mut();
        let counters = &self.connections.counters;
        if has_requested { &counters.used } else { &counters.silent }.add(1);
        let Some(address) = self.address else { return };
        let mut open = self.connections.lock();
        if !has_requested && self.opened.elapsed() >= PROBE_TIME {
            open.silent.count(address, self.peer);
        }
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// A running request: the connection is in use until the drop.
pub(super) struct InUse(Arc<ClientConnection>);

impl InUse {
    pub(in crate::http) fn of(connection: &Arc<ClientConnection>) -> Self {
        connection.busy.fetch_add(1, Ordering::AcqRel);
        connection.has_requested.store(true, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }

    /// Keeps the connection in use until a streamed body was sent. Other bodies are sent at once, unless the
    /// client does not read.
    pub(super) fn until_sent(self, body: BoxBody) -> BoxBody {
        if body.size() == BodySize::Stream { BoxBody::new(CountedBody { body, _in_use: self }) } else { body }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.used.store(self.0.connections.now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

struct CountedBody {
    body: BoxBody,
    _in_use: InUse,
}

impl MessageBody for CountedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
