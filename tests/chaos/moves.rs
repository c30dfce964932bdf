//! Many moves in a row under a steady load, and how long anybody had to wait: `tests/chaos/run --moves`.
//!
//! The load is open-loop: requests begin at their times, whether or not those before them have been answered, so that a
//! pause is felt by all that come in it. Latency counts from the time at which a request should have begun.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use shardrive::local_servers::Durability;
use tokio::task::JoinSet;

use crate::support::api::{Api, client};
use crate::support::load::Load;
use crate::support::moved::assert_nothing_left;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

/// Slots that move, and one that stays on shard 0.
const MOVED: [i64; 4] = [0, 2, 4, 6];
const STAYS: i64 = 100;
/// Between two requests of a kind.
const EVERY: Duration = Duration::from_millis(10);

/// What one kind of request met.
#[derive(Default)]
struct Timed {
    /// When each success came, and how long after its time.
    successes: Mutex<Vec<(Instant, Duration)>>,
    failures: Mutex<Vec<String>>,
}

impl Timed {
    fn latency(&self, from: Instant, to: Instant, percent: usize) -> f64 {
        let mut all: Vec<Duration> = self
            .successes
            .lock()
            .unwrap()
            .iter()
            .filter(|(at, _)| (from..to).contains(at))
            .map(|(_, took)| *took)
            .collect();
        all.sort_unstable();
        all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)))
            .map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }

    /// The longest times between one success and the next, the longest first, in milliseconds.
    fn gaps(&self) -> Vec<f64> {
        let mut times: Vec<Instant> = self.successes.lock().unwrap().iter().map(|(at, _)| *at).collect();
        times.sort_unstable();
        let mut gaps: Vec<f64> =
            times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64() * 1e3).collect();
        gaps.sort_by(|a, b| b.total_cmp(a));
        gaps
    }
}

/// Sends a request every so often until it is stopped.
async fn send_steadily(stop: Arc<AtomicBool>, timed: Arc<Timed>, request: impl Fn(u64) -> reqwest::RequestBuilder) {
    let mut flying = JoinSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    for number in 0.. {
        let due = ticks.tick().await.into_std();
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (timed, request) = (Arc::clone(&timed), request(number));
        flying.spawn(async move {
            let failure = match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    timed.successes.lock().unwrap().push((Instant::now(), due.elapsed()));
                    return;
                }
                Ok(answer) => answer.status().to_string(),
                Err(error) => format!("{error:?}"),
            };
            timed.failures.lock().unwrap().push(failure);
        });
        while flying.try_join_next().is_some() {}
    }
    while flying.join_next().await.is_some() {}
}

