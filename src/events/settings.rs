//! The settings of events: the broker's address, and the bound of the outbox.

use std::fmt;
use std::path::PathBuf;

use async_nats::ConnectOptions;
use percent_encoding::percent_decode_str;

/// The broker for events, and the bound of the outbox.
#[derive(Clone, Debug)]
pub struct EventSettings {
    /// The server; `None`: this process publishes nothing.
    pub url: Option<EventsUrl>,
    /// The CA certificates (PEM) for a `tls://` server, in place of the machine's own.
    pub ca_file: Option<PathBuf>,
    /// The prefix of all subjects.
    pub subject: String,
    /// The most events that may wait on a shard.
    pub max_rows: u64,
}

/// The address of a NATS server. `Debug` shows no password.
#[derive(Clone)]
pub struct EventsUrl(async_nats::ServerAddr);

impl EventsUrl {
    /// Reads a `nats://user:password@host:port` URL, of which all but the host may be left out; `tls://` is taken as
    /// well. A user without a password is a token.
    ///
    /// # Errors
    /// The fault of the URL, without the URL itself, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        const REASON: &str = "must be the URL of a NATS server, as in nats://localhost:4222";
        let address = url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://")).unwrap_or_default();
        let host = address.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with([':', '/']) {
            return Err(REASON);
        }
        url.parse().map(Self).map_err(|_| REASON)
    }

    /// True if the way there is encrypted: `tls://`.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.tls_required()
    }

    /// The client's options with the URL's credentials, which the client itself does not read from the URL.
    pub(super) fn sign_in(&self, options: ConnectOptions) -> ConnectOptions {
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        match (self.0.username().map(decode), self.0.password().map(decode)) {
            (Some(user), Some(password)) => options.user_and_password(user, password),
            (Some(token), None) => options.token(token),
            (None, _) => options,
        }
    }

    pub(super) fn address(&self) -> async_nats::ServerAddr {
        self.0.clone()
    }
}

impl fmt::Debug for EventsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nats://{}:{}", self.0.host(), self.0.port())
    }
}

impl EventSettings {
    /// Reads a prefix of subjects: words of letters, digits, `-` and `_`, separated by dots.
    ///
    /// # Errors
    /// The fault of the text.
    pub fn parse_subject(text: &str) -> Result<String, &'static str> {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if text.len() <= 128 && text.split('.').all(is_word) {
            Ok(text.to_owned())
        } else {
            Err("must be words of letters, digits, - and _ with dots in between, as in shardrive.events")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_subjects() {
        let url = EventsUrl::parse("nats://user:secret@host:4333").unwrap();
        assert_eq!((format!("{url:?}"), url.is_encrypted()), ("nats://host:4333".to_owned(), false));
        assert!(EventsUrl::parse("tls://host").unwrap().is_encrypted());
        for bad in ["", "host", "http://host", "nats://", "nats://host:port"] {
            assert!(EventsUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(EventSettings::parse_subject("a.b-c_9").is_ok());
        for bad in ["", ".", "a.", "a b", "a.*", "a.>", "ä"] {
            assert!(EventSettings::parse_subject(bad).is_err(), "{bad}");
        }
    }
}
