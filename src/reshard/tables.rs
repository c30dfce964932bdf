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
    /// Rows and bytes for each slot, and the changes of them that are not folded yet.
    pub(super) counts: &'static str,
    pub(super) deltas: &'static str,
}

/// All of them.
pub(super) const TABLES: &[MovedTable] = &[
    MovedTable {
        name: "public.file_metadata",
        short: "file_metadata",
        // Never negative: a constraint of the table.
        slot: "user_id % 5040",
        key: &[("user_id", "bigint"), ("file_id", "uuid")],
        counts: "shardrive.slot_counts",
        deltas: "shardrive.slot_deltas",
    },
    MovedTable {
        name: "public.records",
        short: "records",
        slot: "slot",
        key: &[("collection", "text"), ("key", "text"), ("slot", "int")],
        counts: "shardrive.record_counts",
        deltas: "shardrive.record_deltas",
    },
];
