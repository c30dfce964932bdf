//! The API over HTTP: the only code that knows actix.
//!
//! ```text
//! connections, tls → server → request_id, edge (middleware) → routes → sign_in, access, limit (gates), acts → admin, files, bulk, records, …, stats, health, metrics, docs, dashboard → extract, body, answer, problem
//! ```

mod access;
mod acts;
mod admin;
mod answer;
mod audit;
mod body;
mod bulk;
mod code;
mod collections;
mod connections;
mod cors;
mod counts;
mod dashboard;
mod data;
mod docs;
mod docs_sign_in;
mod edge;
mod extract;
mod files;
mod gate;
mod headers;
mod health;
mod idempotency;
mod intake;
mod key_value;
mod limit;
mod metrics;
mod precondition;
mod problem;
mod records;
mod records_bulk;
mod request_id;
mod routes;
mod sample;
mod server;
mod sign_in;
mod stats;
mod store;
mod tls;

pub use code::Code;
pub use connections::ConnectionLimits;
pub use cors::CorsOrigins;
pub use docs::openapi_json;
pub use limit::LEAST_BURST;
pub use problem::{Problem, ProblemBody};
pub use sample::Sampler;
pub use server::{AppState, Server, ServerOptions};
pub use tls::{Tls, TlsFiles};
