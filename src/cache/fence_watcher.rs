//! One task a shard keeps the view of its fence fresh, and opens and closes the fence.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::fence_step::{FencePolicy, FenceReading, FenceStep};
use super::fence_view::{MapCopy, ShardFence};
use super::known_fences::KnownFences;
use super::shared_connection::LinkState;
use crate::shard::{Cluster, DbFault, LookPace, Shard, SlotMap, first_wave, wave_after};

/// How often a fence is looked at, if the shards are few and the shard does not rest ([`LookPace`]). A look is relied on
/// for 400 ms (`VIEW_LEASE`). So nobody relies on the fence of a resting shard before the look that a request causes.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long a look may take before its connection is given up. The health of a shard that is away ends the look sooner.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Starts to watch the fences of all shards, with this link to a cache server, until `end` is cancelled. Gives what will
/// be known of the fences.
pub(super) fn watch_fences(
    cluster: &Arc<Cluster>,
    link: &watch::Receiver<LinkState>,
    end: &CancellationToken,
) -> Arc<KnownFences> {
    let fences = Arc::new(KnownFences::new(cluster));
    let (watched, link, end) = (Arc::clone(&fences), link.clone(), end.clone());
    let watching = Arc::clone(cluster);
    cluster.for_each_shard(move |shard| {
        let watcher = FenceWatcher {
            cluster: Arc::clone(&watching),
            shard: Arc::clone(shard),
            fences: Arc::clone(&watched),
            link: link.clone(),
            policy: FencePolicy::new(shard.id()),
            session: None,
            map_version: None,
            warned: false,
        };
        watching.spawn(watcher.run(end.clone()));
    });
    fences
}

/// What a look found.
struct FenceLook {
    reading: FenceReading,
    map_version: i64,
    /// The server takes writes, as a health probe would find.
    takes_writes: bool,
}

async fn look_requested_after(shard: &Shard, soonest: Instant) {
    sleep_until(soonest).await;
    shard.look_requested().await;
}

/// Watches one shard's fence.
struct FenceWatcher {
    cluster: Arc<Cluster>,
    shard: Arc<Shard>,
    fences: Arc<KnownFences>,
    link: watch::Receiver<LinkState>,
    policy: FencePolicy,
    /// The connection, and when it was opened.
    session: Option<(PgConnection, Instant)>,
    /// The known version of the shard's map.
    map_version: Option<i64>,
    /// The log has said that the fence cannot be read.
    warned: bool,
}

impl FenceWatcher {
    async fn run(mut self, end: CancellationToken) {
        let mut next = first_wave(self.shard.id(), INTERVAL);
        // Dropping a turn at the end is safe: a turn is one look and at most one statement.
        loop {
            let began = Instant::now();
            match end.run_until_cancelled(self.look_at_fence()).await {
                Some(true) => continue,
                Some(false) => {}
                None => return,
            }
            // Writers that wait request a look again and again. A look that failed is not repeated as often.
            let soonest = if self.session.is_some() { began } else { began + INTERVAL };
            tokio::select! {
                () = sleep_until(next) => {}
                () = look_requested_after(&self.shard, soonest) => {}
                Ok(()) = self.link.changed() => continue,
                () = end.cancelled() => return,
            }
            let pace = LookPace::new(INTERVAL, self.cluster.shards().len());
            next = wave_after(Instant::now(), pace.interval(self.shard.rests()));
        }
    }

