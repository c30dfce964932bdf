//! The API over HTTP: the only code that knows actix.
//!
//! ```text
//! connections, tls → server → request_id, edge (middleware) → routes → sign_in, access, limit (gates), acts → admin, files, bulk, records, …, stats, health, metrics, docs, dashboard → extract, body, answer, problem
//! ```

mod api;
mod dashboard;
mod guards;
mod metrics;
mod request;
mod response;
mod routes;
mod server;
mod state;

pub use api::openapi::openapi_json;
pub use guards::rate_limit::LEAST_BURST;
pub use metrics::sampler::ShardSampler;
pub use response::problem::{Problem, ProblemBody};
pub use response::problem_code::ProblemCode;
pub use server::connections::ConnectionLimits;
pub use server::cors::CorsOrigins;
pub use server::listener::{ApiServer, ServerOptions};
pub use server::tls::{TlsCertificate, TlsFiles};
pub use state::AppState;
