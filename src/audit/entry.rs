//! Audit entries: who did what, when and from where; and the filter and cursor of a listing.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::OperatorAction;
use crate::payload::{read_cursor, time, write_cursor};
use crate::shard::ShardOptions;

/// The longest text of an entry, in characters.
const MAX_TEXT: usize = 200;

/// The person or program behind an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    pub(super) name: String,
    pub(super) scope: &'static str,
}

impl Actor {
    /// The subject of a token, with the token's scope.
    #[must_use]
    pub fn of_token(subject: &str, scope: &'static str) -> Self {
        Self { name: one_line_text(subject), scope }
    }

    /// Any caller, while sign-in is off.
    #[must_use]
    pub fn unknown() -> Self {
        Self { name: "-".to_owned(), scope: "without sign-in" }
    }

    /// A user of the machine that runs a command, as `user@host`.
    #[must_use]
    pub fn at_command_line(user: &str) -> Self {
        Self { name: one_line_text(user), scope: "command line" }
    }
}

/// The text on one line, of bounded length, without characters that PostgreSQL refuses.
fn one_line_text(text: &str) -> String {
    let text: String =
        text.chars().take(MAX_TEXT).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The recorded fields of a request: numbers, flags and short words, never a password.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ActionDetails(pub(super) Map<String, Value>);

impl ActionDetails {
    /// Records the fields of a request that this action allows.
    pub fn add_request_fields(&mut self, act: OperatorAction, request: &Map<String, Value>) {
        for name in act.fields() {
            if let Some(value) = request.get(*name) {
                self.add_field(name, value);
            }
        }
    }

    /// Records a value that can hold no secret. Of a shard's URL only the server's address is recorded.
    pub fn add_field(&mut self, name: &str, value: &Value) {
        let (name, value) = match value {
            Value::String(url) if name == "url" => {
                let place =
                    ShardOptions::parse(url).map_or_else(|_| "no URL of a shard".to_owned(), |url| url.address());
                ("place", one_line_text(&place).into())
            }
            Value::Number(_) | Value::Bool(_) if name != "url" => (name, value.clone()),
            Value::String(word) if name != "url" && word.chars().all(is_word) => (name, one_line_text(word).into()),
            Value::Null => return,
            _ => (name, "not shown".into()),
        };
        self.0.insert(name.to_owned(), value);
    }
}

/// True for the characters of slots, names and numbers; a URL has others.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ',' | '.' | ' ')
}

/// An action to be recorded.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The operator's action.
    pub act: OperatorAction,
    /// The person or program behind the action.
    pub actor: Actor,
    /// The caller's address; `None` for a command.
    pub source: Option<IpAddr>,
    /// The id of the request, if the action is a request.
    pub request_id: Option<Arc<str>>,
    /// The recorded fields of the request.
    pub details: ActionDetails,
}

/// About the bytes of an entry in JSON without its details.
const ENTRY_BYTES: usize = 384;

/// A recorded action.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct LoggedAction {
    /// The entry's id.
    pub id: Uuid,
    /// When the action began, by the clock of shard 0.
    #[serde(serialize_with = "time::serialize_time")]
    pub at: DateTime<Utc>,
    /// The token's subject; `-` without sign-in; `user@host` for a command.
    #[schema(example = "alice")]
    pub actor: String,
    /// The scope of the token; `without sign-in`; `command line`.
    #[schema(example = "admin")]
    pub scope: String,
    /// The address that the request came from.
    #[schema(example = "203.0.113.7")]
    pub source: Option<String>,
    /// The request's id, as in its `X-Request-Id`.
    pub request_id: Option<String>,
    /// The action's word.
    #[schema(example = "move")]
    pub act: String,
    /// Numbers, flags and short words of the request.
    #[schema(value_type = Object, example = json!({"slots": "0-9", "to": 2}))]
    pub details: Value,
    /// `begun`: the action is running, or its end is unknown. `accepted`: the action was done, or stored to be done.
    /// `refused`: nothing was done. `failed`: the action broke off, perhaps after a part was done.
    #[schema(example = "accepted")]
    pub outcome: String,
    /// The code of the problem, if the action was refused or failed.
    pub code: Option<String>,
    /// When the action ended.
    #[serde(serialize_with = "time::serialize_optional_time")]
    pub ended_at: Option<DateTime<Utc>>,
}

