//! What the service says of itself to the people who run it. Knows none of the other modules.

mod logs;
mod request;

pub use logs::{LogFormat, LogOptions, install};
pub use request::{RequestContext, current_request, with_request};
