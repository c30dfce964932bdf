//! The tables whose rows belong to users, and so move with their slots. A new kind of row is one more entry here.

/// A table that is keyed by user.
#[derive(Debug)]
pub(super) struct MovedTable {
    /// Its schema and name.
    pub(super) name: &'static str,
    /// Its name alone, as the triggers that note changed keys give it.
    pub(super) short: &'static str,
    /// The slot of a row, by built-in functions alone: it stands in the row filter of a publication.
    pub(super) slot: &'static str,
    /// The columns of the primary key and their types. The columns that `slot` needs are among them.
    pub(super) key: &'static [(&'static str, &'static str)],
    /// Where its rows are counted, if they are.
    pub(super) counts: Option<Counts>,
}

/// The tables that count another one's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// Rows and bytes for each slot.
    pub(super) totals: &'static str,
    /// The changes of them that are not folded yet.
    pub(super) deltas: &'static str,
}

/// The tables whose rows are counted, with their counts.
pub(super) fn counted() -> impl Iterator<Item = (&'static MovedTable, Counts)> {
    TABLES.iter().filter_map(|table| Some((table, table.counts?)))
}

/// All of them.
pub(super) const TABLES: &[MovedTable] = &[
    MovedTable {
        name: "public.file_metadata",
        short: "file_metadata",
        // Never negative: a constraint of the table.
        slot: "user_id % 5040",
        key: &[("user_id", "bigint"), ("file_id", "uuid")],
        counts: Some(Counts { totals: "shardrive.slot_counts", deltas: "shardrive.slot_deltas" }),
    },
    MovedTable {
        name: "public.records",
        short: "records",
        slot: "slot",
        key: &[("collection", "text"), ("key", "text"), ("slot", "int")],
        counts: Some(Counts { totals: "shardrive.record_counts", deltas: "shardrive.record_deltas" }),
    },
    MovedTable {
        name: "shardrive.idempotency_keys",
        short: "idempotency_keys",
        slot: "slot",
        key: &[("slot", "int"), ("key", "uuid")],
        counts: None,
    },
];
