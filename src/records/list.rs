//! Pages of documents: of one shard key, which one shard answers, or of a whole collection, from all shards.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::place::RecordPlace;
use super::store::record_in;
use super::{Collection, Record, RecordsPerKey};
use crate::payload::{PAGE_BYTES, PageSize, read_cursor, write_cursor};
use crate::shard::{Cluster, ReadConsistency, ScatterBreadth, ShardCall, ShardError, ShardId, SlotCoverage, WorkKind};

/// The place in a listing after a document. Clients get an opaque text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordCursor(Box<str>);

impl RecordCursor {
    /// Reads the text of a cursor; `None` if this service did not write the text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let key = String::from_utf8(read_cursor(text)?).ok().filter(|key| !key.contains('\0'))?;
        Some(Self(key.into()))
    }
}

impl std::fmt::Display for RecordCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&write_cursor(self.0.as_bytes()))
    }
}

/// A page of documents.
#[derive(Clone, Debug)]
pub struct RecordPage {
    /// The documents: of collections with many for a key the newest first, of others in the order of their keys.
    pub records: Vec<Record>,
    /// Where the next page starts; `None` on the last page.
    pub next: Option<RecordCursor>,
    /// Shards whose documents are missing, as they did not answer.
    pub missing: Vec<ShardId>,
}

/// A shard's documents for a page, in the order of the page.
pub(super) struct ShardPage {
    records: Vec<Record>,
    /// The shard has documents behind these.
    more: bool,
}

impl ShardPage {
    fn of(found: Vec<Record>, count: i64) -> Self {
        let more = usize::try_from(count).is_ok_and(|count| count > found.len());
        Self { records: found, more }
    }
}

/// Documents of one shard key, newest first.
pub(super) struct ListOfKey<'a> {
    pub(super) collection: &'a Collection,
    pub(super) place: &'a RecordPlace,
    pub(super) after: Option<&'a RecordCursor>,
    pub(super) size: PageSize,
}

impl ListOfKey<'_> {
    /// Asks the shard that owns the key's slot, or a replica of it.
    pub(super) async fn page(
        &self,
        cluster: &Cluster,
        consistency: ReadConsistency,
    ) -> Result<(ShardId, RecordPage), ShardError> {
        let (shard, part) = cluster.read(consistency, self.place.slot, self).await?;
        Ok((shard, merge(vec![part], self.size, ListOrder::NewestFirst, Vec::new())))
    }
}

impl ShardCall for ListOfKey<'_> {
    type Output = ShardPage;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<ShardPage>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/records/list_of_key.sql"))
            .bind(self.collection.name.as_str())
            .bind(&*self.place.key)
            .bind(self.place.slot.to_sql())
            .bind(ListOrder::NewestFirst.start(self.after))
            .bind(shard.to_sql())
            .bind(self.size.rows())
            .bind(page_bytes(1))
            .fetch_all(connection)
            .await?;
        if rows.is_empty() { Ok(None) } else { part_in(&rows, 0).map(Some) }
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Listing
    }
}

/// A page of a whole collection.
pub(super) struct ListAll<'a> {
    pub(super) collection: &'a Collection,
    pub(super) after: Option<&'a RecordCursor>,
    pub(super) size: PageSize,
    /// How many shards share the bytes of the page: all shards together read about as much as the page holds.
    pub(super) shards: usize,
}

/// In which order a collection is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ListOrder {
    /// Minted keys sort by their time.
    NewestFirst,
    ByKey,
}

impl ListOrder {
    /// The key behind which a page starts. Without a cursor, a key before all others: minted keys are of hexadecimal
    /// digits, and no key is empty.
    fn start(self, after: Option<&RecordCursor>) -> &str {
        match (after, self) {
            (Some(cursor), _) => &cursor.0,
            (None, Self::NewestFirst) => "g",
            (None, Self::ByKey) => "",
        }
    }
}

impl ListAll<'_> {
    fn order(&self) -> ListOrder {
        match self.collection.records_per_key {
            RecordsPerKey::Many => ListOrder::NewestFirst,
            RecordsPerKey::One => ListOrder::ByKey,
        }
    }

    /// Asks every shard. While a slot changes hands, asks again until each slot is in the page once.
    pub(super) async fn page(&self, cluster: &Cluster) -> Result<RecordPage, ShardError> {
        let (limits, breadth) = (cluster.scatter_limits(), ScatterBreadth::All);
        let found = cluster.scatter_until_covered(breadth, self, limits, |(coverage, _)| *coverage).await;
        let (mut parts, mut missing, mut failure) = (Vec::new(), Vec::new(), None);
        for (shard, answer) in found.answers {
            match answer {
                Ok(answer) => parts.extend(answer.map(|(_, part)| part)),
                Err(error) => {
                    missing.push(shard);
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if parts.is_empty() => Err(error),
            None if !found.is_covered => Err(ShardError::Moving),
            _ => Ok(merge(parts, self.size, self.order(), missing)),
        }
    }

    /// The first documents of each shard, by themselves.
    pub(super) async fn of_each_shard(&self, cluster: &Cluster) -> Vec<(ShardId, Result<RecordPage, ShardError>)> {
        let answers = cluster.scatter(self, cluster.limits().call_timeout).await.answers;
        let page = |answer: Option<(SlotCoverage, ShardPage)>| {
            merge(answer.into_iter().map(|(_, part)| part).collect(), self.size, self.order(), Vec::new())
        };
        answers.into_iter().map(|(shard, answer)| (shard, answer.map(page))).collect()
    }
}

impl ShardCall for ListAll<'_> {
    type Output = (SlotCoverage, ShardPage);

    async fn call(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Option<(SlotCoverage, ShardPage)>, sqlx::Error> {
        let statement = match self.order() {
            ListOrder::NewestFirst => include_str!("../../sql/records/list_newest.sql"),
            ListOrder::ByKey => include_str!("../../sql/records/list_by_key.sql"),
        };
        let rows = sqlx::query(statement)
            .bind(self.collection.name.as_str())
            .bind(self.order().start(self.after))
            .bind(shard.to_sql())
            .bind(self.size.rows())
            .bind(page_bytes(self.shards))
            .fetch_all(connection)
            .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let coverage =
            SlotCoverage { slots: first.try_get(0)?, digest: first.try_get(1)?, other_digest: first.try_get(2)? };
        Ok(Some((coverage, part_in(&rows, 3)?)))
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Listing
    }
}

/// The bytes that each shard may read for a page. A shard reads one document more.
fn page_bytes(shards: usize) -> i64 {
    i64::try_from(PAGE_BYTES / shards.max(1)).unwrap_or(i64::MAX)
}

/// The documents in the columns from `first` on: key, document, version and times, and how many there are.
fn part_in(rows: &[PgRow], first: usize) -> Result<ShardPage, sqlx::Error> {
    let (mut records, mut count) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let Some(key) = row.try_get::<Option<&str>, _>(first)? else { continue };
        records.extend(record_in(row, first + 1, key)?);
        count = row.try_get(first + 5)?;
    }
    Ok(ShardPage::of(records, count))
}

