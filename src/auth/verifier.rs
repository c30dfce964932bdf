//! Verifies a token: signature, audience, issuer, times, then scopes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Validation, decode};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::claims::{ClaimRules, Claims};
use super::header::TokenHeader;
use super::keys::{KeySet, VerificationKey};
use super::provider::SignInProvider;
use super::{AuthError, AuthSettings, KeySource, Principal, crypto, ed25519};

/// The longest accepted token, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// A verified token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifiedToken {
    /// The caller of the token.
    pub principal: Principal,
    /// A hash of issuer and subject, which tells programs apart; the same in every process.
    pub subject: u128,
    /// The end of the token, in seconds since 1970, with the clock skew.
    pub until: u64,
    /// The epoch of the keys that verified the token.
    pub epoch: u64,
}

enum TrustedKeys {
    Fixed(Arc<KeySet>),
    Provider(Arc<SignInProvider>),
}

/// Checks tokens with the keys of the settings.
pub struct TokenVerifier {
    keys: TrustedKeys,
    rules: Validation,
    claims: ClaimRules,
}

impl TokenVerifier {
    /// A verifier; and the provider of its keys, if any. [`SignInProvider::keep_fetching`] must run for as long as
    /// the verifier is used.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn new(settings: AuthSettings) -> Result<(Self, Option<Arc<SignInProvider>>), String> {
        crypto::install_provider();
        let leeway = settings.clock_skew.as_secs();
        let mut rules = Validation { validate_nbf: true, leeway, ..Validation::default() };
        let mut required = vec!["exp"];
        match &settings.audience {
            Some(audience) => {
                required.push("aud");
                rules.set_audience(&[audience]);
            }
            None => rules.validate_aud = false,
        }
        let issuer = match &settings.source {
            KeySource::Secret(_) | KeySource::Jwks(_, None) => None,
            KeySource::Issuer(issuer) => Some(issuer.as_str().to_owned()),
            KeySource::Jwks(_, Some(issuer)) => Some(issuer.clone()),
        };
        if let Some(issuer) = issuer {
            required.push("iss");
            rules.set_issuer(&[issuer]);
        }
        rules.set_required_spec_claims(&required);
        let (keys, provider) = match settings.source {
            KeySource::Secret(secret) => (TrustedKeys::Fixed(Arc::new(KeySet::of_secret(&secret))), None),
            source @ (KeySource::Issuer(_) | KeySource::Jwks(..)) => {
                let provider = Arc::new(SignInProvider::new(source, settings.ca_certificates)?);
                (TrustedKeys::Provider(Arc::clone(&provider)), Some(provider))
            }
        };
        let claims = ClaimRules { user: settings.user_claim, scopes: settings.scope_claim };
        Ok((Self { keys, rules, claims }, provider))
    }

    /// A number that changes with the keys: earlier verifications are void then.
    #[must_use]
    pub fn keys_epoch(&self) -> u64 {
        match &self.keys {
            TrustedKeys::Fixed(_) => 0,
            TrustedKeys::Provider(provider) => provider.keys_epoch(),
        }
    }

    /// Checks a token, and asks the provider for new keys if no known key has signed the token. Cancel safe.
    ///
    /// # Errors
    /// Why the token does not count.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, AuthError> {
        let header = (token.len() <= MAX_TOKEN).then(|| TokenHeader::parse(token)).flatten();
        let header = header.ok_or(AuthError::Malformed)?;
        let provider = match &self.keys {
            TrustedKeys::Fixed(keys) => return self.check_with_keys(token, keys, 0, &header).map_err(AuthError::from),
            TrustedKeys::Provider(provider) => provider,
        };
        let known = provider.known_keys();
        match self.check_with_keys(token, &known.keys, known.epoch, &header) {
            Err(Refusal::Other(error)) => Err(error),
            Ok(verified) => Ok(verified),
            Err(refusal @ (Refusal::UnknownKey | Refusal::Signature)) => match provider.refetch_keys(&known).await {
                Ok(known) => self.check_with_keys(token, &known.keys, known.epoch, &header).map_err(AuthError::from),
                Err(_) if refusal == Refusal::Signature => Err(refusal.into()),
                Err(error) => Err(error),
            },
        }
    }

    /// Tries every key that may have signed the token.
    fn check_with_keys(
        &self,
        token: &str,
        keys: &KeySet,
        epoch: u64,
        header: &TokenHeader,
    ) -> Result<VerifiedToken, Refusal> {
        let candidates = keys.candidate_keys(header.key_id.as_deref(), header.algorithm);
        for key in candidates.map_err(|_| Refusal::UnknownKey)? {
            match self.check_with_key(token, key, epoch, header) {
                Err(Refusal::Signature) => {}
                checked => return checked,
            }
        }
        Err(Refusal::Signature)
    }

    fn check_with_key(
        &self,
        token: &str,
        key: &VerificationKey,
        epoch: u64,
        header: &TokenHeader,
    ) -> Result<VerifiedToken, Refusal> {
        let mut rules = self.rules.clone();
        rules.algorithms = vec![key.algorithm];
        let claims: Claims = if header.is_ed25519 {
            let (token, key) = ed25519::with_own_signature(token, &key.key).ok_or(Refusal::Signature)?;
            rules.algorithms = vec![Algorithm::HS256];
            decode(&token, key, &rules)
        } else {
            decode(token, &key.key, &rules)
        }
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Refusal::Signature,
            _ => Refusal::Other(auth_error_of(&error)),
        })?
        .claims;
        let end = claims.get("exp").and_then(parse_seconds).ok_or(Refusal::Other(AuthError::Invalid))?;
        let principal = self.claims.principal_of(&claims).map_err(Refusal::Other)?;
        let subject = subject_hash(&claims);
        Ok(VerifiedToken { principal, subject, until: end.saturating_add(rules.leeway), epoch })
    }
}

