//! The ids of files that come from a listing: made of user and path.

use md5::{Digest, Md5};
use uuid::Uuid;

use super::model::UserId;
use crate::shard::hashed_id;

/// The id of the file at `path` in a user's drive: always the same, so that the same listing can be imported twice.
#[must_use]
pub(super) fn derive(user: UserId, path: &str) -> Uuid {
    let digest: [u8; 16] = Md5::new().chain_update(user.get().to_be_bytes()).chain_update(path).finalize().into();
    hashed_id(user.slot(), u128::from_be_bytes(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_derived_id() {
        // Changing this would give every imported listing new ids.
        let id = derive(UserId::new(42).unwrap(), "usr/bin/env");
        assert_eq!(id.to_string(), "0085520e-ee55-8c96-b96b-bd002a5d4c1e");
        assert_ne!(id, derive(UserId::new(42).unwrap(), "usr/bin/envx"));
    }
}
