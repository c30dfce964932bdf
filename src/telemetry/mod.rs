//! Logs, metrics and traces. Imports no other module but `outbound`.

mod collector_client;
mod export;
mod logs;
pub mod metrics;
mod one_line;
pub mod process;
mod request;
mod traces;

pub use opentelemetry::trace::TraceId;

pub use export::{TraceExport, TraceOptions};
pub use logs::{LogFormat, LogOptions, install_logger};
pub use one_line::OneLine;
pub use request::{
    RequestContext, RoutedSlot, begin_request, current_caller, current_request, current_request_may_change,
    has_current_request, record_caller, record_route, with_request, with_request_if_any,
};
pub use traces::{Span, SpanLink, TraceContext, batch_span, is_tracing, request_span, shard_span};
