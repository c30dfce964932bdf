//! The API over HTTP: the only code that knows actix.
//!
//! ```text
//! server → request_id (middleware) → routes → files, health, docs → extract, answer, problem
//! ```

mod answer;
mod docs;
mod extract;
mod files;
mod health;
mod problem;
mod request_id;
mod routes;
mod server;

pub use docs::openapi_json;
pub use problem::{Code, Problem, ProblemBody};
pub use server::{AppState, Server, ServerOptions};
