//! The addresses of a shard's database: a single server, or several with a primary.
//!
//! A failover moves the database to another server. This process then sees a new timeline of the same system. Where a
//! name was pointed elsewhere, the process sees another system. From then on, earlier connections are useless, and a
//! server on an earlier timeline (a former primary that came back) is refused.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::credentials::{has_credentials, lend_credentials, remove_credentials, same_credentials};
use super::primary;
use super::primary::ServerLineage;
use super::url_parameters::check_parameters;

/// The addresses of a shard's database. Copies share the knowledge of the servers. `Debug` shows no password.
#[derive(Clone)]
pub struct ShardOptions {
    /// An entry for each host of the URL; never empty.
    primary_endpoint: Arc<[PgConnectOptions]>,
    /// The URL as given, with its password.
    url: Arc<str>,
    replicas: Arc<[Self]>,
    /// Databases that may join as shards, with credentials.
    spares: Arc<[Self]>,
    known: Arc<KnownHosts>,
}

/// The findings of earlier connections.
#[derive(Default)]
struct KnownHosts {
    lineage: Mutex<Option<ServerLineage>>,
    /// The index of the last known primary's endpoint, plus one; 0 if none is known.
    endpoint: AtomicUsize,
    /// When the database was last seen to move, in microseconds of [`CLOCK`]; 0 for never.
    last_move: AtomicU64,
}

/// The start of the process's clock.
static CLOCK: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment in microseconds since the first URL was read. Never 0.
pub(in crate::shard) fn clock_micros(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*CLOCK).as_micros()).unwrap_or(u64::MAX).saturating_add(1)
}

