//! The text that `shardrive dev` prints once the service listens.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::DevArgs;
use crate::local_servers::{CacheServer, LocalCluster, PASSWORD, PostgresServer, USER, database_name};
use crate::shard::SLOT_COUNT;

/// What the text after the start tells: the running servers, and the first steps to try.
pub(super) struct Welcome {
    folder: String,
    /// The path of `psql`.
    psql: String,
    /// The ports of the shards' servers.
    ports: Vec<u16>,
    /// The URL of the cache's server.
    cache: Option<String>,
    /// The URLs of the spare databases.
    spare: Vec<String>,
}

impl Welcome {
    pub(super) fn new(args: &DevArgs, cluster: &LocalCluster, cache: Option<&CacheServer>) -> Self {
        let servers = cluster.servers();
        let spare = cluster.spare_urls();
        let shards = servers.len().saturating_sub(spare.len());
        Self {
            folder: args.dir.display().to_string(),
            psql: servers.first().map_or_else(|| "psql".to_owned(), |server| server.psql_path().display().to_string()),
            ports: servers.iter().take(shards).map(PostgresServer::port).collect(),
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
        let mut text = format!("\nShardrive with {} shards; the data is in {}\n\n", self.ports.len(), self.folder);
        let mut line = |args: fmt::Arguments<'_>| {
            let _ = writeln!(text, "{args}"); // writing to a String does not fail
        };
        line(format_args!("  API      {api}"));
        line(format_args!("  try it   {api}/docs"));
        for (shard, port) in self.ports.iter().enumerate() {
            let database = database_name(shard);
            line(format_args!(
                "  shard {shard}  {} postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}",
                self.psql
            ));
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
        if usize::from(SLOT_COUNT).is_multiple_of(self.ports.len().max(1)) {
            line(format_args!(
                "\nUntil slots move, a user is on shard user_id mod {}. Ctrl-C stops everything; the data stays.\n",
                self.ports.len()
            ));
        } else {
            line(format_args!("\nCtrl-C stops everything; the data stays.\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(ports: &[u16], cache: Option<&str>, spare: &[&str]) -> Welcome {
        Welcome {
            folder: "./.shardrive".to_owned(),
            psql: "/opt/bin/psql".to_owned(),
            ports: ports.to_vec(),
            cache: cache.map(ToOwned::to_owned),
            spare: spare.iter().map(|url| (*url).to_owned()).collect(),
        }
    }

    #[test]
    fn the_first_steps_name_what_runs() {
        let bind = "0.0.0.0:8000".parse().unwrap();
        let text = welcome(&[5432, 5440], Some("redis://127.0.0.1:6381"), &["postgres://spare"]).text(bind);
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
        assert!(!welcome(&[1; 11], None, &[]).text(bind).contains("mod"));
    }
}
