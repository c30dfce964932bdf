//! The count that all processes share: one script on a Redis server, which no request waits for when it is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{CallerKey, RateQuota};
use crate::cache::CacheUrl;

const TAKE: &str = include_str!("take.lua");
/// How long a request waits for the shared count at most.
const LIMIT: Duration = Duration::from_millis(5);
/// How long every answer may be late before the server is not asked for a while. A few alone may be this process's own delay.
const LATE: Duration = Duration::from_secs(1);
/// How long opening the connection and a first answer may take.
const OPEN: Duration = Duration::from_secs(2);
/// How long a server that was away or slow is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What the shared count said.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedCount {
    /// Units taken.
    pub(super) taken: u64,
    /// Units left.
    pub(super) left: u64,
    /// Until what was asked for is there, or, of what was taken beyond the limit, will have been.
    pub(super) wait: Duration,
    /// Until there is one unit.
    pub(super) wait_one: Duration,
}

/// What came of a question in time.
pub(super) enum SharedAnswer {
    /// The answer.
    Counted(SharedCount),
    /// None yet. The question has been put, and its answer may still come.
    Late(SharedQuestion),
    /// None, and none will come.
    Away,
}

/// A question to the shared count.
pub(super) type SharedQuestion = BoxFuture<'static, redis::RedisResult<SharedCount>>;

/// The way to the shared count.
pub(super) struct SharedCounter {
    url: CacheUrl,
    connection: ArcSwapOption<MultiplexedConnection>,
    started: Instant,
    /// Milliseconds from `started` to the first answer that was late, since the last one that was not; 0: none was.
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

    /// Takes `need` units, or up to `want` if there are more; with `force` also if they are not there.
    pub(super) async fn take(
        &self,
        rate: RateQuota,
        caller: CallerKey,
        need: u64,
        want: u64,
        force: bool,
    ) -> SharedAnswer {
        let Some(connection) = self.connection.load().as_deref().cloned() else { return SharedAnswer::Away };
        let mut asked: SharedQuestion = Box::pin(ask(connection, rate, caller, need, want, force));
        match tokio::time::timeout(LIMIT, &mut asked).await {
            Ok(Ok(counted)) => {
                // Relaxed: the number orders nothing.
                if self.late_since.load(Ordering::Relaxed) != 0 {
                    self.late_since.store(0, Ordering::Relaxed);
                }
                SharedAnswer::Counted(counted)
            }
            Ok(Err(_)) => {
                self.lose();
                SharedAnswer::Away
            }
            Err(_) => {
                let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
                let first = self.late_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
                if first.is_err_and(|first| Duration::from_millis(now.saturating_sub(first)) >= LATE) {
                    self.lose();
                }
                SharedAnswer::Late(asked)
            }
        }
    }

    fn lose(&self) {
        self.connection.store(None);
        self.lost.notify_one();
    }

    /// Keeps the connection until `stop` is cancelled.
    pub(super) async fn keep(self: Arc<Self>, rate: RateQuota, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_up(rate)).await;
        self.connection.store(None);
    }

    async fn keep_up(&self, rate: RateQuota) {
        let mut said = false;
        loop {
            match tokio::time::timeout(OPEN, open(&self.url, rate)).await {
                Ok(Ok(connection)) => {
                    log::info!("the rate limit is shared through {}", self.url.place());
                    said = false;
                    self.late_since.store(0, Ordering::Relaxed);
                    self.connection.store(Some(Arc::new(connection)));
                    self.lost.notified().await;
                    log::warn!(
                        "{} is away or slow: each process limits its callers by itself meanwhile",
                        self.url.place()
                    );
                }
                _ if said => {}
                _ => {
                    said = true;
                    log::warn!(
                        "the rate limit cannot be shared through {}: no answer, or none that is of use",
                        self.url.place()
                    );
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn open(url: &CacheUrl, rate: RateQuota) -> redis::RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let connection = url.client()?.get_multiplexed_async_connection_with_config(&config).await?;
    // The script is known to the server from here on, and that it may be run.
    ask(connection.clone(), rate, CallerKey::program(0), 0, 0, false).await?;
    Ok(connection)
}

async fn ask(
    mut connection: MultiplexedConnection,
    rate: RateQuota,
    caller: CallerKey,
    need: u64,
    want: u64,
    force: bool,
) -> redis::RedisResult<SharedCount> {
    let unit = format!("{:.6}", rate.time_of(1).as_secs_f64() * 1e6);
    let mut command = redis::cmd("EVAL");
    command.arg(TAKE).arg(1).arg(format!("shardrive:limit:{caller}"));
    command.arg(unit).arg(rate.burst()).arg(need).arg(want).arg(u8::from(force));
    let (taken, left, wait, wait_one): (u64, u64, u64, u64) = command.query_async(&mut connection).await?;
    Ok(SharedCount { taken, left, wait: Duration::from_micros(wait), wait_one: Duration::from_micros(wait_one) })
}
