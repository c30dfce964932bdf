//! The rate limit for requests: the local count first, then the shared count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::local::{CallerCell, CallerCells};
use super::shared::{SharedAnswer, SharedCount, SharedCounter, WantedUnits};
use super::{CallerKey, RateQuota};
use crate::cache::CacheUrl;

/// How long units taken ahead from the shared count are valid.
const RESERVATION: Duration = Duration::from_secs(1);
/// Units are taken ahead for this long at most …
const AHEAD_PART_OF_SECOND: u64 = 100; // parts of a second
/// … and for this part of the burst at most: unused units of three processes are less than a hundredth.
const AHEAD_PART_OF_BURST: u64 = 500;

/// How a caller stands after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallerStanding {
    /// The limit.
    pub rate: RateQuota,
    /// Units left.
    pub left: u64,
}

impl CallerStanding {
    /// The time until all units are there again.
    #[must_use]
    pub fn full_in(self) -> Duration {
        self.rate.time_of(self.rate.burst().saturating_sub(self.left))
    }
}

/// The decision about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakeOutcome {
    /// The request may go on.
    Admitted(CallerStanding),
    /// The request may come again after this time.
    Refused(CallerStanding, Duration),
}

/// The limit of all callers.
pub struct RateLimiter {
    rate: RateQuota,
    cells: CallerCells,
    shared: Option<Arc<SharedCounter>>,
    started: Instant,
    ahead: u64,
    /// Requests decided by the local count although there is a shared count.
    local_decisions: AtomicU64,
}

impl RateLimiter {
    /// A limit. With a server the limit is shared, for which [`RateLimiter::keep_connected`] must run.
    #[must_use]
    pub fn new(rate: RateQuota, shared: Option<CacheUrl>) -> Self {
        Self {
            rate,
            cells: CallerCells::new(),
            shared: shared.map(|url| Arc::new(SharedCounter::new(url))),
            started: Instant::now(),
            local_decisions: AtomicU64::new(0),
            ahead: (rate.per_second() / AHEAD_PART_OF_SECOND).min(rate.burst() / AHEAD_PART_OF_BURST),
        }
    }

    /// Keeps the connection to the server until `stop` is cancelled.
    pub fn keep_connected(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let (shared, rate) = (self.shared.clone(), self.rate);
        async move {
            if let Some(shared) = shared {
                shared.keep_connected(rate, stop).await;
            }
        }
    }

    /// The limit.
    #[must_use]
    pub fn rate(&self) -> RateQuota {
        self.rate
    }

    fn now(&self) -> u64 {
        nanos(self.started.elapsed())
    }

    fn connected_server(&self) -> Option<&Arc<SharedCounter>> {
        self.shared.as_ref().filter(|shared| shared.is_up())
    }

    /// Takes the cost of a request, if no question is needed; `None`: call [`RateLimiter::take_shared`].
    #[must_use]
    pub fn take_now(&self, caller: CallerKey, cost: u64) -> Option<TakeOutcome> {
        if self.connected_server().is_none() {
            return Some(self.take_local(caller, cost));
        }
        let now = self.now();
        self.cells.with_cell(caller, now, |cell| {
            if cell.reserved >= cost && cell.reserved_until > now {
                cell.reserved -= cost;
                self.rate.take_available(&mut cell.paid, now, cost);
                return Some(TakeOutcome::Admitted(self.standing(cell)));
            }
            let wait = Duration::from_nanos(cell.blocked_until.checked_sub(now)?);
            (!wait.is_zero()).then_some(TakeOutcome::Refused(CallerStanding { rate: self.rate, left: 0 }, wait))
        })
    }

    /// Takes the cost of a request from the shared count, or from the local count if the shared count is away or late.
    /// Takes a few milliseconds at most.
    pub async fn take_shared(&self, caller: CallerKey, cost: u64) -> TakeOutcome {
        let Some(shared) = self.connected_server() else { return self.take_local(caller, cost) };
        let units = WantedUnits { owed: self.take_debt(caller), need: cost, want: cost + self.ahead };
        let SharedCount { taken, left, wait, wait_one } = match shared.take(self.rate, caller, units).await {
            SharedAnswer::Counted(counted) => counted,
            SharedAnswer::Late => return self.take_unanswered(caller, cost),
            SharedAnswer::Away => return self.take_local(caller, cost),
        };
        let now = self.now();
        self.cells.with_cell(caller, now, |cell| {
            cell.shared_left = left;
            if taken < cost {
                cell.blocked_until = now.saturating_add(nanos(wait_one));
                return TakeOutcome::Refused(self.standing(cell), wait.max(Duration::from_micros(1)));
            }
            cell.add_reserved(now, taken - cost, now.saturating_add(nanos(RESERVATION)));
            // The local count takes the units too: if the shared count is lost, no burst begins anew.
            self.rate.take_available(&mut cell.paid, now, cost);
            TakeOutcome::Admitted(self.standing(cell))
        })
    }

