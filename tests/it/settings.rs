//! Settings as the program takes them: its `.env`, what it refuses to start with, and what it leaves to others.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::api::{Api, PROGRAM};
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, base64};

/// `shardrive token` in a folder, with no environment: its code, output and errors.
async fn make_token(folder: &Path) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["token", "--user", "1"]).env_clear().current_dir(folder).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_env_file_of_the_working_folder_is_taken_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let env = |text: &str| std::fs::write(folder.path().join(".env"), text).unwrap();
    let secret = "pa$$word, $HOME and ${HOME}: not # one is replaced";
    env(&format!("SHARDRIVE_AUTH_SECRET='{secret}'\nOTHERS=$HOME\n"));
    let (code, token, err) = make_token(folder.path()).await;
    assert_eq!(code, 0, "{err}");
    let (message, signature) = token.trim().rsplit_once('.').unwrap();
    assert_eq!(signature, base64(Key::secret(secret).sign(message.as_bytes())));

    for (text, reason) in [
        ("SHARDRIVE_AUTH_SECRET=$ecret-of-more-than-32-bytes-as-it-must-be", "SHARDRIVE_AUTH_SECRET: line 1 of .env has a $"),
        ("\nAUTH_SECRET=\"a$b-of-more-than-32-bytes-as-it-must-be\"", "SHARDRIVE_AUTH_SECRET: line 2 of .env has $ or \\"),
        ("SHARDRIVE_AUTH_SECRET=", "SHARDRIVE_AUTH_SECRET: is empty"),
        ("SHARDRIVE_AUTH_SECRET=''", "SHARDRIVE_AUTH_SECRET: is empty"),
        ("SHARDRIVE_AUTH_SECRET", "sign-in is off"),
    ] {
        env(text);
        let (code, out, err) = make_token(folder.path()).await;
        assert_eq!((code, out.as_str()), (2, ""), "{text}: {err}");
        assert!(err.contains(reason), "{text}: {err}");
        assert!(!err.contains("ecret-of") && !err.contains("b-of"), "{err}");
    }

    // The file of a folder above is another project's.
    env(&format!("SHARDRIVE_AUTH_SECRET='{secret}'\n"));
    let below = folder.path().join("below");
    std::fs::create_dir(&below).unwrap();
    let (code, _, err) = make_token(&below).await;
    assert_eq!(code, 2);
    assert!(err.contains("sign-in is off"), "{err}");
}

#[tokio::test]
async fn an_empty_protection_stops_the_start_and_other_programs_variables_do_not() {
    let cluster = TestCluster::migrated(1).await;
    let with = |more: &[(&str, &str)]| {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        cluster.variables().into_iter().chain(more).collect::<Vec<_>>()
    };
    for name in ["SHARDRIVE_AUTH_SECRET", "SHARDRIVE_AUTH_ISSUER", "SHARDRIVE_AUTH_SECRET_FILE", "SHARDRIVE_TLS_CERT_FILE", "SHARDRIVE_RATE_LIMIT_PER_S"] {
        let Err(log) = Api::try_start(&with(&[(name, "")])).await else { panic!("an empty {name} is served") };
        assert!(log.contains(&format!("- {name}: is empty")), "{log}");
    }
    let api = Api::try_start(&with(&[("LOG_LEVEL", "info"), ("TLS_VERIFY", "true"), ("EVENTS_PORT", "1")])).await;
    let log = api.unwrap_or_else(|log| panic!("{log}")).log();
    assert!(log.contains("shardrive has no such settings, and ignores them: LOG_LEVEL, TLS_VERIFY\n"), "{log}");
}
