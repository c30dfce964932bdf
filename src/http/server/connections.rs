//! Connections: so many in all, so many from one address, and none that keeps a place and asks for nothing.
//!
//! The server's own clock for the head of a request covers the first one of a connection only. Whoever sends one good
//! request and then the next byte by byte would keep the connection for ever; here its time runs out.

use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;
use socket2::{SockRef, Socket};
use tokio_util::sync::CancellationToken;

use crate::limits::{AddressRange, CallerKey};

/// How often idle connections are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// That an address is refused is said in the log this often at most.
const SAY: Duration = Duration::from_secs(60);

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
}

#[derive(Default)]
struct OpenCounts {
    by_address: HashMap<CallerKey, usize>,
    all: Vec<Weak<ClientConnection>>,
    said: Option<Instant>,
}

/// One connection; dropped with it.
pub(in crate::http) struct ClientConnection {
    connections: Arc<ConnectionTable>,
    /// Another handle of its socket, to close it by.
    socket: Socket,
    address: Option<CallerKey>,
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// When there was one last, in milliseconds since the start.
    used: AtomicU64,
}

impl ConnectionTable {
    /// Connections within these limits, whose requests have so long to send their head.
    pub(in crate::http) fn new(limits: ConnectionLimits, head: Duration) -> Arc<Self> {
        let patience = limits.keep_alive + head;
        Arc::new(Self { limits, patience, started: Instant::now(), open: Mutex::default() })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// To be called with each connection as it is accepted.
    pub(in crate::http) fn accept(self: &Arc<Self>, stream: &dyn Any, data: &mut Extensions) {
        let plain = stream.downcast_ref::<TcpStream>();
        let Some(stream) = plain.or_else(|| Some(stream.downcast_ref::<TlsStream<TcpStream>>()?.get_ref().0)) else {
            return;
        };
        let socket = SockRef::from(stream);
        let Ok(peer) = stream.peer_addr() else { return };
        match (self.enter(peer.ip()), socket.try_clone()) {
            (Ok(address), Ok(socket)) => {
                let used = AtomicU64::new(self.now());
                let connections = Arc::clone(self);
                let connection =
                    Arc::new(ClientConnection { connections, socket, address, busy: AtomicUsize::new(0), used });
                self.lock().all.push(Arc::downgrade(&connection));
                data.insert(connection);
            }
            (entered, _) => {
                if let Ok(Some(address)) = entered {
                    self.leave(address);
                }
                let _ = socket.shutdown(Shutdown::Both); // it may be closed already
            }
        }
    }

    /// Counts a connection; gives by what it is counted.
    fn enter(&self, peer: IpAddr) -> Result<Option<CallerKey>, ()> {
        if self.limits.proxies.iter().any(|network| network.holds(peer)) {
            return Ok(None);
        }
        let (key, mut open) = (CallerKey::address(peer), self.lock());
        let count = open.by_address.entry(key).or_default();
        if *count < self.limits.per_address {
            *count += 1;
            return Ok(Some(key));
        }
        if open.said.is_none_or(|said| said.elapsed() >= SAY) {
            open.said = Some(Instant::now());
            log::warn!(
                "{peer} has {} connections, and gets no more (MAX_CONNECTIONS_PER_ADDRESS; a proxy belongs into \
                 TRUSTED_PROXIES)",
                self.limits.per_address
            );
        }
        Err(())
    }

    fn leave(&self, address: CallerKey) {
        let mut open = self.lock();
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenCounts> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections that ask for nothing for too long, until `stop` is cancelled.
    pub(in crate::http) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut beat = tokio::time::interval(LOOK);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
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
                let _ = connection.socket.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.connections.leave(address);
        }
    }
}

/// A request that is being answered: its connection is in use until this is dropped.
pub(in crate::http) struct InUse(Arc<ClientConnection>);

impl InUse {
    pub(in crate::http) fn of(connection: &Arc<ClientConnection>) -> Self {
        connection.busy.fetch_add(1, Ordering::AcqRel);
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
