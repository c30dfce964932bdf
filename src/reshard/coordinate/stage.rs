//! The stages of a move, in their order.

use serde::Serialize;
use utoipa::ToSchema;

macro_rules! stages {
    ($($(#[$doc:meta])+ $name:ident = $text:literal;)+) => {
        /// Where a move is. Kept in `shardrive.moves`; the order is that in which a move goes through them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum MoveStage {
            $($(#[$doc])+ $name,)+
        }

        impl MoveStage {
            /// Every stage, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its word in the database and in answers.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

stages! {
    /// Waits for its turn. A crash leaves the row in `shardrive.moves`, and nothing else.
    Plan = "plan";
    /// Looks whether everything is there that the move needs. A crash leaves nothing.
    Preflight = "preflight";
    /// The rows go over. A crash leaves a stream that goes on by itself; it is found by its records.
    Copy = "copy";
    /// The way back is prepared, and the stream comes close. A crash leaves both streams, the second one not started.
    CatchUp = "catch_up";
    /// All rows of both sides are compared while writes go on. A crash leaves nothing; the comparison begins anew.
    Verify = "verify";
    /// Ownership changes: the source holds the slots, the target takes them, the source gives them up, the target releases
    /// them. A crash leaves the slots held. The next coordinator reads the target's map: if the target has taken the slots,
    /// the coordinator completes the handover, otherwise it releases the slots on the source.
    Flip = "flip";
    /// The target serves, and what is written there flows back. A crash leaves that stream, which goes on by itself.
    Watch = "watch";
    /// Ownership goes back, as in the flip, with the roles exchanged.
    Return = "return";
    /// Streams, marks and the rows of the shard that does not own the slots go. A crash leaves a part; the rest goes at
    /// the next try.
    CleanUp = "clean_up";
    /// Ended: the target owns the slots.
    Done = "done";
    /// Ended before the flip, as somebody asked: the source owns the slots.
    Cancelled = "cancelled";
    /// Ended after the flip was taken back: the source owns the slots.
    RolledBack = "rolled_back";
    /// Ended before the flip, as something was wrong: the source owns the slots.
    Failed = "failed";
}

impl MoveStage {
    /// The stage with this word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|stage| stage.as_str() == text)
    }

    /// True if nothing follows.
    #[must_use]
    pub fn is_end(self) -> bool {
        self >= Self::Done
    }

    /// True while the source owns the slots and nobody has waited yet: the move can be cancelled.
    #[must_use]
    pub fn is_before_flip(self) -> bool {
        self < Self::Flip
    }

    /// True if the move copies, compares or flips; one move at a time does.
    #[must_use]
    pub fn is_busy(self) -> bool {
        self > Self::Plan && self < Self::Watch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_the_order_is_that_of_the_work() {
        for stage in MoveStage::ALL {
            assert_eq!(MoveStage::parse(stage.as_str()), Some(*stage));
            assert!(!(stage.is_end() && (stage.is_before_flip() || stage.is_busy())));
        }
        assert_eq!(MoveStage::parse("lost"), None);
        assert!(MoveStage::ALL.is_sorted());
        assert!(
            MoveStage::Verify < MoveStage::Flip
                && MoveStage::Flip < MoveStage::Watch
                && MoveStage::Watch < MoveStage::CleanUp
        );
    }
}
