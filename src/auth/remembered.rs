//! Verified tokens, remembered by each worker separately, so that workers share no lock.

use std::collections::HashMap;

use ring::digest::{SHA256, digest};

use super::VerifiedToken;

/// The hash of a token. The hash is a secure one: a second token with the same hash would get the first owner's
/// rights.
type TokenHash = [u8; 32];

/// Verified tokens, until they expire or the keys change. When full, the tokens not used for longest are dropped.
pub struct VerifiedTokens {
    /// Tokens used since the last rotation; `old` holds the tokens of the rotation before.
    young: HashMap<TokenHash, VerifiedToken>,
    old: HashMap<TokenHash, VerifiedToken>,
    capacity: usize,
    /// The epoch of the keys that verified these tokens.
    epoch: u64,
}

impl VerifiedTokens {
    /// Room for this many tokens, and at most twice as many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity, epoch: 0 }
    }

    /// The caller of a token that keys of this epoch have verified, unless the token has expired.
    pub fn find_verified(&mut self, token: &str, now: u64, epoch: u64) -> Option<VerifiedToken> {
        self.enter_epoch(epoch);
        let hash = token_hash(token);
        if let Some(found) = self.young.get(&hash) {
            return (now < found.until).then_some(*found);
        }
        let found = self.old.remove(&hash).filter(|found| now < found.until)?;
        self.insert(hash, found);
        Some(found)
    }

    /// Remembers a token that keys of this epoch have verified.
    pub fn remember(&mut self, token: &str, verified: VerifiedToken) {
        if verified.epoch >= self.epoch {
            self.enter_epoch(verified.epoch);
            self.insert(token_hash(token), verified);
        }
    }

    fn enter_epoch(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.young.clear();
            self.old.clear();
        }
    }

    fn insert(&mut self, hash: TokenHash, verified: VerifiedToken) {
        if self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, verified);
    }
}

fn token_hash(token: &str) -> TokenHash {
    let mut hash = TokenHash::default();
    // The digest has exactly as many bytes.
    hash.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

#[cfg(test)]
mod tests {
    use super::super::Principal;
    use super::*;

    fn verified(user: i64, until: u64, epoch: u64) -> VerifiedToken {
        VerifiedToken { principal: Principal::User(user), subject: 0, until, epoch }
    }

    #[test]
    fn tokens_are_forgotten_at_their_end_and_when_keys_change() {
        let mut remembered = VerifiedTokens::new(10);
        remembered.remember("a", verified(1, 100, 0));
        assert_eq!(remembered.find_verified("a", 99, 0), Some(verified(1, 100, 0)));
        assert_eq!(remembered.find_verified("a", 100, 0), None);
        assert_eq!(remembered.find_verified("b", 99, 0), None);
        assert_eq!(remembered.find_verified("a", 99, 1), None);
        assert_eq!(remembered.find_verified("a", 99, 1), None);
        remembered.remember("a", verified(1, 100, 0)); // verified before the keys changed
        assert_eq!(remembered.find_verified("a", 99, 1), None);
    }

    #[test]
    fn there_is_room_for_so_many_and_those_in_use_stay() {
        let mut remembered = VerifiedTokens::new(10);
        remembered.remember("in use", verified(7, 100, 0));
        for user in 0..1000 {
            remembered.remember(&user.to_string(), verified(user, 100, 0));
            assert_eq!(remembered.find_verified("in use", 1, 0), Some(verified(7, 100, 0)));
            assert!(remembered.young.len() + remembered.old.len() <= 20);
        }
        assert_eq!(remembered.find_verified("1", 1, 0), None);
    }
}
