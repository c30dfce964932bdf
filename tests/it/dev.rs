//! The command `dev`: servers of its own, found again at the next start.

use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use shardrive::cli::dev::{DevArgs, run};
use shardrive::shard::{Cluster, ShardOptions};
use uuid::Uuid;

use crate::support::servers::limits;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: DevArgs,
}

/// Runs `dev` and opens the cluster where it would serve.
async fn dev(folder: &str, shards: &str) -> Result<Uuid, String> {
    let line = Line::parse_from(["dev", "--dir", folder, "--shards", shards, "--bind", "127.0.0.1:1234"]);
    let mut found = None;
    let served = run(line.args, async |variables: Vec<(String, String)>| {
        assert_eq!(variables.last(), Some(&("BIND_ADDR".to_owned(), "127.0.0.1:1234".to_owned())));
        let urls = variables.iter().filter(|(name, _)| name.starts_with("SHARD_"));
        let options = urls.map(|(_, url)| ShardOptions::parse(url).unwrap()).collect();
        let cluster = Cluster::open(options, limits()).await.map_err(|error| error.to_string())?;
        found = Some(cluster.id());
        cluster.shut_down().await;
        Ok::<_, String>(())
    })
    .await;
    served.map_err(|error| error.to_string()).map(|()| found.unwrap())
}

#[tokio::test]
async fn a_second_start_finds_the_first_ones_cluster() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let folder = home.path().join("data");
    let folder = folder.to_str().unwrap();
    let first = dev(folder, "2").await.unwrap();
    assert_eq!(dev(folder, "2").await, Ok(first));
    let refused = dev(folder, "3").await.unwrap_err();
    assert!(refused.contains("holds 2 shards"), "{refused}");
}
