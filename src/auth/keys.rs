//! The keys that verify signatures. A key's type decides the algorithm; the token has no say.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::header::ED25519;
use super::{AuthError, SigningSecret};

/// The most keys accepted from a provider.
const MAX_KEYS: usize = 1024;
/// The most keys tried for one token, so that a nonsense token costs little.
const MAX_TRIES: usize = 16;

/// A key and its only algorithm.
#[derive(Clone)]
pub(super) struct VerificationKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// The bytes of the key, for comparison.
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
    /// A secret has no id: the token's key id does not matter.
    is_secret: bool,
}

/// The relevant fields of a key in a JSON Web Key Set (RFC 7517).
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
    /// The only key, made from a shared secret.
    pub(super) fn of_secret(secret: &SigningSecret) -> Self {
        let material = secret.as_bytes().to_vec();
        let with_key = |key| VerificationKey { id: None, algorithm: Algorithm::HS256, key, material };
        // The library refuses an empty secret alone, and a secret of ours has 32 bytes.
        Self { keys: DecodingKey::from_secret(secret.as_bytes()).map(with_key).into_iter().collect(), is_secret: true }
    }

    /// The public keys in a provider's document that sign by an accepted algorithm. Other keys, and secrets, are left
    /// out. `None` if no key is left.
    pub(super) fn of_document(document: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct KeySetDocument {
            keys: Vec<Value>,
        }
        let KeySetDocument { keys } = serde_json::from_slice(document).ok()?;
        let keys = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let mut set = Self::default();
        for key in keys.filter_map(|jwk: Jwk| jwk.into_verification_key()) {
            // A key listed twice is tried once.
            if set.keys.contains(&key) {
                continue;
            }
            if set.keys.len() == MAX_KEYS {
                log::warn!("the sign-in provider publishes more than {MAX_KEYS} keys; the rest are ignored");
                break;
            }
            set.keys.push(key);
        }
        (!set.keys.is_empty()).then_some(set)
    }

    /// The keys that may have signed a token: keys with the id in the header, keys without an id, or all keys if the
    /// header names none. Only keys of the token's algorithm count.
    ///
    /// # Errors
    /// `UnknownKey` if no key can match the id in the token.
    pub(super) fn candidate_keys(
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
    fn into_verification_key(self) -> Option<VerificationKey> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (names, algorithm, key, material) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (decode_number(self.n.as_deref()?)?, decode_number(self.e.as_deref()?)?);
                let key = DecodingKey::from_rsa_raw_components(&n, &e);
                (&["RS256"][..], Algorithm::RS256, key, [n, e].concat())
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (decode_coordinate(self.x.as_deref()?)?, decode_coordinate(self.y.as_deref()?)?);
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

/// A number without leading zeros, which some providers write and ring refuses.
fn decode_number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}

/// A coordinate of P-256: 32 bytes.
fn decode_coordinate(text: &str) -> Option<Vec<u8>> {
    let number = decode_number(text)?;
    let missing = 32_usize.checked_sub(number.len())?;
    Some([vec![0; missing], number].concat())
}
