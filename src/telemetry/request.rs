//! The request of the current task, so that log lines and spans can name the request.

use std::cell::Cell;
use std::sync::Arc;

use super::traces::TraceContext;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The identifiers of a request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The request's id, from the client or made here.
    pub request_id: Arc<str>,
    /// The trace of the request, if any.
    trace: Option<TraceContext>,
    /// True if the request asks for a change.
    asks_for_change: bool,
    /// The last slot and shard of the request.
    route: Cell<Option<RoutedSlot>>,
    /// The caller, as a hash.
    caller: Cell<Option<u128>>,
}

/// A slot and the shard that was asked for the slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutedSlot {
    /// The slot of the user or key.
    pub slot: u16,
    /// The shard's number.
    pub shard: u16,
}

impl RequestContext {
    /// A request that has not reached a shard yet.
    #[must_use]
    pub fn new(request_id: Arc<str>, trace: Option<TraceContext>) -> Self {
        Self { request_id, trace, asks_for_change: true, route: Cell::new(None), caller: Cell::new(None) }
    }

    /// The same request, which only reads.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { asks_for_change: false, ..self }
    }

    /// The trace of the request, if any.
    #[must_use]
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// The last slot and shard of the request, if any.
    #[must_use]
    pub fn route(&self) -> Option<RoutedSlot> {
        self.route.get()
    }
}

/// Runs `work` in the name of a request.
pub async fn with_request<T>(request: RequestContext, work: impl Future<Output = T>) -> T {
    CURRENT.scope(request, work).await
}

/// Begins `work` in the name of a request. Returns the result of `work`, and the request with all that was recorded
/// meanwhile.
pub fn begin_request<T>(request: RequestContext, work: impl FnOnce() -> T) -> (T, RequestContext) {
    CURRENT.sync_scope(request, || (work(), CURRENT.with(Clone::clone)))
}

/// Runs `work` in the name of a request, if any, for tasks beside the request's own task.
pub async fn with_request_if_any<T>(request: Option<RequestContext>, work: impl Future<Output = T>) -> T {
    match request {
        Some(request) => with_request(request, work).await,
        None => work.await,
    }
}

/// True if the current task works for a request.
#[must_use]
pub fn has_current_request() -> bool {
    CURRENT.try_with(|_| ()).is_ok()
}

/// True unless the current task works for a request that only reads.
#[must_use]
pub fn current_request_may_change() -> bool {
    CURRENT.try_with(|request| request.asks_for_change).unwrap_or(true)
}

/// The request of the current task.
#[must_use]
pub fn current_request() -> Option<RequestContext> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Records the route of the current request, for log lines. Does nothing outside of a request.
pub fn record_route(slot: u16, shard: u16) {
    let _ = CURRENT.try_with(|request| request.route.set(Some(RoutedSlot { slot, shard })));
}

/// Records the caller of the current request. Does nothing outside of a request.
pub fn record_caller(caller: u128) {
    let _ = CURRENT.try_with(|request| request.caller.set(Some(caller)));
}

/// The caller of the current request, if known.
#[must_use]
pub fn current_caller() -> Option<u128> {
    CURRENT.try_with(|request| request.caller.get()).ok().flatten()
}

/// The trace of the current task's request.
pub(super) fn current_trace<T>(read: impl FnOnce(&TraceContext) -> T) -> Option<T> {
    CURRENT.try_with(|request| request.trace.as_ref().map(read)).ok().flatten()
}
