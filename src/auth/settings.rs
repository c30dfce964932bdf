//! The settings of sign-in, as types.

use std::fmt;
use std::time::Duration;

use crate::outbound::TrustedAuthorities;

/// How callers sign in.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// Where the keys are from.
    pub source: KeySource,
    /// What a token's `aud` must be or hold. Always there with a provider.
    pub audience: Option<String>,
    /// The authorities of the provider's certificate; `None`: those that the machine trusts.
    pub authorities: Option<TrustedAuthorities>,
    /// How far the clocks of provider and service may be apart.
    pub clock_skew: Duration,
    /// The claim that holds the user's number; dots lead into objects.
    pub user_claim: String,
    /// The claim that holds the scopes, as a text with spaces between them or as an array; dots lead into objects.
    pub scope_claim: String,
}

/// Where the keys are from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A secret that the makers of tokens share (HS256).
    Secret(SigningSecret),
    /// A provider, by its issuer; its discovery document names its keys' URL.
    Issuer(ProviderUrl),
    /// A provider, by its keys' URL; and its issuer, if it is to be checked.
    Jwks(ProviderUrl, Option<String>),
}

/// A secret that signs tokens. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// The fewest bytes: as many as the hash of HS256 has (RFC 7518, section 3.2).
    const MIN: usize = 32;

    /// A secret of these bytes.
    ///
    /// # Errors
    /// If there are too few of them.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.len() < Self::MIN {
            return Err("must have 32 bytes or more, as from: openssl rand -base64 48");
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AuthSettings {
    /// Where the keys come from, if they are a provider's.
    #[must_use]
    pub fn provider(&self) -> Option<&ProviderUrl> {
        match &self.source {
            KeySource::Secret(_) => None,
            KeySource::Issuer(url) | KeySource::Jwks(url, _) => Some(url),
        }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a provider is reached: `https://…`, or `http://…` for one on this machine or in a network of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderUrl {
    /// As it was given: an issuer is compared letter by letter.
    text: String,
    url: reqwest::Url,
}

impl ProviderUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// If it is none of a provider.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const REASON: &str = "must be a URL as in https://login.example.org/realms/main, without user, query and #";
        let url: reqwest::Url = text.parse().map_err(|_| REASON)?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        let fits = matches!(url.scheme(), "https" | "http") && url.host_str().is_some() && is_plain;
        if !fits || url.query().is_some() || url.fragment().is_some() {
            return Err(REASON);
        }
        Ok(Self { text: text.to_owned(), url })
    }

    /// True if somebody on the way could put in keys of their own: plain HTTP that leaves this machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let is_local = match self.url.host_str() {
            Some("localhost") => true,
            Some(host) => {
                host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            None => false,
        };
        self.url.scheme() == "http" && !is_local
    }

    pub(super) fn url(&self) -> &reqwest::Url {
        &self.url
    }

    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
