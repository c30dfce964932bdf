//! Which request the current task works for, so that every log line on its way can name it.

use std::sync::Arc;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The names of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestContext {
    /// Its id, from the client or made here.
    pub request_id: Arc<str>,
    /// The W3C trace that it belongs to, if the client named one.
    pub traceparent: Option<Arc<str>>,
}

/// Runs `work` in the name of a request.
pub async fn with_request<T>(request: RequestContext, work: impl Future<Output = T>) -> T {
    CURRENT.scope(request, work).await
}

/// The request that the current task works for.
#[must_use]
pub fn current_request() -> Option<RequestContext> {
    CURRENT.try_with(Clone::clone).ok()
}
