//! A long run of random faults under load, and then the question whether anything was lost. `tests/chaos/run` starts
//! it.
//!
//! Two shards, three programs, clients that remember every answer. The faults come one after the other, in an order
//! that the seed decides; some come two at a time.

#![expect(unreachable_pub, dead_code, reason = "the support of the integration tests, of which this needs a part")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a run fails")]

mod cache;
mod drive;
mod hot;
mod insist;
mod movers;
mod moves;
mod pressure;
mod red;
mod rolling;
#[path = "../it/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use drive::DriveLoad;
use movers::Movers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::Value;
use shardrive::local_servers::{Durability, free_port};
use support::api::{Api, PROGRAM, client};
use support::load::Load;
use support::moves::Move;
use support::poll;
use support::program::shardrive;
use support::servers::TestCluster;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const PROGRAMS: usize = 3;
const TASKS: usize = 12;
/// Slots that may be moved; the load goes to them and to as many others.
const MOVED: [i32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const SLOTS: [i32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 100, 101, 102, 103, 104, 105, 106, 107];

/// Users with folders: in slots that move, in slots that the service moves itself, and in others.
const DRIVES: [i64; 6] = [504_000, 504_001, 504_100, 504_102, 504_101, 504_200];

/// A user whose folders several clients move, in a slot that moves.
const SHARED_DRIVE: i64 = 504_002;

/// Slots that the service moves itself; they begin on shard 0.
const SERVED: &str = "100,102,104,106";

/// What a run may do to the service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    KillProgram,
    FreezeProgram,
    StopProgram,
    KillServer,
    StopServer,
    FreezeServer,
    EndSessions,
    MoveSlots,
    MoveSlotsForthAndBack,
    MoveWhileAProgramIsFrozen,
    ServiceMoveDisturbed,
    HotDocument,
    SilentClients,
}

/// Those that a move by the service meets.
const PLAIN: usize = 7;
const FAULTS: [Fault; 14] = [
    Fault::KillProgram,
    Fault::FreezeProgram,
    Fault::StopProgram,
    Fault::KillServer,
    Fault::StopServer,
    Fault::FreezeServer,
    Fault::EndSessions,
    Fault::MoveSlots,
    Fault::MoveSlotsForthAndBack,
    Fault::MoveWhileAProgramIsFrozen,
    // Twice as often as the others.
    Fault::ServiceMoveDisturbed,
    Fault::ServiceMoveDisturbed,
    Fault::HotDocument,
    Fault::SilentClients,
];

