//! Checks before a handler: sign-in and access, the rate limit, the audit log, the idempotency key.

pub(super) mod access;
pub(super) mod audit_gate;
pub(super) mod bearer;
pub(super) mod gate;
pub(super) mod idempotency;
pub(super) mod rate_limit;
pub(super) mod sign_in;
