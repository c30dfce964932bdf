//! Statements that cannot stand in a file: statements with the names of a move's objects, and statements on the tables
//! that move. Names are our own, and values are bound wherever the kind of statement takes parameters; every other text
//! is quoted here and nowhere else.

use std::fmt::Write as _;

use super::direction::Direction;
use super::tables::{CountTables, MovedTable, ReadOrder, TABLES};
use crate::reshard::slot_set::mask;
use crate::shard::Slot;

/// A name as PostgreSQL takes it.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as PostgreSQL takes it, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A move of at most so many slots finds its rows by the index; the rows of more slots lie on nearly all pages.
const FEW_SLOTS: usize = 504;

/// Which rows of a table are read, and in which order.
#[derive(Clone, Copy, Debug)]
pub(in crate::reshard) struct RowReading<'a> {
    pub(in crate::reshard) table: &'static MovedTable,
    pub(in crate::reshard) order: ReadOrder,
    pub(in crate::reshard) slots: &'a [Slot],
}

impl RowReading<'_> {
    fn columns(&self) -> &'static [(&'static str, &'static str)] {
        match self.order {
            ReadOrder::BySlot => self.table.by_slot,
            ReadOrder::ByKey => self.table.key,
        }
    }

    /// The index of slots can answer only one of the two filters, so that the planner takes the intended index.
    fn filter(&self) -> String {
        match self.order {
            ReadOrder::BySlot => is_one_of(self.table, self.slots),
            ReadOrder::ByKey => is_in_mask(self.table, self.slots),
        }
    }

    /// The columns that make the order, behind a prefix and before a suffix each.
    fn list(&self, show: impl Fn(usize, &str, &str) -> String) -> String {
        let columns = (1..).zip(self.columns()).map(|(number, (name, kind))| show(number, name, kind));
        columns.collect::<Vec<_>>().join(", ")
    }

    fn names(&self) -> String {
        self.list(|_, name, _| name.to_owned())
    }

    /// The place in the order, from the parameter `parameter`, an array of texts.
    fn parameter(&self, parameter: usize) -> String {
        self.list(|part, _, kind| format!("(${parameter}::text[])[{part}]::{kind}"))
    }
}

/// True for the rows of these slots, one bit a slot. The planner takes the filter as true for all rows.
fn is_in_mask(table: &MovedTable, slots: &[Slot]) -> String {
    let mask = mask(slots);
    let mut hex = String::with_capacity(mask.len() * 2);
    for byte in mask {
        let _ = write!(hex, "{byte:02x}"); // writing to a String does not fail
    }
    format!("get_bit(decode('{hex}', 'hex'), {}) <> 0", table.slot.0)
}

/// The same as a list of slots, for the index.
fn is_one_of(table: &MovedTable, slots: &[Slot]) -> String {
    let list: Vec<_> = slots.iter().map(ToString::to_string).collect();
    let (slot, kind) = table.slot;
    format!("{slot} = ANY ('{{{}}}'::{kind}[])", list.join(","))
}

/// The same for a publication, which evaluates the filter for each written row. The mask comes first, as its cost does
/// not depend on the number of slots; the list is for the copy.
fn is_published(table: &MovedTable, slots: &[Slot]) -> String {
    let in_mask = is_in_mask(table, slots);
    if slots.len() > FEW_SLOTS { in_mask } else { format!("{in_mask} AND {}", is_one_of(table, slots)) }
}

fn key_list(table: &MovedTable) -> String {
    table.key.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn key_texts(table: &MovedTable, prefix: &str) -> String {
    let texts: Vec<_> = table.key.iter().map(|(name, _)| format!("{prefix}{name}::text")).collect();
    format!("ARRAY[{}]", texts.join(", "))
}

/// Every table that moves, with the rows of these slots, and the heartbeats of this move and direction.
pub(in crate::reshard) fn create_publication(name: &str, move_id: i64, direction: Direction, slots: &[Slot]) -> String {
    let tables: Vec<_> =
        TABLES.iter().map(|table| format!("{} WHERE ({})", table.name, is_published(table, slots))).collect();
    format!(
        "CREATE PUBLICATION {} FOR TABLE {}, shardrive.heartbeats WHERE (move_id = {move_id} AND direction = '{}') \
         WITH (publish = 'insert, update, delete')",
        ident(name),
        tables.join(", "),
        direction.as_str(),
    )
}

/// The name of the publication that a stream's subscription begins with.
fn name_of_empty_tables(name: &str) -> String {
    format!("{name}_empty")
}

/// A publication of these tables, and of the heartbeats. It only names them: nothing is sent by it.
pub(super) fn publish_empty_tables(name: &str, tables: &[&MovedTable]) -> String {
    let tables: String = tables.iter().map(|table| format!(", {}", table.name)).collect();
    format!(
        "{}; CREATE PUBLICATION {} FOR TABLE shardrive.heartbeats{tables}",
        drop_publication_of_empty_tables(name),
        ident(&name_of_empty_tables(name)),
    )
}

pub(super) fn drop_publication_of_empty_tables(name: &str) -> String {
    format!("DROP PUBLICATION IF EXISTS {}", ident(&name_of_empty_tables(name)))
}

pub(super) fn drop_publications(name: &str) -> String {
    format!("DROP PUBLICATION IF EXISTS {}, {}", ident(name), ident(&name_of_empty_tables(name)))
}

/// The subscription of a stream, whose slot is there already. It waits until it is enabled, and copies no table of the
/// publication.
pub(super) fn create_subscription(name: &str, url: &str, publication: &str) -> String {
    format!(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} \
         WITH (create_slot = false, slot_name = {}, copy_data = false, enabled = false, synchronous_commit = 'off')",
        ident(name),
        literal(url),
        ident(publication),
        literal(name),
    )
}