/// Why a key set refuses a token. The provider's newest keys may change the first two verdicts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The set has no key with the id in the token.
    UnknownKey,
    /// No matching key has signed the token: the token is forged, or the provider has replaced the key.
    Signature,
    Other(AuthError),
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownKey => Self::UnknownKey,
            Refusal::Signature => Self::Invalid,
            Refusal::Other(error) => error,
        }
    }
}

/// A hash of the token's subject and issuer. The issuer counts: subjects of two issuers may have the same name.
fn subject_hash(claims: &Claims) -> u128 {
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let named = format!("{}:{issuer}{}", issuer.len(), subject_name(claims));
    digest(&SHA256, named.as_bytes()).as_ref().iter().take(16).fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

/// The token's subject, by the first usual claim for it.
fn subject_name(claims: &Claims) -> &str {
    ["sub", "client_id", "azp"].into_iter().find_map(|name| claims.get(name)?.as_str()).unwrap_or_default()
}

/// The subject of a token that [`TokenVerifier::verify`] has accepted; empty if the token names no subject. Nothing
/// is checked here.
///
/// The subject is needed so rarely that this function reads the token again, and no request has to carry the subject.
#[must_use]
pub fn subject_of_verified(token: &str) -> String {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Claims> = claims.and_then(|json| serde_json::from_slice(&json).ok());
    claims.as_ref().map(subject_name).unwrap_or_default().to_owned()
}

/// Now, in seconds since 1970, as tokens count.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time as tokens write times; RFC 7519 also allows `1.7e9`.
fn parse_seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let whole = value.as_f64().filter(|seconds| (0.0..9e15).contains(seconds))?;
        format!("{whole:.0}").parse().ok()
    })
}

fn auth_error_of(error: &Error) -> AuthError {
    match error.kind() {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidAudience => AuthError::WrongAudience,
        ErrorKind::InvalidIssuer => AuthError::WrongIssuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => AuthError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => AuthError::WrongIssuer,
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => {
            AuthError::Malformed
        }
        _ => AuthError::Invalid,
    }
}
