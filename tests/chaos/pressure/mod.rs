//! What presses on the service while nothing dies: callers that are slow, silent or many, a full disk, a broker that
//! refuses. Beside each pressure other clients go on: none of their requests may fail or take [`LONGEST`].
//!
//! ```text
//! run → bystanders
//!  └──→ callers, broker, disk
//! ```

mod broker;
mod bystanders;
mod callers;
mod disk;

use std::time::{Duration, Instant};

use broker::PickyBroker;
use bystanders::{Bystanders, Cycle};
use disk::FullDisk;

use crate::support::api::Api;
use crate::support::certificates::TestCa;
use crate::support::servers::TestCluster;

/// Longer than any queue that a bystander may meet, on a busy machine as well.
const LONGEST: Duration = Duration::from_secs(5);
/// Answers that the bystanders must have had under each pressure.
const ANSWERS: usize = 60;

/// What is done to the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pressure {
    SlowCallers,
    HotDocument,
    SilentConnections,
    SilentBodies,
    FullDisk,
    RefusingBroker,
}

const PRESSURES: [Pressure; 6] = [
    Pressure::SlowCallers,
    Pressure::HotDocument,
    Pressure::SilentConnections,
    Pressure::SilentBodies,
    Pressure::FullDisk,
    Pressure::RefusingBroker,
];

/// Two shards, and two programs of which one speaks TLS.
struct Stage {
    plain: Api,
    encrypted: Api,
    authority: TestCa,
    broker: PickyBroker,
    /// The disk of shard 1, if the machine lets us make a small one.
    disk: Option<FullDisk>,
    /// Last: the programs end before their shards.
    _cluster: TestCluster,
}

impl Stage {
    async fn start() -> Self {
        let mut cluster = TestCluster::start(2).await;
        let disk = FullDisk::under(&mut cluster, 1).await;
        cluster.migrate().await;
        let authority = TestCa::new();
        let pair = authority.issue_certificate(&["127.0.0.1"]);
        let certificate = authority.write("certificate.pem", &pair.certificate);
        let key = authority.write("key.pem", &pair.key);
        let broker = PickyBroker::start().await;
        // Callers are told apart by the address that they say they come from.
        let plain = Api::start_with(
            &cluster,
            &[("SHARDRIVE_TRUSTED_PROXIES", "127.0.0.1/32"), ("SHARDRIVE_EVENTS_URL", &broker.url())],
        )
        .await;
        let encrypted =
            Api::start_with(&cluster, &[("SHARDRIVE_TLS_CERT_FILE", &certificate), ("SHARDRIVE_TLS_KEY_FILE", &key)])
                .await;
        callers::store_large_documents(&plain).await;
        callers::store_hot_document(&plain).await;
        Self { plain, encrypted, authority, broker, disk, _cluster: cluster }
    }

    /// Others, as they should be under this pressure: on a full disk nobody can write.
    fn bystanders(&self, pressure: Option<Pressure>) -> Bystanders {
        let users: &[(i64, Cycle)] = match pressure {
            Some(Pressure::FullDisk) => {
                &[(1000, Cycle::Whole), (1002, Cycle::Whole), (1001, Cycle::Reads), (1003, Cycle::Reads)]
            }
            _ => &[(1000, Cycle::Whole), (1002, Cycle::Whole), (1001, Cycle::Whole), (1003, Cycle::Whole)],
        };
        match pressure {
            Some(Pressure::SilentConnections) => {
                Bystanders::start(&bystanders::newcomer(&self.authority), self.encrypted.base(), users)
            }
            _ => Bystanders::start(&bystanders::client(), self.plain.base(), users),
        }
    }

    /// Presses until then; gives what was wrong.
    async fn press(&mut self, pressure: Pressure, until: Instant) -> Vec<String> {
        match pressure {
            Pressure::SlowCallers => callers::list_large_documents(&self.plain, until).await,
            Pressure::HotDocument => callers::patch_hot_document(&self.plain, until).await,
            Pressure::SilentConnections => callers::connect_and_say_nothing(&self.encrypted, until).await,
            Pressure::SilentBodies => callers::open_bodies_and_say_nothing(&self.plain, until).await,
            Pressure::FullDisk => match &self.disk {
                Some(disk) => disk.fill_until(&self.plain, until).await,
                None => Vec::new(),
            },
            Pressure::RefusingBroker => self.broker.refuse_until(&self.plain, until).await,
        }
    }
}

/// Presses in each way for this long; true if no bystander noticed and nothing was lost.
pub async fn run(time: Duration) -> bool {
    println!("pressure, {} s of each", time.as_secs());
    let mut stage = Stage::start().await;
    let calm = stage.bystanders(None);
    calm.wait_for_answers(ANSWERS).await;
    println!("  {:<20} {}", "calm", calm.stop().await);
    let mut good = true;
    for pressure in PRESSURES {
        if pressure == Pressure::FullDisk && stage.disk.is_none() {
            println!("  {pressure:?} skipped: this machine does not let the run mount a small file system");
            continue;
        }
        let others = stage.bystanders(Some(pressure));
        others.wait_for_answers(1).await;
        let mut wrong = stage.press(pressure, Instant::now() + time).await;
        others.wait_for_answers(ANSWERS).await;
        let seen = others.stop().await;
        println!("  {:<20} {seen}", format!("{pressure:?}"));
        wrong.extend(seen.wrong());
        good &= wrong.is_empty();
        wrong.iter().take(10).for_each(|line| println!("         {line}"));
    }
    println!("{} nobody else noticed", if good { "ok    " } else { "FAILED" });
    good
}
