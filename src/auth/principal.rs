//! Scopes, and the caller of a verified token.

use std::fmt;

/// The scopes that tokens grant. Each scope includes the scopes before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Reaches the data of the token's user.
    User,
    /// Reaches the data of any user.
    Service,
    /// Manages the service itself: shards, moves, collections.
    Admin,
}

impl Scope {
    /// Every scope, the least first.
    pub const ALL: [Self; 3] = [Self::User, Self::Service, Self::Admin];

    /// The scope's name in a token.
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
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The caller of a genuine token, by the widest scope of the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Principal {
    /// A user, limited to the user's own data.
    User(i64),
    /// A program that acts for any user.
    Service,
    /// An operator of the service.
    Admin,
}

impl Principal {
    /// The widest scope of the caller.
    #[must_use]
    pub fn widest_scope(self) -> Scope {
        match self {
            Self::User(_) => Scope::User,
            Self::Service => Scope::Service,
            Self::Admin => Scope::Admin,
        }
    }

    /// True if the caller has this scope or a wider scope.
    #[must_use]
    pub fn grants(self, scope: Scope) -> bool {
        self.widest_scope() >= scope
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
