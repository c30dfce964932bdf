//! One task takes a snapshot every second, and streams it to every open dashboard.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::rates::RecentRates;
use super::snapshot::{DashboardMap, DashboardState, MapVersion, event};
use crate::http::metrics::request_counts::RequestCounts;
use crate::http::state::AppState;

/// Between two snapshots.
const PERIOD: Duration = Duration::from_secs(1);
/// How many may watch at the same time.
const SEATS: usize = 64;
/// After so long a stream ends and the page connects again, as the token may have expired.
const LONGEST: Duration = Duration::from_mins(5);

/// The last snapshot as bytes.
#[derive(Clone, Default)]
struct LastSnapshot {
    state: Bytes,
    map: Bytes,
    /// Grows with every map.
    map_number: u64,
}

/// The stream of snapshots for all watchers.
pub(in crate::http) struct DashboardFeed {
    seen: watch::Sender<LastSnapshot>,
    rates: Mutex<RecentRates>,
    seats: Arc<Semaphore>,
    asked: Notify,
}

impl DashboardFeed {
    pub(in crate::http) fn new() -> Self {
        Self {
            seen: watch::Sender::default(),
            rates: Mutex::new(RecentRates::new()),
            seats: Arc::new(Semaphore::new(SEATS)),
            asked: Notify::new(),
        }
    }

    /// Looks every second until the cluster shuts down. While nobody watches, only the rates are noted.
    pub(in crate::http) async fn run(self: Arc<Self>, state: Arc<AppState>, counts: Arc<RequestCounts>) {
        let stop = state.cluster.stop_token().clone();
        let turns = async {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut mark = None;
            loop {
                tokio::select! {
                    _ = ticks.tick() => self.rates().sample(&counts),
                    // Somebody came, and should not look at an empty page for a second.
                    () = self.asked.notified() => {}
                }
                if self.seen.receiver_count() > 0 {
                    self.broadcast(&state, &mut mark).await;
                }
            }
        };
        // Dropping this future anywhere is safe: the task only reads.
        stop.run_until_cancelled(turns).await;
    }

    async fn broadcast(&self, state: &AppState, mark: &mut Option<MapVersion>) {
        let sample = state.sampler.latest().await;
        let rates = self.rates().latest();
        let now = event("state", &DashboardState::at(state, &sample, rates));
        let fresh = Some(DashboardMap::version(state, &sample));
        let map = (fresh != *mark).then(|| event("map", &DashboardMap::at(state, &sample)));
        *mark = fresh;
        self.seen.send_modify(|seen| {
            seen.state = now;
            if let Some(map) = map {
                seen.map = map;
                seen.map_number += 1;
            }
        });
    }

    fn rates(&self) -> std::sync::MutexGuard<'_, RecentRates> {
        // A panic leaves whole points behind.
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to watch from, until `end`; `None` if all are taken.
    pub(super) fn subscribe(feed: Arc<Self>, end: CancellationToken) -> Option<WatcherSeat> {
        let permit = Arc::clone(&feed.seats).try_acquire_owned().ok()?;
        let seen = feed.seen.subscribe();
        feed.asked.notify_one();
        Some(WatcherSeat { feed, seen, end, until: Instant::now() + LONGEST, map_number: None, _permit: permit })
    }
}

pub(super) struct WatcherSeat {
    feed: Arc<DashboardFeed>,
    seen: watch::Receiver<LastSnapshot>,
    end: CancellationToken,
    until: Instant,
    /// The last sent map; `None` before the first event.
    map_number: Option<u64>,
    _permit: OwnedSemaphorePermit,
}

impl WatcherSeat {
    /// The events: the last minutes first, then the state every second, after the map if the map is new.
    /// A slow reader misses events and gets the newest.
    pub(super) fn into_events(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        unfold(self, |mut seat| async move { seat.next().await.map(|events| (Ok(events), seat)) })
    }

    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            () = self.end.cancelled() => return None,
            () = tokio::time::sleep_until(self.until) => return None,
            changed = self.seen.changed() => changed.ok()?,
        }
        let seen = self.seen.borrow_and_update().clone();
        let mut events = Vec::with_capacity(seen.state.len());
        if self.map_number.is_none() {
            events.extend_from_slice(&event("history", &self.feed.rates().all()));
        }
        if self.map_number != Some(seen.map_number) {
            events.extend_from_slice(&seen.map);
            self.map_number = Some(seen.map_number);
        }
        events.extend_from_slice(&seen.state);
        Some(Bytes::from(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_so_many_seats_and_they_are_given_back() {
        let (feed, end) = (Arc::new(DashboardFeed::new()), CancellationToken::new());
        let mut taken: Vec<_> =
            (0..SEATS).map_while(|_| DashboardFeed::subscribe(Arc::clone(&feed), end.clone())).collect();
        assert_eq!(taken.len(), SEATS);
        assert!(DashboardFeed::subscribe(Arc::clone(&feed), end.clone()).is_none());
        let mut seat = taken.pop().unwrap();
        feed.seen.send_modify(|seen| (seen.state, seen.map) = (Bytes::from("state;"), Bytes::from("map;")));
        assert_eq!(seat.next().await.unwrap(), "event: history\ndata: []\n\nmap;state;");
        feed.seen.send_modify(|seen| seen.state = Bytes::from("later;"));
        assert_eq!(seat.next().await.unwrap(), "later;", "the map is the same");
        end.cancel();
        assert!(seat.next().await.is_none());
        drop(seat);
        assert!(DashboardFeed::subscribe(feed, end).is_some());
    }
}
