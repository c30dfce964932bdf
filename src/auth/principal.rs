//! Scopes, and the caller that a verified token names.

use std::fmt;

/// The names by which tokens grant something. Each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// What belongs to the user of the token.
    User,
    /// What belongs to any user.
    Service,
    /// The service itself: shards, moves, collections.
    Admin,
}

impl Scope {
    /// Every scope, the least first.
    pub const ALL: [Self; 3] = [Self::User, Self::Service, Self::Admin];

    /// Its name in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A caller whose token is genuine, by the widest of its scopes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Principal {
    /// A user, who reaches only what is theirs.
    User(i64),
    /// A program that acts for any user.
    Service,
    /// Somebody who runs the service.
    Admin,
}

impl Principal {
    /// The widest of its scopes.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::User(_) => Scope::User,
            Self::Service => Scope::Service,
            Self::Admin => Scope::Admin,
        }
    }

    /// True if the caller has this scope, or one that includes it.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.scope() >= scope
    }

    /// The only user whose data the caller reaches; `None` if any user's.
    #[must_use]
    pub fn only_user(self) -> Option<i64> {
        match self {
            Self::User(user) => Some(user),
            Self::Service | Self::Admin => None,
        }
    }
}
