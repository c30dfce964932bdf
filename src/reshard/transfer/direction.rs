//! The two directions of a move: forward to the target, or in reverse to the source.
//!
//! Each direction has a stream of its own and a handover of its own: the cutover goes forward, a rollback in reverse.

use uuid::Uuid;

/// Which shard gives and which one gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reshard) enum Direction {
    /// From the source to the target.
    Forward,
    /// From the target to the source.
    Reverse,
}

/// The steps of a handover at which a test may end the coordinator.
pub(in crate::reshard) struct HandoverSteps {
    pub(in crate::reshard) frozen: &'static str,
    pub(in crate::reshard) both_own: &'static str,
    pub(in crate::reshard) given_up: &'static str,
    pub(in crate::reshard) handed_over: &'static str,
}

impl Direction {
    pub(in crate::reshard) const BOTH: [Self; 2] = [Self::Forward, Self::Reverse];

    /// The one name of a stream's publication, slot and subscription. A server may hold shards of several clusters and
    /// knows slots by their names alone: the cluster's id is part of the name.
    pub(in crate::reshard) fn stream_name(self, cluster: Uuid, move_id: i64) -> String {
        let suffix = match self {
            Self::Forward => "f",
            Self::Reverse => "r",
        };
        format!("{}{move_id}_{suffix}", stream_prefix(cluster))
    }

    /// The word in `shardrive.heartbeats`.
    pub(in crate::reshard) fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
        }
    }

    pub(in crate::reshard) fn handover_steps(self) -> HandoverSteps {
        match self {
            Self::Forward => HandoverSteps {
                frozen: "frozen",
                both_own: "both_own",
                given_up: "given_up",
                handed_over: "handed_over",
            },
            Self::Reverse => HandoverSteps {
                frozen: "rollback_frozen",
                both_own: "rollback_both_own",
                given_up: "rollback_given_up",
                handed_over: "rollback_handed_over",
            },
        }
    }
}

/// The beginning of every stream's name in a cluster.
pub(in crate::reshard) fn stream_prefix(cluster: Uuid) -> String {
    let cluster: String = cluster.simple().to_string().chars().take(8).collect();
    format!("shardrive_{cluster}_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_cluster_move_and_direction() {
        let cluster = Uuid::from_u128(0x1234_5678_9abc_def0_0000_0000_0000_0000);
        assert_eq!(Direction::Forward.stream_name(cluster, 7), "shardrive_12345678_7_f");
        assert_eq!(Direction::Reverse.stream_name(cluster, 7), "shardrive_12345678_7_r");
    }
}
