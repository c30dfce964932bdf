//! `shardrive dev`: the whole service on this machine, with PostgreSQL servers of its own.

mod welcome;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::welcome::Welcome;
use super::output::{complain, print_text};
use super::serve::{print_addresses, serve, stop_signal};
use super::{CliError, start_logging};
use crate::config::Settings;
use crate::local_servers::{CacheServer, LocalCluster};
use crate::reshard::TestStop;
use crate::shard::{ShardOptions, migrate};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings that would switch TLS on.
const TLS_SETTINGS: [&str; 2] = ["TLS_CERT_FILE", "TLS_KEY_FILE"];

const EXAMPLES: &str = "\
Examples:
  shardrive dev
  shardrive dev --spare 1                  with a database that can become a shard while it all serves
  shardrive dev --shards 3 --dir ./three --bind 127.0.0.1:8080";

/// Run the whole service on this machine, with PostgreSQL servers of its own
///
/// A folder holds the servers and their data; a second start finds the data again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
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
        let mut settings = service_settings(&self, &cluster, cache.as_ref());
        // More log lines would drown the demonstration's output.
        settings.push(("RUST_LOG".to_owned(), "error".to_owned()));
        let served = serve_cluster(settings, stop, listening);
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
        let (mut cluster, mut cache) = tokio::select! {
            prepared = start_servers(&self) => prepared?,
            caught = wait_for_interrupt() => return Ok(caught?),
        };
        let welcome = Welcome::new(&self.dir, &cluster, cache.as_ref()).await;
        let listening = |addresses: &[SocketAddr]| {
            print_addresses(addresses, false);
            // Port 0 takes any free port.
            let bind = addresses.first().copied().unwrap_or(self.bind);
            print_text(format_args!("{}", welcome.text(bind)));
        };
        // After a second signal, requests in progress are left; the servers are still stopped.
        let hurry = CancellationToken::new();
        let hurried = hurry.clone();
        let served = match stop_signal(move || hurried.cancel()) {
            Ok(stop) => {
                let settings = service_settings(&self, &cluster, cache.as_ref());
                tokio::select! {
                    served = serve_cluster(settings, stop, listening) => served,
                    () = hurry.cancelled() => Err(interrupted_error()),
                    never = report_ended_servers(&mut cluster) => match never {},
                }
            }
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
    settings: Vec<(String, String)>,
    stop: impl Future<Output = ()> + Send,
    listening: impl FnOnce(&[SocketAddr]),
) -> Result<(), CliError> {
    // The printed commands use plain HTTP over loopback, so the environment's TLS settings must not count.
    let settings = start_logging(Settings::load_for(settings, &TLS_SETTINGS, "shardrive dev")?)?;
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

/// Says of each server that ends by itself how it comes back.
async fn report_ended_servers(cluster: &mut LocalCluster) -> Infallible {
    loop {
        let ended = cluster.next_ended().await;
        complain!(
            "shardrive: the PostgreSQL server in {} has ended. Its log is server.log there. To bring it back, stop dev \
             (Ctrl-C) and start it again",
            ended.display()
        );
    }
}
