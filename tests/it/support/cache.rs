//! Cache servers for a test, and a program's reports of the cache.

use reqwest::StatusCode;
use shardrive::local_servers::{CacheServer, free_port};
use tempfile::TempDir;

use super::api::Api;
use super::folders::scratch_folder;
use super::poll;

/// A Redis or Valkey server on a free port.
pub struct TestCache {
    pub server: CacheServer,
    _folder: TempDir,
}

impl TestCache {
    /// Starts a server. scripts/setup installs one on every machine that runs the tests.
    pub async fn start() -> Self {
        let program = CacheServer::find_program().expect("redis-server or valkey-server; run scripts/setup test");
        let folder = scratch_folder().await;
        let path = folder.path().canonicalize().unwrap();
        let mut server = CacheServer::new(program, path, free_port().unwrap());
        // Between the search for a free port and the start, another test may take the port.
        while let Err(error) = server.start().await {
            assert!(error.to_string().contains("in use"), "{error}");
            server.set_port(free_port().unwrap());
        }
        Self { server, _folder: folder }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }
}

/// The URL for a port, for a proxy in front of a server.
pub fn url_of(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

pub async fn hits(api: &Api) -> u64 {
    api.get_json("/stats").await.1["cache_hits"].as_u64().unwrap()
}

pub async fn misses(api: &Api) -> u64 {
    api.get_json("/stats").await.1["cache_misses"].as_u64().unwrap()
}

/// Waits until reads of this user come from the cache.
pub async fn until_in_use(api: &Api, user: i64) {
    poll::until("a hit", async || {
        let before = hits(api).await;
        assert_eq!(api.get(&format!("/query/{user}")).await.status(), StatusCode::OK);
        if hits(api).await > before { Ok(()) } else { Err(api.get_json("/health").await.1) }
    })
    .await;
}

/// Waits until the program reports this state of the cache.
pub async fn until_says(api: &Api, word: &str) {
    poll::until(word, async || {
        let (status, health) = api.get_json("/health").await;
        assert_eq!((status, health["status"].as_str()), (StatusCode::OK, Some("healthy")), "a cache is no shard");
        if health["cache"] == word { Ok(()) } else { Err(health) }
    })
    .await;
}
