//! Audit entries: who did what, when and from where, and the filter and cursor of a listing.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::OperatorAction;
use crate::payload::time;
use crate::shard::ShardOptions;

/// The longest text of an entry, in characters.
const MAX_TEXT: usize = 200;

/// Who does something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    pub(super) name: String,
    pub(super) scope: &'static str,
}

impl Actor {
    /// Whoever a token names, with its scope.
    #[must_use]
    pub fn of_token(subject: &str, scope: &'static str) -> Self {
        Self { name: plain(subject), scope }
    }

    /// Anybody, while sign-in is off.
    #[must_use]
    pub fn unknown() -> Self {
        Self { name: "-".to_owned(), scope: "without sign-in" }
    }

    /// A user of the machine that a command runs on, as `user@host`.
    #[must_use]
    pub fn at_command_line(user: &str) -> Self {
        Self { name: plain(user), scope: "command line" }
    }
}

/// A text of bounded length, on one line and such that PostgreSQL can hold it.
fn plain(text: &str) -> String {
    let text: String =
        text.chars().take(MAX_TEXT).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// What is noted of a request besides its act: numbers, flags and short words, never a password.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ActionDetails(pub(super) Map<String, Value>);

impl ActionDetails {
    /// Notes those fields of a request that may be noted of this act.
    pub fn add(&mut self, act: OperatorAction, request: &Map<String, Value>) {
        for name in act.fields() {
            if let Some(value) = request.get(*name) {
                self.put(name, value);
            }
        }
    }

    /// Notes a value, if it is one that can hold no secret. Of the URL of a shard only where it leads to is noted.
    pub fn put(&mut self, name: &str, value: &Value) {
        let (name, value) = match value {
            Value::String(url) if name == "url" => {
                let place = ShardOptions::parse(url).map_or_else(|_| "no URL of a shard".to_owned(), |url| url.place());
                ("place", plain(&place).into())
            }
            Value::Number(_) | Value::Bool(_) if name != "url" => (name, value.clone()),
            Value::String(word) if name != "url" && word.chars().all(is_word) => (name, plain(word).into()),
            Value::Null => return,
            _ => (name, "not shown".into()),
        };
        self.0.insert(name.to_owned(), value);
    }
}

/// What slots, names and numbers are made of, and no URL.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ',' | '.' | ' ')
}

/// An act that is to be noted.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// What.
    pub act: OperatorAction,
    /// Who.
    pub actor: Actor,
    /// From where; `None` for a command.
    pub source: Option<IpAddr>,
    /// The request's id, if it is one.
    pub request_id: Option<Arc<str>>,
    /// With what.
    pub details: ActionDetails,
}

/// An act as it was noted.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct LoggedAction {
    /// Names the entry.
    pub id: Uuid,
    /// When it began, by the clock of shard 0.
    #[serde(serialize_with = "time::required")]
    pub at: DateTime<Utc>,
    /// Whom the token names; `-` without sign-in; `user@host` for a command.
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
    /// What was done.
    #[schema(example = "move")]
    pub act: String,
    /// With what: numbers, flags and short words of the request.
    #[schema(value_type = Object, example = json!({"slots": "0-9", "to": 2}))]
    pub details: Value,
    /// `begun`: it is being done, or nobody knows how it ended. `accepted`: it was done, or written down to be done.
    /// `refused`: nothing was done. `failed`: it broke off; part of it may have been done.
    #[schema(example = "accepted")]
    pub outcome: String,
    /// Why it was refused, or failed: the code of the problem.
    pub code: Option<String>,
    /// When it ended.
    #[serde(serialize_with = "time::optional")]
    pub ended_at: Option<DateTime<Utc>>,
}

impl LoggedAction {
    pub(super) fn cursor(&self) -> EntryCursor {
        EntryCursor { at: self.at, id: self.id }
    }
}

/// Which entries are asked for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EntryFilter {
    /// Those before it, which are on the next page.
    pub before: Option<EntryCursor>,
    /// Not older than this.
    pub since: Option<DateTime<Utc>>,
    /// Of this act.
    pub act: Option<OperatorAction>,
    /// Of this actor, to the letter.
    pub actor: Option<String>,
}

impl EntryFilter {
    /// True if an actor can be called so.
    #[must_use]
    pub fn is_actor(name: &str) -> bool {
        plain(name) == name
    }
}

/// Where a page ends.
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
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for EntryCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ())?;
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
        details.add(act, request.as_object().unwrap());
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
        assert!(EntryFilter::is_actor("alice@host") && !EntryFilter::is_actor("a\0") && !EntryFilter::is_actor(""));
        assert!(!EntryFilter::is_actor(&"x".repeat(201)));
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
