//! The process's connection to the cache's server: opened, watched, closed at the first sign of trouble, opened again.
//!
//! A server that answers late is worse than no server, as every read would wait. So a link is dropped after an
//! input or output error, after a few late answers in a row, or when another server answers on it. A link that did not
//! last is not trusted at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::codec::{CacheFormat, describe_formats};
use super::server_info::{ServerInfo, name_in_fence};
use super::settings::CacheUrl;

/// How long the first try after a loss may take; meanwhile writes wait, and nobody closes a fence.
const FIRST_TRY: Duration = Duration::from_millis(300);
/// How long every other try may take.
const TRY: Duration = Duration::from_secs(1);
/// The first pause between two tries, which doubles up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A link that ends sooner than this is not replaced as if nothing had happened.
const STEADY: Duration = Duration::from_secs(2);
/// How often the server is asked whether it has changed.
const BEAT: Duration = Duration::from_millis(100);
/// How long the answer may take.
const BEAT_LIMIT: Duration = Duration::from_millis(300);
/// Beats between two counts of the keys.
const BEATS_PER_COUNT: u32 = 10;
/// How long every answer may be late before the server counts as away. Only a few late answers may be this process's
/// own delay.
const LATE: Duration = Duration::from_millis(150);

/// What became of the link.
#[derive(Clone)]
pub(super) enum LinkState<L = Arc<ServerLink>> {
    /// No server is configured.
    Disabled,
    /// The first try, at the start or after a loss, is not over.
    Connecting,
    /// The server cannot be reached, or will not do.
    Away,
    /// Commands may be sent.
    Up(L),
}

impl LinkState {
    /// The same with the name of the server, as a fence names it.
    pub(super) fn by_server(&self) -> LinkState<Arc<str>> {
        match self {
            Self::Disabled => LinkState::Disabled,
            Self::Connecting => LinkState::Connecting,
            Self::Away => LinkState::Away,
            Self::Up(link) => LinkState::Up(Arc::clone(&link.server)),
        }
    }
}

/// A connection to one server that is known to be a primary.
pub(super) struct ServerLink {
    /// Which server this is, with the formats of this program, as a fence names it. The name changes when the server is
    /// started anew, and when another server's data takes the place of the old data.
    pub(super) server: Arc<str>,
    connection: MultiplexedConnection,
    opened: Instant,
    /// Milliseconds from `opened` to the first late answer since the last answer in time; 0: no answer was late.
    late_since: AtomicU64,
    broken: CancellationToken,
    reason: OnceLock<String>,
}

impl ServerLink {
    /// Runs commands, for as long as they may take. `None`: there was no answer, or a useless answer; the link may be
    /// broken now.
    pub(super) async fn call<T, F>(
        &self,
        limit: Duration,
        commands: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        if self.broken.is_cancelled() {
            return None;
        }
        match tokio::time::timeout(limit, commands(self.connection.clone())).await {
            Ok(Ok(answer)) => {
                self.note_answer();
                Some(answer)
            }
            Ok(Err(error)) => {
                // A full server refuses new values, and still forgets old ones: the server works.
                if error.code() != Some("OOM") {
                    self.give_up(&describe(&error));
                }
                None
            }
            Err(_) => {
                self.note_late();
                None
            }
        }
    }

    /// An answer came in time.
    pub(super) fn note_answer(&self) {
        // Relaxed: the number orders nothing, and mostly stays as it is.
        if self.late_since.load(Ordering::Relaxed) != 0 {
            self.late_since.store(0, Ordering::Relaxed);
        }
    }

    /// An answer did not come in time.
    pub(super) fn note_late(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let first = self.late_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_err_and(|first| Duration::from_millis(now.saturating_sub(first)) >= LATE) {
            self.give_up("it answers too late");
        }
    }

    /// Cancelled once the link is given up.
    pub(super) fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// Ends the link: a command was left undone, or nobody knows.
    pub(super) fn give_up(&self, reason: &str) {
        self.reason.get_or_init(|| reason.to_owned());
        self.broken.cancel();
    }

    /// True until the link is given up.
    pub(super) fn is_live(&self) -> bool {
        !self.broken.is_cancelled()
    }
}

/// The link of this process, and its state.
pub(super) struct LinkConnector {
    state: watch::Sender<LinkState>,
    live: ArcSwapOption<ServerLink>,
    /// Keys in the server's database.
    keys: AtomicU64,
    /// The formats of this program, in one word.
    formats: String,
}

/// Stands for "not known" among counts of keys.
const UNKNOWN: u64 = u64::MAX;

impl LinkConnector {
    pub(super) fn new(is_configured: bool, formats: &[CacheFormat]) -> Self {
        let state = if is_configured { LinkState::Connecting } else { LinkState::Disabled };
        Self {
            state: watch::channel(state).0,
            live: ArcSwapOption::empty(),
            keys: AtomicU64::new(UNKNOWN),
            formats: describe_formats(formats),
        }
    }

    /// The name in a fence for this server and the formats of this program.
    pub(super) fn name_in_fence(&self, server: &str) -> Arc<str> {
        name_in_fence(server, &self.formats)
    }

    /// The state, and its changes.
    pub(super) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// The link, if commands may be sent.
    pub(super) fn link(&self) -> Option<Arc<ServerLink>> {
        self.live.load_full().filter(|link| link.is_live())
    }

