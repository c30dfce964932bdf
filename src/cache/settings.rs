//! The address of the cache's server, and how long entries live.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult, TlsCertificates};
use rustls::ClientConfig;

use crate::outbound::CaCertificates;

use super::codec::CacheFormat;

/// Where the cache is, and how long the cache keeps values.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The server; `None`: this process uses no cache.
    pub url: Option<CacheUrl>,
    /// How long a value is kept at most.
    pub ttl: Duration,
    /// Every format that the program knows. A write removes the values of these formats, and no others.
    pub formats: &'static [CacheFormat],
}

impl CacheSettings {
    /// No cache.
    pub const NONE: Self = Self { url: None, ttl: Duration::from_secs(300), formats: &[] };
}

/// The address of a Redis or Valkey server. Its `Debug` shows no password.
#[derive(Clone)]
pub struct CacheUrl {
    info: ConnectionInfo,
    /// With TLS: the trusted CA certificates as PEM; `None`: the machine's.
    ca_certificates: Option<Vec<u8>>,
    /// With TLS: the same for connections of our own.
    tls: Option<Arc<ClientConfig>>,
}

impl CacheUrl {
    /// Reads a `redis://user:password@host:port/database` URL, of which all but the host may be left out; `rediss://`
    /// is the same with TLS, with the CA certificates that the machine trusts.
    ///
    /// # Errors
    /// A text that says what is wrong, without the URL itself, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err("must start with redis://, as in redis://localhost:6381, or with rediss:// for TLS");
        }
        // The driver's own text may show the unreadable part.
        let info = url.into_connection_info().map_err(|_| "is not a Redis URL, as in redis://localhost:6381/0")?;
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, *port, None),
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err("must not say #insecure: SHARDRIVE_REDIS_CA_FILE names the CA certificate of the server");
            }
            ConnectionAddr::TcpTls { host, port, .. } => {
                (host, *port, Some(Arc::new(CaCertificates::of_system().tls_config())))
            }
            _ => return Err("names no host, as redis://localhost:6381 does"),
        };
        if host.is_empty() || port == 0 {
            return Err("names no host, as redis://localhost:6381 does");
        }
        Ok(Self { info, ca_certificates: None, tls })
    }

    /// True with TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The same address, with TLS trusting these CA certificates (PEM) and no others.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub fn with_authority(mut self, pem: Vec<u8>) -> Result<Self, &'static str> {
        self.tls = Some(Arc::new(CaCertificates::of_pem(&pem)?.tls_config()));
        self.ca_certificates = Some(pem);
        Ok(self)
    }

    /// The driver's client of the server.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn client(&self) -> RedisResult<Client> {
        if self.tls.is_none() {
            return Client::open(self.info.clone());
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: self.ca_certificates.clone() };
        Client::build_with_tls(self.info.clone(), certificates)
    }

    pub(super) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// `host:port/database`, for messages: tells servers apart and holds no secret.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.info.addr(), self.info.redis_settings().db())
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

impl fmt::Debug for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_or_refused_without_showing_them() {
        let parsed = CacheUrl::parse("redis://name:secret@cache.local:6381/2").unwrap();
        assert_eq!(format!("{parsed:?}"), "cache.local:6381/2");
        assert_eq!(CacheUrl::parse("redis://localhost").unwrap().place(), "localhost:6379/0");
        let encrypted = CacheUrl::parse("rediss://:secret@cache.local").unwrap();
        assert_eq!(encrypted.place(), "cache.local:6379/0");
        assert!(encrypted.is_encrypted() && encrypted.with_authority(b"none".to_vec()).is_err());
        for wrong in [
            "localhost:6379",
            "rediss://:secret@localhost/#insecure",
            "rediss://:secret@",
            "http://secret",
            "redis://:secret@",
            "redis://:secret@localhost/x",
            "redis://localhost:secret",
            "redis://:secret@localhost:0",
            "unix:///secret",
        ] {
            let reason = CacheUrl::parse(wrong).unwrap_err();
            assert!(!reason.contains("secret"), "{wrong}: {reason}");
        }
    }
}
