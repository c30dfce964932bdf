//! The cache's part of a chaos run: zero stale reads while links are cut and slow, servers and programs are killed and
//! frozen, and slots change hands.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shardrive::local_servers::free_port;

use crate::support::api::Api;
use crate::support::cache::{TestCache, hits, until_in_use, url_of};
use crate::support::moves::Move;
use crate::support::poll;
use crate::support::proxy::{Mode, Proxy};
use crate::support::race::Race;
use crate::support::servers::TestCluster;

const PROGRAMS: usize = 3;
const USERS: i64 = 10;
/// Of a user in none of the slots that move.
const WATCHED: i64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    CutLink,
    SilenceLink,
    SlowLink,
    Flush,
    KillCache,
    OldDump,
    FreezeCache,
    FreezeProgram,
    FreezeProgramWhileAnotherIsCutOff,
    KillProgram,
    EndSessions,
    RestartShard,
    MoveSlots,
}

const FAULTS: [Fault; 13] = [
    Fault::CutLink,
    Fault::SilenceLink,
    Fault::SlowLink,
    Fault::Flush,
    Fault::KillCache,
    Fault::OldDump,
    Fault::FreezeCache,
    Fault::FreezeProgram,
    Fault::FreezeProgramWhileAnotherIsCutOff,
    Fault::KillProgram,
    Fault::EndSessions,
    Fault::RestartShard,
    Fault::MoveSlots,
];

struct Run {
    cluster: TestCluster,
    cache: TestCache,
    proxies: Vec<Proxy>,
    apis: Vec<Api>,
    ports: Vec<u16>,
    random: StdRng,
    /// Where slots 0 and 1 are.
    at: usize,
    /// Hits of programs that were killed.
    hits: u64,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let mut run = Self {
            cluster: TestCluster::migrated(2).await,
            cache: TestCache::start().await,
            proxies: Vec::new(),
            apis: Vec::new(),
            ports: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            at: 0,
            hits: 0,
        };
        for program in 0..PROGRAMS {
            run.proxies.push(Proxy::start(run.cache.server.port()).await);
            run.ports.push(free_port().unwrap());
            let api = run.program(program).await;
            run.apis.push(api);
        }
        Move::new(&run.cluster, &[1], 1, 0).await.run().await;
        run
    }

    async fn program(&self, program: usize) -> Api {
        let (bind, url) = (format!("127.0.0.1:{}", self.ports[program]), url_of(self.proxies[program].port()));
        Api::start_with(&self.cluster, &[("BIND_ADDR", &bind), ("REDIS_URL", &url), ("CACHE_TTL", "60")]).await
    }

    async fn suffer(&mut self, fault: Fault) {
        let (program, shard) = (self.random.random_range(0..PROGRAMS), self.random.random_range(0..2));
        let time = Duration::from_millis(self.random.random_range(20..1500));
        let proxy = &self.proxies[program];
        match fault {
            Fault::CutLink => proxy.set_mode(Mode::Refuse),
            Fault::SilenceLink => proxy.set_mode(Mode::BlackHole),
            Fault::SlowLink => proxy.set_mode(Mode::Slow(self.random.random_range(1..30))),
            Fault::Flush => {
                self.cache.server.command("FLUSHALL").unwrap();
            }
            Fault::KillCache => self.cache.server.kill(),
            Fault::OldDump => {
                self.cache.server.command("SAVE").unwrap();
            }
            Fault::FreezeCache => self.cache.server.pause(),
            Fault::FreezeProgram => self.apis[program].pause(),
            Fault::FreezeProgramWhileAnotherIsCutOff => {
                self.apis[program].pause();
                self.proxies[(program + 1) % PROGRAMS].set_mode(Mode::Refuse);
            }
            Fault::KillProgram => {
                self.hits += hits(&self.apis[program]).await;
                self.apis[program].kill9();
            }
            Fault::EndSessions => {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardrive'";
                self.cluster.psql(shard, end).await.unwrap();
            }
            Fault::RestartShard => self.cluster.server(shard).restart().await.unwrap(),
            Fault::MoveSlots => {
                Move::new(&self.cluster, &[0, 1], self.at, 1 - self.at).await.run().await;
                self.at = 1 - self.at;
            }
        }
        poll::delay(time).await;
        match fault {
            Fault::KillCache => self.cache.server.start().await.unwrap(),
            Fault::OldDump => {
                self.cache.server.kill();
                self.cache.server.start().await.unwrap();
            }
            Fault::FreezeCache => self.cache.server.resume(),
            Fault::FreezeProgram | Fault::FreezeProgramWhileAnotherIsCutOff => self.apis[program].resume(),
            Fault::KillProgram => self.apis[program] = self.program(program).await,
            _ => {}
        }
        poll::delay(time / 2).await;
        self.proxies.iter().for_each(|proxy| proxy.set_mode(Mode::Pass));
    }
}

/// Runs for this long; true if nothing was stale.
pub async fn run(seed: u64, time: Duration) -> bool {
    println!("cache, seed {seed}, {} s", time.as_secs());
    let mut run = Run::start(seed).await;
    let bases: Vec<_> = run.apis.iter().map(|api| api.base().to_owned()).collect();
    let race = Race::start(&bases, 0..USERS).await;
    let end = Instant::now() + time;
    let mut faults: BTreeMap<Fault, u32> = BTreeMap::new();
    while Instant::now() < end {
        for api in &run.apis {
            until_in_use(api, WATCHED).await;
        }
        race.wait_for_answers(500).await;
        let fault = FAULTS[run.random.random_range(0..FAULTS.len())];
        *faults.entry(fault).or_default() += 1;
        run.suffer(fault).await;
    }
    race.wait_for_answers(100).await;
    let seen = race.stop().await;
    for api in &run.apis {
        run.hits += hits(api).await;
    }
    println!("faults:");
    faults.iter().for_each(|(fault, count)| println!("  {count:>8}  {fault:?}"));
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    let failures = seen.failures.lock().unwrap().len();
    println!("reads: {}, writes: {}, answered by errors: {failures}", count(&seen.reads), count(&seen.writes));
    println!("reads from the cache: {}", run.hits);
    let stale = seen.stale.lock().unwrap();
    println!("{} no read was stale", if stale.is_empty() { "ok    " } else { "FAILED" });
    stale.iter().take(10).for_each(|line| println!("         {line}"));
    println!("cache with seed {seed}: {} stale reads", stale.len());
    stale.is_empty() && run.hits > 0
}
