//! The shared count of all processes: a script on a Redis server. No request waits for a slow server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{CallerKey, RateQuota};
use crate::cache::CacheUrl;

const TAKE: &str = include_str!("take.lua");
/// How long a request waits for the shared count at most.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(5);
/// How long every answer may be late before the server is not asked for a while. A few alone may be this process's own
/// delay.
const LATE_LIMIT: Duration = Duration::from_secs(1);
/// How long opening the connection and a first answer may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a server was away or slow.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// An answer of the shared count.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedCount {
    /// Units taken.
    pub(super) taken: u64,
    /// Units left.
    pub(super) left: u64,
    /// Until the needed units are there, or the debt is paid.
    pub(super) wait: Duration,
    /// Until a unit is there.
    pub(super) wait_one: Duration,
}

/// The units that a question asks for.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct WantedUnits {
    /// Used units: taken in any case, if need be as a debt.
    pub(super) owed: u64,
    /// Units without which nothing more is taken.
    pub(super) need: u64,
    /// Units that are taken if the count has so many.
    pub(super) want: u64,
}

/// The result of a question in time.
pub(super) enum SharedAnswer {
    /// The answer.
    Counted(SharedCount),
    /// None yet. The server still carries the question out.
    Late,
    /// None, and none will come.
    Away,
}

pub(super) struct SharedCounter {
    url: CacheUrl,
    connection: ArcSwapOption<MultiplexedConnection>,
    started: Instant,
    /// Milliseconds from `started` to the first late answer after the last timely answer; 0: no answer was late.
    late_since: AtomicU64,
    lost: Notify,
}

impl SharedCounter {
    pub(super) fn new(url: CacheUrl) -> Self {
        Self {
            url,
            connection: ArcSwapOption::empty(),
            started: Instant::now(),
            late_since: AtomicU64::new(0),
            lost: Notify::new(),
        }
    }

    /// True if the server is worth asking.
    pub(super) fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Takes units, if the server answers in time.
    pub(super) async fn take(&self, rate: RateQuota, caller: CallerKey, units: WantedUnits) -> SharedAnswer {
        let Some(connection) = self.connection.load().as_deref().cloned() else { return SharedAnswer::Away };
        match tokio::time::timeout(ANSWER_TIMEOUT, run_script(connection, rate, caller, units)).await {
            Ok(Ok(counted)) => {
                // Relaxed: the number orders nothing.
                if self.late_since.load(Ordering::Relaxed) != 0 {
                    self.late_since.store(0, Ordering::Relaxed);
                }
                SharedAnswer::Counted(counted)
            }
            Ok(Err(_)) => {
                self.disconnect();
                SharedAnswer::Away
            }
            Err(_) => {
                let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
                let first = self.late_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
                if first.is_err_and(|first| Duration::from_millis(now.saturating_sub(first)) >= LATE_LIMIT) {
                    self.disconnect();
                }
                SharedAnswer::Late
            }
        }
    }

    fn disconnect(&self) {
        self.connection.store(None);
        self.lost.notify_one();
    }

    /// Keeps the connection until `stop` is cancelled.
    pub(super) async fn keep_connected(self: Arc<Self>, rate: RateQuota, stop: CancellationToken) {
        stop.run_until_cancelled(self.reconnect_forever(rate)).await;
        self.connection.store(None);
    }

    async fn reconnect_forever(&self, rate: RateQuota) {
        let mut has_warned = false;
        loop {
            match tokio::time::timeout(CONNECT_TIMEOUT, open(&self.url, rate)).await {
                Ok(Ok(connection)) => {
                    log::info!("the rate limit is shared through {}", self.url.place());
                    has_warned = false;
                    self.late_since.store(0, Ordering::Relaxed);
                    self.connection.store(Some(Arc::new(connection)));
                    self.lost.notified().await;
                    log::warn!(
                        "{} is away or slow: each process limits its callers by itself meanwhile",
                        self.url.place()
                    );
                }
                _ if has_warned => {}
                _ => {
                    has_warned = true;
                    log::warn!(
                        "the rate limit cannot be shared through {}: no answer, or none that is of use",
                        self.url.place()
                    );
                }
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }
}

async fn open(url: &CacheUrl, rate: RateQuota) -> redis::RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let connection = url.client()?.get_multiplexed_async_connection_with_config(&config).await?;
    // Proves that the server runs the script.
    run_script(connection.clone(), rate, CallerKey::program(0), WantedUnits::default()).await?;
    Ok(connection)
}

async fn run_script(
    mut connection: MultiplexedConnection,
    rate: RateQuota,
    caller: CallerKey,
    units: WantedUnits,
) -> redis::RedisResult<SharedCount> {
    let unit = format!("{:.6}", rate.time_of(1).as_secs_f64() * 1e6);
    let mut command = redis::cmd("EVAL");
    command.arg(TAKE).arg(1).arg(format!("shardrive:limit:{caller}"));
    command.arg(unit).arg(rate.burst()).arg(units.owed).arg(units.need).arg(units.want);
    let (taken, left, wait, wait_one): (u64, u64, u64, u64) = command.query_async(&mut connection).await?;
    Ok(SharedCount { taken, left, wait: Duration::from_micros(wait), wait_one: Duration::from_micros(wait_one) })
}
