//! `shardrive dev`: the whole service on this machine, with PostgreSQL servers of its own.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::output::{complain, print_text};
use super::serve::{print_addresses, serve, stop_signal};
use super::{CliError, start_logging};
use crate::config::Settings;
use crate::local_servers::{CacheServer, LocalCluster, PASSWORD, PostgresServer, USER, database_name};
use crate::reshard::TestStop;
use crate::shard::{SLOT_COUNT, ShardOptions, migrate};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings that would switch TLS on.
const TLS_SETTINGS: [&str; 2] = ["TLS_CERT_FILE", "TLS_KEY_FILE"];

/// Run the whole service on this machine, with PostgreSQL servers of its own
///
/// A folder holds the servers and their data; a second start finds the data again.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DevArgs {
    /// The number of shards, each on its own PostgreSQL server. A folder keeps its number.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// The number of spare servers, whose databases can be added as shards later. The folder keeps them.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub spare: u16,
    /// The folder of the servers' data.
    #[arg(long, value_name = "FOLDER", default_value = "./.shardrive")]
    pub dir: PathBuf,
    /// The address of the API.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    pub bind: SocketAddr,
    /// Run without a cache. Otherwise dev also starts a Redis or Valkey server if this machine has one.
    #[arg(long)]
    pub no_cache: bool,
}

impl DevArgs {
    /// Two shards and a spare server in a folder, for a demonstration.
    pub(super) fn of_demo(dir: PathBuf) -> Self {
        Self { shards: 2, spare: 1, dir, bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), no_cache: false }
    }

    /// Starts the servers and the service, and ends both when `work` ends. `work` gets the service's URL and the URLs
    /// of the spare servers. A signal ends everything.
    pub(super) async fn run_while<T>(self, work: impl AsyncFnOnce(String, Vec<String>) -> T) -> Result<T, CliError> {
        let (cluster, mut cache) = tokio::select! {
            prepared = start_servers(&self) => prepared?,
            caught = wait_for_interrupt() => return Err(caught.map_or_else(CliError::from, |()| interrupted_error())),
        };
        let (address_sender, address_receiver) = oneshot::channel();
        let done = CancellationToken::new();
        let stop = {
            let done = done.clone();
            async move {
                tokio::select! {
                    () = done.cancelled() => {}
                    _ = wait_for_interrupt() => {}
                }
            }
        };
        let listening = |addresses: &[SocketAddr]| {
            let _ = address_sender.send(addresses.first().copied()); // the receiver is below
        };
        let working = async {
            let _done = done.drop_guard_ref();
            let address = address_receiver.await.ok().flatten()?;
            Some(work(format!("http://{address}"), cluster.spare_urls()).await)
        };
        // At the level `error`, as more log lines would drown the demonstration's output.
        let served = serve_cluster(&self, &cluster, cache.as_ref(), Some("error"), stop, listening);
        let (served, worked) = tokio::join!(Box::pin(served), Box::pin(working));
        if let Some(cache) = &mut cache {
            cache.stop().await;
        }
        cluster.stop().await;
        served?;
        worked.ok_or_else(interrupted_error)
    }

    /// Starts the servers, prepares the databases and serves until a signal; then stops the servers in any case.
    pub(super) async fn run(self) -> Result<(), CliError> {
        // Until the service listens for signals itself, a signal ends the preparation. The drop of the servers stops
        // them.
        let (cluster, mut cache) = tokio::select! {
            prepared = start_servers(&self) => prepared?,
            caught = wait_for_interrupt() => return Ok(caught?),
        };
        let listening = |addresses: &[SocketAddr]| {
            print_addresses(addresses, false);
            // Port 0 takes any free port.
            let bind = addresses.first().copied().unwrap_or(self.bind);
            let text = welcome_text(&self, bind, cluster.servers(), cache.as_ref(), &cluster.spare_urls());
            print_text(format_args!("{text}"));
        };
        let served = match stop_signal() {
            Ok(stop) => serve_cluster(&self, &cluster, cache.as_ref(), None, stop, listening).await,
            Err(error) => Err(error.into()),
        };
        if let Some(cache) = &mut cache {
            cache.stop().await;
        }
        cluster.stop().await;
        served
    }
}

async fn serve_cluster(
    args: &DevArgs,
    cluster: &LocalCluster,
    cache: Option<&CacheServer>,
    log: Option<&str>,
    stop: impl Future<Output = ()> + Send,
    listening: impl FnOnce(&[SocketAddr]),
) -> Result<(), CliError> {
    let mut values = service_settings(args, cluster, cache);
    values.extend(log.map(|level| ("RUST_LOG".to_owned(), level.to_owned())));
    // The printed commands use plain HTTP over loopback, so the environment's TLS settings must not count.
    let settings = start_logging(Settings::load_for(values, &TLS_SETTINGS, "shardrive dev")?)?;
    Box::pin(serve(settings, stop, TestStop::default(), listening)).await
}

async fn start_servers(args: &DevArgs) -> Result<(LocalCluster, Option<CacheServer>), CliError> {
    let cluster = LocalCluster::start(&args.dir, usize::from(args.shards), usize::from(args.spare)).await?;
    // Our own URLs are well-formed; the set-up would miss a malformed one at once.
    let options: Vec<_> = cluster.urls().iter().filter_map(|url| ShardOptions::parse(url).ok()).collect();
    if let Err(error) = migrate(&options, CONNECT_TIMEOUT).await {
        cluster.stop().await;
        return Err(error.into());
    }
    match start_cache(args).await {
        Ok(cache) => Ok((cluster, cache)),
        Err(error) => {
            cluster.stop().await;
            Err(error)
        }
    }
}

