//! The HTTP server: it listens, speaks TLS, bounds connections, and wraps every request.
//!
//! A request passes `listener`, `acceptor` (with `connections`, `silent_addresses` and `tls`), then `request_id` and
//! `middleware`, and reaches the routes.

pub(super) mod acceptor;
pub(super) mod connections;
pub(super) mod cors;
pub(super) mod listener;
pub(super) mod middleware;
pub(super) mod request_id;
pub(super) mod security_headers;
pub(super) mod silent_addresses;
pub(super) mod tls;
