//! The header of a token: the algorithm and the key's id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

/// The name of `EdDSA` with this curve in RFC 9864.
pub(super) const ED25519: &str = "Ed25519";

/// A token's own claims about its signature.
pub(super) struct TokenHeader {
    pub(super) algorithm: Algorithm,
    /// True for the newer name of the algorithm, which the token library does not know.
    pub(super) is_ed25519: bool,
    pub(super) key_id: Option<String>,
}

impl TokenHeader {
    /// Reads the header of a token; `None` if the header is invalid.
    pub(super) fn parse(token: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Json {
            alg: String,
            kid: Option<String>,
            #[serde(default)]
            crit: Option<Value>,
        }
        let (first, _) = token.split_once('.')?;
        let header: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(first).ok()?).ok()?;
        // A token may insist on extensions (RFC 7515, section 4.1.11); this service supports none.
        if header.crit.is_some() {
            return None;
        }
        let is_ed25519 = header.alg == ED25519;
        let algorithm = if is_ed25519 { Algorithm::EdDSA } else { header.alg.parse().ok()? };
        Some(Self { algorithm, is_ed25519, key_id: header.kid })
    }
}