struct Run {
    cluster: TestCluster,
    apis: Vec<Api>,
    ports: Vec<u16>,
    random: StdRng,
    /// Where the slots that move are.
    at: [usize; MOVED.len()],
    /// Where the slots are that the service moves itself.
    served_by: usize,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let cluster = TestCluster::start_with(2, Durability::Full).await;
        cluster.migrate().await;
        let at = std::array::from_fn(|slot| slot % 2);
        let mut run = Self {
            cluster,
            apis: Vec::new(),
            ports: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            at,
            served_by: 0,
        };
        for _ in 0..PROGRAMS {
            let port = free_port().unwrap();
            run.ports.push(port);
            run.apis.push(start_program(&run.cluster, port).await);
        }
        run
    }

    fn some_time(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(50..2500))
    }

    async fn suffer(&mut self, fault: Fault) {
        let (program, shard) = (self.random.random_range(0..PROGRAMS), self.random.random_range(0..2));
        let time = self.some_time();
        match fault {
            Fault::KillProgram => {
                self.apis[program].kill9();
                tokio::time::sleep(time).await;
                self.apis[program] = start_program(&self.cluster, self.ports[program]).await;
            }
            Fault::StopProgram => {
                self.apis[program].sigterm();
                assert!(self.apis[program].wait_for_exit().await, "{}", self.apis[program].log());
                self.apis[program] = start_program(&self.cluster, self.ports[program]).await;
            }
            Fault::FreezeProgram => {
                self.apis[program].pause();
                tokio::time::sleep(time).await;
                self.apis[program].resume();
            }
            Fault::KillServer => {
                self.cluster.server(shard).kill().await;
                tokio::time::sleep(time).await;
                self.cluster.server(shard).start().await.unwrap();
            }
            Fault::StopServer => {
                self.cluster.server(shard).stop().await;
                tokio::time::sleep(time).await;
                self.cluster.server(shard).start().await.unwrap();
            }
            Fault::FreezeServer => {
                self.cluster.server(shard).pause();
                tokio::time::sleep(time).await;
                self.cluster.server(shard).resume();
            }
            Fault::EndSessions => {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardrive'";
                self.cluster.psql(shard, end).await.unwrap();
            }
            Fault::ServiceMoveDisturbed => self.move_by_service().await,
            Fault::HotDocument => hot::patch_one_document(&self.apis, self.random.random()).await,
            Fault::SilentClients => self.be_silent(program, time).await,
            Fault::MoveSlots => self.move_slots(shard).await,
            Fault::MoveSlotsForthAndBack => {
                self.move_slots(shard).await;
                self.move_slots(1 - shard).await;
            }
            Fault::MoveWhileAProgramIsFrozen => {
                self.apis[program].pause();
                self.move_slots(shard).await;
                tokio::time::sleep(time / 2).await;
                self.apis[program].resume();
            }
        }
    }

    /// Clients keep connections and bulk loads open and send nothing; somebody else's load gets through.
    async fn be_silent(&self, program: usize, time: Duration) {
        let api = &self.apis[program];
        let address = api.base().strip_prefix("http://").unwrap();
        let mut silent = Vec::new();
        for number in 0..500 {
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            if number % 10 == 0 {
                let head = "POST /ingest/bulk HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n\
                            Content-Length: 100\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
            }
            silent.push(stream);
        }
        poll::until("a load beside silent ones", async || {
            // Of no file: the load's own count of what was sent knows of no other.
            let rows = serde_json::json!([]);
            let answer = api.request(reqwest::Method::POST, "/ingest/bulk").json(&rows).send().await.unwrap();
            if answer.status().is_success() { Ok(()) } else { Err(answer.status()) }
        })
        .await;
        tokio::time::sleep(time).await;
        drop(silent);
    }

    /// The service moves slots of its own, and something dies or freezes meanwhile.
    async fn move_by_service(&mut self) {
        let target = (1 - self.served_by).to_string();
        let arguments =
            ["shards", "move", "--slots", SERVED, "--to", &target, "--rollback-window", "0", "--detach", "--json"];
        let asked = shardrive(&arguments, &self.cluster.variables()).await;
        assert_eq!(asked.code, 0, "{asked:?}");
        let id = asked.json()["ids"][0].to_string();
        let pause = self.random.random_range(0..1500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let fault = FAULTS[self.random.random_range(0..PLAIN)];
        Box::pin(self.suffer(fault)).await;
        let path = format!("/admin/moves/{id}");
        let ended = poll::until("the service's move to end", async || {
            let (_, found) = self.apis[0].get_json(&path).await;
            if found["ended_at"].is_string() { Ok(found) } else { Err(found) }
        })
        .await;
        if ended["stage"] == "done" {
            self.served_by = 1 - self.served_by;
        } else {
            println!("  {fault:?}: move {id} {}: {}", ended["stage"], ended["reason"]);
        }
    }

    /// Some of the slots that are on this shard go to the other one.
    async fn move_slots(&mut self, from: usize) {
        let chosen: Vec<usize> =
            (0..MOVED.len()).filter(|slot| self.at[*slot] == from && self.random.random()).collect();
        let slots: Vec<i32> = chosen.iter().map(|slot| MOVED[*slot]).collect();
        if !slots.is_empty() {
            Move::new(&self.cluster, &slots, from, 1 - from).await.run().await;
            chosen.into_iter().for_each(|slot| self.at[slot] = 1 - from);
        }
    }

    /// Everything is well again: each program serves, and sees both shards.
    async fn until_well(&self, http: &Client) {
        for api in &self.apis {
            poll::until("a program to be healthy", async || {
                let answer =
                    http.get(format!("{}/health", api.base())).send().await.map_err(|error| error.to_string())?;
                let text = answer.text().await.map_err(|error| error.to_string())?;
                if text.contains("\"status\":\"healthy\"") { Ok(()) } else { Err(text) }
            })
            .await;
        }
    }

    /// What is wrong in the end.
    async fn judge(&self, load: Load) -> Vec<(String, Vec<String>)> {
        let seen = load.stop().await;
        println!("acknowledged files: {}", seen.acknowledged());
        println!("requests by outcome:");
        seen.outcomes().iter().for_each(|(kind, count)| println!("  {count:>8}  {kind}"));
        let mut checks = vec![("no answer was wrong".to_owned(), seen.violations())];
        let lost = seen.find_wrong_rows(&self.cluster, 2).await;
        checks.push(("every acknowledged file is there once, on its owner".to_owned(), lost));
        for api in &self.apis {
            let (_, counted) = api.get_json("/stats").await;
            let (_, scanned) = api.get_json("/stats?exact=scan").await;
            let same = counted == scanned && counted["complete"] == Value::Bool(true);
            let fault = if same { vec![] } else { vec![format!("{counted} is not {scanned}")] };
            checks.push((format!("the counts are those of a scan, says {}", api.base()), fault));
        }
        let urls = self.cluster.urls();
        let audit = Command::new(PROGRAM)
            .args(["shards", "verify"])
            .env_clear()
            .envs(urls.iter().enumerate().map(|(shard, url)| (format!("SHARD_{shard}_URL"), url)))
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&audit.stdout), String::from_utf8_lossy(&audit.stderr));
        checks
            .push(("shards verify finds nothing".to_owned(), if audit.status.success() { vec![] } else { vec![text] }));
        checks
    }
}

