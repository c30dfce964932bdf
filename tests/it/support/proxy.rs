//! A TCP proxy between the service and a server, which can fall silent or refuse.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::poll;

/// The proxy's treatment of new and open connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Passes all bytes on, both ways.
    Pass,
    /// Passes all bytes on, each time after a random delay up to this many milliseconds.
    Slow(u64),
    /// Takes connections and lets nothing through, as a cut cable would.
    BlackHole,
    /// Passes all requests on, and closes each open connection in place of its next answer. New connections pass all
    /// bytes on.
    LoseAnswers,
    /// Closes connections, old and new.
    Refuse,
}

/// A running proxy; a drop ends the proxy.
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of a port of 127.0.0.1.
    pub async fn start(target: u16) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), target).await
    }

    /// The same, at this address.
    pub async fn at(address: SocketAddr, target: u16) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, seen) = watch::channel(Mode::Pass);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay_connection(client, SocketAddr::from((Ipv4Addr::LOCALHOST, target)), seen.clone()));
            }
        });
        Self { port, mode, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.mode.send_replace(Mode::Refuse);
    }
}

async fn relay_connection(client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    if mode.wait_for(|mode| *mode != Mode::BlackHole).await.is_err() || *mode.borrow() == Mode::Refuse {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (client, server) = (client.into_split(), server.into_split());
    let may_lose = *mode.borrow() != Mode::LoseAnswers;
    let there = tokio::spawn(relay_bytes(client.0, server.1, mode.clone(), false));
    relay_bytes(server.0, client.1, mode, may_lose).await;
    there.abort();
}

async fn relay_bytes(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>, may_lose: bool) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            _ = mode.wait_for(|mode| *mode == Mode::Refuse) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(read @ 1..) = read else { return };
        if mode.wait_for(|mode| *mode != Mode::BlackHole).await.is_err() || *mode.borrow() == Mode::Refuse {
            return;
        }
        let now = *mode.borrow();
        match now {
            Mode::LoseAnswers if may_lose => return,
            Mode::Slow(most) => poll::delay(Duration::from_millis(rand::random_range(0..=most))).await,
            _ => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
