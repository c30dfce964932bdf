//! The stages of a move, in their order.

use serde::Serialize;
use utoipa::ToSchema;

macro_rules! stages {
    ($($(#[$doc:meta])+ $name:ident = $text:literal;)+) => {
        /// Where a move is. Kept in `shardrive.moves`; a move goes through the stages in this order.
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
    /// Checks whether the move has everything it needs. A crash leaves nothing.
    Preflight = "preflight";
    /// The rows go over. A crash leaves a stream that goes on by itself; the next coordinator finds its records.
    Copy = "copy";
    /// The reverse stream is made, and the forward stream comes close. A crash leaves both streams, the reverse one not
    /// started.
    CatchUp = "catch_up";
    /// All rows of both sides are compared while writes go on. A crash leaves nothing; the comparison begins anew.
    Verify = "verify";
    /// The owner changes under a write freeze: the target takes the slots, then the source gives the slots up. A crash
    /// leaves the write freeze. The next coordinator reads the target's map: if the target has taken the slots, the
    /// coordinator completes the handover, otherwise the coordinator ends the write freeze on the source.
    Cutover = "cutover";
    /// The target serves, and its writes flow back. A crash leaves the reverse stream, which goes on by itself.
    RollbackWindow = "rollback_window";
    /// The owner changes back, as in the cutover, with the roles exchanged.
    Rollback = "rollback";
    /// Removes streams, change tracking, and rows on the shard that does not own the slots. A crash leaves a part; the
    /// next coordinator removes the rest.
    CleanUp = "clean_up";
    /// Ended: the target owns the slots.
    Done = "done";
    /// Ended before the cutover, as an operator requested: the source owns the slots.
    Cancelled = "cancelled";
    /// Ended after a rollback: the source owns the slots.
    RolledBack = "rolled_back";
    /// Ended before the cutover, because of a fault: the source owns the slots.
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

    /// True while the source owns the slots and no writer has waited yet: the move can be cancelled.
    #[must_use]
    pub fn is_before_cutover(self) -> bool {
        self < Self::Cutover
    }

    /// True if the move copies, compares or changes owners; one move at a time does.
    #[must_use]
    pub fn is_busy(self) -> bool {
        self > Self::Plan && self < Self::RollbackWindow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_the_order_is_that_of_the_work() {
        for stage in MoveStage::ALL {
            assert_eq!(MoveStage::parse(stage.as_str()), Some(*stage));
            assert!(!(stage.is_end() && (stage.is_before_cutover() || stage.is_busy())));
        }
        assert_eq!(MoveStage::parse("lost"), None);
        assert!(MoveStage::ALL.is_sorted());
        assert!(
            MoveStage::Verify < MoveStage::Cutover
                && MoveStage::Cutover < MoveStage::RollbackWindow
                && MoveStage::RollbackWindow < MoveStage::CleanUp
        );
    }
}