    /// Keys in the server's database, as counted last.
    pub(super) fn keys(&self) -> Option<u64> {
        let keys = self.keys.load(Ordering::Relaxed);
        (keys != UNKNOWN && self.link().is_some()).then_some(keys)
    }

    /// Keeps the link up until `stop` is cancelled.
    pub(super) async fn run(self: Arc<Self>, url: CacheUrl, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_up(&url)).await;
        // The state stays as it is: a process that ends has lost nothing, and closes no fence.
        self.live.store(None);
    }

    async fn keep_up(&self, url: &CacheUrl) {
        let (mut limit, mut pause, mut said) = (FIRST_TRY, PAUSE.0, String::new());
        loop {
            let reason = match tokio::time::timeout(limit, open(url, &self.formats)).await {
                Ok(Ok(link)) => {
                    log::info!("the cache at {} is healthy", url.place());
                    said.clear();
                    let (link, began) = (Arc::new(link), Instant::now());
                    self.live.store(Some(Arc::clone(&link)));
                    self.state.send_replace(LinkState::Up(Arc::clone(&link)));
                    let reason = self.watch_over(&link).await;
                    link.give_up(&reason);
                    self.live.store(None);
                    self.keys.store(UNKNOWN, Ordering::Relaxed);
                    if began.elapsed() >= STEADY {
                        (limit, pause) = (FIRST_TRY, PAUSE.0);
                        self.state.send_replace(LinkState::Connecting);
                        log::info!("the link to the cache at {} was lost: {reason}; trying again", url.place());
                        continue;
                    }
                    reason
                }
                Ok(Err(reason)) => reason,
                Err(_) => "no answer in time".to_owned(),
            };
            if said != reason {
                log::warn!("the cache at {} cannot be used: {reason}; the shards answer everything", url.place());
                said = reason;
            }
            self.state.send_if_modified(|state| {
                let changed = !matches!(state, LinkState::Away);
                *state = LinkState::Away;
                changed
            });
            tokio::time::sleep(pause).await;
            (limit, pause) = (TRY, (pause * 2).min(PAUSE.1));
        }
    }

    /// Returns when the link is broken, with the reason.
    async fn watch_over(&self, link: &ServerLink) -> String {
        for beat in 0_u32.. {
            let mut connection = link.connection.clone();
            let asking = within(BEAT_LIMIT, async {
                let mut command = redis::cmd("INFO");
                let parts = command.arg("server").arg("replication").arg("persistence");
                let text: String = parts.query_async(&mut connection).await?;
                if beat.is_multiple_of(BEATS_PER_COUNT) {
                    self.keys.store(redis::cmd("DBSIZE").query_async(&mut connection).await?, Ordering::Relaxed);
                }
                Ok::<_, RedisError>(text)
            });
            let answer = tokio::select! {
                () = link.broken.cancelled() => return link.reason.get().cloned().unwrap_or_default(),
                answer = asking => answer,
            };
            match answer {
                Some(Ok(text)) => match ServerInfo::parse(&text).check() {
                    Ok(server) if self.name_in_fence(&server) == link.server => {}
                    Ok(_) => return "its data was replaced".to_owned(),
                    Err(reason) => return reason,
                },
                Some(Err(error)) => return describe(&error),
                None => return "no answer in time".to_owned(),
            }
            tokio::select! {
                () = link.broken.cancelled() => {}
                () = tokio::time::sleep(BEAT) => {}
            }
        }
        String::new()
    }
}

/// Waits for an answer, the limit in two halves. If this process itself stood still, the first half is over at once,
/// and the second half reads the answer that lies in the socket.
async fn within<T>(limit: Duration, asking: impl Future<Output = T>) -> Option<T> {
    let mut asking = std::pin::pin!(asking);
    match tokio::time::timeout(limit / 2, &mut asking).await {
        Ok(answer) => Some(answer),
        Err(_) => tokio::time::timeout(limit / 2, asking).await.ok(),
    }
}

/// A new connection to a server that will do; the host name is looked up anew.
async fn open(url: &CacheUrl, formats: &str) -> Result<ServerLink, String> {
    let said = |error: RedisError| describe(&error);
    let client = url.client().map_err(said)?;
    // Time limits are ours: some commands may take longer than others.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(said)?;
    let text: String = redis::cmd("INFO").query_async(&mut connection).await.map_err(said)?;
    let server = name_in_fence(&ServerInfo::parse(&text).check()?, formats);
    try_commands(&mut connection).await.map_err(|error| format!("it refuses our commands: {}", said(error)))?;
    Ok(ServerLink {
        server,
        connection,
        opened: Instant::now(),
        late_since: AtomicU64::new(0),
        broken: CancellationToken::new(),
        reason: OnceLock::new(),
    })
}

/// An error in words that hold nothing of the command: the driver's own text may show a password.
fn describe(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} ({code})", error.category()),
        None => error.category().to_owned(),
    }
}

/// Every kind of command that we send, so that a user with too few rights is noticed before anybody relies on the link.
async fn try_commands(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    const KEY: &str = "shardrive:try";
    let mut all = redis::pipe();
    all.cmd("SET").arg(KEY).arg(1).arg("NX").arg("GET").arg("PX").arg(1000).ignore();
    all.cmd("EVAL").arg(super::commands::RELEASE).arg(1).arg(KEY).arg(0).ignore();
    all.cmd("DEL").arg(KEY).ignore();
    all.query_async(connection).await
}
