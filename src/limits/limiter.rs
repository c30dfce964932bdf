//! The limit as requests meet it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::late::Late;
use super::local::{Cell, Cells};
use super::shared::{Answer, Asked, Counted, Shared};
use super::{CallerKey, Rate};
use crate::cache::CacheUrl;

/// How long units that were taken from the shared count ahead are good.
const LEASE: Duration = Duration::from_secs(1);
/// Units are taken ahead for this long at most …
const AHEAD: u64 = 100; // parts of a second
/// … and so small a part of the burst at most: with three processes all that lies about is less than a hundredth.
const PART: u64 = 500;

/// How a caller stands after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The limit.
    pub rate: Rate,
    /// Units left.
    pub left: u64,
}

impl Standing {
    /// How long it takes until all units are there again.
    #[must_use]
    pub fn full_in(self) -> Duration {
        self.rate.time_of(self.rate.burst().saturating_sub(self.left))
    }
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// It may go on.
    Admitted(Standing),
    /// It may not, before so long.
    Refused(Standing, Duration),
}

/// The limit of all callers.
pub struct Limiter {
    rate: Rate,
    cells: Arc<Cells>,
    shared: Option<Arc<Shared>>,
    late: Late,
    started: Instant,
    ahead: u64,
    /// Requests that were decided here although the count is a shared one.
    alone: AtomicU64,
}

impl Limiter {
    /// A limit; shared through a server if there is one, for which [`Limiter::keep`] must run.
    #[must_use]
    pub fn new(rate: Rate, shared: Option<CacheUrl>) -> Self {
        Self {
            rate,
            cells: Arc::new(Cells::new()),
            late: Late::new(),
            shared: shared.map(|url| Arc::new(Shared::new(url))),
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
    pub fn rate(&self) -> Rate {
        self.rate
    }

    fn now(&self) -> u64 {
        nanos(self.started.elapsed())
    }

    fn up(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref().filter(|shared| shared.is_up())
    }

    /// Takes what a request costs, if that can be told at once; else [`Limiter::ask`] must be called.
    #[must_use]
    pub fn take(&self, caller: CallerKey, cost: u64) -> Option<Take> {
        if self.up().is_none() {
            return Some(self.take_here(caller, cost));
        }
        let now = self.now();
        self.cells.with(caller, now, |cell| {
            if cell.lease >= cost && cell.lease_until > now {
                cell.lease -= cost;
                self.rate.note(&mut cell.paid, now, cost);
                return Some(Take::Admitted(self.standing(cell)));
            }
            let wait = Duration::from_nanos(cell.blocked_until.checked_sub(now)?);
            (!wait.is_zero()).then_some(Take::Refused(Standing { rate: self.rate, left: 0 }, wait))
        })
    }

    /// Takes what a request costs from the shared count; from this process's own, if that is away. Takes a few
    /// milliseconds at most.
    pub async fn ask(&self, caller: CallerKey, cost: u64) -> Take {
        let Some(shared) = self.up() else { return self.take_here(caller, cost) };
        let Counted { taken, left, wait, wait_one } =
            match shared.take(self.rate, caller, cost, cost + self.ahead, false).await {
                Answer::Counted(counted) => counted,
                Answer::Away => return self.take_here(caller, cost),
                Answer::Late(asked) => {
                    let take = self.take_here(caller, cost);
                    let used = if matches!(take, Take::Admitted(_)) { cost } else { 0 };
                    self.put_right(Arc::clone(shared), asked, caller, used);
                    return take;
                }
            };
        let now = self.now();
        self.cells.with(caller, now, |cell| {
            cell.shared_left = left;
            if taken < cost {
                cell.blocked_until = now.saturating_add(nanos(wait_one));
                return Take::Refused(self.standing(cell), wait.max(Duration::from_micros(1)));
            }
            cell.give(now, taken - cost, now.saturating_add(nanos(LEASE)));
            // What goes through here counts here as well: should the shared count be lost, no burst begins anew.
            self.rate.note(&mut cell.paid, now, cost);
            Take::Admitted(self.standing(cell))
        })
    }

    /// Sees to it that the shared count knows of the units that a request has used before its answer came, and that none
    /// are lost that were taken for it and not used.
    fn put_right(&self, shared: Arc<Shared>, asked: Asked, caller: CallerKey, used: u64) {
        let (cells, rate, started) = (Arc::clone(&self.cells), self.rate, self.started);
        self.late.see_to(async move {
            let Ok(mut counted) = asked.await else { return };
            let unused = counted.taken.checked_sub(used);
            if unused.is_none() {
                counted = match shared.take(rate, caller, used, used, true).await {
                    Answer::Counted(counted) => counted,
                    Answer::Late(asked) => match asked.await {
                        Ok(counted) => counted,
                        Err(_) => return,
                    },
                    Answer::Away => return,
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
    pub fn take_here(&self, caller: CallerKey, cost: u64) -> Take {
        if self.shared.is_some() {
            self.alone.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.now();
        match self.cells.with(caller, now, |cell| self.rate.take(&mut cell.paid, now, cost)) {
            Ok(left) => Take::Admitted(Standing { rate: self.rate, left }),
            Err(wait) => Take::Refused(Standing { rate: self.rate, left: 0 }, wait),
        }
    }

    /// Takes what has been done already, whether it is there or not; gives how long to wait before more is done.
    pub async fn charge(&self, caller: CallerKey, cost: u64) -> Duration {
        if cost == 0 {
            return Duration::ZERO;
        }
        if let Some(shared) = self.up() {
            match shared.take(self.rate, caller, cost, cost, true).await {
                Answer::Counted(counted) => return counted.wait,
                // It counts there all the same.
                Answer::Late(asked) => self.put_right(Arc::clone(shared), asked, caller, cost),
                Answer::Away => {}
            }
        }
        let now = self.now();
        self.cells.with(caller, now, |cell| self.rate.charge(&mut cell.paid, now, cost))
    }

    fn standing(&self, cell: &Cell) -> Standing {
        Standing { rate: self.rate, left: (cell.lease + cell.shared_left).min(self.rate.burst()) }
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
        let limiter = Limiter::new(Rate::new(1, 3), None);
        for left in [2, 1, 0] {
            let Some(Take::Admitted(standing)) = limiter.take(CallerKey::user(1), 1) else { panic!("refused") };
            assert_eq!(standing.left, left);
        }
        let Some(Take::Refused(standing, wait)) = limiter.take(CallerKey::user(1), 1) else { panic!("admitted") };
        assert_eq!(standing.left, 0);
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert!(matches!(limiter.take(CallerKey::user(2), 3), Some(Take::Admitted(_))));
    }

    /// `cargo test --lib -- --ignored --nocapture the_limit_costs`: measured, not judged.
    #[test]
    #[ignore = "a measurement"]
    fn what_the_limit_costs_in_process() {
        let limiter = Limiter::new(Rate::new(1_000_000, 100_000_000), None);
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
        let limiter = Limiter::new(Rate::new(1, 1), Some(url));
        assert!(matches!(limiter.take(CallerKey::user(1), 1), Some(Take::Admitted(_))));
        assert!(matches!(limiter.ask(CallerKey::user(1), 1).await, Take::Refused(..)));
        assert!(limiter.charge(CallerKey::user(1), 5).await > Duration::from_secs(4));
    }
}
