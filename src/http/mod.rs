//! The API over HTTP: the only code that knows actix.
//!
//! ```text
//! server → request_id (middleware) → routes → admin, files, bulk, stats, health, docs → extract, body, answer, problem
//! ```

mod admin;
mod answer;
mod body;
mod bulk;
mod code;
mod docs;
mod extract;
mod files;
mod health;
mod problem;
mod request_id;
mod routes;
mod server;
mod stats;

pub use code::Code;
pub use docs::openapi_json;
pub use problem::{Problem, ProblemBody};
pub use server::{AppState, Server, ServerOptions};
