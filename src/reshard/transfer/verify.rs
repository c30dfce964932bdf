//! Compares the rows of both sides while writes go on.
//!
//! All rows are compared once, in parts by key: the owner's count and sum of hashes in one snapshot, against the other
//! side once everything before the snapshot has arrived there. The other side may be further by then. A part that
//! differs is compared row by row. Each differing key must be among the changes that the owner's triggers recorded
//! since the move began. Recorded changes are compared later, by key, and once more after each further change; the
//! write freeze compares the last changes. So each row is compared after its last change, and any other difference is a
//! fault.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::compose;
use super::compose::RowReading;
use super::direction::Direction;
use super::side::{MoveSide, MoveSides};
use super::stream::{await_heartbeat, send_heartbeat};
use super::tables::{MovedTable, ReadOrder, TABLES};
use crate::reshard::coordinate::slot_move::SlotMove;
use crate::reshard::error::MoveError;
use crate::shard::Slot;

/// Rows of a part, at most. The two sides of a part are read at two moments, and a part with a write in between is read
/// row by row. Small parts make such a write rarer and cheaper; but each part takes two statements and a heartbeat.
pub(in crate::reshard) const PART: u32 = 8_000;
/// Changes that are compared at once.
const CHANGES: i64 = 5_000;
/// How long a heartbeat may take in a comparison.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Keys of a difference that are named.
const NAMED: usize = 5;

/// A primary key as texts.
type RowKey = Vec<String>;
/// The rows of one side: the hash of each row.
type RowHashes = HashMap<RowKey, i64>;
/// A part: its row count, the sum of the hashes, the last key.
type RowPart = (i64, String, Option<RowKey>);
/// Keys, one array a column.
type KeyColumns = Vec<Option<Vec<String>>>;
/// A recorded change: its number, the table, the key.
type RecordedChange = (i64, String, RowKey);

/// How far a comparison of all rows is. The position is kept in memory; another coordinator begins anew.
#[derive(Default, Debug)]
pub(in crate::reshard) struct ComparisonPass {
    /// The part that has been read from the owner alone.
    ahead: Option<ReadPart>,
    /// Compared rows.
    pub(in crate::reshard) rows: i64,
    /// How long the owner took to read the last part.
    pub(in crate::reshard) busy: Duration,
}

/// A part as the owner has it in one snapshot.
#[derive(Debug)]
struct ReadPart {
    table: usize,
    order: ReadOrder,
    lower: Option<RowKey>,
    /// Open in the last part of a table, so that surplus rows behind the owner's last row are found.
    upper: Option<RowKey>,
    rows: i64,
    hash: String,
    /// How long the owner took to read it.
    took: Duration,
    /// The heartbeat behind the snapshot.
    beat: i64,
}

/// Compares the next part, and meanwhile reads the following part, of `limit` rows at most. `true`: all rows have been
/// compared.
///
/// # Errors
/// `Refused` with the first keys that differ without a reason; otherwise the shards' errors.
pub(in crate::reshard) async fn next_part(
    pass: &mut ComparisonPass,
    slot_move: &SlotMove,
    sides: &mut MoveSides,
    limit: u32,
) -> Result<bool, MoveError> {
    let (source, target) = sides.along(Direction::Forward);
    let part = match pass.ahead.take() {
        Some(part) => part,
        None => match read_first_part(slot_move, source, 0, limit).await? {
            Some(part) => part,
            None => return Ok(true),
        },
    };
    let Some(table) = TABLES.get(part.table) else { return Ok(true) };
    let slots = within(&slot_move.slots, part.order, part.lower.as_deref(), part.upper.as_deref());
    let reading = RowReading { table, order: part.order, slots };
    let next = async {
        match &part.upper {
            Some(place) => read_part(slot_move, source, (part.table, part.order), Some(place.clone()), limit).await,
            None => read_first_part(slot_move, source, part.table + 1, limit).await,
        }
    };
    let (next, same) = tokio::join!(next, is_same(&part, reading, slot_move, target));
    pass.ahead = next?;
    pass.busy = pass.ahead.as_ref().map_or(Duration::ZERO, |ahead| ahead.took);
    if !same? {
        check_difference(reading, slot_move, sides, [part.lower.as_deref(), part.upper.as_deref()]).await?;
    }
    pass.rows += part.rows;
    Ok(pass.ahead.is_none())
}