impl ShardOptions {
    /// Reads a `postgres://user:password@host:port/database` URL. The URL may name several servers as
    /// `host1:port1,host2:port2`, one of which is the primary at a time.
    ///
    /// # Errors
    /// The fault of the URL. The text hides the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err("must start with postgres:// or postgresql://".to_owned());
        }
        let urls = each_host(url).ok_or("has a comma but no host before or behind it")?;
        let endpoints: Result<Vec<_>, _> = urls.iter().map(|url| parse_one(url)).collect();
        // Starts the clock, so that no connection is older than the clock.
        let _ = *CLOCK;
        let (endpoints, url) = (endpoints?.into(), url.into());
        Ok(Self {
            primary_endpoint: endpoints,
            url,
            replicas: Arc::default(),
            spares: Arc::default(),
            known: Arc::default(),
        })
    }

    /// As [`ShardOptions::parse`]; a URL without credentials gets the credentials of `self`.
    ///
    /// # Errors
    /// See [`ShardOptions::parse`].
    pub fn parse_with_default_credentials(&self, url: &str) -> Result<Self, String> {
        Self::parse(&lend_credentials(url, &self.url))
    }

    /// Adds databases that may join as shards. No other setting holds their credentials.
    #[must_use]
    pub fn with_spares(self, spares: Vec<Self>) -> Self {
        Self { spares: spares.into(), ..self }
    }

    /// The options for a registered shard that the settings do not name; `self` is the first shard. The credentials
    /// come from the URL of a spare database on the same host, or else from the first shard.
    #[must_use]
    pub(in crate::shard) fn options_for_registered(&self, found: &Self) -> Self {
        let lender = self.spares.iter().find(|spare| spare.shares_host_with(found)).unwrap_or(self);
        lender.parse_with_default_credentials(&remove_credentials(&found.url)).unwrap_or_else(|_| found.clone())
    }

    /// True if this URL holds credentials, and `other` has different credentials.
    #[must_use]
    pub(in crate::shard) fn has_other_credentials_than(&self, other: &Self) -> bool {
        has_credentials(&self.url) && !same_credentials(&self.url, &other.url)
    }

    /// Adds standbys that answer reads which may be a little old.
    #[must_use]
    pub fn with_replicas(self, replicas: Vec<Self>) -> Self {
        Self { replicas: replicas.into(), ..self }
    }

    /// The standbys for reads.
    #[must_use]
    pub fn replicas(&self) -> &[Self] {
        &self.replicas
    }

    /// Sets the application name and the time limits of each session.
    #[must_use]
    pub fn with_session_settings(self, statement_timeout: Duration) -> Self {
        let millis = |time: Duration| time.as_millis().to_string();
        let endpoint = |options: &PgConnectOptions| {
            options
                .clone()
                .application_name("shardrive")
                .options([
                    ("statement_timeout", millis(statement_timeout)),
                    ("lock_timeout", millis(statement_timeout)),
                    ("idle_in_transaction_session_timeout", millis(statement_timeout * 2)),
                    ("default_transaction_isolation", "read committed".to_owned()),
                    // Our statements take arrays whose length would make the planner think anew at each call.
                    ("plan_cache_mode", "force_generic_plan".to_owned()),
                    // A statement is compiled anew at each call, for tens of milliseconds, where a large table alone
                    // makes the planner expect much work; ours read a few rows.
                    ("jit", "off".to_owned()),
                ])
                .disable_statement_logging()
        };
        let replicas =
            self.replicas.iter().map(|replica| replica.clone().with_session_settings(statement_timeout)).collect();
        Self { primary_endpoint: self.primary_endpoint.iter().map(endpoint).collect(), replicas, ..self }
    }

    /// An entry for each server of the URL and of the replicas.
    pub(crate) fn each_server(&self) -> Vec<Self> {
        let of = |options: &Self| -> Vec<Self> {
            let alone = |endpoint: &PgConnectOptions| Self {
                primary_endpoint: [endpoint.clone()].into(),
                url: Arc::clone(&options.url),
                replicas: Arc::default(),
                spares: Arc::default(),
                known: Arc::default(),
            };
            options.primary_endpoint.iter().map(alone).collect()
        };
        std::iter::once(self).chain(self.replicas.iter()).flat_map(of).collect()
    }

    /// The URL without user and password, for the registry, which is in every dump.
    #[must_use]
    pub(in crate::shard) fn public_url(&self) -> String {
        remove_credentials(&self.url)
    }

    /// The URL with its password, for a server that subscribes to this one. With several hosts, libpq must choose the
    /// primary. Not for logs, errors or answers.
    #[must_use]
    pub(crate) fn secret_subscription_url(&self) -> String {
        if self.has_one_host() || self.url.contains("target_session_attrs=") {
            return self.url.as_ref().to_owned();
        }
        let sign = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{sign}target_session_attrs=primary", self.url)
    }

    /// The database's name.
    #[must_use]
    pub fn database_name(&self) -> &str {
        self.primary_endpoint.first().and_then(PgConnectOptions::get_database).unwrap_or_default()
    }

    /// `host:port/database`, for messages: names the server and holds no secret. Commas separate several hosts.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}/{}", self.hosts().collect::<Vec<_>>().join(","), self.database_name())
    }

    /// True if both have a host in common, with the same database.
    #[must_use]
    pub fn shares_host_with(&self, other: &Self) -> bool {
        self.database_name() == other.database_name()
            && self.hosts().any(|host| other.hosts().any(|theirs| theirs == host))
    }

    fn hosts(&self) -> impl Iterator<Item = String> {
        self.primary_endpoint.iter().map(|options| {
            let socket = options.get_socket().map(|path| path.display().to_string());
            format!("{}:{}", socket.unwrap_or_else(|| options.get_host().to_owned()), options.get_port())
        })
    }

    /// True if the URL names a single server.
    #[must_use]
    pub(in crate::shard) fn has_one_host(&self) -> bool {
        self.primary_endpoint.len() == 1
    }

    /// Opens a connection without an identity check. Names are resolved again. Of several servers the primary is
    /// chosen; without a primary, any standby that answers.
    ///
    /// # Errors
    /// The driver's error; `TimedOut` after `limit`.
    pub async fn connect(&self, limit: Duration) -> Result<PgConnection, sqlx::Error> {
        let connecting = async {
            match self.primary_endpoint.as_ref() {
                [only] => only.connect().await,
                several => {
                    let last = self.known.endpoint.load(Ordering::Relaxed).checked_sub(1);
                    let (index, connection) = primary::connect_to_primary(several, last, self.lineage()).await?;
                    if let Some(index) = index {
                        self.known.endpoint.store(index + 1, Ordering::Relaxed);
                    }
                    Ok(connection)
                }
            }
        };
        match tokio::time::timeout(limit, connecting).await {
            Ok(result) => result,
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Probes the other servers, so that a new primary is found while the former primary still answers.
    pub(super) async fn probe_other_hosts(&self, limit: Duration) {
        let last = self.known.endpoint.load(Ordering::Relaxed).checked_sub(1);
        let probes = self.primary_endpoint.iter().enumerate().filter(|(index, _)| Some(*index) != last);
        for (_, options) in probes {
            if let Ok(Ok(Some(found))) = tokio::time::timeout(limit, primary::probe_writable_host(options)).await
                && self.lineage().is_some_and(|known| found.supersedes(known))
            {
                self.accept_primary(found);
            }
        }
    }

    fn lineage(&self) -> Option<ServerLineage> {
        *self.known.lineage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the primary that a connection led to. False if another primary has replaced this primary.
    pub(in crate::shard) fn accept_primary(&self, found: ServerLineage) -> bool {
        let mut lineage = self.known.lineage.lock().unwrap_or_else(PoisonError::into_inner);
        match *lineage {
            Some(known) if known.supersedes(found) => return false,
            Some(known) if known != found => {
                self.known.last_move.store(clock_micros(Instant::now()), Ordering::Release);
                log::warn!("{} has moved to another primary", self.address());
            }
            _ => {}
        }
        *lineage = Some(found);
        true
    }

    /// True if the database has moved since this moment. A connection opened before then leads to a former primary.
    #[must_use]
    pub(super) fn has_moved_since(&self, opened: Instant) -> bool {
        let moved = self.known.last_move.load(Ordering::Acquire);
        moved != 0 && clock_micros(opened) < moved
    }
}

impl fmt::Debug for ShardOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

/// One URL for each host, as the driver reads only URLs with one host. `None` if a host is empty.
fn each_host(url: &str) -> Option<Vec<String>> {
    let whole = || Some(vec![url.to_owned()]);
    let Some((scheme, rest)) = url.split_once("://") else { return whole() };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    if !hosts.contains(',') {
        return whole();
    }
    let one = |host: &str| {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let path = path.map(|path| format!("/{path}")).unwrap_or_default();
        (!host.is_empty() && !host.starts_with(':')).then(|| format!("{scheme}://{user}{host}{path}"))
    };
    hosts.split(',').map(one).collect()
}

fn parse_one(url: &str) -> Result<PgConnectOptions, String> {
    check_parameters(url)?;
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| match error {
        sqlx::Error::Configuration(reason) => format!("is not a PostgreSQL URL: {reason}"),
        _ => "is not a PostgreSQL URL".to_owned(),
    })?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err("names no database; add one, as in /drive_shard_0".to_owned());
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_name_several_hosts() {
        for (url, place) in [
            ("postgres://u:p@h/d", "h:5432/d"),
            ("postgres://u:p@h1:1,h2:2/d", "h1:1,h2:2/d"),
            ("postgresql://u:p%2C@h1,[::1]:7/d?sslmode=disable", "h1:5432,[::1]:7/d"),
        ] {
            let options = ShardOptions::parse(url).unwrap();
            assert_eq!(options.address(), place);
            assert_eq!(format!("{options:?}"), place);
        }
        for url in ["postgres://u:secret@h1,/d", "postgres://u:secret@,h/d", "postgres://u:secret@h1,:5/d"] {
            let reason = ShardOptions::parse(url).unwrap_err();
            assert!(reason.contains("comma") && !reason.contains("secret"), "{reason}");
        }
        assert!(ShardOptions::parse("postgres://u:secret@h1:1,h2:x/d").is_err());
        assert!(ShardOptions::parse("postgres://u:secret@h1:1,h2:2").is_err());
    }

    #[test]
    fn servers_that_subscribe_take_the_primary() {
        let url = |url| ShardOptions::parse(url).unwrap().secret_subscription_url();
        assert_eq!(url("postgres://h/d"), "postgres://h/d");
        assert_eq!(url("postgres://a,b/d"), "postgres://a,b/d?target_session_attrs=primary");
        assert_eq!(
            url("postgres://a,b/d?sslmode=disable"),
            "postgres://a,b/d?sslmode=disable&target_session_attrs=primary"
        );
    }

    #[test]
    fn an_old_primary_is_refused_and_its_connections_are_outdated() {
        let options = ShardOptions::parse("postgres://a,b/d").unwrap();
        let opened = Instant::now();
        let on = |system, timeline| ServerLineage { system, timeline };
        assert!(options.accept_primary(on(7, 1)));
        assert!(!options.has_moved_since(opened));
        assert!(options.accept_primary(on(7, 2)));
        assert!(options.has_moved_since(opened));
        assert!(!options.accept_primary(on(7, 1)), "the old primary came back");
        assert!(options.accept_primary(on(8, 1)), "another system: the name was pointed elsewhere");
    }

    #[test]
    fn overlapping_hosts_are_found() {
        let options = |url| ShardOptions::parse(url).unwrap();
        let one = options("postgres://a,b:7/d");
        assert!(one.shares_host_with(&options("postgres://c,b:7/d")));
        assert!(!one.shares_host_with(&options("postgres://c,b/d")));
        assert!(!one.shares_host_with(&options("postgres://a/e")));
    }
}
