//! Why a caller is refused.

/// Why a token is refused. The error helps the caller, and hides at which step a signature failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("send a token: Authorization: Bearer …")]
    Missing,
    /// The token is no JWT, or its algorithm is not accepted.
    #[error("the token is malformed, too long, or of an algorithm that is not taken")]
    Malformed,
    /// The token's time is over.
    #[error("the token has expired")]
    Expired,
    /// The token's time has not come yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token is meant for another service.
    #[error("the token is not meant for this service: its aud is another one")]
    WrongAudience,
    /// Another provider issued the token.
    #[error("the token is not from this service's provider: its iss is another one")]
    WrongIssuer,
    /// The token names a key that the provider does not have.
    #[error("the token's key is not one of the provider's")]
    UnknownKey,
    /// The token is forged, or lacks a required claim.
    #[error("the token is not valid")]
    Invalid,
    /// The token grants the scope `user` without a user.
    #[error("the token's scope is user, but it names no user: a whole number from 0 on")]
    NoUser,
    /// The token is genuine but grants no scope of this service.
    #[error("the token grants none of the scopes user, service and admin")]
    NoScope,
    /// The provider's keys cannot be fetched now.
    #[error("the sign-in provider does not answer, and the token's key is not known")]
    Unavailable,
}