/// The slots that may have rows behind `lower` and up to `upper`; the database is asked for no others. The slots are in
/// order.
fn within<'a>(slots: &'a [Slot], order: ReadOrder, lower: Option<&[String]>, upper: Option<&[String]>) -> &'a [Slot] {
    let slot_of = |place: &[String]| place.first().and_then(|slot| slot.parse::<u16>().ok());
    if order == ReadOrder::ByKey {
        return slots;
    }
    let from = lower.and_then(slot_of).map_or(0, |lower| slots.partition_point(|slot| slot.number() < lower));
    let to = upper.and_then(slot_of).map_or(slots.len(), |upper| slots.partition_point(|slot| slot.number() <= upper));
    slots.get(from..to).unwrap_or(slots)
}

/// The owner's first part of a table. `None`: the number is behind the last table.
async fn read_first_part(
    slot_move: &SlotMove,
    source: &mut MoveSide,
    number: usize,
    limit: u32,
) -> Result<Option<ReadPart>, MoveError> {
    let Some(table) = TABLES.get(number) else { return Ok(None) };
    let order = match table.counts {
        Some(counts) => {
            let failed = source.failed();
            let statement =
                sqlx::query_as(sqlx::AssertSqlSafe(compose::row_counts(counts))).bind(slot_move.sql_slots());
            let (rows, all): (Vec<i64>, i64) = statement.fetch_one(&mut source.db).await.map_err(failed)?;
            ReadOrder::cheaper(&rows, all, PART)
        }
        // Its primary key begins with the slot.
        None => ReadOrder::BySlot,
    };
    read_part(slot_move, source, (number, order), None, limit).await
}

async fn read_part(
    slot_move: &SlotMove,
    source: &mut MoveSide,
    (number, order): (usize, ReadOrder),
    lower: Option<RowKey>,
    limit: u32,
) -> Result<Option<ReadPart>, MoveError> {
    let Some(table) = TABLES.get(number) else { return Ok(None) };
    let slots = within(&slot_move.slots, order, lower.as_deref(), None);
    let sql = compose::sum_next_rows(RowReading { table, order, slots }, limit);
    let begun = Instant::now();
    let (rows, hash, last): RowPart = source.one(sql, &[lower.as_deref()]).await?;
    let took = begun.elapsed();
    let upper = if rows < i64::from(limit) { None } else { last };
    let beat = send_heartbeat(source, slot_move, Direction::Forward).await?;
    Ok(Some(ReadPart { table: number, order, lower, upper, rows, hash, took, beat }))
}

/// True if the other side has the same rows in this part, once everything of the owner's snapshot has arrived.
async fn is_same(
    part: &ReadPart,
    reading: RowReading<'_>,
    slot_move: &SlotMove,
    target: &mut MoveSide,
) -> Result<bool, MoveError> {
    if !await_heartbeat(target, slot_move, Direction::Forward, part.beat, Instant::now() + ARRIVAL).await? {
        return Err(MoveError::Late("a row's way to the other shard"));
    }
    let there: (i64, String) =
        target.one(compose::sum_range(reading), &[part.lower.as_deref(), part.upper.as_deref()]).await?;
    Ok(there.0 == part.rows && there.1 == part.hash)
}

/// Waits until all commits of the owner have arrived on the other side.
async fn await_arrival(slot_move: &SlotMove, sides: &mut MoveSides, direction: Direction) -> Result<(), MoveError> {
    let (from, to) = sides.along(direction);
    let beat = send_heartbeat(from, slot_move, direction).await?;
    if await_heartbeat(to, slot_move, direction, beat, Instant::now() + ARRIVAL).await? {
        Ok(())
    } else {
        Err(MoveError::Late("a row's way to the other shard"))
    }
}