/// Merges the parts of the shards into one page. The page ends at the end of a part whose shard has more documents: the
/// next document of that shard is not known.
fn merge(parts: Vec<ShardPage>, size: PageSize, order: ListOrder, missing: Vec<ShardId>) -> RecordPage {
    let mut parts: Vec<_> = parts.into_iter().map(|part| (part.records.into_iter().peekable(), part.more)).collect();
    let (mut records, mut bytes): (Vec<Record>, usize) = (Vec::new(), 0);
    let more = loop {
        if parts.iter_mut().any(|(left, more)| *more && left.peek().is_none()) {
            break true;
        }
        let first = parts.iter_mut().filter(|(left, _)| left.len() > 0).reduce(|best, other| {
            let is_before = match (other.0.peek(), best.0.peek()) {
                (Some(other), Some(best)) if order == ListOrder::NewestFirst => other.key > best.key,
                (Some(other), Some(best)) => other.key < best.key,
                _ => false,
            };
            if is_before { other } else { best }
        });
        let Some((left, _)) = first else { break false };
        if records.len() >= size.get() || bytes >= PAGE_BYTES {
            break true;
        }
        if let Some(record) = left.next() {
            bytes += record.document.as_str().len();
            records.push(record);
        }
    };
    let next = records.last().filter(|_| more).map(|last| RecordCursor(last.key.clone()));
    RecordPage { records, next, missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Document;
    use chrono::Utc;
    use proptest::prelude::*;

    fn record(key: &str, bytes: usize) -> Record {
        let document = Document::read(format!("\"{}\"", "x".repeat(bytes)).as_bytes()).unwrap();
        Record { key: key.into(), document, version: 1, created_at: Utc::now(), updated_at: Utc::now() }
    }

    proptest! {
        /// Paging over shards that each give their own first documents shows every document once, in order.
        #[test]
        fn pages_show_everything_once(
            keys in proptest::collection::btree_map("[a-z]{1,3}", 0..4_usize, 0..60),
            size in 1..20_u16,
            cut in 1..8_usize,
            newest_first in any::<bool>(),
        ) {
            let size = PageSize::new(size).unwrap();
            let order = if newest_first { ListOrder::NewestFirst } else { ListOrder::ByKey };
            let mut expected: Vec<&String> = keys.keys().collect();
            if newest_first { expected.reverse(); }
            let (mut seen, mut after) = (Vec::new(), None::<String>);
            loop {
                let parts = (0..4).map(|shard| {
                    let left: Vec<_> = expected.iter()
                        .filter(|key| keys[**key] == shard)
                        .filter(|key| after.as_ref().is_none_or(|after| if newest_first { *key < &after } else { *key > &after }))
                        .take(size.get() + 1)
                        .collect();
                    let given = left.iter().take(cut).map(|key| record(key, 1)).collect();
                    ShardPage::of(given, i64::try_from(left.len()).unwrap())
                });
                let page = merge(parts.collect(), size, order, Vec::new());
                prop_assert!(page.records.len() <= size.get());
                seen.extend(page.records.iter().map(|record| record.key.to_string()));
                match page.next {
                    None => break,
                    Some(cursor) => {
                        prop_assert_eq!(RecordCursor::parse(&cursor.to_string()), Some(cursor.clone()));
                        after = Some(cursor.0.to_string());
                    }
                }
            }
            prop_assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_page_is_bounded_in_bytes() {
        let parts = (0..8).map(|shard| {
            let records = (0..3).map(|n| record(&format!("{n}{shard}"), 900_000)).collect();
            ShardPage::of(records, 3)
        });
        let page = merge(parts.collect(), PageSize::USUAL, ListOrder::ByKey, Vec::new());
        assert_eq!(page.records.len(), 3);
        assert!(page.next.is_some());
    }

    #[test]
    fn nonsense_is_no_cursor() {
        for text in ["", "x", "!", "AA", "Af8", "AQA"] {
            assert_eq!(RecordCursor::parse(text), None, "{text}");
        }
    }
}
