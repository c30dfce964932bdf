//! The resources that a shard's server lacks: recorded by each refused call, shown by `/health`, `/metrics` and the
//! log.
//!
//! No event tells when a disk has space again. So a shortage counts as over once no call has met the shortage for a
//! while. A shortage of connections ends as soon as the server gives a new connection.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fault::{DbFault, ServerResource};
use super::options::clock_micros;
use super::shard::Shard;
use crate::telemetry::metrics::Counter;

/// A shortage ends after this time without a refusal.
const SHORTAGE_TTL: Duration = Duration::from_secs(30);

/// The refusals by one shard's server since this process began.
pub(in crate::shard) struct ServerShortages {
    resources: [Shortage; ServerResource::ALL.len()],
}

#[derive(Default)]
struct Shortage {
    refusals: Counter,
    /// When the server last refused, in microseconds of the process's clock; 0 without a shortage.
    last_refusal: AtomicU64,
}

impl ServerShortages {
    pub(in crate::shard) fn new() -> Self {
        Self { resources: array::from_fn(|_| Shortage::default()) }
    }

    fn shortage_of(&self, resource: ServerResource) -> Option<&Shortage> {
        ServerResource::ALL
            .iter()
            .zip(&self.resources)
            .find(|(known, _)| **known == resource)
            .map(|(_, shortage)| shortage)
    }

    /// Records a refusal; true if this refusal begins a shortage.
    fn record_refusal(&self, resource: ServerResource, now: Instant) -> bool {
        self.shortage_of(resource).is_some_and(|shortage| {
            shortage.refusals.add(1);
            shortage.last_refusal.swap(clock_micros(now), Ordering::Relaxed) == 0
        })
    }

    /// Ends a shortage; false if there was none.
    fn end_shortage(&self, resource: ServerResource) -> bool {
        self.shortage_of(resource).is_some_and(|shortage| shortage.last_refusal.swap(0, Ordering::Relaxed) != 0)
    }

    /// How long ago the server refused last; `None` while there is no shortage.
    fn refusal_age(&self, resource: ServerResource, now: Instant) -> Option<Duration> {
        let last = self.shortage_of(resource)?.last_refusal.load(Ordering::Relaxed);
        (last != 0).then(|| Duration::from_micros(clock_micros(now).saturating_sub(last)))
    }

    /// Ends the shortages without a recent refusal, and returns the ended ones.
    fn end_expired(&self, now: Instant) -> Vec<ServerResource> {
        let is_old = |resource: &ServerResource| self.refusal_age(*resource, now).is_some_and(|age| age > SHORTAGE_TTL);
        ServerResource::ALL.into_iter().filter(is_old).filter(|resource| self.end_shortage(*resource)).collect()
    }
}

impl Shard {
    /// The resources that the server lacks now.
    #[must_use]
    pub fn shortages(&self) -> Vec<ServerResource> {
        ServerResource::ALL.into_iter().filter(|resource| self.has_shortage(*resource)).collect()
    }

    /// How often the server has refused a call for lack of this resource.
    #[must_use]
    pub fn refusal_count(&self, resource: ServerResource) -> u64 {
        self.shortages.shortage_of(resource).map_or(0, |shortage| shortage.refusals.get())
    }

    pub(super) fn has_shortage(&self, resource: ServerResource) -> bool {
        self.shortages.refusal_age(resource, Instant::now()).is_some()
    }

    /// True if the server refused a call for lack of this resource within the given time.
    pub(super) fn lacked_within(&self, resource: ServerResource, time: Duration) -> bool {
        self.shortages.refusal_age(resource, Instant::now()).is_some_and(|age| age < time)
    }

    /// Classifies the error of a failed call, and records a shortage if the error reports one.
    pub(crate) fn record_fault(&self, error: &sqlx::Error) -> DbFault {
        let fault = DbFault::of(error);
        if let DbFault::Exhausted(resource) = fault
            && self.shortages.record_refusal(resource, Instant::now())
        {
            log::warn!("shard {} at {}: its server {resource}", self.id(), self.options().address());
        }
        fault
    }

    /// Ends a shortage of connections: the server has given a new one.
    pub(super) fn record_new_connection(&self) {
        if self.shortages.end_shortage(ServerResource::Connections) {
            log::info!("shard {} at {}: its server has connections again", self.id(), self.options().address());
        }
    }

    /// Ends the shortages that no call has met for a while.
    pub(super) fn end_expired_shortages(&self) {
        for resource in self.shortages.end_expired(Instant::now()) {
            let (id, address, seconds) = (self.id(), self.options().address(), SHORTAGE_TTL.as_secs());
            log::info!(
                "shard {id} at {address}: no call was refused for lack of {} for {seconds} s",
                resource.as_str()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_ends_when_nobody_met_it_for_a_while() {
        let shortages = ServerShortages::new();
        let begun = Instant::now();
        assert!(shortages.record_refusal(ServerResource::Disk, begun));
        assert!(!shortages.record_refusal(ServerResource::Disk, begun), "it is no news");
        assert!(shortages.end_expired(begun + SHORTAGE_TTL / 2).is_empty());
        assert_eq!(shortages.refusal_age(ServerResource::Memory, begun), None);
        assert_eq!(shortages.end_expired(begun + SHORTAGE_TTL * 2), [ServerResource::Disk]);
        assert_eq!(shortages.refusal_age(ServerResource::Disk, begun), None);
        assert!(shortages.record_refusal(ServerResource::Disk, begun), "another one");
        assert_eq!(shortages.shortage_of(ServerResource::Disk).map(|shortage| shortage.refusals.get()), Some(3));
        assert!(shortages.end_shortage(ServerResource::Disk) && !shortages.end_shortage(ServerResource::Disk));
    }
}