/// Checks a part that differs: every differing key must have been changed meanwhile, and so be compared again later.
async fn check_difference(
    reading: RowReading<'_>,
    slot_move: &SlotMove,
    sides: &mut MoveSides,
    range: [Option<&[String]>; 2],
) -> Result<(), MoveError> {
    let bounds = range.map(|key| key.map(<[String]>::to_vec));
    let here: RowHashes = sides.source.list(compose::list_range(reading), &bounds).await?.into_iter().collect();
    await_arrival(slot_move, sides, Direction::Forward).await?;
    let there: RowHashes = sides.target.list(compose::list_range(reading), &bounds).await?.into_iter().collect();
    let differ = differences(&here, &there);
    if differ.is_empty() {
        return Ok(());
    }
    let changed = other_changes(&mut sides.source, slot_move, &[]).await?;
    check_explained(reading.table, differ, &changed)
}

/// A differing key, and how the other side differs.
type RowDifference = (RowKey, &'static str);

fn differences(here: &RowHashes, there: &RowHashes) -> Vec<RowDifference> {
    let other = here.iter().filter_map(|(key, hash)| match there.get(key) {
        Some(found) if found == hash => None,
        Some(_) => Some((key.clone(), "other values")),
        None => Some((key.clone(), "missing")),
    });
    let surplus = there.keys().filter(|key| !here.contains_key(*key)).map(|key| (key.clone(), "too much"));
    let mut all: Vec<RowDifference> = other.chain(surplus).collect();
    all.sort_unstable();
    all
}

fn check_explained(
    table: &MovedTable,
    differ: Vec<RowDifference>,
    changed: &HashSet<(String, RowKey)>,
) -> Result<(), MoveError> {
    let wrong: Vec<RowDifference> =
        differ.into_iter().filter(|(key, _)| !changed.contains(&(table.short.to_owned(), key.clone()))).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> = table.key.iter().map(|(name, _)| *name).collect();
    let named: Vec<_> = wrong.iter().take(NAMED).map(|(key, how)| format!("{} ({how})", key.join(" "))).collect();
    Err(MoveError::Refused(format!(
        "{} rows of {} differ between the shards; {}: {}{}",
        wrong.len(),
        table.short,
        columns.join(" "),
        named.join(", "),
        if wrong.len() > NAMED { ", …" } else { "" },
    )))
}

/// The keys of all recorded changes but these.
async fn other_changes(
    from: &mut MoveSide,
    slot_move: &SlotMove,
    ids: &[i64],
) -> Result<HashSet<(String, RowKey)>, MoveError> {
    // Replication may bring a transaction to the other side a moment before its own server shows the transaction to
    // others.
    if !from.wait_for_writers(Instant::now() + ARRIVAL).await? {
        return Err(MoveError::Late("the end of transactions that write"));
    }
    let failed = from.failed();
    let rows: Vec<(String, RowKey)> = sqlx::query_as(include_str!("../../../sql/reshard/list_other_changes.sql"))
        .bind(slot_move.id)
        .bind(ids)
        .fetch_all(&mut from.db)
        .await
        .map_err(failed)?;
    Ok(rows.into_iter().collect())
}

/// How many recorded changes have not been compared.
pub(in crate::reshard) async fn pending_changes(from: &mut MoveSide, slot_move: &SlotMove) -> Result<i64, MoveError> {
    let failed = from.failed();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/count_changed_keys.sql")).bind(slot_move.id);
    statement.fetch_one(&mut from.db).await.map_err(failed)
}

/// Whether a comparison of changes must wait for the commits of the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reshard) enum OwnerCommits {
    /// The comparison waits until the commits have arrived on the other side.
    MayBeUnderWay,
    /// A write freeze is on, and every commit before the freeze has arrived.
    HaveArrived,
}

