//! Samples of the shards' data (rows, open moves), for `/metrics` and the dashboard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::reshard::{MoveService, SlotMove};
use crate::shard::{Cluster, ScatterBreadth, ShardId};
use crate::stats::{CountMethod, ShardStats, count_all};

/// How often the shards are asked while somebody wants the samples.
const INTERVAL: Duration = Duration::from_secs(5);
/// After this time without a question for a sample, the shards are left alone until the next question.
const WATCHED: Duration = Duration::from_mins(1);
/// A sample younger than this is not read again.
const FRESH: Duration = Duration::from_secs(1);
/// How long a caller waits for a new sample.
const PATIENCE: Duration = Duration::from_millis(2);
/// The latest moves to read, and the open moves among these to show.
const MOVES: (i64, usize) = (200, 64);
/// The latest moves to show, open or ended.
const RECENT: usize = 8;

/// The last sample.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct ShardSample {
    /// When; `None` before the first time.
    pub(in crate::http) at: Option<Instant>,
    /// The counts of each shard, in the order of the numbers.
    pub(in crate::http) shards: Vec<ShardStats>,
    /// Open moves; `None` if shard 0 did not answer.
    pub(in crate::http) moves: Option<Vec<SlotMove>>,
    /// The latest moves, newest first.
    pub(in crate::http) recent: Vec<SlotMove>,
}

impl ShardSample {
    /// Files and documents of each answering shard.
    pub(in crate::http) fn held(&self) -> impl Iterator<Item = (ShardId, u64)> {
        self.shards.iter().filter_map(|shard| Some((shard.shard, shard.rows? + shard.documents?)))
    }
}

/// Reads samples, never two at a time.
pub struct ShardSampler {
    asked: Notify,
    latest: watch::Sender<Arc<ShardSample>>,
}

impl ShardSampler {
    /// Starts to read, until the cluster shuts down; a shard may take `deadline` to answer.
    #[must_use]
    pub fn start(cluster: &Arc<Cluster>, deadline: Duration) -> Arc<Self> {
        let sampler = Arc::new(Self { asked: Notify::new(), latest: watch::Sender::new(Arc::default()) });
        let requests = MoveService::new(Arc::clone(cluster));
        cluster.spawn(Arc::clone(&sampler).run(Arc::clone(cluster), requests, deadline));
        sampler
    }

    async fn run(self: Arc<Self>, cluster: Arc<Cluster>, requests: MoveService, deadline: Duration) {
        let turns = async {
            let mut asked = Instant::now();
            loop {
                let sample = read(&cluster, &requests, deadline).await;
                self.latest.send_replace(Arc::new(sample));
                tokio::select! {
                    () = tokio::time::sleep(INTERVAL), if asked.elapsed() < WATCHED => {}
                    () = self.asked.notified() => asked = Instant::now(),
                }
            }
        };
        // Dropping this future anywhere is safe: the task only reads.
        cluster.stop_token().run_until_cancelled(turns).await;
    }

    /// The last sample; if older than a second, waits a few milliseconds for a new sample.
    pub(in crate::http) async fn latest(&self) -> Arc<ShardSample> {
        let mut latest = self.latest.subscribe();
        let sample = Arc::clone(&latest.borrow_and_update());
        if sample.at.is_some_and(|at| at.elapsed() < FRESH) {
            return sample;
        }
        self.asked.notify_one();
        match tokio::time::timeout(PATIENCE, latest.changed()).await {
            Ok(Ok(())) => Arc::clone(&latest.borrow()),
            _ => sample,
        }
    }
}

async fn read(cluster: &Cluster, requests: &MoveService, deadline: Duration) -> ShardSample {
    let moves = tokio::time::timeout(deadline, requests.list(MOVES.0));
    let (stats, moves) = tokio::join!(count_all(cluster, CountMethod::Counts, ScatterBreadth::Few, deadline), moves);
    let moves = moves.ok().and_then(Result::ok);
    let recent = moves.iter().flatten().take(RECENT).cloned().collect();
    let moves = moves.map(|mut moves| {
        moves.retain(|open| !open.stage.is_end());
        moves.sort_by_key(|open| open.id);
        moves.truncate(MOVES.1);
        moves
    });
    ShardSample { at: Some(Instant::now()), shards: stats.shards, moves, recent }
}
