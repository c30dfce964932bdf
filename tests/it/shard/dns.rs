//! A shard's host name that begins to lead elsewhere, as managed databases fail over: the service follows without a
//! restart.
//!
//! The name stands in a file of hosts that the service alone sees, in a mount namespace of its own; where the system
//! permits none, the test is skipped.

use std::net::SocketAddr;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::json;
use shardrive::local_servers::database_name;

use crate::support::api::{AS_SHIPPED, Api, PROGRAM};
use crate::support::poll;
use crate::support::proxy::Proxy;
use crate::support::servers::{TestCluster, value};

const NAME: &str = "shard-1.drive.test";
const UNSHARE: &str = "/usr/bin/unshare";

/// The words of `unshare` that are permitted here, if any are: as root, or with root's rights in a user namespace.
fn permitted(hosts: &str) -> Option<&'static [&'static str]> {
    let forms: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
    forms.into_iter().find(|words| {
        let tried = Command::new(UNSHARE).args(*words).args(in_own_hosts(hosts, "true", &[])).output();
        tried.is_ok_and(|done| done.status.success())
    })
}

/// A command that sees this file as the file of hosts.
fn in_own_hosts<'a>(hosts: &'a str, program: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let mount = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    [&["/bin/sh", "-c", mount, hosts, program], arguments].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_elsewhere_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts").to_str().unwrap().to_owned();
    // In its place: the mount is of this file, and not of its name.
    let lead_to = |address: &str| std::fs::write(&file, format!("127.0.0.1 localhost\n{address} {NAME}\n")).unwrap();
    lead_to("127.0.0.1");
    let Some(words) = permitted(&file) else {
        eprintln!("skipped: a mount namespace is not permitted here, so that no name can be led elsewhere");
        return;
    };
    let mut cluster = TestCluster::migrated(2).await;
    let standby = cluster.standby(1).await;
    // The same port at another address, as it would be with a name.
    let second = SocketAddr::from(([127, 0, 0, 2], cluster.port(1)));
    let _second = Proxy::at(second, standby.port()).await;

    let url = cluster.url(1).replace("127.0.0.1", NAME);
    let variables = [("SHARD_0_URL", cluster.url(0)), ("SHARD_1_URL", url)];
    let variables = variables.into_iter().chain(AS_SHIPPED.map(|(name, value)| (name, value.to_owned())));
    let variables: Vec<_> = variables.map(|(name, value)| (name.to_owned(), value)).collect();
    let command = [words, &in_own_hosts(&file, PROGRAM, &["serve"])].concat();
    let api = Api::try_build(UNSHARE, &command, &variables).await.unwrap_or_else(|log| panic!("{log}"));
    let store = async || api.post("/ingest", &json!({"user_id": 43, "file_name": "a"})).await.status();
    assert_eq!(store().await, StatusCode::CREATED);

    cluster.server(1).kill().await;
    poll::until_true("the shard to be away", async || store().await == StatusCode::SERVICE_UNAVAILABLE).await;
    let mut db = standby.connect("postgres").await.unwrap();
    assert!(value::<bool>(&mut db, "SELECT pg_promote(true, 60)").await);
    assert_eq!(store().await, StatusCode::SERVICE_UNAVAILABLE, "the name leads to the dead server still");

    lead_to("127.0.0.2");
    poll::until("a write at the new address", async || match store().await {
        StatusCode::CREATED => Ok(()),
        other => Err(other),
    })
    .await;
    let mut db = standby.connect(&database_name(1)).await.unwrap();
    let stored = value::<i64>(&mut db, "SELECT count(*) FROM file_metadata WHERE user_id = 43").await;
    assert!(stored >= 2, "{stored}");
    poll::until_true("health", async || api.get_json("/health").await.1["shards"]["shard_1"] == "healthy").await;
}
