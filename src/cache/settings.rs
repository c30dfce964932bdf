//! Where the cache is, and how long it keeps what it has.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// Where the cache is, and how long it keeps what it has.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The server; `None`: this process uses no cache.
    pub url: Option<CacheUrl>,
    /// How long a value is kept at most.
    pub ttl: Duration,
}

impl CacheSettings {
    /// No cache.
    pub const NONE: Self = Self { url: None, ttl: Duration::from_secs(300) };
}

/// The address of a Redis or Valkey server. Its `Debug` shows no password.
#[derive(Clone)]
pub struct CacheUrl(ConnectionInfo);

impl CacheUrl {
    /// Reads a `redis://user:password@host:port/database` URL, of which all but the host may be left out.
    ///
    /// # Errors
    /// A text that says what is wrong, without the URL itself: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if url.starts_with("rediss://") {
            return Err("must start with redis://; connections with TLS (rediss://) are not supported yet");
        }
        if !url.starts_with("redis://") {
            return Err("must start with redis://, as in redis://localhost:6381");
        }
        // The driver's own text may show what it could not read.
        let info = url.into_connection_info().map_err(|_| "is not a Redis URL, as in redis://localhost:6381/0")?;
        if let ConnectionAddr::Tcp(host, port) = info.addr()
            && !host.is_empty()
            && *port != 0
        {
            return Ok(Self(info));
        }
        Err("names no host, as redis://localhost:6381 does")
    }

    /// `host:port/database`, for messages: it tells servers apart and holds no secret.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.0.addr(), self.0.redis_settings().db())
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.0
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
        for wrong in [
            "localhost:6379",
            "rediss://:secret@localhost",
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
