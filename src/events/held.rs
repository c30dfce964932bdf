//! Which events are held back because the broker refuses them, or refuses an earlier event.
//!
//! The broker may take some subjects and refuse others: no stream takes them, or the stream is full. A refused event
//! holds back the later events of its strand, so that their order holds, and no other events. Now and then one event
//! of each refused subject is tried again.

use std::collections::{BTreeMap, HashMap};

use super::event::OutboxChange;

/// A strand: events in strict order, namely all events of one slot's files, or of one slot's documents.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct EventStrand {
    slot: i32,
    of_files: bool,
}

impl EventStrand {
    pub(super) fn of(change: &OutboxChange) -> Self {
        Self { slot: change.slot, of_files: change.file_id.is_some() }
    }
}

/// The events that a relay holds back.
#[derive(Default, Debug)]
pub(super) struct HeldEvents {
    /// The reason of the refusal for each refused topic.
    reasons: BTreeMap<String, String>,
    /// The held strands, each with the topic that holds the strand.
    strands: HashMap<EventStrand, String>,
}

impl HeldEvents {
    pub(super) fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    pub(super) fn holds(&self, change: &OutboxChange) -> bool {
        self.strands.contains_key(&EventStrand::of(change))
    }

    /// The refused topics, and why.
    pub(super) fn reasons(&self) -> &BTreeMap<String, String> {
        &self.reasons
    }

    /// The slots whose files', or documents', events are held back.
    pub(super) fn slots(&self, of_files: bool) -> Vec<i32> {
        self.strands.keys().filter(|strand| strand.of_files == of_files).map(|strand| strand.slot).collect()
    }

    /// Records a refused topic, and holds the event's strand, if any. True if the topic or the reason is new.
    pub(super) fn refuse(&mut self, topic: &str, strand: Option<EventStrand>, reason: &str) -> bool {
        if let Some(strand) = strand {
            self.strands.insert(strand, topic.to_owned());
        }
        let before = self.reasons.insert(topic.to_owned(), reason.to_owned());
        before.as_deref() != Some(reason)
    }

    /// Records an accepted topic and releases the strands that the topic held. True if the topic was refused before.
    pub(super) fn accept(&mut self, topic: &str) -> bool {
        if self.reasons.is_empty() || self.reasons.remove(topic).is_none() {
            return false;
        }
        self.strands.retain(|_, waits_for| waits_for != topic);
        true
    }

    /// Releases one strand of each refused topic, so that the strand's next event is tried. A topic without a waiting
    /// strand is forgotten, as the bounded outbox may have dropped its events. `alone` is a topic without strands,
    /// and stays.
    pub(super) fn let_one_try(&mut self, alone: &str) {
        let strands = &mut self.strands;
        self.reasons.retain(|topic, _| {
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
        assert!(held.refuse("record.created", strand(7, false), "no stream"));
        assert!(!held.refuse("record.created", strand(8, false), "no stream"), "it is no news");
        assert!(held.refuse("file.deleted", strand(7, true), "full"));
        assert!(held.refuse("gap", None, "no stream"));
        let mut slots = held.slots(false);
        slots.sort_unstable();
        assert_eq!((slots, held.slots(true)), (vec![7, 8], vec![7]));
        held.let_one_try("gap");
        assert_eq!((held.slots(false).len(), held.slots(true).len()), (1, 0), "one of each topic");
        assert!(!held.accept("file.created"));
        held.let_one_try("gap");
        assert_eq!(held.reasons().keys().collect::<Vec<_>>(), ["gap", "record.created"], "nothing waits for the third");
        assert!(held.accept("record.created"));
        assert!(held.slots(false).is_empty());
        assert!(held.accept("gap") && held.is_empty());
    }

    #[test]
    fn another_reason_is_news() {
        let mut held = HeldEvents::default();
        assert!(held.refuse("gap", None, "no stream"));
        assert!(held.refuse("gap", None, "full"));
        assert_eq!(held.reasons().get("gap").map(String::as_str), Some("full"));
    }
}
