//! Sign-in: bearer tokens (JWT), the keys that verify them, and the scopes of their callers.
//!
//! ```text
//! settings → Verifier ── header, keys of a secret or of a provider (fetched by one task) ── crypto (ring), ed25519
//!               └─ claims → Principal          Remembered: what a worker has verified before
//! ```
//!
//! Knows no HTTP server: which route needs what stands in `http`.

mod claims;
mod crypto;
mod ed25519;
mod error;
mod header;
mod keys;
mod mint;
mod principal;
mod provider;
mod remembered;
mod settings;
mod verifier;

pub use error::AuthError;
pub use mint::mint;
pub use principal::{Principal, Scope};
pub use provider::SignInProvider;
pub use remembered::VerifiedTokens;
pub use settings::{AuthSettings, KeySource, ProviderUrl, SigningSecret};
pub use verifier::{TokenVerifier, VerifiedToken, subject_of_verified, unix_now};
