//! The example with a real provider, run as its readers run it: tokens by the provider's own flows, and a change of keys.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::api::Api;
use crate::support::poll;
use crate::support::servers::TestCluster;
use shardrive::local_servers::free_port;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sign-in").join(name)
}

/// A running Glewlwyd. Dropping it kills it.
struct Glewlwyd(Child);

impl Drop for Glewlwyd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_real_providers_tokens_count_also_after_it_changed_its_keys() {
    if !Path::new("/usr/bin/glewlwyd").exists() {
        eprintln!("skipped: glewlwyd is not installed; scripts/setup test installs it where the system has it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("provider");
    let port = free_port().unwrap();
    let provider = Command::new(example("provider"))
        .arg("start")
        .args([place.as_os_str(), port.to_string().as_ref()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut provider = Glewlwyd(provider);

    // The service starts without its provider, which may well come later.
    let cluster = TestCluster::migrated(2).await;
    let issuer = format!("http://127.0.0.1:{port}/api/oidc");
    let settings = [
        ("AUTH_ISSUER", issuer.as_str()),
        ("AUTH_AUDIENCE", "https://drive.example/"),
        ("AUTH_USER_CLAIM", "drive_user"),
    ];
    let api = Api::start_with(&cluster, &settings).await;
    poll::until_true("the provider", async || {
        assert!(provider.0.try_wait().unwrap().is_none(), "the provider ended");
        place.join("ready").exists()
    })
    .await;
    let run = tokio::process::Command::new(example("run")).arg(&place).arg(api.base()).output().await.unwrap();
    let (out, err) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(run.status.success(), "{out}\n{err}");
    assert_eq!(out.matches("403  ").count(), 8, "{out}");
    let stored: i64 = cluster.value(0, "SELECT count(*) FROM file_metadata WHERE user_id = 42").await;
    assert_eq!(stored, 2);
    assert!(api.log().contains("callers sign in with tokens of http://127.0.0.1"), "{}", api.log());
}
