//! The head of a token: its algorithm, and which key it names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

/// The name that RFC 9864 gives to `EdDSA` with this curve.
pub(super) const ED25519: &str = "Ed25519";

/// What a token says of its signature.
pub(super) struct TokenHeader {
    pub(super) algorithm: Algorithm,
    /// The algorithm is called by its newer name, which the library for tokens does not know.
    pub(super) is_ed25519: bool,
    pub(super) key_id: Option<String>,
}

impl TokenHeader {
    /// Reads the header of a token; `None` if it has none that counts here.
    pub(super) fn read(token: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Json {
            alg: String,
            kid: Option<String>,
            #[serde(default)]
            crit: Option<Value>,
        }
        let (first, _) = token.split_once('.')?;
        let header: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(first).ok()?).ok()?;
        // Nobody here knows an extension that a token insists on (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return None;
        }
        let is_ed25519 = header.alg == ED25519;
        let algorithm = if is_ed25519 { Algorithm::EdDSA } else { header.alg.parse().ok()? };
        Some(Self { algorithm, is_ed25519, key_id: header.kid })
    }
}
