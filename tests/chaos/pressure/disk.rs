//! A shard whose disk is full: whoever reads goes on, and whoever writes is told why.

use std::time::Instant;

use serde_json::json;

use super::LONGEST;
use super::callers::code_of;
use crate::support::api::Api;
use crate::support::poll;
use crate::support::servers::{TestCluster, run};
use crate::support::small_disk::SmallDisk;

/// A small file system on which a shard keeps its rows.
pub struct FullDisk {
    disk: SmallDisk,
    shard: i64,
}

impl FullDisk {
    /// Puts one under a shard's database; `None` where mounting is not allowed.
    pub async fn under(cluster: &mut TestCluster, shard: usize) -> Option<Self> {
        let folder = cluster.server(shard).data_folder().parent()?.join("small");
        let disk = SmallDisk::mount(&folder, "64m")?;
        let mut psql = cluster.server(shard).connect("postgres").await.unwrap();
        let database = shardrive::local_servers::database_name(shard);
        for sql in [
            format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()),
            format!("ALTER DATABASE {database} SET TABLESPACE small"),
        ] {
            run(&mut psql, &sql).await.unwrap();
        }
        Some(Self { disk, shard: i64::try_from(shard).unwrap() })
    }

    /// Keeps the disk full until then; gives what was wrong.
    pub async fn fill_until(&self, api: &Api, until: Instant) -> Vec<String> {
        self.disk.fill();
        let mut wrong = Vec::new();
        let file = json!({"user_id": 2001, "file_name": "x".repeat(800)});
        let (mut stored, mut refused) = (0_u32, 0_u32);
        // There is some space left in the table's own pages.
        while Instant::now() < until || (refused == 0 && Instant::now() < until + LONGEST) {
            match api.post_json("/ingest", &file).await {
                (status, _) if status.is_success() => stored += 1,
                (status, answer) if status.as_u16() == 507 && code_of(&answer) == "shard_storage_full" => refused += 1,
                (status, answer) => {
                    wrong.push(format!("a write on a full disk: {status} {answer}"));
                    poll::short_pause().await;
                }
            }
        }
        if refused == 0 {
            wrong.push("nobody was told of the full disk".to_owned());
        }
        println!("    {stored} writes found room, {refused} were told of the full disk");
        let (_, health) = api.get_json("/health").await;
        let names_disk = health["warnings"].to_string().contains("disk");
        let circuit = &health["circuits"][format!("shard_{}", self.shard)];
        if !names_disk || circuit != "closed" {
            wrong.push(format!("/health: {health}"));
        }
        self.disk.free();
        poll::until("room again", async || match api.post_json("/ingest", &file).await {
            (status, _) if status.is_success() => Ok(()),
            other => Err(other),
        })
        .await;
        wrong
    }
}