/// The cache server, unless unwanted or not installed.
async fn start_cache(args: &DevArgs) -> Result<Option<CacheServer>, CliError> {
    if args.no_cache {
        return Ok(None);
    }
    let Some(program) = CacheServer::find_program() else {
        complain!("shardrive: found no redis-server or valkey-server on this machine; the cache stays off");
        return Ok(None);
    };
    let folder = args.dir.canonicalize()?.join("cache"); // the cluster has made the folder
    Ok(Some(CacheServer::start_anywhere(program, folder).await?))
}

fn interrupted_error() -> CliError {
    CliError::Failed("interrupted".to_owned())
}

async fn wait_for_interrupt() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The settings that `shardrive serve` needs for the same shards.
fn service_settings(args: &DevArgs, cluster: &LocalCluster, cache: Option<&CacheServer>) -> Vec<(String, String)> {
    let urls = cluster.urls().into_iter().enumerate().map(|(shard, url)| (format!("SHARD_{shard}_URL"), url));
    // Empty counts as not set: the environment's own cache is another cluster's.
    let cache = ("REDIS_URL".to_owned(), cache.map(CacheServer::url).unwrap_or_default());
    urls.chain([("BIND_ADDR".to_owned(), args.bind.to_string()), cache]).collect()
}

/// The text after the start: the running servers, and the first steps to try.
fn welcome_text(
    args: &DevArgs,
    bind: SocketAddr,
    servers: &[PostgresServer],
    cache: Option<&CacheServer>,
    spare: &[String],
) -> String {
    let shards = servers.len().saturating_sub(spare.len());
    let ports: Vec<_> = servers.iter().take(shards).map(PostgresServer::port).collect();
    let psql = servers.first().map_or_else(|| "psql".to_owned(), |server| server.psql_path().display().to_string());
    let cache = cache.map(CacheServer::url);
    format_welcome(bind, &ports, &psql, &args.dir.display().to_string(), cache.as_deref(), spare)
}

fn format_welcome(
    bind: SocketAddr,
    ports: &[u16],
    psql: &str,
    folder: &str,
    cache: Option<&str>,
    spare: &[String],
) -> String {
    let reached = match bind.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let api = format!("http://{}", SocketAddr::new(reached, bind.port()));
    let mut text = format!("\nShardrive with {} shards; the data is in {folder}\n\n", ports.len());
    let mut line = |args: fmt::Arguments<'_>| {
        let _ = writeln!(text, "{args}"); // writing to a String does not fail
    };
    line(format_args!("  API      {api}"));
    line(format_args!("  try it   {api}/docs"));
    for (shard, port) in ports.iter().enumerate() {
        let database = database_name(shard);
        line(format_args!("  shard {shard}  {psql} postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}"));
    }
    for url in spare {
        line(format_args!("  spare    {url}"));
    }
    if let Some(cache) = cache {
        line(format_args!("  cache    {cache}"));
    }
    line(format_args!("\nFirst steps:\n"));
    line(format_args!("  curl -X POST '{api}/ingest/bulk?count=100'"));
    line(format_args!("  curl '{api}/stats'"));
    line(format_args!("  curl '{api}/query/42'"));
    line(format_args!(
        "  curl -X POST '{api}/ingest' -H 'Content-Type: application/json' \
         -d '{{\"user_id\":123,\"file_name\":\"my_document.txt\"}}'"
    ));
    if let Some(url) = spare.first() {
        line(format_args!("\nOne more shard:\n"));
        line(format_args!(
            "  curl -X POST '{api}/admin/shards' -H 'Content-Type: application/json' -d '{{\"url\":\"{url}\"}}'"
        ));
        line(format_args!("  curl -X POST '{api}/admin/rebalance' -H 'Content-Type: application/json' -d '{{}}'"));
    }
    if usize::from(SLOT_COUNT).is_multiple_of(ports.len().max(1)) {
        line(format_args!(
            "\nUntil slots move, a user is on shard user_id mod {}. Ctrl-C stops everything; the data stays.\n",
            ports.len()
        ));
    } else {
        line(format_args!("\nCtrl-C stops everything; the data stays.\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_name_what_runs() {
        let bind = "0.0.0.0:8000".parse().unwrap();
        let spare = ["postgres://spare".to_owned()];
        let text = format_welcome(
            bind,
            &[5432, 5440],
            "/opt/bin/psql",
            "./.shardrive",
            Some("redis://127.0.0.1:6381"),
            &spare,
        );
        for part in [
            "with 2 shards",
            "http://127.0.0.1:8000/docs",
            "shard 1  /opt/bin/psql postgres://shard_user:shard_pass@127.0.0.1:5440/drive_shard_1",
            r#"-d '{"user_id":123,"file_name":"my_document.txt"}'"#,
            "cache    redis://127.0.0.1:6381\n",
            "user_id mod 2.",
            "spare    postgres://spare",
            r#"/admin/shards' -H 'Content-Type: application/json' -d '{"url":"postgres://spare"}'"#,
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(!format_welcome(bind, &[1; 11], "psql", ".", None, &[]).contains("mod"));
    }
}
