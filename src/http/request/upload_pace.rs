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

/// The pace and the rate-limit cost of a bulk body.
///
/// A body may come slowly, such as a listing in the making. But a client with a byte now and
/// then would keep a permit for which other loads wait.
pub(in crate::http) struct UploadMeter {
    caller: CallerKey,
    limiter: Option<Arc<RateLimiter>>,
    /// Rows that are not charged yet.
    rows: u64,
    /// Time spent waiting for the client.
    waited: Duration,
    bytes: u64,
}

/// How long a body may stand still.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// The least pace in the long run, in bytes a second.
pub(super) const LEAST_RATE: u64 = 128;

/// A body whose first bytes are there.
pub(super) type BegunBody = Peekable<Payload>;

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

    pub(in crate::http) fn caller(&self) -> CallerKey {
        self.caller
    }

    /// How long the client may take for the next bytes.
    fn time_left(&self) -> Duration {
        let earned = STALL.saturating_add(Duration::from_secs(self.bytes / LEAST_RATE));
        earned.saturating_sub(self.waited).min(STALL)
    }

    /// Waits for the client to send something.
    pub(in crate::http) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, TooSlow> {
        let began = tokio::time::Instant::now();
        let next = tokio::time::timeout(self.time_left(), next).await.map_err(|_| TooSlow)?;
        self.waited += began.elapsed();
        Ok(next)
    }

    /// The body, after the first bytes came. Until then the load takes no permit from other loads.
    pub(super) async fn wait_for_first(&mut self, body: Payload) -> Result<BegunBody, TooSlow> {
        let mut body = body.peekable();
        self.wait(Pin::new(&mut body).peek()).await?;
        Ok(body)
    }

    /// A row was made here. Now and then waits until the caller may have more.
    pub(in crate::http) async fn count_made_row(&mut self) {
        if self.limiter.is_some() {
            self.rows += 1;
            if self.rows >= 100 * ROWS_PER_UNIT {
                self.count(0, 0).await;
            }
        }
    }

    /// Counts received bytes and rows, and waits until the caller may send more.
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
        assert_eq!(intake.time_left(), STALL);
        intake.waited = Duration::from_secs(27);
        intake.bytes = 3;
        assert_eq!(intake.time_left(), Duration::from_secs(3));
        intake.waited = Duration::from_secs(1000);
        assert_eq!(intake.time_left(), Duration::ZERO);
        intake.bytes = 1000 * LEAST_RATE;
        assert_eq!(intake.time_left(), STALL, "what comes fast enough in the long run may stand still");
        intake.bytes = u64::MAX;
        assert_eq!(intake.time_left(), STALL);
    }
}
