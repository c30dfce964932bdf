//! A shard behind a network that fails: it answers nothing, or refuses, and heals by itself.

use std::time::Instant;

use shardrive::shard::{Cluster, ShardOptions, ShardState};

use crate::support::poll;
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{TestCluster, limits};

#[tokio::test]
async fn a_cut_cable_is_noticed_and_its_end_too() {
    let servers = TestCluster::migrated(2).await;
    let proxy = Proxy::start(servers.port(1)).await;
    let through = servers.url(1).replace(&format!(":{}/", servers.port(1)), &format!(":{}/", proxy.port()));
    let options = vec![servers.options().remove(0), ShardOptions::parse(&through).unwrap()];
    let cluster = Cluster::open(options, limits()).await.unwrap();
    let state = || cluster.shards()[1].state();
    for mode in [Mode::BlackHole, Mode::Refuse] {
        proxy.set_mode(mode);
        poll::until_true("the shard to be away", async || state() == ShardState::Unreachable).await;
        let asked = Instant::now();
        assert!(cluster.shards()[1].borrow_connection().await.is_err());
        assert!(asked.elapsed() < limits().health_timeout, "a shard that is known to be away is not waited for");
        assert_eq!(cluster.shards()[0].state(), ShardState::Healthy);
        proxy.set_mode(Mode::Pass);
        poll::until_true("the shard to be back", async || state() == ShardState::Healthy).await;
    }
    cluster.shut_down().await;
}
