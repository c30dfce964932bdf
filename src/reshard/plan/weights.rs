//! The weights of slots, by rows and bytes, and the choice of slots and shards by weight.

use crate::shard::Slot;

/// The rough size of a row without the bytes of its file.
const BYTES_OF_A_ROW: f64 = 256.0;

/// The load of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SlotLoad {
    /// Rows of all users.
    pub rows: i64,
    /// Bytes in the shard: of documents.
    pub bytes: i64,
    /// Bytes of files, as clients tell them. The files are elsewhere, so that these bytes weigh nothing here.
    pub file_bytes: i64,
}

impl SlotLoad {
    /// The load of two parts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows.saturating_add(other.rows),
            bytes: self.bytes.saturating_add(other.bytes),
            file_bytes: self.file_bytes.saturating_add(other.file_bytes),
        }
    }

    /// Stored bytes and sizes of files together, as a plan shows them.
    #[must_use]
    pub fn shown_bytes(&self) -> i64 {
        self.bytes.saturating_add(self.file_bytes)
    }
}

/// The load of each slot, in the order of the slots.
pub(super) struct SlotLoads(pub(super) Vec<SlotLoad>);

impl Default for SlotLoads {
    fn default() -> Self {
        Self(vec![SlotLoad::default(); Slot::all().count()])
    }
}

impl SlotLoads {
    /// Adds what a shard says of its slots, for the slots that the shard `owns`.
    pub(super) fn add(&mut self, parts: Vec<(i32, SlotLoad)>, owns: impl Fn(Slot) -> bool) {
        for (slot, part) in parts {
            let owned = Slot::from_sql(slot).filter(|slot| owns(*slot));
            if let Some(load) = owned.and_then(|slot| self.0.get_mut(slot.index())) {
                *load = load.and(part);
            }
        }
    }

    pub(super) fn of(&self, slot: Slot) -> Option<&SlotLoad> {
        self.0.get(slot.index())
    }
}

/// The weight of each slot: the parts of all rows and all bytes, and a little for the slot alone. Bytes weigh as much
/// as rows from [`BYTES_OF_A_ROW`] bytes a row on; fewer bytes weigh less, so that a lone small document is not half of
/// everything.
pub(super) fn slot_weights(loads: &[SlotLoad]) -> Vec<f64> {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a weight need not be exact")]
    let float = |number: i64| number.max(0) as f64;
    let (rows, bytes) =
        loads.iter().fold((0.0, 0.0), |(rows, bytes), load| (rows + float(load.rows), bytes + float(load.bytes)));
    let part = |number: i64, all: f64| if all > 0.0 { float(number) / all } else { 0.0 };
    let weight_of_bytes = if rows > 0.0 { (bytes / (rows * BYTES_OF_A_ROW)).min(1.0) } else { 1.0 };
    Slot::all()
        .map(|slot| {
            let load = loads.get(slot.index()).copied().unwrap_or_default();
            (part(load.rows, rows) + part(load.bytes, bytes) * weight_of_bytes) / (1.0 + weight_of_bytes) + 1e-9
        })
        .collect()
}

pub(super) fn weight_of(weights: &[f64], slot: Slot) -> f64 {
    weights.get(slot.index()).copied().unwrap_or(0.0)
}

pub(super) fn heavier_first(weights: &[f64], a: Slot, b: Slot) -> std::cmp::Ordering {
    weight_of(weights, b).total_cmp(&weight_of(weights, a)).then(a.cmp(&b))
}

/// So many of these slots, with each weight as frequent as among all of the slots: the slots at even distances in the
/// order of weights.
pub(super) fn cross_section(mut slots: Vec<Slot>, count: usize, weights: &[f64]) -> impl Iterator<Item = Slot> {
    slots.sort_by(|a, b| heavier_first(weights, *a, *b));
    (0..count).filter_map(move |taken| slots.get((2 * taken + 1) * slots.len() / (2 * count)).copied())
}

/// The lightest of some shards.
pub(super) fn lightest(totals: &[f64], among: impl Iterator<Item = u16>) -> Option<u16> {
    among.min_by(|a, b| {
        let total = |shard: u16| totals.get(usize::from(shard)).copied().unwrap_or(f64::MAX);
        total(*a).total_cmp(&total(*b))
    })
}
