//! Zero stale reads, with delayed answers of the cache, cut links, frozen programs, a cache that is emptied and killed.
//! tests/chaos/run has the long form.

use crate::support::api::Api;
use crate::support::cache::{TestCache, hits, until_in_use, url_of};
use crate::support::moves::Move;
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::proxy::{Mode, Proxy};
use crate::support::race::Race;
use crate::support::servers::TestCluster;

const PROGRAMS: usize = 3;
const USERS: i64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn no_read_is_older_than_the_last_acknowledged_write() {
    let (cluster, mut cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let (mut proxies, mut apis) = (Vec::new(), Vec::new());
    for _ in 0..PROGRAMS {
        let proxy = Proxy::start(cache.server.port()).await;
        apis.push(Api::start_with(&cluster, &[("REDIS_URL", &url_of(proxy.port()))]).await);
        proxies.push(proxy);
    }
    let bases: Vec<_> = apis.iter().map(|api| api.base().to_owned()).collect();
    let race = Race::start(&bases, 0..USERS).await;
    let in_use = async || {
        for api in &apis {
            until_in_use(api, 100).await;
        }
    };
    in_use().await;
    race.wait_for_answers(1_000).await;
    // Answers that are late, so that values are on their way while others write.
    proxies[1].set_mode(Mode::Slow(12));
    race.wait_for_answers(600).await;
    cache.server.command("FLUSHALL").unwrap();
    race.wait_for_answers(300).await;
    proxies[1].set_mode(Mode::Pass);

    // One program is frozen while another one is cut off, and goes on.
    apis[2].pause();
    race.set_frozen(Some(2));
    proxies[0].set_mode(Mode::Refuse);
    race.wait_for_answers(100).await;
    apis[2].resume();
    race.set_frozen(None);
    race.wait_for_writes(60).await;
    proxies[0].set_mode(Mode::Pass);
    in_use().await;

    // A slot changes hands, there and back, while the cache is in use.
    Move::new(&cluster, &[0, 2], 0, 1).await.run().await;
    race.wait_for_writes(40).await;
    Move::new(&cluster, &[0, 2], 1, 0).await.run().await;
    race.wait_for_writes(40).await;

    // A link falls silent; then the server is killed and comes back empty.
    proxies[1].set_mode(Mode::BlackHole);
    race.wait_for_writes(60).await;
    cache.server.kill();
    race.wait_for_writes(60).await;
    proxies[1].set_mode(Mode::Pass);
    cache.server.start().await.unwrap();
    in_use().await;
    race.wait_for_answers(1_000).await;

    let hit = poll::until("the cache to have been used", async || {
        let mut hit = 0;
        for api in &apis {
            hit += hits(api).await;
        }
        if hit > 100 { Ok(hit) } else { Err(hit) }
    })
    .await;
    let seen = race.stop().await;
    seen.assert_never_stale();
    seen.assert_no_failure();
    println!("{} operations, {hit} hits", seen.operations());
}

/// A change of hands by the service tells what came before, so that a write removes what others may still read by the
/// old owner, and waits for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn writes_need_not_wait_until_a_change_of_hands_has_settled() {
    const WAITED: &str = "a write waited";
    let (cluster, cache) = (TestCluster::migrated(2).await, TestCache::start().await);
    let url = cache.url();
    let mut apis = Vec::new();
    for _ in 0..PROGRAMS {
        apis.push(Api::start_with(&cluster, &[("REDIS_URL", &url), ("RUST_LOG", "info,shardrive=debug")]).await);
    }
    let bases: Vec<_> = apis.iter().map(|api| api.base().to_owned()).collect();
    let race = Race::start(&bases, 0..USERS).await;
    let waits = || apis.iter().map(|api| api.log().matches(WAITED).count()).sum::<usize>();
    // On a busy machine a write may wait because a fence could not be looked at; not in every move.
    let mut moves = Vec::new();
    for round in 0..4 {
        for api in &apis {
            until_in_use(api, 0).await;
        }
        let before = waits();
        let target = if round % 2 == 0 { "1" } else { "0" };
        let moved = ["shards", "move", "--slots", "0,2,4", "--to", target, "--rollback-window", "0"];
        let moved = shardrive(&moved, &cluster.variables()).await;
        assert_eq!(moved.code, 0, "{moved:?}");
        race.wait_for_writes(60).await;
        moves.push(waits() - before);
    }
    let seen = race.stop().await;
    seen.assert_never_stale();
    seen.assert_no_failure();
    assert!(moves.contains(&0), "writes that waited, in each move: {moves:?}");
}
