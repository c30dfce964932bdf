//! Traces: a span for each request, and a child span for each call to a shard.
//!
//! Without a collector ([`super::TraceExport`]) there is no tracer, and every function here returns at once.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use super::request::current_trace;

/// The most requests that a batch's span links to.
const MOST_LINKS: usize = 64;

/// The tracer of this process, if there is a collector.
pub(super) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// True if this process has a collector.
#[must_use]
pub fn is_tracing() -> bool {
    TRACER.get().is_some()
}

/// A place in a trace: the trace and the span under which others belong (W3C Trace Context).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceContext(Arc<SpanContext>);

impl TraceContext {
    /// Reads the header `traceparent`: `00-<trace>-<span>-<flags>`, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_whole = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        if !is_whole || version == "ff" || parts.next().is_some() {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        context.is_valid().then(|| Self(Arc::new(context)))
    }

    /// The trace's id.
    #[must_use]
    pub fn trace_id(&self) -> impl fmt::Display + use<> {
        self.0.trace_id()
    }
}

/// As in the header `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.0.trace_id(), self.0.span_id(), self.0.trace_flags())
    }
}

/// A span that is open until its drop. Empty if the request is not traced.
#[derive(Debug, Default)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<SdkSpan>>);

/// A link from a batch's span to the span of a request in the batch.
#[derive(Debug)]
pub struct SpanLink(Box<SpanContext>);

impl Span {
    /// The context for the span's children, if the span is traced.
    #[must_use]
    pub fn trace_context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|span| TraceContext(Arc::new(span.span_context().clone())))
    }

    /// The trace's id, if the span is traced.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.0.as_ref().map(|span| span.span_context().trace_id())
    }

    /// A link for the span of the batch that does this span's work.
    #[must_use]
    pub fn batch_link(&self) -> Option<SpanLink> {
        self.0.as_ref().map(|span| SpanLink(Box::new(span.span_context().clone())))
    }

    /// Names the span by the request's method and route. A span holds no part of the path and no client's value.
    pub fn name_request(&mut self, method: &str, route: &str, status: u16) {
        let Some(span) = &mut self.0 else { return };
        span.update_name(format!("{method} {route}"));
        span.set_attribute(KeyValue::new("http.request.method", method.to_owned()));
        span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
    }

    /// Says how many rows, or reads, the work is about.
    pub fn count_rows(&mut self, rows: usize) {
        let Some(span) = &mut self.0 else { return };
        span.set_attribute(KeyValue::new("shardrive.rows", i64::try_from(rows).unwrap_or(i64::MAX)));
    }

    /// Marks the span as failed, by a fixed word.
    pub fn set_failed(&mut self, why: &'static str) {
        let Some(span) = &mut self.0 else { return };
        span.set_attribute(KeyValue::new("error.type", why));
        span.set_status(Status::error(why));
    }
}

fn start_span(tracer: &SdkTracer, builder: SpanBuilder, parent: Option<&SpanContext>) -> Span {
    let parent = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent.clone()));
    let span = tracer.build_with_context(builder, &parent);
    Span(span.is_recording().then(|| Box::new(span)))
}

/// The span of a request; `parent` comes from the caller's header.
pub fn request_span(parent: Option<&TraceContext>, request_id: &str) -> Span {
    let Some(tracer) = TRACER.get() else { return Span::default() };
    let builder = SpanBuilder::from_name("request")
        .with_kind(SpanKind::Server)
        .with_attributes([KeyValue::new("request.id", request_id.to_owned())]);
    start_span(tracer, builder, parent.map(|parent| &*parent.0))
}

/// The span of a call to a shard, below the span of the current request. `operation` is the path of a type; its last
/// part becomes the name.
pub fn shard_span(operation: &'static str, shard: u16) -> Span {
    let Some(tracer) = TRACER.get() else { return Span::default() };
    let open = |parent: &TraceContext| {
        parent.0.is_sampled().then(|| start_span(tracer, shard_builder(operation, shard), Some(&parent.0)))
    };
    current_trace(open).flatten().unwrap_or_default()
}

/// The span of a statement for several requests: below the first traced request, with a link to each other request.
pub fn batch_span(operation: &'static str, shard: u16, links: impl Iterator<Item = SpanLink>) -> Span {
    let Some(tracer) = TRACER.get() else { return Span::default() };
    let mut links = links.map(|SpanLink(context)| *context);
    let Some(first) = links.next() else { return Span::default() };
    let links = links.take(MOST_LINKS).map(Link::with_context).collect();
    start_span(tracer, shard_builder(operation, shard).with_links(links), Some(&first))
}

fn shard_builder(operation: &'static str, shard: u16) -> SpanBuilder {
    let name = short_type_name(operation);
    SpanBuilder::from_name(Cow::Borrowed(name)).with_kind(SpanKind::Client).with_attributes([
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("db.operation.name", name),
        KeyValue::new("shardrive.shard", i64::from(shard)),
    ])
}

/// `FindById` of `shardrive::files::store::FindById<'_>`.
fn short_type_name(operation: &'static str) -> &'static str {
    let path = operation.split('<').next().unwrap_or(operation);
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_trace_is_read() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceContext::parse(good).unwrap().to_string(), good);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(TraceContext::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_name_of_a_type_is_short() {
        assert_eq!(short_type_name("shardrive::files::store::FindById"), "FindById");
        assert_eq!(short_type_name("a::Batch<b::FindById>"), "Batch");
    }
}
