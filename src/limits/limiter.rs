//! The rate limit as requests meet it: the local count first, then the shared one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::late::LateAnswers;
use super::local::{CallerCell, CallerCells};
use super::shared::{SharedAnswer, SharedCount, SharedCounter, SharedQuestion};
use super::{CallerKey, RateQuota};
use crate::cache::CacheUrl;

/// How long units that were taken from the shared count ahead are good.
const LEASE: Duration = Duration::from_secs(1);
/// Units are taken ahead for this long at most …
const AHEAD: u64 = 100; // parts of a second
/// … and so small a part of the burst at most: with three processes all that lies about is less than a hundredth.
const PART: u64 = 500;

/// How a caller stands after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallerStanding {
    /// The limit.
    pub rate: RateQuota,
    /// Units left.
    pub left: u64,
}

impl CallerStanding {
    /// How long it takes until all units are there again.
    #[must_use]
    pub fn full_in(self) -> Duration {
        self.rate.time_of(self.rate.burst().saturating_sub(self.left))
    }
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakeOutcome {
    /// It may go on.
    Admitted(CallerStanding),
    /// It may not, before so long.
    Refused(CallerStanding, Duration),
}

/// The limit of all callers.
pub struct RateLimiter {
    rate: RateQuota,
    cells: Arc<CallerCells>,
    shared: Option<Arc<SharedCounter>>,
    late: LateAnswers,
    started: Instant,
    ahead: u64,
    /// Requests that were decided here although the count is a shared one.
    alone: AtomicU64,
}

impl RateLimiter {
    /// A limit; shared through a server if there is one, for which [`RateLimiter::keep`] must run.
    #[must_use]
    pub fn new(rate: RateQuota, shared: Option<CacheUrl>) -> Self {
        Self {
            rate,
            cells: Arc::new(CallerCells::new()),
            late: LateAnswers::new(),
            shared: shared.map(|url| Arc::new(SharedCounter::new(url))),
            started: Instant::now(),
            alone: AtomicU64::new(0),
            ahead: (rate.per_second() / AHEAD).min(rate.burst() / PART),
        }
    }

