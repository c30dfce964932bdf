//! The keys of an `OpenID` provider: one task fetches the keys for every caller, and keeps them while the provider is
//! away.
//!
//! The task fetches the keys at the start, then every few minutes, and when a token names an unknown key. The first
//! few such tokens cause a fetch at once; after that one fetch in a while, however many tokens come. A withdrawn key
//! is forgotten at the next fetch, and so are the tokens that the key has signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::keys::KeySet;
use super::{AuthError, KeySource};
use crate::outbound::{CaCertificates, with_causes};

/// The time limit of one fetch, with discovery.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a fetch.
const WAIT: Duration = Duration::from_secs(6);
/// The pause after a successful fetch.
const REFRESH: Duration = Duration::from_secs(300);
/// The first and the longest pause after a failed fetch; each pause doubles.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How many fetches in a row unknown keys can cause, and the time until one more is allowed.
const FETCH_BURST: u32 = 4;
const FETCH_REFILL: Duration = Duration::from_secs(15);
/// The longest document read from a provider, in bytes.
const MAX_DOCUMENT: usize = 512 * 1024;

/// The known keys, and the state of the fetches.
#[derive(Clone, Default)]
pub(super) struct KnownKeys {
    pub(super) keys: Arc<KeySet>,
    /// Changes with the keys.
    pub(super) epoch: u64,
    /// The number of ended fetches.
    fetches: u64,
    /// True if the last fetch failed.
    failed: bool,
    /// True while a fetch is running.
    fetching: bool,
    /// Before this time no token causes a fetch.
    next_fetch: Option<Instant>,
}

/// A sign-in provider.
pub struct SignInProvider {
    source: KeySource,
    client: reqwest::Client,
    known: watch::Sender<KnownKeys>,
    /// The epoch of `known`, for every request to read without a lock.
    epoch: AtomicU64,
    fetch_request: Notify,
}

