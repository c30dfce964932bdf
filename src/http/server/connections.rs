//! Connection limits: a total, a number for each client address, and an idle timeout.
//!
//! The server's own clock for the head of a request covers the first one of a connection only. Whoever sends one good
//! request and then the next byte by byte would keep the connection for ever; here its time runs out.

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
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::silent_addresses::SilentAddresses;
use crate::limits::{AddressRange, CallerKey};
use crate::telemetry::metrics::Counter;

/// How often idle connections are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// That an address is refused is said in the log this often at most.
const SAY: Duration = Duration::from_secs(60);
/// A connection that ends sooner without a request is a health probe or a client that changed its mind.
const PROBE: Duration = Duration::from_secs(1);

/// How many there may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From one address; proxies that are trusted have no limit of their own.
    pub per_address: usize,
    /// Those proxies.
    pub proxies: Vec<AddressRange>,
    /// How long a connection may lie idle between two requests.
    pub keep_alive: Duration,
}

/// All connections.
pub(in crate::http) struct ConnectionTable {
    limits: ConnectionLimits,
    /// How long a connection may be without a request that has begun.
    patience: Duration,
    started: Instant,
    open: Mutex<OpenCounts>,
    counters: ConnectionCounters,
}

#[derive(Default)]
struct OpenCounts {
    by_address: HashMap<CallerKey, usize>,
    all: Vec<Weak<ClientConnection>>,
    said: Option<Instant>,
    silent: SilentAddresses,
}

/// What became of connections, for `/metrics`.
#[derive(Default)]
pub(in crate::http) struct ConnectionCounters {
    /// At least one request came.
    pub(in crate::http) used: Counter,
    /// They ended without a request.
    pub(in crate::http) silent: Counter,
    /// Their address had as many as it may.
    pub(in crate::http) refused: Counter,
    pub(in crate::http) handshakes: HandshakeCounters,
}

/// What became of TLS handshakes.
#[derive(Default)]
pub(in crate::http) struct HandshakeCounters {
    pub(in crate::http) done: Counter,
    pub(in crate::http) failed: Counter,
    pub(in crate::http) timed_out: Counter,
}

/// One connection; dropped with it.
pub(in crate::http) struct ClientConnection {
    connections: Arc<ConnectionTable>,
    peer: IpAddr,
    address: Option<CallerKey>,
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// When there was one last, in milliseconds since the start.
    used: AtomicU64,
    opened: Instant,
    /// A request came.
    asked: AtomicBool,
    close: Notify,
}

impl ConnectionTable {
    /// Connections within these limits, whose requests have so long to send their head.
    pub(in crate::http) fn new(limits: ConnectionLimits, head: Duration) -> Arc<Self> {
        let patience = limits.keep_alive + head;
        let (open, counters) = (Mutex::default(), ConnectionCounters::default());
        Arc::new(Self { limits, patience, started: Instant::now(), open, counters })
    }

    pub(in crate::http) fn counters(&self) -> &ConnectionCounters {
        &self.counters
    }

    /// How many there are.
    pub(in crate::http) fn count(&self) -> usize {
        self.lock().all.iter().filter(|connection| connection.strong_count() > 0).count()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts a connection as it is accepted; `None` if its address may have no more.
    pub(in crate::http) fn enter(self: &Arc<Self>, stream: &TcpStream) -> Option<Arc<ClientConnection>> {
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
            asked: AtomicBool::new(false),
            close: Notify::new(),
        });
        self.lock().all.push(Arc::downgrade(&connection));
        Some(connection)
    }

    /// Gives by what the connection is counted: nothing for a trusted proxy. `None` if its address may have no more.
    fn count_address(&self, peer: IpAddr) -> Option<Option<CallerKey>> {
        if self.limits.proxies.iter().any(|network| network.holds(peer)) {
            return Some(None);
        }
        let (key, mut open) = (CallerKey::address(peer), self.lock());
        let count = open.by_address.entry(key).or_default();
        if *count < self.limits.per_address {
            *count += 1;
            return Some(Some(key));
        }
        if open.said.is_none_or(|said| said.elapsed() >= SAY) {
            open.said = Some(Instant::now());
            log::warn!(
                "{peer} has {} connections, and gets no more (MAX_CONNECTIONS_PER_ADDRESS; a proxy belongs into \
                 TRUSTED_PROXIES)",
                self.limits.per_address
            );
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenCounts> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections that ask for nothing for too long, until `stop` is cancelled.
    pub(in crate::http) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut beat = tokio::time::interval(LOOK);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            self.close_idle();
            let silent = self.lock().silent.report(Instant::now());
            for (address, count) in silent {
                log::warn!(
                    "{address} opened {count} connections within a minute and sent no request on them; they are closed \
                     after some seconds, and MAX_CONNECTIONS_PER_ADDRESS bounds them"
                );
            }
        }
    }

    fn close_idle(&self) {
        let oldest = self.now().saturating_sub(u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX));
        let mut idle = Vec::new();
        self.lock().all.retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let is_idle =
                connection.busy.load(Ordering::Acquire) == 0 && connection.used.load(Ordering::Relaxed) < oldest;
            // Dropped outside of the lock, which their own end takes.
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
        let asked = *self.asked.get_mut();
        let counters = &self.connections.counters;
        if asked { &counters.used } else { &counters.silent }.add(1);
        let Some(address) = self.address else { return };
        let mut open = self.connections.lock();
        if !asked && self.opened.elapsed() >= PROBE {
            open.silent.note(address, self.peer);
        }
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// A request that is being answered: its connection is in use until this is dropped.
pub(in crate::http) struct InUse(Arc<ClientConnection>);

impl InUse {
    pub(in crate::http) fn of(connection: &Arc<ClientConnection>) -> Self {
        connection.busy.fetch_add(1, Ordering::AcqRel);
        connection.asked.store(true, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }

    /// Keeps the connection in use until the body was sent, if that is a stream. Others are sent at once, or else their
    /// reader is one who does not read.
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
