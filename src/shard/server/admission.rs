//! The limits of a shard's pool for each kind of work and for each caller.
//!
//! Long work (listings, scans, bulk batches) gets half of the pool and a bounded queue. Changes of rows that another
//! transaction holds get a quarter. So point reads and writes find a connection however slow the long work is, and
//! however long the held rows stay held. One caller gets at most three quarters of each kind. So one
//! caller's calls alone never block another caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::shard::Shard;
use crate::shard::error::ShardError;
use crate::telemetry::current_caller;

/// Queued calls for each place. A gateway in front of the service is one caller for many people, so a caller may send
/// many short listings. A time limit bounds each wait.
const QUEUED_CALLS_PER_PLACE: usize = 64;
/// How long a call uses its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WorkKind {
    /// Briefly: the call touches a few rows by key.
    Point,
    /// As `Point`, by one statement that waits for no lock of a row. The call may use the connection of its thread.
    PointRead,
    /// For as long as another transaction holds the row: an earlier try has found the row held.
    HeldRow,
    /// For as long as the read of many rows takes.
    Listing,
    /// For as long as the storage of many rows takes.
    Load,
}

impl WorkKind {
    pub(in crate::shard) fn is_long(self) -> bool {
        matches!(self, Self::Listing | Self::Load)
    }
}

/// The places of a pool.
pub(in crate::shard) struct PoolAdmission {
    /// For long work: half of the pool.
    long: Arc<Semaphore>,
    long_places: usize,
    /// Listings that may wait for these places.
    long_queue: Semaphore,
    /// For changes of held rows: a quarter of the pool.
    held_rows: Arc<Semaphore>,
    /// For all work: the pool.
    all_places: usize,
    callers: Mutex<HashMap<(u128, bool), CallerPlaces>>,
}

/// The places of a caller for a kind of work.
struct CallerPlaces {
    /// Calls with a place, and waiting calls.
    calls: usize,
    places: Arc<Semaphore>,
}

/// The right to use a connection; a drop returns the right.
pub(in crate::shard) struct AdmittedCall<'a> {
    _of_kind: Option<OwnedSemaphorePermit>,
    _of_caller: Option<OwnedSemaphorePermit>,
    /// Last: the caller's places are forgotten after the place is given back.
    _counted: Option<CountedCall<'a>>,
}

/// A call, counted towards the caller's limit.
struct CountedCall<'a> {
    admission: &'a PoolAdmission,
    key: (u128, bool),
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        let mut callers = self.admission.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = callers.get_mut(&self.key) {
            caller.calls -= 1;
            if caller.calls == 0 {
                callers.remove(&self.key);
            }
        }
    }
}

/// Three quarters, and at least one place.
fn caller_share(places: usize) -> usize {
    (places - places / 4).max(1)
}

impl PoolAdmission {
    /// For a pool of so many connections.
    pub(in crate::shard) fn new(pool_max: usize) -> Self {
        let long_places = (pool_max / 2).max(1);
        Self {
            long: Arc::new(Semaphore::new(long_places)),
            long_places,
            long_queue: Semaphore::new(long_places * QUEUED_CALLS_PER_PLACE),
            held_rows: Arc::new(Semaphore::new((pool_max / 4).max(1))),
            all_places: pool_max,
            callers: Mutex::default(),
        }
    }

    /// Counts a call of a caller. `None` if too many of the caller's calls wait already.
    fn count_call(&self, caller: u128, work: WorkKind) -> Option<(CountedCall<'_>, Arc<Semaphore>)> {
        let key = (caller, work.is_long());
        let share = caller_share(if work.is_long() { self.long_places } else { self.all_places });
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || CallerPlaces { calls: 0, places: Arc::new(Semaphore::new(share)) };
        let found = callers.entry(key).or_insert_with(new);
        // Other limits bound the waits of loads and of point calls: the number of loads, and the number of requests.
        if work == WorkKind::Listing && found.calls >= share * (QUEUED_CALLS_PER_PLACE + 1) {
            return None;
        }
        found.calls += 1;
        Some((CountedCall { admission: self, key }, Arc::clone(&found.places)))
    }
}

impl Shard {
    /// Waits for the right to use a connection of the pool.
    ///
    /// # Errors
    /// `CallerBusy` if the caller has too many such calls; `Overloaded` if all callers together have; `Unavailable` if
    /// the shard goes away meanwhile.
    pub(in crate::shard) async fn admit_call(&self, work: WorkKind) -> Result<AdmittedCall<'_>, ShardError> {
        let (shard, admission) = (self.id(), &self.admission);
        // A listing may wait for half of its time and needs the other half for the work. A bulk batch may wait
        // longer, as its load reads no further meanwhile.
        let limit = if work == WorkKind::Listing { self.call_timeout() / 2 } else { self.call_timeout() };
        let (mut counted, mut of_caller) = (None, None);
        if let Some(caller) = current_caller() {
            let (call, places) = admission.count_call(caller, work).ok_or(ShardError::CallerBusy { shard })?;
            counted = Some(call);
            of_caller = Some(self.acquire_permit(&places, limit, ShardError::CallerBusy { shard }).await?);
        }
        let _queued = match work {
            WorkKind::Listing => {
                Some(admission.long_queue.try_acquire().map_err(|_| ShardError::Overloaded { shard })?)
            }
            _ => None,
        };
        let places = match work {
            WorkKind::Point | WorkKind::PointRead => None,
            WorkKind::HeldRow => Some(&admission.held_rows),
            WorkKind::Load | WorkKind::Listing => Some(&admission.long),
        };
        let of_kind = match places {
            None => None,
            Some(places) => Some(self.acquire_permit(places, limit, ShardError::Overloaded { shard }).await?),
        };
        Ok(AdmittedCall { _of_kind: of_kind, _of_caller: of_caller, _counted: counted })
    }

    async fn acquire_permit(
        &self,
        places: &Arc<Semaphore>,
        limit: Duration,
        too_many: ShardError,
    ) -> Result<OwnedSemaphorePermit, ShardError> {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Ok(place);
        }
        match self.while_healthy_for(Some(limit), Arc::clone(places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(ShardError::Unavailable { shard: self.id() }), // never: the places are not closed
            Err(ShardError::Timeout { .. }) => Err(too_many),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_three_quarters_and_at_least_one() {
        let shares: Vec<_> = [1, 2, 3, 4, 8, 10].map(caller_share).into();
        assert_eq!(shares, [1, 2, 3, 3, 6, 8]);
    }

    #[test]
    fn a_caller_has_so_many_listings_and_each_kind_of_work_counts_by_itself() {
        let admission = PoolAdmission::new(8);
        let most = 3 * (QUEUED_CALLS_PER_PLACE + 1);
        let listings: Vec<_> = (0..most).map(|_| admission.count_call(1, WorkKind::Listing).unwrap()).collect();
        assert!(admission.count_call(1, WorkKind::Listing).is_none());
        assert!(admission.count_call(1, WorkKind::Point).is_some());
        assert!(admission.count_call(2, WorkKind::Listing).is_some());
        drop(listings);
        assert!(admission.count_call(1, WorkKind::Listing).is_some());
        assert!(admission.callers.lock().unwrap().is_empty(), "nothing is kept of callers who have no call");
    }
}
