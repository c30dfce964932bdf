//! The text that `shardrive dev` prints once the service listens.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::local_servers::{CacheServer, LocalCluster, PostgresServer, database_name};
use crate::shard::{SLOT_COUNT, ShardId, SlotMap, load_map, shard_in};

/// What the text after the start tells: the running servers, and the first steps to try.
pub(super) struct Welcome {
    folder: String,
    /// The path of `psql`.
    psql: String,
    /// The number of each shard, and the URL of its database.
    shards: Vec<(usize, String)>,
    /// Slots were moved at an earlier start, or some shards were spare databases.
    has_moved: bool,
    /// The URL of the cache's server.
    cache: Option<String>,
    /// The URLs of the spare databases.
    spare: Vec<String>,
}

impl Welcome {
    pub(super) async fn new(folder: &Path, cluster: &LocalCluster, cache: Option<&CacheServer>) -> Self {
        let mut shards: Vec<_> = cluster.urls().into_iter().enumerate().collect();
        let (first, mut spare) = (shards.len(), Vec::new());
        for (number, server) in cluster.servers().iter().enumerate().skip(first) {
            let (database, url) = (database_name(number), server.url(&database_name(number)));
            match shard_of(server, &database).await {
                Some(shard) => shards.push((shard.index(), url)),
                None => spare.push(url),
            }
        }
        let has_moved = shards.len() > first || has_moved(cluster).await;
        let psql = cluster.servers().first().map(|server| server.psql_path().display().to_string());
        Self {
            folder: folder.display().to_string(),
            psql: psql.unwrap_or_else(|| "psql".to_owned()),
            has_moved,
            shards,
            cache: cache.map(CacheServer::url),
            spare,
        }
    }

    pub(super) fn text(&self, bind: SocketAddr) -> String {
        let reached = match bind.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let api = format!("http://{}", SocketAddr::new(reached, bind.port()));
        let shards =
            if self.shards.len() == 1 { "1 shard".to_owned() } else { format!("{} shards", self.shards.len()) };
        let mut text = format!("\nShardrive with {shards}; the data is in {}\n\n", self.folder);
        let mut line = |args: fmt::Arguments<'_>| {
            let _ = writeln!(text, "{args}"); // writing to a String does not fail
        };
        line(format_args!("  API      {api}"));
        line(format_args!("  try it   {api}/docs"));
        for (shard, url) in &self.shards {
            line(format_args!("  shard {shard}  {} {url}", self.psql));
        }
        for url in &self.spare {
            line(format_args!("  spare    {url}"));
        }
        if let Some(cache) = &self.cache {
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
        if let Some(url) = self.spare.first() {
            line(format_args!("\nOne more shard:\n"));
            line(format_args!(
                "  curl -X POST '{api}/admin/shards' -H 'Content-Type: application/json' -d '{{\"url\":\"{url}\"}}'"
            ));
            line(format_args!("  curl -X POST '{api}/admin/rebalance' -H 'Content-Type: application/json' -d '{{}}'"));
        }
        if !self.has_moved && usize::from(SLOT_COUNT).is_multiple_of(self.shards.len().max(1)) {
            line(format_args!(
                "\nUntil slots move, a user is on shard user_id mod {}. Ctrl-C stops everything; the data stays.\n",
                self.shards.len()
            ));
        } else {
            line(format_args!("\nCtrl-C stops everything; the data stays.\n"));
        }
        text
    }
}

/// True if slots have moved since the cluster was made: each move gives its slots a newer epoch, on the shards that take
/// part first.
async fn has_moved(cluster: &LocalCluster) -> bool {
    for (number, server) in cluster.servers().iter().enumerate() {
        let Ok(mut connection) = server.connect(&database_name(number)).await else { continue };
        let map = load_map(&mut connection).await.ok().flatten();
        if map.is_some_and(|map| map.epoch() > SlotMap::initial(1).epoch()) {
            return true;
        }
    }
    false
}

/// The shard that a spare database has become.
async fn shard_of(server: &PostgresServer, database: &str) -> Option<ShardId> {
    shard_in(&mut server.connect(database).await.ok()?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(shards: &[&str], has_moved: bool, cache: Option<&str>, spare: &[&str]) -> Welcome {
        Welcome {
            folder: "./.shardrive".to_owned(),
            psql: "/opt/bin/psql".to_owned(),
            shards: shards.iter().map(|url| (*url).to_owned()).enumerate().collect(),
            has_moved,
            cache: cache.map(ToOwned::to_owned),
            spare: spare.iter().map(|url| (*url).to_owned()).collect(),
        }
    }

    #[test]
    fn the_first_steps_name_what_runs() {
        let bind = "0.0.0.0:8000".parse().unwrap();
        let text = welcome(
            &["postgres://zero", "postgres://one"],
            false,
            Some("redis://127.0.0.1:6381"),
            &["postgres://spare"],
        )
        .text(bind);
        for part in [
            "with 2 shards",
            "http://127.0.0.1:8000/docs",
            "shard 1  /opt/bin/psql postgres://one",
            r#"-d '{"user_id":123,"file_name":"my_document.txt"}'"#,
            "cache    redis://127.0.0.1:6381\n",
            "user_id mod 2.",
            "spare    postgres://spare",
            r#"/admin/shards' -H 'Content-Type: application/json' -d '{"url":"postgres://spare"}'"#,
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(!welcome(&["postgres://one"; 11], false, None, &[]).text(bind).contains("mod"));
        assert!(welcome(&["postgres://one"], false, None, &[]).text(bind).contains("with 1 shard;"));
        let grown = welcome(&["postgres://zero", "postgres://one"], true, None, &[]).text(bind);
        assert!(!grown.contains("mod 2") && !grown.contains("One more shard"), "{grown}");
    }
}
