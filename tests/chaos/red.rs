//! How long it takes until everybody sees that a shard is away, and that it is back: `/health`, `/metrics`, the
//! dashboard's events, and the dashboard in a browser where one is installed.

use std::time::{Duration, Instant};

use shardrive::local_servers::Durability;

use crate::support::api::{AS_SHIPPED, Api};
use crate::support::browser::Browser;
use crate::support::feed::Events;
use crate::support::poll;
use crate::support::servers::TestCluster;

/// The bar for the median of the rounds.
const BAR: Duration = Duration::from_secs(2);
const NAMES: [&str; 4] = ["/health", "shardrive_shard_up", "events", "browser"];

/// What takes a shard away.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Freeze,
}

/// How long each of [`NAMES`] took to show it.
type Seen = [Option<Duration>; NAMES.len()];

struct Run {
    cluster: TestCluster,
    api: Api,
    /// Opened before anything happens: whoever comes anew is told at once.
    events: Events,
    browser: Option<Browser>,
}

impl Run {
    /// Waits until everybody sees shard 1 so.
    async fn seen(&mut self, healthy: bool, since: Instant) -> Seen {
        let word = if healthy { "healthy" } else { "unreachable" };
        let Self { api, events, browser, .. } = self;
        let health = async {
            poll::until_true("/health", async || api.get_json("/health").await.1["shards"]["shard_1"] == word).await;
            Some(since.elapsed())
        };
        let metric = async {
            let line = format!("shardrive_shard_up{{shard=\"1\"}} {}\n", u8::from(healthy));
            poll::until_true("shardrive_shard_up", async || {
                api.get("/metrics").await.text().await.unwrap().contains(&line)
            })
            .await;
            Some(since.elapsed())
        };
        let told = async {
            events.wait_for_event("state", |state| (state["shards"][1]["state"] == word).then_some(())).await;
            Some(since.elapsed())
        };
        let shown = async {
            let css = format!("#shards > :nth-child(2)[data-state={}]", if healthy { "good" } else { "bad" });
            browser.as_ref()?.until_shown(&css, true).await;
            Some(since.elapsed())
        };
        let (health, metric, told, shown) = tokio::join!(health, metric, told, shown);
        [health, metric, told, shown]
    }

    async fn round(&mut self, fault: Fault) -> (Seen, Seen) {
        // At any moment between two looks and two events.
        poll::delay(Duration::from_millis(rand::random_range(0..1000))).await;
        let begun = Instant::now();
        match fault {
            Fault::Kill => self.cluster.server(1).kill().await,
            Fault::Freeze => self.cluster.server(1).pause(),
        }
        let red = self.seen(false, begun).await;
        match fault {
            Fault::Kill => self.cluster.server(1).start().await.unwrap(),
            Fault::Freeze => self.cluster.server(1).resume(),
        }
        let begun = Instant::now();
        (red, self.seen(true, begun).await)
    }
}

/// Runs so many rounds of each kind; true if the medians are within the bar.
pub async fn run(program: &str, rounds: usize) -> bool {
    let cluster = TestCluster::start_with(2, Durability::ServerOnly).await;
    cluster.migrate().await;
    let api = Api::start_build(program, &cluster, &AS_SHIPPED).await;
    let browser = Browser::start().await;
    if let Some(browser) = &browser {
        browser.open(&format!("{}/dashboard", api.base())).await;
        browser.until_text("#link", "live").await;
    }
    let events = Events::from_response(api.get("/dashboard/events").await);
    let mut run = Run { cluster, api, events, browser };
    run.seen(true, Instant::now()).await;
    println!("a shard that goes and comes back, {rounds} times each; seconds until it is seen: median (longest)");
    let mut good = true;
    for fault in [Fault::Kill, Fault::Freeze] {
        let mut seen = Vec::new();
        for _ in 0..rounds {
            seen.push(run.round(fault).await);
        }
        for (what, pick) in [("away", 0), ("back", 1)] {
            let times = |name: usize| {
                let all = seen.iter().filter_map(|(red, well)| [red, well][pick][name]);
                let mut all: Vec<Duration> = all.collect();
                all.sort_unstable();
                all
            };
            let mut line = format!("{:<12}", format!("{fault:?}, {what}"));
            for (name, text) in NAMES.iter().enumerate() {
                let times = times(name);
                let Some(longest) = times.last() else { continue };
                let median = times[times.len() / 2];
                line += &format!("  {text} {:.2} ({:.2})", median.as_secs_f64(), longest.as_secs_f64());
                good &= median <= BAR;
            }
            println!("{line}");
        }
    }
    println!("{} everybody sees it within {BAR:?}", if good { "ok    " } else { "FAILED" });
    good
}
