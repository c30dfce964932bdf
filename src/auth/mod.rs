//! Sign-in: bearer tokens (JWT), the keys that verify tokens, and the callers' scopes.
//!
//! ```text
//! settings → verifier ── header, keys of a secret or of a provider (fetched by a task) ── crypto (ring), ed25519
//!               └─ claims → principal          remembered: tokens that a worker has verified before
//! ```
//!
//! This module knows no HTTP server; `http` says which route needs which scope.

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
pub use mint::mint_token;
pub use principal::{Principal, Scope};
pub use provider::SignInProvider;
pub use remembered::VerifiedTokens;
pub use settings::{AuthSettings, KeySource, ProviderUrl, SigningSecret};
pub use verifier::{TokenVerifier, VerifiedToken, subject_of_verified, unix_now};
