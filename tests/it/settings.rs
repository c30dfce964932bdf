//! Settings as the program takes them: its `.env`, what it refuses to start with, and what it leaves to others.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::api::{Api, PROGRAM};
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, base64};

/// `shardrive token` in a folder, with no environment: its code, output and errors.
async fn make_token(folder: &Path) -> (i32, String, String) {
    run_in(folder, &["token", "--user", "1"], &[]).await
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
        (
            "SHARDRIVE_AUTH_SECRET=$ecret-of-more-than-32-bytes-as-it-must-be",
            "SHARDRIVE_AUTH_SECRET in .env, line 1: has a $",
        ),
        (
            "\nSHARDRIVE_AUTH_SECRET=\"a$b-of-more-than-32-bytes-as-it-must-be\"",
            "SHARDRIVE_AUTH_SECRET in .env, line 2: has $ or \\",
        ),
        ("SHARDRIVE_AUTH_SECRET=", "SHARDRIVE_AUTH_SECRET in .env, line 1: is empty"),
        ("SHARDRIVE_AUTH_SECRET=''", "SHARDRIVE_AUTH_SECRET in .env, line 1: is empty"),
        ("AUTH_SECRET=secret-of-more-than-32-bytes-as-it-must-be", "use SHARDRIVE_AUTH_SECRET\n"),
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
    for name in [
        "SHARDRIVE_AUTH_SECRET",
        "SHARDRIVE_AUTH_ISSUER",
        "SHARDRIVE_AUTH_SECRET_FILE",
        "SHARDRIVE_TLS_CERT_FILE",
        "SHARDRIVE_RATE_LIMIT_PER_S",
    ] {
        let Err(log) = Api::try_start(&with(&[(name, "")])).await else { panic!("an empty {name} is served") };
        assert!(log.contains(&format!("- {name}: is empty")), "{log}");
    }
    let Err(log) = Api::try_start(&with(&[("AUTH_ISSUER", "https://h")])).await else { panic!("sign-in is off") };
    assert!(log.contains("- AUTH_ISSUER: does not count without the prefix: use SHARDRIVE_AUTH_ISSUER"), "{log}");
    let others = [
        ("LOG_LEVEL", "info"),
        ("TLS_VERIFY", "true"),
        ("AUTH_TOKEN", "x"),
        ("KEEP_ALIVE_S", "5"),
        ("SHARDRIVE_PORT", "tcp://10.0.0.1:80"),
        ("SHARDRIVE_SERVICE_HOST", "10.0.0.1"),
    ];
    let api = Api::try_start(&with(&others)).await;
    let log = api.unwrap_or_else(|log| panic!("{log}")).log();
    assert!(log.contains("settings without the prefix do not count: use SHARDRIVE_KEEP_ALIVE_S\n"), "{log}");
}

/// A command in a folder, with these variables and no others: its code, output and errors.
async fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(folder).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_settings_are_checked_and_shown_without_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("shardrive.toml", "shard_0_url = 'postgres://u:verysecret@h/d'\nhttp_workers = 3\n");
    write(".env", "SHARDRIVE_HTTP_WORKERS=4\n");
    let (code, out, err) = run_in(folder.path(), &["config", "check"], &[]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "the settings are right; they name 1 shard\n", ""));

    let variables = [("REDIS_URL", "redis://:verysecret@cache"), ("COLLECTIONS", "x")];
    let (code, out, err) = run_in(folder.path(), &["config", "show"], &variables).await;
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("use SHARDRIVE_COLLECTIONS"), "{err}");
    for row in [
        ["SHARDRIVE_SHARD_0_URL ", "postgres://u:***@h/d ", " shard_0_url in shardrive.toml, line 1"],
        ["SHARDRIVE_REDIS_URL ", "redis://:***@cache ", " REDIS_URL in the environment"],
        ["SHARDRIVE_BIND_ADDR ", "127.0.0.1:8000 ", " default"],
        ["SHARDRIVE_HTTP_WORKERS ", "4 ", ".env, line 1; overrides http_workers in shardrive.toml, line 2"],
    ] {
        let has_row = |line: &str| line.starts_with(row[0]) && line.contains(row[1]) && line.ends_with(row[2]);
        assert!(out.lines().any(has_row), "{row:?} is not in\n{out}");
    }
    assert!(!out.contains("verysecret"), "{out}");
    let (_, out, _) = run_in(folder.path(), &["config", "show", "--json"], &variables).await;
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == "SHARDRIVE_HTTP_WORKERS").unwrap();
    assert_eq!(row["overrides"], serde_json::json!(["http_workers in shardrive.toml, line 2"]));

    // Another file in place of shardrive.toml, by flag or variable; all faults of all places.
    write("other.toml", "shard_0_url = 'postgres://h/d'\nhttp_worker = 1\n");
    let wrong = [("SHARDRIVE_KEEP_ALIVE_S", "long"), ("SHARDRIVE_CONFIG", "nowhere.toml")];
    for command in ["check", "show"] {
        let (code, _, err) = run_in(folder.path(), &["config", command, "--config", "other.toml"], &wrong).await;
        assert_eq!(code, 2, "{err}");
        assert!(
            err.contains("- http_worker in other.toml, line 2: unknown setting; did you mean http_workers?"),
            "{err}"
        );
        assert!(err.contains("- SHARDRIVE_KEEP_ALIVE_S: must be"), "{err}");
    }
    let (code, _, err) = run_in(folder.path(), &["config", "check"], &wrong).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("- SHARDRIVE_CONFIG: there is no file nowhere.toml"), "{err}");
}

#[tokio::test]
async fn flags_and_the_toml_file_start_a_service() {
    let cluster = TestCluster::migrated(1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drive.toml");
    std::fs::write(&file, format!("shard_0_url = '{}'\nbind_addr = 'nowhere:1'\n", cluster.url(0))).unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["serve", "--config", file, "--bind", "127.0.0.1:0"];
    let api = Api::try_command(&arguments, &[]).await.unwrap_or_else(|log| panic!("{log}"));
    assert_eq!(api.get("/stats").await.status(), 200);
    let status = shardrive(&["shards", "status", "--config", file], &[]).await;
    assert_eq!(status.code, 0, "{status:?}");
}