/// Compares the first recorded changes and removes their records; returns how many changes there were.
///
/// # Errors
/// As [`next_part`].
pub(in crate::reshard) async fn compare_changes(
    slot_move: &SlotMove,
    sides: &mut MoveSides,
    direction: Direction,
    commits: OwnerCommits,
) -> Result<usize, MoveError> {
    let (from, _) = sides.along(direction);
    let failed = from.failed();
    let changes: Vec<RecordedChange> = sqlx::query_as(include_str!("../../../sql/reshard/list_changed_keys.sql"))
        .bind(slot_move.id)
        .bind(CHANGES)
        .fetch_all(&mut from.db)
        .await
        .map_err(&failed)?;
    if changes.is_empty() {
        return Ok(0);
    }
    let mut here: Vec<(&MovedTable, KeyColumns, RowHashes)> = Vec::new();
    for table in TABLES {
        let keys: HashSet<&RowKey> =
            changes.iter().filter(|(_, name, _)| name == table.short).map(|(_, _, key)| key).collect();
        if keys.is_empty() {
            continue;
        }
        let columns: KeyColumns = (0..table.key.len())
            .map(|column| Some(keys.iter().filter_map(|key| key.get(column).cloned()).collect()))
            .collect();
        let rows = from.list(compose::list_keys(table), &columns).await?.into_iter().collect();
        here.push((table, columns, rows));
    }
    if commits == OwnerCommits::MayBeUnderWay {
        await_arrival(slot_move, sides, direction).await?;
    }
    let (from, to) = sides.along(direction);
    let ids: Vec<i64> = changes.iter().map(|(id, _, _)| *id).collect();
    for (table, columns, rows) in here {
        let there: RowHashes = to.list(compose::list_keys(table), &columns).await?.into_iter().collect();
        let differ = differences(&rows, &there);
        if !differ.is_empty() {
            // A row that changed after the owner was read has been recorded again, and is compared later.
            let again = other_changes(from, slot_move, &ids).await?;
            check_explained(table, differ, &again)?;
        }
    }
    sqlx::query(include_str!("../../../sql/reshard/remove_changed_keys.sql"))
        .bind(&ids)
        .execute(&mut from.db)
        .await
        .map_err(failed)?;
    Ok(changes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(list: &[(&str, i64)]) -> RowHashes {
        list.iter().map(|(key, hash)| (vec![(*key).to_owned()], *hash)).collect()
    }

    #[test]
    fn a_part_asks_for_the_slots_it_may_have_rows_of() {
        let slots: Vec<Slot> = [2, 4, 6, 8].into_iter().filter_map(Slot::new).collect();
        let place = |slot: &str| vec![slot.to_owned(), "42".to_owned()];
        let of = |order, lower: Option<&str>, upper: Option<&str>| {
            let (lower, upper) = (lower.map(place), upper.map(place));
            within(&slots, order, lower.as_deref(), upper.as_deref())
                .iter()
                .map(|slot| slot.number())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(ReadOrder::BySlot, None, None), [2, 4, 6, 8]);
        assert_eq!(of(ReadOrder::BySlot, Some("4"), None), [4, 6, 8], "the rest of its last slot");
        assert_eq!(of(ReadOrder::BySlot, Some("4"), Some("4")), [4]);
        assert_eq!(of(ReadOrder::BySlot, None, Some("6")), [2, 4, 6]);
        assert_eq!(of(ReadOrder::ByKey, Some("4"), Some("4")), [2, 4, 6, 8]);
    }

    #[test]
    fn what_is_missing_other_or_too_much_differs() {
        let differ = differences(&rows(&[("a", 1), ("b", 2), ("c", 3)]), &rows(&[("a", 1), ("b", 9), ("d", 4)]));
        let how: Vec<_> = differ.iter().map(|(key, how)| (key[0].as_str(), *how)).collect();
        assert_eq!(how, [("b", "other values"), ("c", "missing"), ("d", "too much")]);
        let table = &TABLES[0];
        let recorded =
            |keys: &[&str]| keys.iter().map(|key| (table.short.to_owned(), vec![(*key).to_owned()])).collect();
        assert!(check_explained(table, differ.clone(), &recorded(&["b", "c", "d", "x"])).is_ok());
        let wrong = check_explained(table, differ, &recorded(&["c"])).unwrap_err().to_string();
        assert_eq!(
            wrong,
            "2 rows of file_metadata differ between the shards; user_id file_id: b (other values), d (too much)"
        );
    }
}
