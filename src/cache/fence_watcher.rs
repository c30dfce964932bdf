//! One task a shard keeps the view of its fence fresh, and opens and closes the fence.
//!
//! - A process whose link is up opens a closed fence for its server, and closes a fence that is open for another
//!   server.
//! - A fence names the server and the formats of the processes that share the server. A process closes a fence with
//!   other formats, which then stays closed for a while.
//! - A process that cannot reach its server closes every fence, and keeps all fences closed for as long as that lasts:
//!   the process could not invalidate what other processes cache.
//! - A process without a cache closes an open fence, and keeps it closed from then on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::fence_view::{FenceView, KnownSlots, MapCopy, ShardFence, SlotTenure};
use super::server_info::is_same_server;
use super::shared_connection::LinkState;
use crate::shard::{Cluster, DbFault, LookPace, PerShard, Shard, ShardId, Slot, SlotMap, first_wave, wave_after};

/// How often a fence is looked at, if the shards are few and the shard does not rest ([`LookPace`]). A look is relied on
/// for 400 ms (`VIEW_LEASE`). So nobody relies on the fence of a resting shard before the look that a request causes.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long a look may take before its connection is given up. The health of a shard that is away ends the look sooner.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// What is known of all fences.
pub(super) struct KnownFences {
    cluster: Arc<Cluster>,
    views: PerShard<ArcSwapOption<FenceView>>,
    slots: ArcSwap<KnownSlots>,
    /// Changes with every look, and wakes waiting writers.
    pulse: watch::Sender<()>,
}

/// A slot, under the fence and the epoch in force.
pub(super) struct SettledSlot {
    pub(super) owner: ShardId,
    pub(super) epoch: i64,
    pub(super) view: Arc<FenceView>,
}

impl SettledSlot {
    /// The cache server in force.
    pub(super) fn server(&self) -> Option<&Arc<str>> {
        self.view.fence.server.as_ref()
    }

    /// True if values that are kept under one of both may be used under the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.owner == other.owner && self.epoch == other.epoch && self.view.prefix == other.view.prefix
    }
}

impl KnownFences {
    /// Starts to watch the fences of all shards, with this link to a cache server, until `end` is cancelled.
    pub(super) fn watch(
        cluster: &Arc<Cluster>,
        link: &watch::Receiver<LinkState>,
        end: &CancellationToken,
    ) -> Arc<Self> {
        let fences = Arc::new(Self {
            cluster: Arc::clone(cluster),
            views: PerShard::new(),
            slots: ArcSwap::default(),
            pulse: watch::channel(()).0,
        });
        let (watched, link, end) = (Arc::clone(&fences), link.clone(), end.clone());
        cluster.for_each_shard(move |shard| {
            let watcher = FenceWatcher {
                cluster: Arc::clone(&watched.cluster),
                shard: Arc::clone(shard),
                fences: Arc::clone(&watched),
                link: link.clone(),
                session: None,
                map_version: None,
                warned: false,
                keeps_closed: false,
                mixed_until: None,
            };
            watched.cluster.spawn(watcher.run(end.clone()));
        });
        fences
    }

    /// True if all fences are settled and closed. Then no process can show a value from before a write.
    pub(super) fn are_all_closed(&self) -> bool {
        let now = Instant::now();
        let is_closed = |view: &FenceView| view.fence.server.is_none() && view.is_settled(now);
        let mut shards = self.cluster.shards().iter();
        shards.all(|shard| self.place(shard.id()).load().as_deref().is_some_and(is_closed))
    }

    /// The settled view of a slot, if the view is settled.
    pub(super) fn settled(&self, slot: Slot) -> Option<SettledSlot> {
        let now = Instant::now();
        let known = self.slots.load().get(slot).filter(|known| known.now.is_settled(now))?;
        self.settled_slot(known.now, now)
    }

    /// Every place in which some process may look for values of a slot, if that is settled: the place of the owner and,
    /// for as long as a change of hands has not settled, the place of the owner before.
    pub(super) fn relied_on(&self, slot: Slot) -> Option<(SettledSlot, Option<SettledSlot>)> {
        let now = Instant::now();
        let known = self.slots.load().get(slot)?;
        let place = self.settled_slot(known.now, now)?;
        if known.now.is_settled(now) {
            return Some((place, None));
        }
        let before = known.before.filter(|before| before.is_settled(now))?;
        Some((place, Some(self.settled_slot(before, now)?)))
    }

    fn settled_slot(&self, tenure: SlotTenure, now: Instant) -> Option<SettledSlot> {
        let view = self.view(tenure.owner)?;
        view.is_settled(now).then_some(SettledSlot { owner: tenure.owner, epoch: tenure.epoch, view })
    }

    /// What this process last heard about a slot, settled or not.
    pub(super) fn latest(&self, slot: Slot) -> Option<SettledSlot> {
        let SlotTenure { owner, epoch, .. } = self.slots.load().get(slot)?.now;
        Some(SettledSlot { owner, epoch, view: self.view(owner)? })
    }

    /// Requests a look at the fence of this shard if the last look is too old to rely on, or else at every fence of
    /// which that is true.
    pub(super) fn refresh(&self, owner: &Shard) {
        let now = Instant::now();
        let is_old = |shard: &Shard| self.view(shard.id()).is_none_or(|view| !view.is_fresh(now));
        if is_old(owner) {
            return owner.request_look();
        }
        self.cluster.shards().iter().filter(|shard| is_old(shard)).for_each(|shard| shard.request_look());
    }

    /// Changes with every look at a fence.
    pub(super) fn pulse(&self) -> watch::Receiver<()> {
        self.pulse.subscribe()
    }