impl LoggedAction {
    pub(super) fn cursor(&self) -> EntryCursor {
        EntryCursor { at: self.at, id: self.id }
    }

    /// About the bytes of the entry in JSON.
    pub(super) fn byte_count(&self) -> usize {
        ENTRY_BYTES + self.details.to_string().len()
    }
}

/// The filter of a listing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EntryFilter {
    /// Only entries before this cursor, for the next page.
    pub before: Option<EntryCursor>,
    /// Only entries from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only entries of this action.
    pub act: Option<OperatorAction>,
    /// Only entries of this actor, letter by letter.
    pub actor: Option<String>,
}

impl EntryFilter {
    /// True if an actor can have this name.
    #[must_use]
    pub fn is_actor_name(name: &str) -> bool {
        one_line_text(name) == name
    }
}

/// The end of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryCursor {
    pub(super) at: DateTime<Utc>,
    pub(super) id: Uuid,
}

impl fmt::Display for EntryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 24];
        let (at, id) = bytes.split_at_mut(8);
        at.copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        id.copy_from_slice(self.id.as_bytes());
        f.write_str(&write_cursor(&bytes))
    }
}

impl FromStr for EntryCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = read_cursor(text).ok_or(())?;
        let (at, id) = bytes.split_first_chunk().ok_or(())?;
        let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*at)).ok_or(())?;
        Ok(Self { at, id: Uuid::from_slice(id).map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(act: OperatorAction, request: Value) -> Value {
        let mut details = ActionDetails::default();
        details.add_request_fields(act, request.as_object().unwrap());
        Value::Object(details.0)
    }

    #[test]
    fn no_secret_gets_into_an_entry() {
        let url = "postgres://u:verysecret@h:5433/d?sslpassword=verysecret";
        assert_eq!(
            of(OperatorAction::AddShard, json!({"url": url, "dry_run": true})),
            json!({"place": "h:5433/d", "dry_run": true})
        );
        for value in [json!("verysecret"), json!({"a": url}), json!([url]), json!("postgres://verysecret")] {
            for field in ["url", "slots", "to", "shard_key", "nonsense"] {
                for act in OperatorAction::ALL.iter().copied().filter(|_| field == "url" || value != "verysecret") {
                    let noted = of(act, json!({field: value})).to_string();
                    assert!(!noted.contains("verysecret"), "{noted}");
                }
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_noted_in_short() {
        let request = json!({"slots": "0-9,12", "to": 2, "copy_rate": null, "skip_verify": false, "else": 1});
        assert_eq!(of(OperatorAction::MoveSlots, request), json!({"slots": "0-9,12", "to": 2, "skip_verify": false}));
        let long = of(OperatorAction::MoveSlots, json!({"slots": "1,".repeat(500)}));
        assert_eq!(long["slots"].as_str().unwrap().len(), MAX_TEXT);
    }

    #[test]
    fn actors_stand_on_one_line() {
        assert_eq!(Actor::of_token("a\n\0b", "admin").name, "a\u{fffd}\u{fffd}b");
        assert_eq!(Actor::of_token("", "admin").name, "-");
        assert!(
            EntryFilter::is_actor_name("alice@host")
                && !EntryFilter::is_actor_name("a\0")
                && !EntryFilter::is_actor_name("")
        );
        assert!(!EntryFilter::is_actor_name(&"x".repeat(201)));
    }

    #[test]
    fn cursors_read_as_they_were_written() {
        let cursor =
            EntryCursor { at: DateTime::from_timestamp_micros(1_764_000_000_123_456).unwrap(), id: Uuid::new_v4() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            "x",
            "AAAA",
            cursor.to_string().get(1..).unwrap(),
            &format!("{cursor}AA"),
            "__________________________8",
        ] {
            assert!(bad.parse::<EntryCursor>().is_err(), "{bad}");
        }
    }
}
