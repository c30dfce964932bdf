//! The keys that verify signatures. A key's type decides the algorithm; the token has no say in it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::header::ED25519;
use super::{AuthError, SigningSecret};

/// The most keys that are taken of a provider.
const MAX_KEYS: usize = 1024;
/// The most keys that one token is tried with: who sends nonsense must not cost more than this.
const MAX_TRIES: usize = 16;

/// A key and the one algorithm that it is for.
#[derive(Clone)]
pub(super) struct VerificationKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// What tells it from others.
    material: Vec<u8>,
}

impl PartialEq for VerificationKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.algorithm == other.algorithm && self.material == other.material
    }
}

/// The keys in force.
#[derive(Clone, Default, PartialEq)]
pub(super) struct KeySet {
    keys: Vec<VerificationKey>,
    /// A secret has no id: what a token says about its key does not matter.
    is_secret: bool,
}

/// A key of a JSON Web Key Set (RFC 7517), as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The one key that a shared secret is.
    pub(super) fn of_secret(secret: &SigningSecret) -> Self {
        let key = DecodingKey::from_secret(secret.bytes());
        let key = VerificationKey { id: None, algorithm: Algorithm::HS256, key, material: secret.bytes().to_vec() };
        Self { keys: vec![key], is_secret: true }
    }

    /// The public keys of a provider's document that sign by an algorithm that is taken here; the others, and secrets,
    /// are left out. `None` if none is left.
    pub(super) fn of_document(document: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct KeySetDocument {
            keys: Vec<Value>,
        }
        let KeySetDocument { keys } = serde_json::from_slice(document).ok()?;
        let keys = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let mut set = Self::default();
        for key in keys.filter_map(|jwk: Jwk| jwk.key()) {
            // A key that is listed twice is tried once.
            if set.keys.contains(&key) {
                continue;
            }
            if set.keys.len() == MAX_KEYS {
                log::warn!("the sign-in provider publishes more than {MAX_KEYS} keys; those after them do not count");
                break;
            }
            set.keys.push(key);
        }
        (!set.keys.is_empty()).then_some(set)
    }

    /// The keys that may have signed a token: those that its header names and those that have no id, or all if it names
    /// none; of these, those of its algorithm.
    ///
    /// # Errors
    /// `UnknownKey` if the token names a key and it cannot be one of these.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<impl Iterator<Item = &VerificationKey>, AuthError> {
        let may_be =
            move |key: &&VerificationKey| self.is_secret || id.is_none() || key.id.is_none() || key.id.as_deref() == id;
        if !self.keys.iter().any(|key| may_be(&key)) {
            return Err(AuthError::UnknownKey);
        }
        Ok(self.keys.iter().filter(may_be).filter(move |key| key.algorithm == algorithm).take(MAX_TRIES))
    }
}

impl Jwk {
    fn key(self) -> Option<VerificationKey> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (names, algorithm, key, material) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(self.n.as_deref()?)?, number(self.e.as_deref()?)?);
                let key = DecodingKey::from_rsa_raw_components(&n, &e);
                (&["RS256"][..], Algorithm::RS256, key, [n, e].concat())
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate(self.x.as_deref()?)?, coordinate(self.y.as_deref()?)?);
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                (&["ES256"][..], Algorithm::ES256, DecodingKey::from_ec_der(&point), point)
            }
            ("OKP", Some("Ed25519")) => {
                let point = URL_SAFE_NO_PAD.decode(self.x?).ok().filter(|point| point.len() == 32)?;
                (&["EdDSA", ED25519][..], Algorithm::EdDSA, DecodingKey::from_ed_der(&point), point)
            }
            _ => return None,
        };
        if self.alg.as_deref().is_some_and(|alg| !names.contains(&alg)) {
            return None;
        }
        Some(VerificationKey { id: self.kid, algorithm, key, material })
    }
}

/// A number without zeros in front, which some providers write and ring does not take.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}

/// A coordinate of P-256: 32 bytes.
fn coordinate(text: &str) -> Option<Vec<u8>> {
    let number = number(text)?;
    let missing = 32_usize.checked_sub(number.len())?;
    Some([vec![0; missing], number].concat())
}