    /// Decides a request whose question the server will answer too late. If little was left at the last answer, the
    /// server may refuse the question: used units are then owed. At worst a caller near the limit pays twice.
    fn take_unanswered(&self, caller: CallerKey, cost: u64) -> TakeOutcome {
        let outcome = self.take_local(caller, cost);
        if matches!(outcome, TakeOutcome::Admitted(_)) {
            self.cells.with_cell(caller, self.now(), |cell| {
                if cell.shared_left < self.rate.burst() / 2 {
                    cell.owed += cost;
                }
            });
        }
        outcome
    }

    /// Used units that the shared count does not know; the next question takes the units there.
    fn take_debt(&self, caller: CallerKey) -> u64 {
        self.cells.with_cell(caller, self.now(), |cell| std::mem::take(&mut cell.owed))
    }

    /// Requests decided by the local count, as the shared count did not answer in time.
    #[must_use]
    pub fn decided_alone(&self) -> u64 {
        self.local_decisions.load(Ordering::Relaxed)
    }

    /// Takes the cost of a request from the local count.
    #[must_use]
    pub fn take_local(&self, caller: CallerKey, cost: u64) -> TakeOutcome {
        if self.shared.is_some() {
            self.local_decisions.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.now();
        match self.cells.with_cell(caller, now, |cell| self.rate.take(&mut cell.paid, now, cost)) {
            Ok(left) => TakeOutcome::Admitted(CallerStanding { rate: self.rate, left }),
            Err(wait) => TakeOutcome::Refused(CallerStanding { rate: self.rate, left: 0 }, wait),
        }
    }

    /// Takes the cost of finished work, if need be as a debt; gives the wait before more work.
    pub async fn charge(&self, caller: CallerKey, cost: u64) -> Duration {
        if cost == 0 {
            return Duration::ZERO;
        }
        if let Some(shared) = self.connected_server() {
            let units = WantedUnits { owed: self.take_debt(caller) + cost, need: 0, want: 0 };
            if let SharedAnswer::Counted(counted) = shared.take(self.rate, caller, units).await {
                return counted.wait;
            }
        }
        let now = self.now();
        self.cells.with_cell(caller, now, |cell| self.rate.charge(&mut cell.paid, now, cost))
    }

    fn standing(&self, cell: &CallerCell) -> CallerStanding {
        CallerStanding { rate: self.rate, left: (cell.reserved + cell.shared_left).min(self.rate.burst()) }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_have_limits_of_their_own() {
        let limiter = RateLimiter::new(RateQuota::new(1, 3), None);
        for left in [2, 1, 0] {
            let Some(TakeOutcome::Admitted(standing)) = limiter.take_now(CallerKey::user(1), 1) else {
                panic!("refused")
            };
            assert_eq!(standing.left, left);
        }
        let Some(TakeOutcome::Refused(standing, wait)) = limiter.take_now(CallerKey::user(1), 1) else {
            panic!("admitted")
        };
        assert_eq!(standing.left, 0);
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert!(matches!(limiter.take_now(CallerKey::user(2), 3), Some(TakeOutcome::Admitted(_))));
    }

    /// `cargo test --lib -- --ignored --nocapture the_limit_costs`: measured, not judged.
    #[test]
    #[ignore = "a measurement"]
    fn what_the_limit_costs_in_process() {
        let limiter = RateLimiter::new(RateQuota::new(1_000_000, 100_000_000), None);
        let work = |thread: i64| {
            let mut times: Vec<Duration> = (0..200_000)
                .map(|number| {
                    let began = Instant::now();
                    let _ = limiter.take_now(CallerKey::user((number + thread) % 10_000), 1);
                    began.elapsed()
                })
                .collect();
            times.sort();
            times
        };
        let mut all: Vec<Duration> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort();
        let at = |permille: usize| all[all.len() * permille / 1000];
        println!("4 threads, 10,000 callers: p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_not_waited_for() {
        let url = CacheUrl::parse("redis://127.0.0.1:1").unwrap();
        let limiter = RateLimiter::new(RateQuota::new(1, 1), Some(url));
        assert!(matches!(limiter.take_now(CallerKey::user(1), 1), Some(TakeOutcome::Admitted(_))));
        assert!(matches!(limiter.take_shared(CallerKey::user(1), 1).await, TakeOutcome::Refused(..)));
        assert!(limiter.charge(CallerKey::user(1), 5).await > Duration::from_secs(4));
    }
}
