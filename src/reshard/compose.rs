//! Statements that cannot stand in a file: those that name objects of one move, and those about the tables of the
//! registry. Names are our own, values are bound wherever the statement's kind takes parameters; what must stand in
//! the text is quoted here and nowhere else.

use std::fmt::Write as _;

use super::tables::{Counts, MovedTable, TABLES};

/// A name as PostgreSQL takes it.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as PostgreSQL takes it, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// True for the rows of the mask's slots.
fn filter(table: &MovedTable, mask: &[u8]) -> String {
    let mut hex = String::with_capacity(mask.len() * 2);
    for byte in mask {
        let _ = write!(hex, "{byte:02x}"); // writing to a String does not fail
    }
    format!("get_bit(decode('{hex}', 'hex'), {}) = 1", table.slot)
}

fn key_list(table: &MovedTable, prefix: &str) -> String {
    table.key.iter().map(|(name, _)| format!("{prefix}{name}")).collect::<Vec<_>>().join(", ")
}

fn key_texts(table: &MovedTable, prefix: &str) -> String {
    let texts: Vec<_> = table.key.iter().map(|(name, _)| format!("{prefix}{name}::text")).collect();
    format!("ARRAY[{}]", texts.join(", "))
}

/// The key that the parameter `number` holds as an array of texts.
fn key_parameter(table: &MovedTable, number: usize) -> String {
    let parts = (1..).zip(table.key).map(|(part, (_, kind))| format!("(${number}::text[])[{part}]::{kind}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// Every table of the registry with the rows of these slots, and the beats of this move and direction.
pub(super) fn create_publication(name: &str, move_id: i64, forward: bool, mask: &[u8]) -> String {
    let direction = if forward { "forward" } else { "NOT forward" };
    let tables: Vec<_> = TABLES.iter().map(|table| format!("{} WHERE ({})", table.name, filter(table, mask))).collect();
    format!(
        "CREATE PUBLICATION {} FOR TABLE {}, shardrive.beats WHERE (move_id = {move_id} AND {direction}) \
         WITH (publish = 'insert, update, delete')",
        ident(name),
        tables.join(", "),
    )
}

pub(super) fn drop_publication(name: &str) -> String {
    format!("DROP PUBLICATION IF EXISTS {}", ident(name))
}

/// A subscription whose slot is there already. A copying one starts at once; the other one waits until it is enabled.
pub(super) fn create_subscription(name: &str, url: &str, publication: &str, copy: bool) -> String {
    format!(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} \
         WITH (create_slot = false, slot_name = {}, copy_data = {copy}, enabled = {copy}, synchronous_commit = 'off')",
        ident(name),
        literal(url),
        ident(publication),
        literal(name),
    )
}

/// A subscription of nothing, to be rolled back: can this server connect to that one, and may it subscribe?
pub(super) fn try_subscription(name: &str, url: &str) -> String {
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

/// Are there rows of these slots?
pub(super) fn has_rows(table: &MovedTable, mask: &[u8]) -> String {
    format!("SELECT EXISTS (SELECT FROM {} AS t WHERE {})", table.name, filter(table, mask))
}

/// Count, hash and last key of the next `limit` rows behind the key `$1`, or of the first if it is null.
pub(super) fn sum_next_rows(table: &MovedTable, mask: &[u8], limit: u32) -> String {
    format!(
        "WITH part AS MATERIALIZED (
             SELECT {keys}, hashtextextended(t::text, 0)::numeric AS hash
               FROM {name} AS t
              WHERE {filter} AND ($1::text[] IS NULL OR ({keys}) > ({lower}))
              ORDER BY {keys} LIMIT {limit}
         )
         SELECT count(*), coalesce(sum(hash), 0)::text,
                (SELECT {texts} FROM (SELECT * FROM part ORDER BY {descending} LIMIT 1) AS last)
           FROM part",
        keys = key_list(table, ""),
        name = table.name,
        filter = filter(table, mask),
        lower = key_parameter(table, 1),
        texts = key_texts(table, ""),
        descending = table.key.iter().map(|(name, _)| format!("{name} DESC")).collect::<Vec<_>>().join(", "),
    )
}

/// The condition on keys behind `$1` and up to `$2`, each of them open if it is null.
fn range(table: &MovedTable, mask: &[u8]) -> String {
    format!(
        "{filter} AND ($1::text[] IS NULL OR ({keys}) > ({lower})) AND ($2::text[] IS NULL OR ({keys}) <= ({upper}))",
        filter = filter(table, mask),
        keys = key_list(table, ""),
        lower = key_parameter(table, 1),
        upper = key_parameter(table, 2),
    )
}

/// Count and hash of the rows of a range.
pub(super) fn sum_range(table: &MovedTable, mask: &[u8]) -> String {
    format!(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {} AS t WHERE {}",
        table.name,
        range(table, mask),
    )
}

/// Key and hash of each row of a range.
pub(super) fn list_range(table: &MovedTable, mask: &[u8]) -> String {
    format!(
        "SELECT {}, hashtextextended(t::text, 0) FROM {} AS t WHERE {}",
        key_texts(table, "t."),
        table.name,
        range(table, mask),
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
                LATERAL (SELECT {keys}, hashtextextended(t::text, 0) AS hash FROM {} AS t WHERE {} LIMIT 1) AS found",
        key_texts(table, "found."),
        arrays.join(", "),
        table.name,
        equal.join(" AND "),
        names = names.join(", "),
        keys = key_list(table, ""),
    )
}

/// Rows and bytes of the slots `$1`, by slot.
pub(super) fn totals(counts: Counts) -> String {
    format!(
        "SELECT c.slot, (c.rows + coalesce(d.rows, 0))::bigint, (c.bytes + coalesce(d.bytes, 0))::bigint
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

/// What the rows of slots take on the disk, with their indexes, if they are as large as all others.
pub(super) fn share_of_disk(table: &MovedTable) -> String {
    let Some(counts) = table.counts else {
        // Not counted: as much for each slot.
        let (name, slots) = (table.name, crate::shard::SLOT_COUNT);
        return format!("SELECT (pg_total_relation_size('{name}') * cardinality($1::int[]) / {slots})::bigint");
    };
    format!(
        "SELECT coalesce(pg_total_relation_size('{}') * sum(rows) FILTER (WHERE slot = ANY ($1)) / nullif(sum(rows), 0), 0)::bigint
           FROM {}",
        table.name, counts.totals,
    )
}

/// Removes the next `limit` rows behind the key `$1`; gives how many there were and the last key. By their places: nobody
/// else changes these rows, and no plan for finding them again could be a bad one.
pub(super) fn delete_next_rows(table: &MovedTable, mask: &[u8], limit: u32) -> String {
    format!(
        "WITH part AS MATERIALIZED (
             SELECT ctid AS place, {keys} FROM {name} AS t
              WHERE {filter} AND ($1::text[] IS NULL OR ({keys}) > ({lower}))
              ORDER BY {keys} LIMIT {limit}
         ), gone AS (
             DELETE FROM {name} AS t WHERE t.ctid = ANY (ARRAY(SELECT place FROM part)) RETURNING 1
         )
         SELECT (SELECT count(*) FROM gone),
                (SELECT {texts} FROM (SELECT * FROM part ORDER BY {descending} LIMIT 1) AS last)",
        keys = key_list(table, ""),
        name = table.name,
        filter = filter(table, mask),
        lower = key_parameter(table, 1),
        texts = key_texts(table, ""),
        descending = table.key.iter().map(|(name, _)| format!("{name} DESC")).collect::<Vec<_>>().join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_text_is_quoted() {
        assert_eq!(ident(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal(r"p'a\ss"), r"E'p''a\\ss'");
        let sql = create_subscription("s", "postgres://u:it's@h/d", "p", true);
        assert!(sql.contains("E'postgres://u:it''s@h/d'"), "{sql}");
    }
}
