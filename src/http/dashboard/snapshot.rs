//! The dashboard's events, as JSON: the state of the cluster, and the slot map after a change.

use actix_web::web::Bytes;
use serde::Serialize;

use super::rates::RatePoint;
use crate::http::metrics::sampler::ShardSample;
use crate::http::state::AppState;
use crate::reshard::{MoveView, SlotMove, show_slots};
use crate::shard::{Shard, Slot};

/// The shown length of a move's list of slots; the map shows all slots.
const SLOTS_SHOWN: usize = 60;

#[derive(Serialize)]
pub(super) struct DashboardState {
    version: &'static str,
    epoch: i64,
    /// The age of the counts in seconds; `null` before the first reading.
    counts_age: Option<u64>,
    shards: Vec<DashboardShard>,
    cache: DashboardCache,
    /// The latest moves and all open moves, newest first; `null` if shard 0 does not answer.
    moves: Option<Vec<MoveView>>,
    rates: Option<RatePoint>,
}

#[derive(Serialize)]
struct DashboardShard {
    id: u16,
    /// The server's address, without the password.
    place: String,
    state: &'static str,
    circuit: &'static str,
    takes_writes: bool,
    slots: usize,
    /// `null` if the shard did not answer.
    files: Option<u64>,
    file_bytes: Option<u64>,
    documents: Option<u64>,
    document_bytes: Option<u64>,
    pool: DashboardPool,
}

#[derive(Serialize)]
struct DashboardPool {
    limit: usize,
    in_use: usize,
    idle: usize,
    waiting: usize,
}

#[derive(Serialize)]
struct DashboardCache {
    state: &'static str,
    hits: u64,
    misses: u64,
    keys: Option<u64>,
}

impl DashboardState {
    /// The state as known to this process, without waiting.
    pub(super) fn at(state: &AppState, sample: &ShardSample, rates: Option<RatePoint>) -> Self {
        let map = state.cluster.map();
        let shards = state.cluster.shards().iter();
        let cache = state.cache.counts();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            epoch: map.epoch(),
            counts_age: sample.at.map(|at| at.elapsed().as_secs()),
            shards: shards.map(|shard| DashboardShard::at(shard, map.count_owned_by(shard.id()), sample)).collect(),
            cache: DashboardCache {
                state: state.cache.state().as_str(),
                hits: cache.hits,
                misses: cache.misses,
                keys: cache.keys,
            },
            moves: sample.moves.as_deref().map(|open| moves(open, &sample.recent)),
            rates,
        }
    }
}

impl DashboardShard {
    fn at(shard: &Shard, slots: usize, sample: &ShardSample) -> Self {
        let counted = sample.shards.iter().find(|counted| counted.shard == shard.id());
        let pool = shard.pool_status();
        Self {
            id: shard.id().number(),
            place: shard.options().address(),
            state: shard.state().as_str(),
            circuit: shard.circuit().as_str(),
            takes_writes: shard.takes_writes(),
            slots,
            files: counted.and_then(|counted| counted.rows),
            file_bytes: counted.and_then(|counted| counted.bytes),
            documents: counted.and_then(|counted| counted.documents),
            document_bytes: counted.and_then(|counted| counted.document_bytes),
            pool: DashboardPool { limit: pool.limit, in_use: pool.in_use, idle: pool.idle, waiting: pool.waiting },
        }
    }
}

fn moves(open: &[SlotMove], recent: &[SlotMove]) -> Vec<MoveView> {
    let older = open.iter().rev().filter(|open| recent.iter().all(|recent| recent.id != open.id));
    let shown = recent.iter().chain(older).map(|shown| {
        let mut view = MoveView::new(shown.clone(), Vec::new());
        if view.slots.len() > SLOTS_SHOWN {
            let cut = view.slots.char_indices().rfind(|(at, letter)| *at < SLOTS_SHOWN && *letter == ',');
            view.slots.truncate(cut.map_or(SLOTS_SHOWN, |(at, _)| at));
            view.slots.push_str(", …");
        }
        view
    });
    shown.collect()
}

/// Which shard owns each slot, and which slots are part of an open move.
#[derive(Serialize)]
pub(super) struct DashboardMap {
    epoch: i64,
    /// The owner of each slot, in the order of the slots.
    owners: Vec<u16>,
    moving: Vec<DashboardMove>,
}

#[derive(Serialize)]
struct DashboardMove {
    id: i64,
    slots: String,
}

/// The inputs of a map: equal inputs make an equal map.
pub(super) type MapVersion = (i64, Vec<i64>);

impl DashboardMap {
    pub(super) fn version(state: &AppState, sample: &ShardSample) -> MapVersion {
        let open = sample.moves.iter().flatten();
        (state.cluster.map().epoch(), open.map(|open| open.id).collect())
    }

    pub(super) fn at(state: &AppState, sample: &ShardSample) -> Self {
        let map = state.cluster.map();
        Self {
            epoch: map.epoch(),
            owners: Slot::all().map(|slot| map.owner(slot).number()).collect(),
            moving: (sample.moves.iter().flatten())
                .map(|open| DashboardMove { id: open.id, slots: show_slots(&open.slots) })
                .collect(),
        }
    }
}

/// A server-sent event: the kind, and JSON without line breaks.
pub(super) fn event(kind: &str, data: &impl Serialize) -> Bytes {
    // Numbers, texts and lists always become JSON.
    let json = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {kind}\ndata: {json}\n\n"))
}