async fn start_program(cluster: &TestCluster, port: u16) -> Api {
    Api::start_with(cluster, &[("BIND_ADDR", &format!("127.0.0.1:{port}"))]).await
}

async fn run(seed: u64, time: Duration) -> bool {
    println!("seed {seed}, {} s", time.as_secs());
    let mut run = Run::start(seed).await;
    let bases: Vec<_> = run.apis.iter().map(|api| api.base().to_owned()).collect();
    let load = Load::start(&bases, TASKS, &SLOTS);
    let drives = DriveLoad::start(&bases, &DRIVES, seed);
    let movers = Movers::start(&bases, SHARED_DRIVE, seed).await;
    let (http, end) = (client(), Instant::now() + time);
    let mut faults: BTreeMap<Fault, u32> = BTreeMap::new();
    while Instant::now() < end {
        load.wait_for_answers(50).await;
        let fault = FAULTS[run.random.random_range(0..FAULTS.len())];
        *faults.entry(fault).or_default() += 1;
        run.suffer(fault).await;
        run.until_well(&http).await;
    }
    load.wait_for_answers(50).await;
    println!("faults:");
    faults.iter().for_each(|(fault, count)| println!("  {count:>8}  {fault:?}"));
    let (changes, wrong) = drives.judge().await;
    let (moves, shared) = movers.judge().await;
    println!("changes of folders: {changes}, and {moves} moves of folders into one another");
    let mut checks = run.judge(load).await;
    checks.push(("every tree is what its client knows".to_owned(), wrong));
    checks.push(("no circle came of folders that were moved into one another".to_owned(), shared));
    for (what, wrong) in &checks {
        println!("{} {what}", if wrong.is_empty() { "ok    " } else { "FAILED" });
        wrong.iter().take(10).for_each(|line| println!("         {line}"));
    }
    let failed = checks.iter().filter(|(_, wrong)| !wrong.is_empty()).count();
    println!("chaos with seed {seed}: {} passed, {failed} failed", checks.len() - failed);
    failed == 0
}

/// A program's path from the root: it is started in another folder.
fn found(path: &str) -> String {
    let path = std::fs::canonicalize(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    path.to_str().unwrap().to_owned()
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some("run") {
        println!("tests/chaos/run starts this");
        return ExitCode::SUCCESS;
    }
    let (mut moves, mut short) = (None, false);
    // What gives figures measures the release build; what breaks things may be slower, and checks more.
    let mut measured = PROGRAM.to_owned();
    let mut parts = vec![Part::Shards, Part::Cache, Part::Pressure, Part::Rolling, Part::Red];
    let (mut seed, mut seconds) = (rand::random_range(0..1_000_000), 900);
    let number = |word: Option<String>| word.and_then(|word| word.parse().ok()).expect("a number");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => (seconds, short) = (30, true),
            "--moves" => moves = Some(20),
            "--seconds" => seconds = number(words.next()),
            "--only-shards" => parts = vec![Part::Shards],
            "--only-cache" => parts = vec![Part::Cache],
            "--only-pressure" => parts = vec![Part::Pressure],
            "--only-rolling" => parts = vec![Part::Rolling],
            "--only-red" => parts = vec![Part::Red],
            "--measure" => measured = found(&words.next().expect("a program")),
            "--seed" => seed = number(words.next()),
            _ => panic!("{word}: not known; see tests/chaos/run"),
        }
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let time = Duration::from_secs(seconds);
    if let Some(moves) = moves {
        return if runtime.block_on(moves::run(moves)) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut good = true;
    for part in parts {
        good &= runtime.block_on(async {
            match part {
                Part::Shards => run(seed, time).await,
                Part::Cache => cache::run(seed, time).await,
                Part::Pressure => pressure::run((time / 30).max(Duration::from_secs(5))).await,
                Part::Rolling => rolling::run(&measured, short).await,
                Part::Red => red::run(&measured, if short { 3 } else { 11 }).await,
            }
        });
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a run consists of.
#[derive(Clone, Copy)]
enum Part {
    Shards,
    Cache,
    Pressure,
    Rolling,
    Red,
}
