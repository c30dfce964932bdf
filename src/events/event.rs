//! An outgoing event: `CloudEvents` 1.0, structured JSON.
//!
//! An event says which row has changed and how. Private data is not in the event: no names, no paths, no documents. A
//! reader with the right to see them asks the service.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shard::ShardId;

/// The prefix of every event's type.
const TYPE_PREFIX: &str = "dev.shardrive.";

/// The topic of a gap.
pub(super) const GAP_TOPIC: &str = "gap";

/// A row of the outbox.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct OutboxChange {
    pub(super) id: i64,
    pub(super) slot: i32,
    pub(super) kind: String,
    pub(super) user_id: Option<i64>,
    pub(super) file_id: Option<Uuid>,
    pub(super) folder_id: Option<Uuid>,
    pub(super) size_bytes: Option<i64>,
    pub(super) collection: Option<String>,
    pub(super) key: Option<String>,
    pub(super) shard_key: Option<String>,
    pub(super) version: Option<i64>,
    pub(super) at: DateTime<Utc>,
}

/// Events dropped because no relay published them for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OutboxGap {
    pub(super) events: i64,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// An event in the form that the broker gets.
#[derive(Serialize)]
pub(super) struct OutgoingEvent {
    specversion: &'static str,
    /// The same at each try, so that the broker drops repetitions.
    pub(super) id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    datacontenttype: &'static str,
    data: Value,
}

impl OutgoingEvent {
    pub(super) fn of_change(cluster: Uuid, shard: ShardId, change: &OutboxChange) -> Self {
        let OutboxChange { id, kind, at, .. } = change;
        let (subject, data) = subject_and_data(change);
        // The id holds time and number: a server restored to an earlier state counts on from there, and would repeat
        // numbers.
        let id = format!("{shard}-{id}-{}", at.timestamp_micros());
        Self::new(cluster, shard, id, kind, Some(subject), *at, data)
    }

    pub(super) fn of_gap(cluster: Uuid, shard: ShardId, gap: OutboxGap) -> Self {
        let OutboxGap { events, from, to } = gap;
        let data = json!({"shard": shard.number(), "events": events, "from": format_time(from), "to": format_time(to)});
        let id = format!("{shard}-gap-{}-{events}", to.timestamp_micros());
        Self::new(cluster, shard, id, GAP_TOPIC, None, to, data)
    }

    fn new(
        cluster: Uuid,
        shard: ShardId,
        id: String,
        kind: &str,
        subject: Option<String>,
        at: DateTime<Utc>,
        data: Value,
    ) -> Self {
        Self {
            specversion: "1.0",
            id,
            source: format!("/shardrive/{cluster}/shards/{shard}"),
            kind: format!("{TYPE_PREFIX}{kind}"),
            subject,
            time: format_time(at),
            datacontenttype: "application/json",
            data,
        }
    }

    /// The end of the subject on the broker: `file.created`.
    pub(super) fn topic(&self) -> &str {
        self.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&self.kind)
    }
}

/// What the event is about, and its data.
fn subject_and_data(change: &OutboxChange) -> (String, Value) {
    let OutboxChange { user_id, file_id, folder_id, size_bytes, collection, key, shard_key, version, .. } = change;
    match (user_id, file_id, folder_id, collection, key) {
        (Some(user), Some(file), ..) => {
            let data = json!({"user_id": user, "file_id": file, "size_bytes": size_bytes});
            (format!("users/{user}/files/{file}"), data)
        }
        (Some(user), None, Some(folder), ..) => {
            (format!("users/{user}/folders/{folder}"), json!({"user_id": user, "folder_id": folder}))
        }
        (.., Some(collection), Some(key)) => {
            let data = json!({"collection": collection, "key": key, "shard_key": shard_key, "version": version});
            (format!("records/{collection}/{key}"), data)
        }
        _ => (String::new(), Value::Null), // never: the triggers fill in a file, a folder or a document
    }
}

fn format_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file() -> OutboxChange {
        OutboxChange {
            id: 7,
            slot: 42,
            kind: "file.created".to_owned(),
            user_id: Some(42),
            file_id: Some(Uuid::nil()),
            folder_id: None,
            size_bytes: Some(5),
            collection: None,
            key: None,
            shard_key: None,
            version: None,
            at: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
        }
    }

    #[test]
    fn a_change_without_a_user_is_not_an_event_of_user_0() {
        let event =
            OutgoingEvent::of_change(Uuid::nil(), ShardId::new(1), &OutboxChange { user_id: None, ..of_file() });
        assert_eq!((event.subject.as_deref(), event.data), (Some(""), Value::Null));
    }

    #[test]
    fn an_event_of_a_folder_names_the_folder() {
        let change = OutboxChange {
            kind: "folder.trashed".to_owned(),
            file_id: None,
            folder_id: Some(Uuid::nil()),
            size_bytes: None,
            ..of_file()
        };
        let event = OutgoingEvent::of_change(Uuid::nil(), ShardId::new(1), &change);
        assert_eq!(event.topic(), "folder.trashed");
        assert_eq!(event.subject.as_deref(), Some("users/42/folders/00000000-0000-0000-0000-000000000000"));
        assert_eq!(event.data, json!({"user_id": 42, "folder_id": Uuid::nil()}));
    }

    #[test]
    fn an_event_is_a_cloud_event_and_tells_no_secrets() {
        let event = OutgoingEvent::of_change(Uuid::nil(), ShardId::new(1), &of_file());
        assert_eq!(event.topic(), "file.created");
        let expected = json!({
            "specversion": "1.0", "id": "1-7-1700000000000001", "type": "dev.shardrive.file.created",
            "source": "/shardrive/00000000-0000-0000-0000-000000000000/shards/1",
            "subject": "users/42/files/00000000-0000-0000-0000-000000000000",
            "time": "2023-11-14T22:13:20.000001Z", "datacontenttype": "application/json",
            "data": {"user_id": 42, "file_id": "00000000-0000-0000-0000-000000000000", "size_bytes": 5},
        });
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
    }
}