/// Runs so many moves; true if nobody met an error and nothing was lost.
pub async fn run(moves: usize) -> bool {
    let cluster = TestCluster::start_with(2, Durability::Full).await;
    cluster.migrate().await;
    fill(&cluster).await;
    let mut apis = Vec::new();
    for _ in 0..3 {
        apis.push(Api::start_with(&cluster, &[]).await);
    }
    let bases: Vec<String> = apis.iter().map(|api| api.base().to_owned()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let names = ["write, moving slot", "write, other slot", "read, moving slot", "stats"];
    let timed: Vec<_> = names.iter().map(|_| Arc::new(Timed::default())).collect();
    let mut senders = JoinSet::new();
    let http = client();
    for (kind, timed) in timed.iter().enumerate() {
        let (http, bases): (Client, Vec<String>) = (http.clone(), bases.clone());
        senders.spawn(send_steadily(Arc::clone(&stop), Arc::clone(timed), move |number| {
            let base = &bases[usize::try_from(number).unwrap() % bases.len()];
            let slot = MOVED[usize::try_from(number).unwrap() % MOVED.len()];
            let write =
                |user: i64| http.post(format!("{base}/ingest")).json(&json!({"user_id": user, "file_name": "open"}));
            match kind {
                0 => write(slot),
                1 => write(STAYS),
                2 => http.get(format!("{base}/query/{}?limit=20", slot + 5040)),
                _ => http.get(format!("{base}/stats")),
            }
        }));
    }
    // Beside it, clients that hold every answer against what must be.
    let load = Load::start(&bases, 2, &[0, 2, 4, 6, 1, 101]);
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let moving = Instant::now();
    let mut freezes = Vec::new();
    for number in 0..moves {
        let to = ((number + 1) % 2).to_string();
        let arguments = ["shards", "move", "--slots", "0,2,4,6", "--to", &to, "--rollback-window", "0", "--json"];
        let done = shardrive(&arguments, &cluster.variables()).await;
        assert_eq!(done.code, 0, "{done:?}");
        let found: Value = done.json()[0].clone();
        freezes.push(found["freeze_ms"].as_f64().unwrap());
        let (_, found) = apis[0].get_json(&format!("/admin/moves/{}", found["id"])).await;
        let cutover =
            found["events"].as_array().unwrap().iter().find(|event| event["stage"] == "rollback_window").unwrap();
        println!("{}", cutover["what"].as_str().unwrap());
    }
    let ended = Instant::now();
    stop.store(true, Ordering::Relaxed);
    senders.join_all().await;
    freezes.sort_by(f64::total_cmp);
    println!("{moves} moves in {:.1} s", (ended - moving).as_secs_f64());
    println!("write freezes, ms: median {:.0}, longest {:.0}", freezes[freezes.len() / 2], freezes[freezes.len() - 1]);
    println!(
        "{:<20} {:>8} {:>7} {:>22} {:>22} {:>20}",
        "", "answers", "failed", "p50/p99 ms before", "p50/p99 ms in moves", "longest gaps ms"
    );
    let mut good = true;
    for (name, timed) in names.iter().zip(&timed) {
        let failures = timed.failures.lock().unwrap();
        good &= failures.is_empty();
        let of = |from, to| format!("{:.1} / {:.1}", timed.latency(from, to, 50), timed.latency(from, to, 99));
        let gaps: Vec<_> = timed.gaps().iter().take(3).map(|gap| format!("{gap:.0}")).collect();
        let answers = timed.successes.lock().unwrap().len();
        println!(
            "{name:<20} {answers:>8} {:>7} {:>22} {:>22} {:>20}",
            failures.len(),
            of(begun, moving),
            of(moving, ended),
            gaps.join(", ")
        );
        failures.iter().take(3).for_each(|failure| println!("    {failure}"));
    }
    let gaps: Vec<f64> = timed[0].gaps().into_iter().take(moves).collect();
    println!(
        "for each move, the longest time without a write to its slots, ms: {:.0} to {:.0}",
        gaps[moves - 1],
        gaps[0]
    );
    // The steady writes are counted as well, which the clients with a memory do not know.
    let seen = load.stop().await;
    let others =
        |line: &String| !line.starts_with("open ") && !line.starts_with("fill ") && !line.starts_with("/stats says");
    let wrong: Vec<String> = seen.violations().into_iter().filter(others).collect();
    let rows: Vec<String> = seen.find_wrong_rows(&cluster, 2).await.into_iter().filter(others).collect();
    let failed: u64 = seen
        .outcomes()
        .iter()
        .filter(|(kind, _)| !kind.ends_with(" 200") && !kind.ends_with(" 201"))
        .map(|(_, count)| *count)
        .sum();
    println!("wrong answers {}, lost or doubled {}, failed {failed}", wrong.len(), rows.len());
    let written: usize = timed[..2].iter().map(|timed| timed.successes.lock().unwrap().len()).sum();
    let (_, counted) = apis[0].get_json("/stats").await;
    let expected = u64::try_from(written).unwrap() + seen.acknowledged() + FILLED;
    println!("/stats says {}, acknowledged {expected}", counted["total_records"]);
    let audit = shardrive(&["shards", "verify"], &cluster.variables()).await;
    println!("shards verify: {}", if audit.code == 0 { "nothing found" } else { &audit.out });
    assert_nothing_left(&cluster, 2).await;
    good && wrong.is_empty()
        && rows.is_empty()
        && failed == 0
        && counted["total_records"] == expected
        && audit.code == 0
}

/// Rows that are there at the beginning, so that a move has something to copy.
const FILLED: u64 = 200_000;

async fn fill(cluster: &TestCluster) {
    for shard in 0..2 {
        let sql = format!(
            "INSERT INTO file_metadata (user_id, file_name) SELECT 2 * n + {shard}, 'fill' FROM generate_series(0, {} - 1) AS n",
            FILLED / 2
        );
        cluster.psql(shard, &sql).await.unwrap();
    }
}