/// The same for a stream that follows the empty tables at once, and every table of its own publication from
/// [`copy_other_tables`] on. All or nothing: these statements are one transaction.
pub(super) fn subscribe_to_empty_tables(name: &str, url: &str) -> String {
    format!(
        "{0}; ALTER SUBSCRIPTION {1} SET PUBLICATION {1} WITH (refresh = false); {2}",
        create_subscription(name, url, &name_of_empty_tables(name)),
        ident(name),
        enable_subscription(name),
    )
}

/// Begins to copy the tables that a subscription does not know yet. It must be enabled.
pub(super) fn copy_other_tables(name: &str) -> String {
    format!("ALTER SUBSCRIPTION {} REFRESH PUBLICATION WITH (copy_data = true)", ident(name))
}

/// A subscription of nothing, to be rolled back: can this server connect to that one, and may it subscribe?
pub(in crate::reshard) fn try_subscription(name: &str, url: &str) -> String {
    format!(
        "CREATE SUBSCRIPTION {0} CONNECTION {1} PUBLICATION {0} \
         WITH (create_slot = false, slot_name = NONE, copy_data = false, enabled = false)",
        ident(name),
        literal(url),
    )
}

pub(super) fn enable_subscription(name: &str) -> String {
    format!("ALTER SUBSCRIPTION {} ENABLE", ident(name))
}

/// The three steps that remove a subscription and leave its slot, which is on a server that may be away.
pub(super) fn drop_subscription(name: &str) -> [String; 3] {
    let name = ident(name);
    [
        format!("ALTER SUBSCRIPTION {name} DISABLE"),
        format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
        format!("DROP SUBSCRIPTION {name}"),
    ]
}

/// Whether there are rows of these slots.
pub(in crate::reshard) fn has_rows(table: &MovedTable, slots: &[Slot]) -> String {
    format!("SELECT EXISTS (SELECT FROM {} WHERE {})", table.name, is_one_of(table, slots))
}

/// Count, hash and last place of the next `limit` rows behind the place `$1`, or of the first rows if `$1` is null.
pub(super) fn sum_next_rows(reading: RowReading<'_>, limit: u32) -> String {
    format!(
        "WITH part AS MATERIALIZED (
             SELECT {named}, {hash}::numeric AS hash
               FROM {table} AS t
              WHERE {filter} AND ($1::text[] IS NULL OR ({names}) > ({lower}))
              ORDER BY {names} LIMIT {limit}
         )
         SELECT count(*), coalesce(sum(hash), 0)::text,
                (SELECT ARRAY[{texts}] FROM (SELECT * FROM part ORDER BY {descending} LIMIT 1) AS last)
           FROM part",
        named = reading.list(|number, name, _| format!("{name} AS k{number}")),
        hash = reading.table.hash,
        table = reading.table.name,
        filter = reading.filter(),
        names = reading.names(),
        lower = reading.parameter(1),
        texts = reading.list(|number, _, _| format!("k{number}::text")),
        descending = reading.list(|number, _, _| format!("k{number} DESC")),
    )
}

/// The condition on places behind `$1` and up to `$2`. A null is an open end.
fn range(reading: RowReading<'_>) -> String {
    format!(
        "{filter} AND ($1::text[] IS NULL OR ({names}) > ({lower})) AND ($2::text[] IS NULL OR ({names}) <= ({upper}))",
        filter = reading.filter(),
        names = reading.names(),
        lower = reading.parameter(1),
        upper = reading.parameter(2),
    )
}

/// Count and hash of the rows of a range.
pub(super) fn sum_range(reading: RowReading<'_>) -> String {
    format!(
        "SELECT count(*), coalesce(sum({}::numeric), 0)::text FROM {} AS t WHERE {}",
        reading.table.hash,
        reading.table.name,
        range(reading),
    )
}

