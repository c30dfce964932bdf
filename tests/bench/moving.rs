//! Moves of slots: asked for over the API, waited for, and read from their events.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::Result;
use crate::http::{Connection, get, post};

/// Between two looks at a move.
const POLL: Duration = Duration::from_millis(50);
/// A move that takes longer does not end.
const PATIENCE: Duration = Duration::from_mins(10);

/// A move that has ended.
pub struct Moved {
    /// When it was asked for, and when it was seen to have ended.
    pub from: Instant,
    pub to: Instant,
    /// The first of these by the clock that events go by.
    asked: DateTime<Utc>,
    /// What `GET /admin/moves/{id}` says of it.
    view: Value,
}

/// Moves slots to a shard, without a rollback window, and waits until the old rows are gone as well.
pub fn move_slots(base: &str, slots: &[u64], to: usize) -> Result<Moved> {
    let mut api = Connection::open(base)?;
    let names: Vec<String> = slots.iter().map(u64::to_string).collect();
    let asked = json!({"slots": names.join(","), "to": to, "rollback_window_seconds": 0}).to_string();
    let (from, clock) = (Instant::now(), Utc::now());
    let planned = api.json(&post("/admin/moves", &asked))?;
    let id = planned.pointer("/ids/0").and_then(Value::as_i64).ok_or_else(|| format!("no move began: {planned}"))?;
    let request = get(&format!("/admin/moves/{id}"));
    while from.elapsed() < PATIENCE {
        std::thread::sleep(POLL);
        let view = api.json(&request)?;
        match view.get("stage").and_then(Value::as_str) {
            Some("done") => return Ok(Moved { from, to: Instant::now(), asked: clock, view }),
            Some("failed" | "cancelled" | "rolled_back") => return Err(format!("the move failed: {view}").into()),
            _ => {}
        }
    }
    Err(format!("move {id} does not end: {}", api.json(&request)?).into())
}

impl Moved {
    /// Its rows, when it was asked for.
    pub fn rows(&self) -> f64 {
        self.view.get("total_rows").and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// The length of its write freeze, in milliseconds, by the coordinator's clock.
    pub fn freeze(&self) -> f64 {
        self.view.get("freeze_ms").and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// Attempts to change the owner that were given up.
    pub fn given_up(&self) -> i64 {
        self.view.get("cutover_attempts").and_then(Value::as_i64).unwrap_or(1) - 1
    }

    /// The parts of the write freeze, in milliseconds: the event says "… (freeze 1, writers 0, …)".
    pub fn parts(&self) -> Vec<(&str, f64)> {
        let what = self.first("rollback_window").and_then(|event| event.get("what")?.as_str()).unwrap_or_default();
        let (_, parts) = what.trim_end_matches(')').rsplit_once('(').unwrap_or_default();
        parts
            .split(", ")
            .filter_map(|part| part.rsplit_once(' '))
            .filter_map(|(name, ms)| Some((name, ms.parse().ok()?)))
            .collect()
    }

    /// Seconds from the first event of one stage to the first of another.
    pub fn between(&self, stage: &str, next: &str) -> Result<f64> {
        let at = |stage: &str| -> Result<DateTime<Utc>> {
            let event = self.first(stage).ok_or_else(|| format!("no event of the stage {stage}: {}", self.view))?;
            Ok(event.get("at").and_then(Value::as_str).ok_or("an event without a time")?.parse()?)
        };
        Ok((at(next)? - at(stage)?).as_seconds_f64())
    }

    /// Its stages in their order, and from when to when it was in each of them.
    pub fn stages(&self) -> Vec<(&str, Instant, Instant)> {
        let mut begins: Vec<(&str, Instant)> = Vec::new();
        for event in self.view.get("events").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| event.get(name).and_then(Value::as_str);
            let at = text("at").and_then(|at| at.parse::<DateTime<Utc>>().ok());
            if let (Some(stage), Some(at)) = (text("stage"), at)
                && begins.last().is_none_or(|(last, _)| *last != stage)
            {
                begins.push((stage, self.from + (at - self.asked).to_std().unwrap_or_default()));
            }
        }
        let ends: Vec<Instant> = begins.iter().skip(1).map(|(_, at)| *at).chain([self.to]).collect();
        begins.into_iter().zip(ends).map(|((stage, begin), end)| (stage, begin, end.max(begin))).collect()
    }

    fn first(&self, stage: &str) -> Option<&Value> {
        let events = self.view.get("events")?.as_array()?;
        events.iter().find(|event| event.get("stage").and_then(Value::as_str) == Some(stage))
    }
}
