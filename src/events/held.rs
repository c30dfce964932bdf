//! The events held back because the broker refuses the events, or an earlier event.
//!
//! The broker may take some subjects and refuse others: no stream takes the subject, or the stream is full. A refused
//! event holds back the later events of its strand, to keep the order, and no other events. Now and then one event
//! of each refused subject is tried again.

use std::collections::{BTreeMap, HashMap};

use super::event::OutboxChange;

/// A strand: events in strict order, namely all events of a slot's files and folders, or of a slot's documents.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct EventStrand {
    slot: i32,
    of_files: bool,
}

impl EventStrand {
    pub(super) fn of_change(change: &OutboxChange) -> Self {
        Self { slot: change.slot, of_files: change.user_id.is_some() }
    }
}

/// The held events of a relay.
#[derive(Default, Debug)]
pub(super) struct HeldEvents {
    /// The reason of the refusal for each refused topic.
    refused_topics: BTreeMap<String, String>,
    /// The held strands, each with the refused topic.
    strands: HashMap<EventStrand, String>,
}

impl HeldEvents {
    pub(super) fn is_empty(&self) -> bool {
        self.refused_topics.is_empty()
    }

    pub(super) fn is_held(&self, change: &OutboxChange) -> bool {
        self.strands.contains_key(&EventStrand::of_change(change))
    }

    /// The refused topics, and why.
    pub(super) fn refused_topics(&self) -> &BTreeMap<String, String> {
        &self.refused_topics
    }

    /// The slots whose files', or documents', events are held back.
    pub(super) fn held_slots(&self, of_files: bool) -> Vec<i32> {
        self.strands.keys().filter(|strand| strand.of_files == of_files).map(|strand| strand.slot).collect()
    }

    /// Records a refused topic, and holds the event's strand, if any. True if the topic or the reason is new.
    pub(super) fn hold_topic(&mut self, topic: &str, strand: Option<EventStrand>, reason: &str) -> bool {
        if let Some(strand) = strand {
            self.strands.insert(strand, topic.to_owned());
        }
        let before = self.refused_topics.insert(topic.to_owned(), reason.to_owned());
        before.as_deref() != Some(reason)
    }

    /// Records an accepted topic and releases the topic's strands. True if the topic was refused before.
    pub(super) fn release_topic(&mut self, topic: &str) -> bool {
        if self.refused_topics.is_empty() || self.refused_topics.remove(topic).is_none() {
            return false;
        }
        self.strands.retain(|_, waits_for| waits_for != topic);
        true
    }

    /// Releases one strand of each refused topic, so that the strand's next event is tried. A topic without a waiting
    /// strand is forgotten, as the bounded outbox may have dropped its events. `alone` is a topic without strands,
    /// and stays.
    pub(super) fn retry_one_strand_per_topic(&mut self, alone: &str) {
        let strands = &mut self.strands;
        self.refused_topics.retain(|topic, _| {
            let strand = strands.iter().find(|(_, waits_for)| *waits_for == topic).map(|(strand, _)| *strand);
            strand.and_then(|strand| strands.remove(&strand)).is_some() || topic == alone
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strand(slot: i32, of_files: bool) -> Option<EventStrand> {
        Some(EventStrand { slot, of_files })
    }

    #[test]
    fn what_is_refused_holds_back_its_strand_alone() {
        let mut held = HeldEvents::default();
        assert!(held.hold_topic("record.created", strand(7, false), "no stream"));
        assert!(!held.hold_topic("record.created", strand(8, false), "no stream"), "it is no news");
        assert!(held.hold_topic("file.deleted", strand(7, true), "full"));
        assert!(held.hold_topic("gap", None, "no stream"));
        let mut slots = held.held_slots(false);
        slots.sort_unstable();
        assert_eq!((slots, held.held_slots(true)), (vec![7, 8], vec![7]));
        held.retry_one_strand_per_topic("gap");
        assert_eq!((held.held_slots(false).len(), held.held_slots(true).len()), (1, 0), "one of each topic");
        assert!(!held.release_topic("file.created"));
        held.retry_one_strand_per_topic("gap");
        assert_eq!(
            held.refused_topics().keys().collect::<Vec<_>>(),
            ["gap", "record.created"],
            "nothing waits for the third"
        );
        assert!(held.release_topic("record.created"));
        assert!(held.held_slots(false).is_empty());
        assert!(held.release_topic("gap") && held.is_empty());
    }

    #[test]
    fn another_reason_is_news() {
        let mut held = HeldEvents::default();
        assert!(held.hold_topic("gap", None, "no stream"));
        assert!(held.hold_topic("gap", None, "full"));
        assert_eq!(held.refused_topics().get("gap").map(String::as_str), Some("full"));
    }
}