/// Key and hash of each row of a range.
pub(super) fn list_range(reading: RowReading<'_>) -> String {
    format!(
        "SELECT {}, {} FROM {} AS t WHERE {}",
        key_texts(reading.table, "t."),
        reading.table.hash,
        reading.table.name,
        range(reading),
    )
}

/// Key and hash of the rows with these keys: one array of texts a column. Each key is looked up in the index.
pub(super) fn list_keys(table: &MovedTable) -> String {
    let arrays: Vec<_> = (1..=table.key.len()).map(|number| format!("${number}::text[]")).collect();
    let names: Vec<_> = (1..=table.key.len()).map(|number| format!("k{number}")).collect();
    let equal: Vec<_> =
        names.iter().zip(table.key).map(|(k, (name, kind))| format!("{name} = k.{k}::{kind}")).collect();
    format!(
        "SELECT {}, found.hash
           FROM unnest({}) AS k ({names}),
                LATERAL (SELECT {keys}, {} AS hash FROM {} AS t WHERE {} LIMIT 1) AS found",
        key_texts(table, "found."),
        arrays.join(", "),
        table.hash,
        table.name,
        equal.join(" AND "),
        names = names.join(", "),
        keys = key_list(table),
    )
}

/// Rows and bytes of the slots `$1`, by slot. Bytes in digits: sizes that clients name may add up to more than 64 bits
/// hold.
pub(in crate::reshard) fn totals(counts: CountTables) -> String {
    format!(
        "SELECT c.slot, (c.rows + coalesce(d.rows, 0))::bigint, (c.bytes + coalesce(d.bytes, 0))::text
           FROM {} AS c
           LEFT JOIN (
                 SELECT delta.slot, sum(delta.rows) AS rows, sum(delta.bytes) AS bytes
                   FROM {} AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
                  GROUP BY delta.slot
                ) AS d USING (slot)
          WHERE c.slot = ANY ($1)",
        counts.totals, counts.deltas,
    )
}

/// The rows of each of the slots `$1`, and of the whole table, as they are counted.
pub(super) fn row_counts(counts: CountTables) -> String {
    format!(
        "SELECT coalesce(array_agg(rows) FILTER (WHERE slot = ANY ($1)), '{{}}'), coalesce(sum(rows), 0)::bigint
           FROM (
                 SELECT slot, sum(rows)::bigint AS rows
                   FROM (
                         SELECT slot, rows FROM {}
                         UNION ALL
                         SELECT delta.* FROM {} AS d, unnest(d.slots, d.rows) AS delta (slot, rows)
                        ) AS parts
                  GROUP BY slot
                ) AS counted",
        counts.totals, counts.deltas,
    )
}

/// The disk space of the slots' rows, with their indexes, at the average size of a row.
pub(in crate::reshard) fn share_of_disk(table: &MovedTable) -> String {
    let Some(counts) = table.counts else {
        // Not counted: as much for each slot.
        let (name, slots) = (table.name, crate::shard::SLOT_COUNT);
        return format!("SELECT (pg_total_relation_size('{name}') * cardinality($1::int[]) / {slots})::bigint");
    };
    format!(
        "SELECT coalesce(pg_total_relation_size('{}') * sum(rows) FILTER (WHERE slot = ANY ($1)) / nullif(sum(rows), 0), 0)::bigint
           FROM (SELECT slot, rows FROM {}
                 UNION ALL
                 SELECT delta.slot, delta.rows FROM {} AS d, unnest(d.slots, d.rows) AS delta (slot, rows)) AS counted",
        table.name, counts.totals, counts.deltas,
    )
}

/// Removes the next `limit` rows of these slots from the slot `$1` on, or from the first slot if `$1` is null; returns
/// the number of rows and the last row's slot. The rows are removed by their places: nothing else changes these rows,
/// and the planner has no choice left.
pub(super) fn delete_next_rows(table: &MovedTable, slots: &[Slot], limit: u32) -> String {
    format!(
        "WITH part AS MATERIALIZED (
             SELECT ctid AS place, {slot} AS slot FROM {name}
              WHERE {filter} AND ($1::bigint IS NULL OR {slot} >= $1::bigint)
              ORDER BY {slot} LIMIT {limit}
         ), gone AS (
             DELETE FROM {name} AS t WHERE t.ctid = ANY (ARRAY(SELECT place FROM part)) RETURNING 1
         )
         SELECT (SELECT count(*) FROM gone), (SELECT max(slot)::bigint FROM part)",
        slot = table.slot.0,
        name = table.name,
        filter = is_one_of(table, slots),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_text_is_quoted() {
        assert_eq!(ident(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal(r"p'a\ss"), r"E'p''a\\ss'");
        let sql = create_subscription("s", "postgres://u:it's@h/d", "s");
        assert!(sql.contains("E'postgres://u:it''s@h/d'"), "{sql}");
    }
}