    /// Keeps the connection to the server until `stop` is cancelled; ends after the last answer that is waited for.
    pub fn keep(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let (shared, rate, late) = (self.shared.clone(), self.rate, self.late.tasks());
        async move {
            if let Some(shared) = shared {
                shared.keep(rate, stop).await;
                late.close();
                late.wait().await;
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

    fn up(&self) -> Option<&Arc<SharedCounter>> {
        self.shared.as_ref().filter(|shared| shared.is_up())
    }

    /// Takes what a request costs, if that can be told at once; else [`RateLimiter::ask`] must be called.
    #[must_use]
    pub fn take(&self, caller: CallerKey, cost: u64) -> Option<TakeOutcome> {
        if self.up().is_none() {
            return Some(self.take_here(caller, cost));
        }
        let now = self.now();
        self.cells.with(caller, now, |cell| {
            if cell.lease >= cost && cell.lease_until > now {
                cell.lease -= cost;
                self.rate.note(&mut cell.paid, now, cost);
                return Some(TakeOutcome::Admitted(self.standing(cell)));
            }
            let wait = Duration::from_nanos(cell.blocked_until.checked_sub(now)?);
            (!wait.is_zero()).then_some(TakeOutcome::Refused(CallerStanding { rate: self.rate, left: 0 }, wait))
        })
    }

    /// Takes what a request costs from the shared count; from this process's own, if that is away. Takes a few
    /// milliseconds at most.
    pub async fn ask(&self, caller: CallerKey, cost: u64) -> TakeOutcome {
        let Some(shared) = self.up() else { return self.take_here(caller, cost) };
        let SharedCount { taken, left, wait, wait_one } =
            match shared.take(self.rate, caller, cost, cost + self.ahead, false).await {
                SharedAnswer::Counted(counted) => counted,
                SharedAnswer::Away => return self.take_here(caller, cost),
                SharedAnswer::Late(asked) => {
                    let take = self.take_here(caller, cost);
                    let used = if matches!(take, TakeOutcome::Admitted(_)) { cost } else { 0 };
                    self.reconcile_late_answer(Arc::clone(shared), asked, caller, used);
                    return take;
                }
            };
        let now = self.now();
        self.cells.with(caller, now, |cell| {
            cell.shared_left = left;
            if taken < cost {
                cell.blocked_until = now.saturating_add(nanos(wait_one));
                return TakeOutcome::Refused(self.standing(cell), wait.max(Duration::from_micros(1)));
            }
            cell.give(now, taken - cost, now.saturating_add(nanos(LEASE)));
            // What goes through here counts here as well: should the shared count be lost, no burst begins anew.
            self.rate.note(&mut cell.paid, now, cost);
            TakeOutcome::Admitted(self.standing(cell))
        })
    }

    /// Sees to it that the shared count knows of the units that a request has used before its answer came, and that none
    /// are lost that were taken for it and not used.
    fn reconcile_late_answer(&self, shared: Arc<SharedCounter>, asked: SharedQuestion, caller: CallerKey, used: u64) {
        let (cells, rate, started) = (Arc::clone(&self.cells), self.rate, self.started);
        self.late.spawn_bounded(async move {
            let Ok(mut counted) = asked.await else { return };
            let unused = counted.taken.checked_sub(used);
            if unused.is_none() {
                counted = match shared.take(rate, caller, used, used, true).await {
                    SharedAnswer::Counted(counted) => counted,
                    SharedAnswer::Late(asked) => match asked.await {
                        Ok(counted) => counted,
                        Err(_) => return,
                    },
                    SharedAnswer::Away => return,
                };
            }
            let now = nanos(started.elapsed());
            cells.with(caller, now, |cell| match unused {
                Some(units) if units > 0 => cell.give(now, units, now.saturating_add(nanos(LEASE))),
                Some(_) => {}
                // Until the debt is paid nothing is there.
                None => cell.blocked_until = now.saturating_add(nanos(counted.wait_one)),
            });
        });
    }

    /// Requests that this process decided by itself, although the count is a shared one: it did not answer in time.
    #[must_use]
    pub fn decided_alone(&self) -> u64 {
        self.alone.load(Ordering::Relaxed)
    }

    /// Takes what a request costs from this process's own count.
    #[must_use]
    pub fn take_here(&self, caller: CallerKey, cost: u64) -> TakeOutcome {
        if self.shared.is_some() {
            self.alone.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.now();
        match self.cells.with(caller, now, |cell| self.rate.take(&mut cell.paid, now, cost)) {
            Ok(left) => TakeOutcome::Admitted(CallerStanding { rate: self.rate, left }),
            Err(wait) => TakeOutcome::Refused(CallerStanding { rate: self.rate, left: 0 }, wait),
        }
    }

    /// Takes what has been done already, whether it is there or not; gives how long to wait before more is done.
    pub async fn charge(&self, caller: CallerKey, cost: u64) -> Duration {
        if cost == 0 {
            return Duration::ZERO;
        }
        if let Some(shared) = self.up() {
            match shared.take(self.rate, caller, cost, cost, true).await {
                SharedAnswer::Counted(counted) => return counted.wait,
                // It counts there all the same.
                SharedAnswer::Late(asked) => self.reconcile_late_answer(Arc::clone(shared), asked, caller, cost),
                SharedAnswer::Away => {}
            }
        }
        let now = self.now();
        self.cells.with(caller, now, |cell| self.rate.charge(&mut cell.paid, now, cost))
    }

    fn standing(&self, cell: &CallerCell) -> CallerStanding {
        CallerStanding { rate: self.rate, left: (cell.lease + cell.shared_left).min(self.rate.burst()) }
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
            let Some(TakeOutcome::Admitted(standing)) = limiter.take(CallerKey::user(1), 1) else { panic!("refused") };
            assert_eq!(standing.left, left);
        }
        let Some(TakeOutcome::Refused(standing, wait)) = limiter.take(CallerKey::user(1), 1) else {
            panic!("admitted")
        };
        assert_eq!(standing.left, 0);
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert!(matches!(limiter.take(CallerKey::user(2), 3), Some(TakeOutcome::Admitted(_))));
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
                    let _ = limiter.take(CallerKey::user((number + thread) % 10_000), 1);
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
        assert!(matches!(limiter.take(CallerKey::user(1), 1), Some(TakeOutcome::Admitted(_))));
        assert!(matches!(limiter.ask(CallerKey::user(1), 1).await, TakeOutcome::Refused(..)));
        assert!(limiter.charge(CallerKey::user(1), 5).await > Duration::from_secs(4));
    }
}
