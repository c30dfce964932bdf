//! The example with a real provider, run as its readers run it: tokens by the provider's own flows, and a change of
//! keys.

use std::path::Path;
use std::process::Stdio;

use shardrive::local_servers::free_port;
use tokio::process::Command;

use crate::support::api::Api;
use crate::support::poll;
use crate::support::servers::TestCluster;
use crate::support::tools::{skip, tools_folder};

/// A script of the example, which looks for the provider where `scripts/setup` puts it.
fn example(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sign-in").join(name));
    command.env("CARGO_TARGET_DIR", tools_folder().parent().unwrap()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_real_providers_tokens_count_also_after_it_changed_its_keys() {
    if !example("provider").arg("find").output().await.unwrap().status.success() {
        return skip("glewlwyd");
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("provider");
    let port = free_port().unwrap();
    let start = [place.as_os_str(), port.to_string().as_ref()].map(ToOwned::to_owned);
    let mut provider = example("provider").arg("start").args(start).spawn().unwrap();

    // The service starts without its provider, which may well come later.
    let cluster = TestCluster::migrated(2).await;
    let issuer = format!("http://127.0.0.1:{port}/api/oidc");
    let settings = [
        ("SHARDRIVE_AUTH_ISSUER", issuer.as_str()),
        ("SHARDRIVE_AUTH_AUDIENCE", "https://drive.example/"),
        ("SHARDRIVE_AUTH_USER_CLAIM", "drive_user"),
    ];
    let api = Api::start_with(&cluster, &settings).await;
    poll::until_true("the provider", async || {
        assert!(provider.try_wait().unwrap().is_none(), "the provider ended");
        place.join("ready").exists()
    })
    .await;
    let run = example("run").arg(&place).arg(api.base()).output().await.unwrap();
    let (out, err) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(run.status.success(), "{out}\n{err}");
    assert_eq!(out.matches("403  ").count(), 8, "{out}");
    let stored: i64 = cluster.value(0, "SELECT count(*) FROM file_metadata WHERE user_id = 42").await;
    assert_eq!(stored, 2);
    assert!(api.log().contains("callers sign in with tokens of http://127.0.0.1"), "{}", api.log());
}