    fn view(&self, shard: ShardId) -> Option<Arc<FenceView>> {
        self.place(shard).load_full()
    }

    fn place(&self, shard: ShardId) -> &ArcSwapOption<FenceView> {
        self.views.get_or_make(shard, ArcSwapOption::empty)
    }
}

/// What a look found, beyond the fence itself.
struct FenceReading {
    fence: ShardFence,
    map_version: i64,
    /// Nobody may open the fence yet.
    is_held: bool,
    /// The fence must be closed anew to stay closed.
    is_fading: bool,
    /// The server takes writes, as a health probe would find.
    takes_writes: bool,
}

/// How long nobody uses the cache after a process with other formats has used the cache; then a process tries again.
const MIXED: Duration = Duration::from_secs(10);

/// What is to be done with a fence.
#[derive(PartialEq, Eq, Debug)]
enum FenceStep {
    Leave,
    Close,
    Open(Arc<str>),
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
    /// The connection, and when it was opened.
    session: Option<(PgConnection, Instant)>,
    /// The known version of the shard's map.
    map_version: Option<i64>,
    /// The log has said that the fence cannot be read.
    warned: bool,
    /// This process has no cache and has found another process using a cache.
    keeps_closed: bool,
    /// Until then nobody uses the cache: a process with other formats has used it.
    mixed_until: Option<Instant>,
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
            let reading = read_fence(&mut connection).await?;
            let map = if version == Some(reading.map_version) { None } else { load_slots(&mut connection).await? };
            Ok::<_, sqlx::Error>((connection, looked, reading, map))
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
        let (mut connection, looked, reading, map) = match found {
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
        if !reading.takes_writes && shard.takes_writes() {
            shard.request_probe();
        }
        if reading.takes_writes && shard.leads_to_primary(opened.into_std()) {
            shard.record_good_look();
        }
        if let Some(map) = map {
            let now = Instant::now();
            self.fences.slots.rcu(|slots| slots.learn(&map, now));
            self.map_version = Some(reading.map_version);
        }
        // A look says nothing without the map of the same moment.
        if self.map_version != Some(reading.map_version) {
            return false;
        }
        self.warned = false;
        let step = self.decide(&reading);
        self.publish(reading.fence.clone(), looked);
        if step == FenceStep::Leave {
            self.session = Some((connection, opened));
            return false;
        }
        let work = async {
            let changed = change_fence(&step, &mut connection, reading.fence.generation).await?;
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
            _ if reading.fence.server.is_some() => {
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

    fn decide(&mut self, reading: &FenceReading) -> FenceStep {
        let is_open = reading.fence.server.is_some();
        match &*self.link.borrow_and_update() {
            LinkState::Disabled => {
                if is_open && !self.keeps_closed {
                    log::warn!(
                        "shard {}: another process uses a cache, which this one could not keep right as it has no REDIS_URL; \
                         nobody uses the cache while this process runs. Give it the same REDIS_URL, or stop it",
                        self.shard.id()
                    );
                    self.keeps_closed = true;
                }
                if is_open || (self.keeps_closed && reading.is_fading) { FenceStep::Close } else { FenceStep::Leave }
            }
            LinkState::Connecting => FenceStep::Leave,
            LinkState::Away if is_open || reading.is_fading => FenceStep::Close,
            LinkState::Away => FenceStep::Leave,
            LinkState::Up(link) => match &reading.fence.server {
                Some(server) if *server == link.server => FenceStep::Leave,
                Some(server) if is_same_server(server, &link.server) => {
                    if self.mixed_until.is_none() {
                        log::info!(
                            "shard {}: processes of releases that cache in different ways are running; nobody uses the cache \
                             until those of one release are left",
                            self.shard.id()
                        );
                    }
                    self.mixed_until = Some(Instant::now() + MIXED);
                    FenceStep::Close
                }
                Some(_) => FenceStep::Close,
                // To open the fence after each closing by the other process would make writes wait each time.
                None if self.mixed_until.is_some_and(|until| Instant::now() < until) => {
                    if reading.is_fading {
                        FenceStep::Close
                    } else {
                        FenceStep::Leave
                    }
                }
                None if reading.is_held => FenceStep::Leave,
                None => FenceStep::Open(Arc::clone(&link.server)),
            },
        }
    }

    fn publish(&self, fence: ShardFence, looked: Instant) {
        let place = self.fences.place(self.shard.id());
        let prefix = |fence: &ShardFence| {
            let (cluster, shard) = (self.cluster.id().simple(), self.shard.id());
            format!("shardrive:{cluster}:{shard}:{}:{:x}", fence.generation, fence.started).into()
        };
        let view = FenceView::after(place.load().as_deref(), fence, looked, Instant::now(), prefix);
        place.store(Some(Arc::new(view)));
        self.fences.pulse.send_replace(());
    }
}

/// Waits for work on a shard, for as long as the shard is healthy and a look may take.
async fn within<T>(shard: &Shard, work: impl Future<Output = T>) -> Option<T> {
    timeout(LOOK_LIMIT, shard.while_healthy(work)).await.ok()?.ok()
}

/// Generation, server, version of the map, whether the fence is held and fading, the server's start, and whether it
/// takes writes.
type FenceColumns = (i64, Option<String>, i64, bool, bool, i64, bool);

async fn read_fence(connection: &mut PgConnection) -> Result<FenceReading, sqlx::Error> {
    let (generation, server, map_version, is_held, is_fading, started, takes_writes): FenceColumns =
        sqlx::query_as(include_str!("../../sql/cache/read_fence.sql")).fetch_one(connection).await?;
    let fence = ShardFence { generation, server: server.map(Into::into), started };
    Ok(FenceReading { fence, map_version, is_held, is_fading, takes_writes })
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