    /// One look, and what follows from the look. True if the next look should come at once.
    async fn look_at_fence(&mut self) -> bool {
        let shard = Arc::clone(&self.shard);
        let was_open = self.session.is_some();
        let Some((mut connection, opened)) = self.connect().await else { return false };
        let version = self.map_version;
        let work = async {
            let looked = Instant::now();
            let look = read_fence(&mut connection).await?;
            let map = if version == Some(look.map_version) { None } else { load_slots(&mut connection).await? };
            Ok::<_, sqlx::Error>((connection, looked, look, map))
        };
        let mut work = pin!(within(&shard, work));
        let found = match timeout(INTERVAL, &mut work).await {
            Ok(found) => found,
            // A probe was perhaps left out for the look before.
            Err(_) => {
                shard.request_probe();
                work.await
            }
        };
        let (mut connection, looked, look, map) = match found {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                shard.request_probe();
                if DbFault::of(&error) == DbFault::Unexpected && !std::mem::replace(&mut self.warned, true) {
                    log::warn!("shard {}: the cache's fence cannot be read: {error}", shard.id());
                }
                return was_open; // perhaps only this session was ended
            }
            None => return false,
        };
        if !look.takes_writes && shard.takes_writes() {
            shard.request_probe();
        }
        if look.takes_writes && shard.leads_to_primary(opened.into_std()) {
            shard.record_good_look();
        }
        if let Some(map) = map {
            self.fences.learn_slots(&map);
            self.map_version = Some(look.map_version);
        }
        // A look says nothing without the map of the same moment.
        if self.map_version != Some(look.map_version) {
            return false;
        }
        self.warned = false;
        let FenceReading { fence, .. } = &look.reading;
        let link = self.link.borrow_and_update().by_server();
        let step = self.policy.decide(&link, &look.reading, Instant::now());
        self.fences.learn_fence(shard.id(), fence.clone(), looked);
        if step == FenceStep::Leave {
            self.session = Some((connection, opened));
            return false;
        }
        let work = async {
            let changed = change_fence(&step, &mut connection, fence.generation).await?;
            Ok::<_, sqlx::Error>((connection, changed))
        };
        let Some(Ok((connection, changed))) = within(&shard, work).await else { return false };
        self.session = Some((connection, opened));
        match step {
            _ if !changed => false, // another process was faster
            FenceStep::Open(_) => {
                log::info!("shard {}: the cache is in use", shard.id());
                true
            }
            _ if fence.server.is_some() => {
                log::info!("shard {}: the cache is out of use", shard.id());
                true
            }
            _ => false, // the fence was closed before
        }
    }

    /// The session, or a new one if there is none or it leads to a former primary.
    async fn connect(&mut self) -> Option<(PgConnection, Instant)> {
        if let Some((connection, opened)) = self.session.take()
            && self.shard.leads_to_primary(opened.into_std())
        {
            return Some((connection, opened));
        }
        // The shard is known to be away: the health check says when it is back.
        self.shard.require_healthy().ok()?;
        let opened = Instant::now();
        Some((within(&self.shard, self.shard.connect()).await?.ok()?, opened))
    }
}

/// Waits for work on a shard, for as long as the shard is healthy and a look may take.
async fn within<T>(shard: &Shard, work: impl Future<Output = T>) -> Option<T> {
    timeout(LOOK_LIMIT, shard.while_healthy(work)).await.ok()?.ok()
}

/// Generation, server, version of the map, whether the fence is held and fading, the server's start, and whether it
/// takes writes.
type FenceColumns = (i64, Option<String>, i64, bool, bool, i64, bool);

async fn read_fence(connection: &mut PgConnection) -> Result<FenceLook, sqlx::Error> {
    let (generation, server, map_version, is_held, is_fading, started, takes_writes): FenceColumns =
        sqlx::query_as(include_str!("../../sql/cache/read_fence.sql")).fetch_one(connection).await?;
    let fence = ShardFence { generation, server: server.map(Into::into), started };
    Ok(FenceLook { reading: FenceReading { fence, is_held, is_fading }, map_version, takes_writes })
}

/// Owners, epochs and the epochs before, in the order of the slots; null if there are no slots.
type OwnerColumns = (Option<Vec<i32>>, Option<Vec<i64>>, Option<Vec<Option<i64>>>);

/// The shard's copy of the map, if it is whole.
async fn load_slots(connection: &mut PgConnection) -> Result<Option<MapCopy>, sqlx::Error> {
    let (owners, epochs, previous): OwnerColumns =
        sqlx::query_as(include_str!("../../sql/cache/load_slots.sql")).fetch_one(connection).await?;
    let map = owners.zip(epochs).and_then(|(owners, epochs)| SlotMap::from_columns(&owners, &epochs));
    Ok(map.zip(previous).map(|(map, previous)| MapCopy { map, previous }))
}

/// True if the fence was still in the seen state.
async fn change_fence(step: &FenceStep, connection: &mut PgConnection, generation: i64) -> Result<bool, sqlx::Error> {
    let statement = match step {
        FenceStep::Leave => return Ok(false),
        FenceStep::Close => sqlx::query(include_str!("../../sql/cache/close.sql")).bind(generation),
        FenceStep::Open(server) => {
            sqlx::query(include_str!("../../sql/cache/open.sql")).bind(generation).bind(&**server)
        }
    };
    Ok(statement.execute(connection).await?.rows_affected() == 1)
}
