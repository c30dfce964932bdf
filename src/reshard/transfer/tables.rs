//! The tables whose rows belong to users, and so move with their slots. A new table is an entry here;
//! `tests/it/reshard/moved_tables.rs` checks everything else that a moving table needs in the database.

/// A table that is keyed by user.
#[derive(Debug)]
pub struct MovedTable {
    /// Its schema and name.
    pub name: &'static str,
    /// Its name alone, as the triggers record changed keys.
    pub short: &'static str,
    /// The slot of a row and its type, by built-in functions alone, as a publication's row filter needs. An index
    /// begins with this expression.
    pub slot: (&'static str, &'static str),
    /// The columns of the primary key and their types, with the columns that `slot` needs.
    pub key: &'static [(&'static str, &'static str)],
    /// The same order within a slot: the slot, then the columns of the key besides.
    pub by_slot: &'static [(&'static str, &'static str)],
    /// The counts of its rows, if the rows are counted.
    pub counts: Option<CountTables>,
    /// The hash of a row `t`, by which the shards are compared.
    pub hash: &'static str,
}

/// The hash of a row by its values. Rows with the same values have the same texts, as the columns' types have one text
/// for each value.
const BY_VALUES: &str = "hash_record_extended(t, 0)";
/// The hash of a row by its text, for types without a hash, such as `json`: three times the work.
const BY_TEXT: &str = "hashtextextended(t::text, 0)";

/// The order in which the rows of some slots are read, part by part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reshard) enum ReadOrder {
    /// Slot by slot: no row of another slot is read, but a part sorts the rest of its slot.
    BySlot,
    /// By the primary key: all rows of the table are read, each once.
    ByKey,
}

impl ReadOrder {
    /// The order that reads fewer rows. `rows`: the rows of each slot to be read; `all`: of the whole table; `part`: of
    /// a part.
    pub(super) fn cheaper(rows: &[i64], all: i64, part: u32) -> Self {
        let by_slot = rows.iter().map(|rows| rows.saturating_mul(rows / i64::from(part * 2) + 1));
        if by_slot.fold(0, i64::saturating_add) <= all { Self::BySlot } else { Self::ByKey }
    }
}

/// The tables that count the rows of a table.
#[derive(Clone, Copy, Debug)]
pub struct CountTables {
    /// Rows and bytes for each slot.
    pub totals: &'static str,
    /// The changes that are not folded yet.
    pub deltas: &'static str,
    /// True if the counted bytes lie in the shard; false if they are sizes that clients tell of what is elsewhere.
    pub are_stored: bool,
}

/// The tables whose rows are counted, with their counts.
pub(in crate::reshard) fn counted() -> impl Iterator<Item = (&'static MovedTable, CountTables)> {
    TABLES.iter().filter_map(|table| Some((table, table.counts?)))
}

/// Every table that moves.
pub const TABLES: &[MovedTable] = &[
    MovedTable {
        name: "public.file_metadata",
        short: "file_metadata",
        // Never negative: a constraint of the table.
        slot: ("(user_id % 5040)", "bigint"),
        key: &[("user_id", "bigint"), ("file_id", "uuid")],
        by_slot: &[("(user_id % 5040)", "bigint"), ("user_id", "bigint"), ("file_id", "uuid")],
        counts: Some(CountTables {
            totals: "shardrive.slot_counts",
            deltas: "shardrive.slot_deltas",
            are_stored: false,
        }),
        hash: BY_VALUES,
    },
    MovedTable {
        name: "public.folders",
        short: "folders",
        // Never negative: a constraint of the table.
        slot: ("(user_id % 5040)", "bigint"),
        key: &[("user_id", "bigint"), ("folder_id", "uuid")],
        by_slot: &[("(user_id % 5040)", "bigint"), ("user_id", "bigint"), ("folder_id", "uuid")],
        counts: None,
        hash: BY_VALUES,
    },
    MovedTable {
        name: "public.records",
        short: "records",
        slot: ("slot", "int"),
        key: &[("collection", "text"), ("key", "text"), ("slot", "int")],
        by_slot: &[("slot", "int"), ("collection", "text"), ("key", "text")],
        counts: Some(CountTables {
            totals: "shardrive.record_counts",
            deltas: "shardrive.record_deltas",
            are_stored: true,
        }),
        hash: BY_TEXT,
    },
    MovedTable {
        name: "shardrive.idempotency_keys",
        short: "idempotency_keys",
        slot: ("slot", "int"),
        key: &[("slot", "int"), ("key", "uuid")],
        by_slot: &[("slot", "int"), ("key", "uuid")],
        counts: None,
        hash: BY_VALUES,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_slots_are_read_alone_and_a_huge_one_in_one_go() {
        for (rows, all, order) in [
            (vec![], 0, ReadOrder::BySlot),
            (vec![400; 60], 2_000_000, ReadOrder::BySlot),
            (vec![50_000; 840], 100_000_000, ReadOrder::BySlot),
            (vec![100_000_000, 5], 100_000_005, ReadOrder::ByKey),
            (vec![2_000_000], 100_000_000, ReadOrder::BySlot),
            (vec![4_000_000], 100_000_000, ReadOrder::ByKey),
            (vec![i64::MAX; 2], i64::MAX - 1, ReadOrder::ByKey),
        ] {
            assert_eq!(ReadOrder::cheaper(&rows, all, 30_000), order, "{} slots of {all}", rows.len());
        }
    }
}
