//! Pace and rate-limit cost of a streamed body.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Payload};
use futures_util::StreamExt;
use futures_util::stream::Peekable;

use crate::http::guards::rate_limit::ROWS_PER_UNIT;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::state::AppState;
use crate::limits::{CallerKey, RateLimiter};

/// The clock and the bill of one bulk body.
///
/// A body may come slowly for as long as it comes: a listing that is piped in as it is made. But who sends a byte now and
/// then keeps a place that others wait for.
pub(in crate::http) struct UploadMeter {
    caller: CallerKey,
    limiter: Option<Arc<RateLimiter>>,
    /// Rows that are not on the bill yet.
    rows: u64,
    /// Time spent waiting for the client.
    waited: Duration,
    bytes: u64,
}

/// How long a body may stand still.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// The least that must come in the long run, in bytes a second.
pub(super) const LEAST_RATE: u64 = 128;

/// A body whose first bytes are there.
pub(in crate::http) type BegunBody = Peekable<Payload>;

/// The body comes too slowly.
pub(in crate::http) struct TooSlow;

impl From<TooSlow> for Problem {
    fn from(_: TooSlow) -> Self {
        let detail = format!(
            "the body came too slowly: it may not stand still for {} seconds, nor come at less than {LEAST_RATE} bytes \
             a second for longer than that",
            STALL.as_secs()
        );
        Self::new(ProblemCode::BodyTimeout, detail)
    }
}

impl UploadMeter {
    pub(in crate::http) fn new(state: &Data<AppState>, caller: CallerKey) -> Self {
        Self { caller, limiter: state.limiter.clone(), rows: 0, waited: Duration::ZERO, bytes: 0 }
    }

    /// By whom the load is counted.
    pub(in crate::http) fn caller(&self) -> CallerKey {
        self.caller
    }

    /// How long the client may take for what comes next.
    fn patience(&self) -> Duration {
        let earned = STALL.saturating_add(Duration::from_secs(self.bytes / LEAST_RATE));
        earned.saturating_sub(self.waited).min(STALL)
    }

    /// Waits for the client to send something.
    pub(in crate::http) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, TooSlow> {
        let began = tokio::time::Instant::now();
        let next = tokio::time::timeout(self.patience(), next).await.map_err(|_| TooSlow)?;
        self.waited += began.elapsed();
        Ok(next)
    }

    /// The body, once its first bytes are there. Until then the load has no place that others wait for.
    pub(in crate::http) async fn wait_for_first(&mut self, body: Payload) -> Result<BegunBody, TooSlow> {
        let mut body = body.peekable();
        self.wait(Pin::new(&mut body).peek()).await?;
        Ok(body)
    }

    /// A row was made here. Now and then waits until the caller may have more.
    pub(in crate::http) async fn count_one(&mut self) {
        if self.limiter.is_some() {
            self.rows += 1;
            if self.rows >= 100 * ROWS_PER_UNIT {
                self.count(0, 0).await;
            }
        }
    }

    /// So many bytes came, and so many rows were in them. Waits until the caller may send more.
    pub(in crate::http) async fn count(&mut self, bytes: usize, rows: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let Some(limiter) = &self.limiter else { return };
        self.rows += u64::try_from(rows).unwrap_or(u64::MAX);
        let units = self.rows / ROWS_PER_UNIT;
        self.rows %= ROWS_PER_UNIT;
        let wait = limiter.charge(self.caller, units).await;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_drips_runs_out_of_time() {
        let mut intake =
            UploadMeter { caller: CallerKey::user(1), limiter: None, rows: 0, waited: Duration::ZERO, bytes: 0 };
        assert_eq!(intake.patience(), STALL);
        intake.waited = Duration::from_secs(27);
        intake.bytes = 3;
        assert_eq!(intake.patience(), Duration::from_secs(3));
        intake.waited = Duration::from_secs(1000);
        assert_eq!(intake.patience(), Duration::ZERO);
        intake.bytes = 1000 * LEAST_RATE;
        assert_eq!(intake.patience(), STALL, "what comes fast enough in the long run may stand still");
        intake.bytes = u64::MAX;
        assert_eq!(intake.patience(), STALL);
    }
}
