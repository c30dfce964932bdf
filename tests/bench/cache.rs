//! The cache's server, and services that use it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use shardrive::local_servers::{CacheServer, free_port};
use tokio::runtime::Handle;

use crate::service::Service;
use crate::{Bench, Result};

/// How often, and after which pauses, a new service is asked until its cache answers.
const TRIES: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// A running cache server. Dropping it stops it.
pub struct Cache {
    server: CacheServer,
}

impl Cache {
    /// Starts a server of its own for the benchmark.
    pub fn start(bench: &Bench) -> Result<Self> {
        let program =
            CacheServer::find_program().ok_or("there is no redis-server or valkey-server; run scripts/setup bench")?;
        let mut server = CacheServer::new(program, bench.options.folder.join("cache"), free_port()?);
        Handle::current().block_on(server.start())?;
        Ok(Self { server })
    }

    /// Starts a service with this cache, and waits until the cache answers reads of `path`: for half a second after a
    /// service has found its cache's server, the service does not trust the cache.
    pub fn serve(&self, bench: &Bench, path: &str) -> Result<Service> {
        let service = Service::start_with(bench, &[("REDIS_URL", self.server.url())])?;
        for _ in 0..TRIES {
            ask(&service, path)?;
            if ask(&service, "/stats")?.get("cache_hits").and_then(Value::as_u64).is_some_and(|hits| hits > 0) {
                return Ok(service);
            }
            std::thread::sleep(PAUSE);
        }
        Err("the cache answers nothing".into())
    }

    /// How many reads of this service the cache could not answer.
    pub fn misses(service: &Service) -> Result<u64> {
        let misses = ask(service, "/stats")?.get("cache_misses").and_then(Value::as_u64);
        misses.ok_or_else(|| "/stats tells no misses of the cache".into())
    }

    /// Removes every entry.
    pub fn empty(&self) -> Result<()> {
        self.server.command("FLUSHALL").map(|_| ()).ok_or_else(|| "the cache's server does not answer".into())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        Handle::current().block_on(self.server.stop());
    }
}

fn ask(service: &Service, path: &str) -> Result<Value> {
    let output = Command::new("curl").args(["-sS", &service.url(path)]).output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}
