//! Why a caller is refused.

/// Why a token does not count. Tells what helps the caller, and not at which step of a signature it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("send a token: Authorization: Bearer …")]
    Missing,
    /// It is no JWT, or none of an algorithm that is taken.
    #[error("the token is malformed, too long, or of an algorithm that is not taken")]
    Malformed,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It is meant for others.
    #[error("the token is not meant for this service: its aud is another one")]
    WrongAudience,
    /// Another provider made it.
    #[error("the token is not from this service's provider: its iss is another one")]
    WrongIssuer,
    /// It names a key that the provider does not have.
    #[error("the token's key is not one of the provider's")]
    UnknownKey,
    /// It is not genuine, or lacks what every token must have.
    #[error("the token is not valid")]
    Invalid,
    /// It grants the scope `user` without saying which user.
    #[error("the token's scope is user, but it names no user: a whole number from 0 on")]
    NoUser,
    /// It is genuine but grants nothing here.
    #[error("the token grants none of the scopes user, service and admin")]
    NoScope,
    /// The provider's keys cannot be had at the moment.
    #[error("the sign-in provider does not answer, and the token's key is not known")]
    Unavailable,
}
