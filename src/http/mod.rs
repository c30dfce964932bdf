//! The API over HTTP: the only code that knows actix.
//!
//! ```text
//! server → request_id (middleware) → routes → sign_in, access (guard) → admin, files, bulk, records, …, stats, health, metrics, docs, dashboard → extract, body, answer, problem
//! ```

mod access;
mod admin;
mod answer;
mod body;
mod bulk;
mod code;
mod collections;
mod counts;
mod dashboard;
mod data;
mod docs;
mod docs_sign_in;
mod extract;
mod files;
mod health;
mod idempotency;
mod key_value;
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

pub use code::Code;
pub use docs::openapi_json;
pub use problem::{Problem, ProblemBody};
pub use sample::Sampler;
pub use server::{AppState, Server, ServerOptions};
