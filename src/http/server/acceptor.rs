//! From an accepted socket to HTTP: the connection is counted first, then a TLS handshake runs by a clock for each
//! connection.
//!
//! actix's TLS acceptor bounds the handshakes of a worker, and silent clients could hold
//! all. Here no connection waits for another handshake.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Protocol;
use actix_service::{Service, ServiceFactory};
use actix_web::rt::net::TcpStream;
use futures_util::future::LocalBoxFuture;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connections::{ClientConnection, ConnectionTable};

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections accepted by the system and not yet by a worker.
const BACKLOG: i32 = 1024;

/// Sockets that listen on every address of `bind`.
///
/// # Errors
/// If no address can be listened on.
pub(super) fn listen_on(bind: &str) -> io::Result<Vec<TcpListener>> {
    let (mut sockets, mut failure) = (Vec::new(), None);
    for address in bind.to_socket_addrs()? {
        match listen_at(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if sockets.is_empty() => Err(error),
        None if sockets.is_empty() => Err(io::Error::other("the name stands for no address")),
        _ => Ok(sockets),
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The way of each new connection to HTTP.
#[derive(Clone)]
pub(super) struct ConnectionAcceptor {
    connections: Arc<ConnectionTable>,
    tls: Option<TlsAcceptor>,
}

/// The input of the HTTP service.
type Incoming = (ClientLink, Protocol, Option<SocketAddr>);

impl ConnectionAcceptor {
    /// Counts by `connections`; speaks TLS if there are settings for TLS.
    pub(super) fn new(connections: Arc<ConnectionTable>, tls: Option<rustls::ServerConfig>) -> Self {
        let tls = tls.map(|mut config| {
            // Not HTTP/2, which stands on a crate with a known weakness (docs/decisions/0022-tls.md).
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        Self { connections, tls }
    }

    /// A worker's service in front of the HTTP service.
    pub(super) fn in_front_of<F>(self, http: F) -> AcceptFactory<F> {
        AcceptFactory { acceptor: self, http }
    }

    /// The link after the handshake; `None` if the handshake fails or takes too long.
    async fn open(&self, stream: TcpStream, connection: Arc<ClientConnection>) -> Option<Incoming> {
        let peer = stream.peer_addr().ok();
        let _ = stream.set_nodelay(true); // a socket that is gone is noticed when it is read
        let Some(tls) = &self.tls else {
            return Some((ClientLink::new(Transport::Plain(stream), connection), Protocol::Http1, peer));
        };
        let handshakes = &self.connections.counters().handshakes;
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                handshakes.done.add(1);
                Some((ClientLink::new(Transport::Tls(Box::new(stream)), connection), Protocol::Http1, peer))
            }
            Ok(Err(error)) => {
                handshakes.failed.add(1);
                log::debug!("a TLS handshake failed: {error}");
                None
            }
            Err(_) => {
                handshakes.timed_out.add(1);
                None
            }
        }
    }
}

pub(super) struct AcceptFactory<F> {
    acceptor: ConnectionAcceptor,
    http: F,
}

impl<F> ServiceFactory<TcpStream> for AcceptFactory<F>
where
    F: ServiceFactory<Incoming, Config = (), Response = ()>,
    F::Service: 'static,
    F::Future: 'static,
{
    type Response = ();
    type Error = Infallible;
    type Config = ();
    type Service = AcceptService<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (acceptor, http) = (self.acceptor.clone(), self.http.new_service(()));
        Box::pin(async move { Ok(AcceptService { acceptor: Rc::new(acceptor), http: Rc::new(http.await?) }) })
    }
}

pub(super) struct AcceptService<S> {
    acceptor: Rc<ConnectionAcceptor>,
    http: Rc<S>,
}

impl<S> Service<TcpStream> for AcceptService<S>
where
    S: Service<Incoming, Response = ()> + 'static,
{
    type Response = ();
    type Error = Infallible;
    type Future = LocalBoxFuture<'static, Result<(), Infallible>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.http.poll_ready(context).map(|_| Ok(()))
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let (acceptor, http) = (Rc::clone(&self.acceptor), Rc::clone(&self.http));
        // A refused connection closes when the stream is dropped.
        let connection = acceptor.connections.enter(&stream);
        Box::pin(async move {
            let Some(connection) = connection else { return Ok(()) };
            let closed = Arc::clone(&connection);
            let serve = async {
                if let Some(incoming) = acceptor.open(stream, connection).await {
                    // The end of a connection is the client's affair, or was logged with the request.
                    let _ = http.call(incoming).await;
                }
            };
            tokio::select! {
                () = serve => {}
                () = closed.closed() => {}
            }
            Ok(())
        })
    }
}

/// A client's connection as HTTP reads and writes it.
///
/// Nothing is written before the client's first byte: HTTP would send a 408 to a client that sends nothing. Clients open
/// connections ahead of their requests, and would take that 408 for the answer to a request that crosses it on its way.
/// Such a connection is closed without a word, as RFC 9112, section 9.5, says of a server that does not want to wait.
/// What HTTP writes is dropped, so that HTTP goes on to the end of the connection, and TLS sends its `close_notify`.
pub(super) struct ClientLink {
    transport: Transport,
    connection: Arc<ClientConnection>,
    /// A byte of a request has come.
    has_received: bool,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientLink {
    fn new(transport: Transport, connection: Arc<ClientConnection>) -> Self {
        Self { transport, connection, has_received: false }
    }

    pub(super) fn connection(&self) -> &Arc<ClientConnection> {
        &self.connection
    }
}

/// Calls the same method of the transport.
macro_rules! transport {
    ($link:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $link.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for ClientLink {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = transport!(self.as_mut(), poll_read, context, into);
        self.has_received |= into.filled().len() > before;
        read
    }
}

impl AsyncWrite for ClientLink {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.has_received {
            return Poll::Ready(Ok(bytes.len()));
        }
        transport!(self, poll_write, context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.has_received {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        transport!(self, poll_write_vectored, context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        transport!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        transport!(self, poll_shutdown, context)
    }
}
