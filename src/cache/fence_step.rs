//! What a process does with a shard's fence after a look at it.
//!
//! - A process whose link is up opens a closed fence for its server, and closes a fence that is open for another
//!   server.
//! - A fence names the server and the formats of the processes that share the server. A process closes a fence with
//!   other formats, which then stays closed for a while.
//! - A process that cannot reach its server closes every fence, and keeps all fences closed for as long as that lasts:
//!   the process could not invalidate what other processes cache.
//! - A process without a cache closes an open fence, and keeps it closed from then on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fence_view::ShardFence;
use super::server_info::is_same_server;
use super::shared_connection::LinkState;
use crate::shard::ShardId;

/// How long nobody uses the cache after a process with other formats has used the cache; then a process tries again.
const MIXED: Duration = Duration::from_secs(10);

/// What is to be done with a fence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FenceStep {
    Leave,
    Close,
    /// Open for this server.
    Open(Arc<str>),
}

/// A fence, and what a look found of its closing.
#[derive(Clone, Debug)]
pub(super) struct FenceReading {
    pub(super) fence: ShardFence,
    /// Nobody may open the fence yet.
    pub(super) is_held: bool,
    /// The fence must be closed anew to stay closed.
    pub(super) is_fading: bool,
}

/// Decides about one shard's fence, by what the process has found at the fence so far.
#[derive(Debug)]
pub(super) struct FencePolicy {
    shard: ShardId,
    /// This process has no cache and has found another process using a cache.
    keeps_closed: bool,
    /// Until then nobody uses the cache: a process with other formats has used it.
    mixed_until: Option<Instant>,
}

impl FencePolicy {
    /// Nothing has been found yet.
    pub(super) fn new(shard: ShardId) -> Self {
        Self { shard, keeps_closed: false, mixed_until: None }
    }

    /// What this process does after a look, with its link in this state. The link is given by the name of its server.
    pub(super) fn decide(&mut self, link: &LinkState<Arc<str>>, reading: &FenceReading, now: Instant) -> FenceStep {
        let stay_closed = if reading.is_fading { FenceStep::Close } else { FenceStep::Leave };
        match (link, &reading.fence.server) {
            (LinkState::Disabled, Some(_)) => {
                self.record_other_cache();
                FenceStep::Close
            }
            (LinkState::Disabled, None) if self.keeps_closed => stay_closed,
            (LinkState::Disabled, None) | (LinkState::Connecting, _) => FenceStep::Leave,
            (LinkState::Away, Some(_)) => FenceStep::Close,
            (LinkState::Away, None) => stay_closed,
            (LinkState::Up(own), Some(server)) if server == own => FenceStep::Leave,
            (LinkState::Up(own), Some(server)) => {
                if is_same_server(server, own) {
                    self.record_other_formats(now);
                }
                FenceStep::Close
            }
            // To open the fence after each closing by the other process would make writes wait each time.
            (LinkState::Up(_), None) if self.mixed_until.is_some_and(|until| now < until) => stay_closed,
            (LinkState::Up(_), None) if reading.is_held => FenceStep::Leave,
            (LinkState::Up(own), None) => FenceStep::Open(Arc::clone(own)),
        }
    }

    fn record_other_cache(&mut self) {
        if !std::mem::replace(&mut self.keeps_closed, true) {
            log::warn!(
                "shard {}: another process uses a cache, which this one could not keep right as it has no REDIS_URL; \
                 nobody uses the cache while this process runs. Give it the same REDIS_URL, or stop it",
                self.shard
            );
        }
    }

    fn record_other_formats(&mut self, now: Instant) {
        if self.mixed_until.replace(now + MIXED).is_none() {
            log::info!(
                "shard {}: processes of releases that cache in different ways are running; nobody uses the cache \
                 until those of one release are left",
                self.shard
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(server: Option<&str>, is_held: bool, is_fading: bool) -> FenceReading {
        let fence = ShardFence { generation: 7, server: server.map(Into::into), started: 1 };
        FenceReading { fence, is_held, is_fading }
    }

    fn up(server: &str) -> LinkState<Arc<str>> {
        LinkState::Up(server.into())
    }

    const HELD: (bool, bool) = (true, false);
    const FADING: (bool, bool) = (true, true);
    const OVER: (bool, bool) = (false, true);

    #[test]
    fn a_link_and_a_fence_make_a_step() {
        let open = || FenceStep::Open("a+1".into());
        for (link, server, (is_held, is_fading), step) in [
            (LinkState::Disabled, None, OVER, FenceStep::Leave),
            (LinkState::Disabled, Some("a+1"), OVER, FenceStep::Close),
            (LinkState::Connecting, None, OVER, FenceStep::Leave),
            (LinkState::Connecting, Some("a+1"), OVER, FenceStep::Leave),
            (LinkState::Away, None, HELD, FenceStep::Leave),
            (LinkState::Away, None, FADING, FenceStep::Close),
            (LinkState::Away, Some("a+1"), OVER, FenceStep::Close),
            (up("a+1"), None, HELD, FenceStep::Leave),
            (up("a+1"), None, FADING, FenceStep::Leave),
            (up("a+1"), None, OVER, open()),
            (up("a+1"), Some("a+1"), OVER, FenceStep::Leave),
            (up("a+1"), Some("a+2"), OVER, FenceStep::Close),
            (up("a+1"), Some("b+1"), OVER, FenceStep::Close),
        ] {
            let mut policy = FencePolicy::new(ShardId::new(0));
            let found = policy.decide(&link, &reading(server, is_held, is_fading), Instant::now());
            assert_eq!(found, step, "{server:?}, held: {is_held}, fading: {is_fading}");
        }
    }

    #[test]
    fn a_process_without_a_cache_keeps_closed_what_it_has_closed() {
        let (mut policy, now) = (FencePolicy::new(ShardId::new(0)), Instant::now());
        let mut decide = |server, (is_held, is_fading): (bool, bool)| {
            policy.decide(&LinkState::Disabled, &reading(server, is_held, is_fading), now)
        };
        assert_eq!(decide(None, OVER), FenceStep::Leave);
        assert_eq!(decide(Some("a+1"), OVER), FenceStep::Close);
        assert_eq!(decide(None, HELD), FenceStep::Leave);
        assert_eq!(decide(None, FADING), FenceStep::Close);
    }

    #[test]
    fn other_formats_keep_a_fence_closed_for_a_while_and_another_server_does_not() {
        let begun = Instant::now();
        for (server, after, step) in [
            ("a+2", Duration::ZERO, FenceStep::Close),
            ("a+2", MIXED.saturating_sub(Duration::from_millis(1)), FenceStep::Close),
            ("a+2", MIXED, FenceStep::Open("a+1".into())),
            ("b+1", Duration::ZERO, FenceStep::Open("a+1".into())),
        ] {
            let mut policy = FencePolicy::new(ShardId::new(0));
            assert_eq!(policy.decide(&up("a+1"), &reading(Some(server), false, true), begun), FenceStep::Close);
            let found = policy.decide(&up("a+1"), &reading(None, false, true), begun + after);
            assert_eq!(found, step, "{server} after {after:?}");
        }
    }
}
