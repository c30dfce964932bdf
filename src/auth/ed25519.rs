//! Tokens whose header says `"alg":"Ed25519"` (RFC 9864), the newer name of `EdDSA`, which the token library does not
//! know.
//!
//! The signature is checked here, and the library checks the claims as for every other token. To make the library
//! read the claims, the token gets a signature under a key of this process, which nobody else has.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, UnparsedPublicKey};

/// The key of this process; `None` on a system without random numbers.
static PROCESS_KEYS: LazyLock<Option<ProcessKeys>> = LazyLock::new(|| {
    let secret: [u8; 32] = ring::rand::generate(&SystemRandom::new()).ok()?.expose();
    Some(ProcessKeys {
        signing_key: hmac::Key::new(HMAC_SHA256, &secret),
        verifying_key: DecodingKey::from_secret(&secret).ok()?,
    })
});

struct ProcessKeys {
    signing_key: hmac::Key,
    verifying_key: DecodingKey,
}

/// A token with the same claims and a signature of our own, if the key has signed the token.
pub(super) fn with_own_signature(token: &str, key: &DecodingKey) -> Option<(String, &'static DecodingKey)> {
    let (message, signature) = token.rsplit_once('.')?;
    let (_, claims) = message.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let DecodingKeyKind::SecretOrDer(point) = key.kind() else { return None };
    UnparsedPublicKey::new(&ED25519, point).verify(message.as_bytes(), &signature).ok()?;

    let own = PROCESS_KEYS.as_ref()?;
    let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&own.signing_key, message.as_bytes()));
    Some((format!("{message}.{signature}"), &own.verifying_key))
}
