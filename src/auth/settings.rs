//! The settings of sign-in, as types.

use std::fmt;
use std::time::Duration;

use crate::outbound::CaCertificates;

/// How callers sign in.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// Where the keys are from.
    pub source: KeySource,
    /// The required `aud` of tokens. Always set with a provider.
    pub audience: Option<String>,
    /// The CA certificates for the provider; `None`: the machine's own.
    pub ca_certificates: Option<CaCertificates>,
    /// The allowed difference between the clocks of provider and service.
    pub clock_skew: Duration,
    /// The claim with the user's number; dots lead into objects.
    pub user_claim: String,
    /// The claim with the scopes, as text separated by spaces or as an array; dots lead into objects.
    pub scope_claim: String,
}

/// The source of the keys.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A secret shared with the makers of tokens (HS256).
    Secret(SigningSecret),
    /// A provider, by its issuer; the discovery document names the URL of the keys.
    Issuer(ProviderUrl),
    /// A provider, by the URL of its keys; and the issuer, if tokens must name one.
    Jwks(ProviderUrl, Option<String>),
}

/// A secret that signs tokens. `Debug` never shows the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// The fewest bytes: as many as the hash of HS256 has (RFC 7518, section 3.2).
    const MIN_BYTES: usize = 32;

    /// A secret of these bytes.
    ///
    /// # Errors
    /// If the text is too short.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.len() < Self::MIN_BYTES {
            return Err("must have 32 bytes or more, as from: openssl rand -base64 48");
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AuthSettings {
    /// The provider's URL, if the keys come from a provider.
    #[must_use]
    pub fn provider_url(&self) -> Option<&ProviderUrl> {
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

/// The URL of a provider: `https://…`, or `http://…` on this machine or in a private network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderUrl {
    /// The text as given: issuers are compared letter by letter.
    text: String,
    url: reqwest::Url,
}

impl ProviderUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// If the text is not a URL of a provider.
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

    /// True if somebody on the network path could replace the keys: plain HTTP that leaves this machine.
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

    /// The URL as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