impl SignInProvider {
    /// A provider whose certificate is checked by these CA certificates, or else by the machine's own.
    pub(super) fn new(source: KeySource, ca_certificates: Option<CaCertificates>) -> Result<Self, String> {
        let client = ca_certificates
            .unwrap_or_else(CaCertificates::of_system)
            .client_builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("shardrive/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no HTTP client: {}", with_causes(&error)))?;
        Ok(Self {
            source,
            client,
            known: watch::Sender::new(KnownKeys::default()),
            epoch: AtomicU64::new(0),
            fetch_request: Notify::new(),
        })
    }

    pub(super) fn known_keys(&self) -> KnownKeys {
        self.known.borrow().clone()
    }

    pub(super) fn keys_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The keys after another fetch. All callers that wait share the fetch.
    ///
    /// # Errors
    /// `UnknownKey` if the provider was asked a moment ago; `Unavailable` without an answer.
    pub(super) async fn refetch_keys(&self, before: &KnownKeys) -> Result<KnownKeys, AuthError> {
        let mut news = self.known.subscribe();
        {
            let known = news.borrow_and_update();
            if known.fetches > before.fetches {
                return Ok(known.clone());
            }
            if !known.fetching {
                if known.next_fetch.is_some_and(|next| Instant::now() < next) {
                    return Err(if known.failed { AuthError::Unavailable } else { AuthError::UnknownKey });
                }
                self.fetch_request.notify_one();
            }
        }
        let fetched = timeout(WAIT, news.wait_for(|known| known.fetches > before.fetches)).await;
        let known = fetched.ok().and_then(Result::ok).map(|known| known.clone()).ok_or(AuthError::Unavailable)?;
        if known.failed { Err(AuthError::Unavailable) } else { Ok(known) }
    }

    /// Keeps the keys up to date until the service stops.
    pub async fn keep_fetching(self: Arc<Self>, stopping: CancellationToken) {
        stopping.run_until_cancelled(self.fetch_repeatedly()).await;
    }

    async fn fetch_repeatedly(&self) {
        let mut credit = FetchCredit { left: FETCH_BURST, since: Instant::now() };
        let mut retry = RETRY.0;
        loop {
            self.known.send_modify(|known| known.fetching = true);
            let fetched = self.fetch_keys().await;
            let failed = fetched.is_err();
            match &fetched {
                Ok(_) if self.known.borrow().failed => log::info!("the sign-in provider answers again"),
                Err(why) if !self.known.borrow().failed => {
                    log::warn!("the sign-in provider's keys cannot be fetched: {why}; the known keys stay in force");
                }
                _ => {}
            }
            self.known.send_modify(|known| {
                if let Ok(keys) = fetched
                    && keys != *known.keys
                {
                    known.keys = Arc::new(keys);
                    known.epoch += 1;
                    self.epoch.store(known.epoch, Ordering::Release);
                }
                known.fetches += 1;
                known.failed = failed;
                known.fetching = false;
                known.next_fetch = credit.next_fetch();
            });
            let pause = if failed { retry } else { REFRESH };
            retry = if failed { (retry * 2).min(RETRY.1) } else { RETRY.0 };
            if timeout(pause, self.fetch_request.notified()).await.is_ok() {
                credit.spend_fetch();
            }
        }
    }

    async fn fetch_keys(&self) -> Result<KeySet, String> {
        let url = match &self.source {
            KeySource::Secret(_) => return Err("a secret has no provider".to_owned()),
            KeySource::Jwks(url, _) => url.url().clone(),
            KeySource::Issuer(issuer) => self.discover_keys_url(issuer.as_str()).await?,
        };
        let document = self.get_document(url).await?;
        KeySet::of_document(&document).ok_or_else(|| "its key document holds no usable key".to_owned())
    }

    /// The URL of the keys, by the provider's discovery document (`OpenID` Connect Discovery 1.0, section 4).
    async fn discover_keys_url(&self, issuer: &str) -> Result<reqwest::Url, String> {
        #[derive(Deserialize)]
        struct DiscoveryDocument {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = url.parse::<reqwest::Url>().map_err(|_| "its issuer is no URL".to_owned())?;
        let is_https = url.scheme() == "https";
        let document = self.get_document(url).await?;
        let document: DiscoveryDocument = serde_json::from_slice(&document)
            .map_err(|_| "its discovery document names no issuer and jwks_uri".to_owned())?;
        if document.issuer != issuer {
            return Err(
                "its discovery document names another issuer than SHARDRIVE_AUTH_ISSUER, letter by letter".to_owned()
            );
        }
        let keys: reqwest::Url = document.jwks_uri.parse().map_err(|_| "its jwks_uri is no URL".to_owned())?;
        match keys.scheme() {
            "https" => Ok(keys),
            "http" if !is_https => Ok(keys),
            _ => Err("its jwks_uri must be https, as its issuer is".to_owned()),
        }
    }

    async fn get_document(&self, url: reqwest::Url) -> Result<Vec<u8>, String> {
        // The error must not show the URL; the settings show the URL.
        let failed = |error: reqwest::Error| with_causes(&error.without_url());
        let mut answer = self.client.get(url).send().await.map_err(failed)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            document.extend_from_slice(&chunk);
            if document.len() > MAX_DOCUMENT {
                return Err("its answer is too long".to_owned());
            }
        }
        Ok(document)
    }
}

/// How many fetches tokens may still cause.
struct FetchCredit {
    left: u32,
    /// When the last full fetch was credited.
    since: Instant,
}

impl FetchCredit {
    fn spend_fetch(&mut self) {
        self.refill();
        self.left = self.left.saturating_sub(1);
    }

    /// When the next fetch is allowed; `None` for at once.
    fn next_fetch(&mut self) -> Option<Instant> {
        self.refill();
        (self.left == 0).then(|| self.since + FETCH_REFILL)
    }

    fn refill(&mut self) {
        while self.left < FETCH_BURST && self.since.elapsed() >= FETCH_REFILL {
            self.left += 1;
            self.since += FETCH_REFILL;
        }
        if self.left == FETCH_BURST {
            self.since = Instant::now();
        }
    }
}
