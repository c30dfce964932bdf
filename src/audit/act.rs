//! The operator actions in the audit log, and their outcomes, by their stable words.

macro_rules! acts {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, [$($field:literal),*];)+) => {
        /// An action of an operator on the cluster. The audit log stores the word; words are added, never renamed.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum OperatorAction {
            $($(#[$doc])+ $name,)+
        }

        impl OperatorAction {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The action's word in the database, in answers and on the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The fields of the request that the log records; no other field is ever recorded.
            #[must_use]
            pub fn fields(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($field),*],)+ }
            }
        }
    };
}

acts! {
    /// A database becomes a shard.
    AddShard = "add_shard", ["url", "dry_run"];
    /// Slots move to a shard.
    MoveSlots = "move", ["slots", "to", "dry_run", "rollback_window_seconds", "skip_verify", "copy_rate"];
    /// A shard is emptied.
    Drain = "drain", ["shard", "dry_run", "rollback_window_seconds", "skip_verify", "copy_rate"];
    /// The slots are dealt anew.
    Rebalance = "rebalance", ["strategy", "dry_run", "rollback_window_seconds", "skip_verify", "copy_rate"];
    /// A move is ended before its slots change hands.
    Cancel = "cancel", [];
    /// A move is taken back.
    RollBack = "rollback", [];
    /// The rollback window of a move is ended.
    Finish = "finish", [];
    /// A collection is declared.
    DeclareCollection = "declare_collection", ["shard_key", "key_type", "records_per_key"];
    /// Test files are made.
    MakeTestFiles = "make_test_files", [];
    /// An operators' page is read. Recorded only when refused.
    Look = "look", [];
}

impl OperatorAction {
    /// The action with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|act| act.as_str() == word)
    }

    /// All words, for messages.
    #[must_use]
    pub fn all_words() -> String {
        Self::ALL.iter().map(|act| act.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The outcome of an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActionOutcome {
    /// The action was done, or stored for the coordinator.
    Accepted,
    /// The action was not done, because of the request's or the cluster's state. Holds a problem's code.
    Refused(&'static str),
    /// The action broke off, perhaps after a part was done. Holds a problem's code.
    Failed(&'static str),
}

impl ActionOutcome {
    /// The outcome's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    /// The code of the problem, if any.
    #[must_use]
    pub fn problem_code(self) -> Option<&'static str> {
        match self {
            Self::Accepted => None,
            Self::Refused(code) | Self::Failed(code) => Some(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_is_found_by_its_word() {
        for act in OperatorAction::ALL {
            assert_eq!(OperatorAction::from_word(act.as_str()), Some(*act));
        }
        assert_eq!(OperatorAction::from_word("fly"), None);
    }
}
