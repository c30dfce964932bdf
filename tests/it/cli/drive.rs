//! `shardrive ls`, `tree`, `mv`, `rm` and `restore`: a user's drive, as people and scripts handle it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::program::{CommandOutput, shardrive, shardrive_unread};
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";

/// Runs a command on the drive of user 42.
async fn on_drive(api: &Api, command: &str, arguments: &[&str]) -> CommandOutput {
    let mut all = vec![command, "--url", api.base(), "--user-id", "42"];
    all.extend(arguments);
    shardrive(&all, &[]).await
}

/// The same; the output of a command that did all of it.
async fn output(api: &Api, command: &str, arguments: &[&str]) -> String {
    let done = on_drive(api, command, arguments).await;
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{command} {arguments:?}: {done:?}");
    done.out
}

/// Asserts that a command fails with this code, and says this.
async fn assert_refused(api: &Api, command: &str, arguments: &[&str], code: i32, says: &str) {
    let done = on_drive(api, command, arguments).await;
    assert_eq!(done.code, code, "{command} {arguments:?}: {done:?}");
    assert!(done.err.contains(says), "{command} {arguments:?}: {done:?}");
}

async fn store(api: &Api, path: &str, size: Option<u64>) {
    let name = path.rsplit('/').next().unwrap();
    let file = json!({"user_id": 42, "file_name": name, "path": path, "size_bytes": size, "modified_at": "2026-02-03T12:00:00Z"});
    let (status, answer) = api.post_json("/ingest", &file).await;
    assert_eq!(status, 201, "{answer}");
}

/// A service with a small drive of user 42.
async fn small_drive() -> (TestCluster, Api) {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    for (path, size) in
        [("documents/letters/a.txt", Some(1536)), ("documents/letters/b & c?.txt", None), ("top.txt", Some(7))]
    {
        store(&api, path, size).await;
    }
    assert_eq!(api.post("/drives/42/folders", &json!({"path": "empty"})).await.status(), 201);
    (cluster, api)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test]
async fn a_folder_is_listed_with_names_sizes_and_times() {
    let (_cluster, api) = small_drive().await;
    assert_eq!(output(&api, "ls", &[]).await, "documents/\nempty/\ntop.txt\n");
    assert_eq!(output(&api, "ls", &["/documents/"]).await, "letters/\n");
    assert_eq!(output(&api, "ls", &["empty"]).await, "");
    assert_eq!(output(&api, "ls", &["documents/letters/b & c?.txt"]).await, "b & c?.txt\n");
    let long = output(&api, "ls", &["documents/letters", "-l"]).await;
    let (first, second) = long.trim_end().split_once('\n').unwrap();
    assert!(first.starts_with("   1.50 KiB  2026-02-0") && first.ends_with("  a.txt"), "{long}");
    assert!(second.starts_with("          -  2026-02-0") && second.ends_with("  b & c?.txt"), "{long}");
    let entries = lines(&output(&api, "ls", &["--json"]).await);
    let pick: Vec<_> = entries.iter().map(|entry| json!([entry["kind"], entry["name"], entry["size_bytes"]])).collect();
    assert_eq!(json!(pick), json!([["folder", "documents", null], ["folder", "empty", null], ["file", "top.txt", 7]]));

    for (arguments, code, says) in [
        (&["nowhere"][..], 1, "shardrive: there is nothing at nowhere"),
        (&["top.txt/"], 1, "top.txt is a file, and no folder"),
        (&["../trash"], 2, "which names no entry"),
        (&["--user-id", "-1"], 2, "--user-id"),
    ] {
        assert_refused(&api, "ls", arguments, code, says).await;
    }
    let nobody = shardrive(&["ls", "--url", api.base()], &[]).await;
    assert!(nobody.code == 2 && nobody.err.contains("--user-id"), "{nobody:?}");
    let elsewhere = format!("http://127.0.0.1:{}", shardrive::local_servers::free_port().unwrap());
    let away = shardrive(&["ls", "--user-id", "42", "--url", &elsewhere], &[]).await;
    assert!(away.code == 1 && away.err.contains(&elsewhere) && away.err.contains("no answer"), "{away:?}");
    let help = shardrive(&["ls", "--help"], &[]).await;
    assert!(help.out.starts_with("List a folder of a user's drive") && help.out.contains("Examples:"), "{help:?}");
}

#[tokio::test]
async fn a_folder_of_many_pages_is_listed_whole() {
    let (_cluster, api) = small_drive().await;
    let names: Vec<String> = (0..2_100).map(|number| format!("f{number:05}")).collect();
    let rows: String = names
        .iter()
        .map(|name| format!("{}\n", json!({"user_id": 42, "file_name": name, "path": format!("many/{name}")})))
        .collect();
    assert_eq!(api.send("/ingest/bulk", "application/x-ndjson", rows).await.status(), 200);
    let listed = output(&api, "ls", &["many"]).await;
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
    let drawn = output(&api, "tree", &["many"]).await;
    assert!(drawn.starts_with("many/\n├── f00000\n") && drawn.contains("├── f02098\n└── f02099\n"), "{drawn}");
    assert!(drawn.ends_with("\n\n0 folders, 2,100 files\n"), "{drawn}");
    for command in ["ls", "tree"] {
        let unread = shardrive_unread(&[command, "--url", api.base(), "--user-id", "42", "many"], &[]).await;
        assert_eq!(unread, 0, "a reader who has gone away is no fault of {command}");
    }
}

#[tokio::test]
async fn a_drive_is_drawn_as_a_tree() {
    let (_cluster, api) = small_drive().await;
    store(&api, "documents/z.txt", None).await;
    let whole = "/\n├── documents/\n│   ├── letters/\n│   │   ├── a.txt\n│   │   └── b & c?.txt\n│   └── z.txt\n├── empty/\n└── top.txt\n\n3 folders, 4 files\n";
    assert_eq!(output(&api, "tree", &[]).await, whole);
    assert_eq!(
        output(&api, "tree", &["-L", "1"]).await,
        "/\n├── documents/\n├── empty/\n└── top.txt\n\n2 folders, 1 file\n"
    );
    assert_eq!(
        output(&api, "tree", &["-d"]).await,
        "/\n├── documents/\n│   └── letters/\n└── empty/\n\n3 folders, 0 files\n"
    );
    let below = lines(&output(&api, "tree", &["documents", "--json"]).await);
    let paths: Vec<_> = below.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        ["documents/letters", "documents/letters/a.txt", "documents/letters/b & c?.txt", "documents/z.txt"]
    );
    for (arguments, code, says) in [
        (&["nowhere"][..], 1, "there is nothing at nowhere"),
        (&["top.txt"], 1, "top.txt is a file, and no folder"),
        (&["-L", "0"], 2, "from 1 to 128"),
    ] {
        assert_refused(&api, "tree", arguments, code, says).await;
    }
}

#[tokio::test]
async fn files_and_folders_are_renamed_and_moved_and_never_replaced() {
    let (_cluster, api) = small_drive().await;
    assert_eq!(output(&api, "mv", &["top.txt", "first.txt"]).await, "");
    assert_eq!(output(&api, "mv", &["first.txt", "empty"]).await, "");
    let moved = output(&api, "mv", &["--json", "documents/letters", "mail"]).await;
    assert_eq!(lines(&moved)[0]["path"], "mail");
    assert_eq!(output(&api, "mv", &["mail", "empty/"]).await, "");
    assert_eq!(output(&api, "mv", &["empty/first.txt", "/"]).await, "");
    assert_eq!(output(&api, "mv", &["first.txt", "first.txt"]).await, "");
    let after = "/\n├── documents/\n├── empty/\n│   └── mail/\n│       ├── a.txt\n│       └── b & c?.txt\n└── first.txt\n\n3 folders, 3 files\n";
    assert_eq!(output(&api, "tree", &[]).await, after);
    store(&api, "documents/mail", None).await;
    for (arguments, code, says) in [
        (&["nowhere", "x"][..], 1, "there is nothing at nowhere"),
        (&["first.txt", "nowhere/x"], 1, "there is nothing at nowhere"),
        (&["empty", "nowhere/x"], 1, "there is nothing at nowhere"),
        (&["first.txt", "nowhere/"], 1, "there is no folder nowhere"),
        (&["first.txt", "empty/mail/a.txt"], 1, "name"),
        (&["empty/mail", "documents"], 1, "name"),
        (&["empty", "empty/mail"], 1, "itself"),
        (&["/", "empty"], 1, "root"),
        (&["first.txt", "documents/mail/x"], 1, "is a file, and no folder"),
        (&["first.txt", ".."], 2, "which names no entry"),
        (&["first.txt"], 2, "<TO>"),
    ] {
        assert_refused(&api, "mv", arguments, code, says).await;
    }
    assert_eq!(output(&api, "ls", &["empty/mail"]).await, "a.txt\nb & c?.txt\n", "nothing was replaced");
}

#[tokio::test]
async fn entries_go_into_the_trash_and_come_back() {
    let (_cluster, api) = small_drive().await;
    assert_eq!(output(&api, "restore", &[]).await, "");
    assert_refused(&api, "rm", &["documents"], 1, "documents is a folder; say -r").await;
    assert_refused(&api, "rm", &["/"], 1, "the root is a folder; say -r").await;
    assert_refused(&api, "rm", &["-r", "/"], 1, "root").await;
    let partly = on_drive(&api, "rm", &["top.txt", "nowhere", "documents"]).await;
    assert_eq!((partly.code, partly.out.as_str()), (3, ""), "{partly:?}");
    assert!(partly.err.contains("there is nothing at nowhere\n") && partly.err.contains("2 of 3 failed"), "{partly:?}");
    let trashed = lines(&output(&api, "rm", &["-r", "--json", "documents"]).await);
    assert_eq!((&trashed[0]["path"], &trashed[0]["trashed"]), (&json!("documents"), &json!(true)));
    assert_eq!(output(&api, "tree", &[]).await, "/\n└── empty/\n\n1 folder, 0 files\n");

    let list = output(&api, "restore", &["--list"]).await;
    let (newest, oldest) = list.trim_end().split_once('\n').unwrap();
    assert!(
        newest.ends_with("  documents/") && oldest.ends_with("  top.txt") && oldest.contains("        7 B  "),
        "{list}"
    );
    let entries = lines(&output(&api, "restore", &["--json"]).await);
    let id = entries[1]["id"].as_str().unwrap();
    assert_refused(&api, "restore", &["documents/letters/a.txt"], 1, "with its folder: restore documents").await;
    assert_refused(&api, "restore", &["letters"], 1, "nothing in the trash was at letters").await;
    // A name that was typed on a Mac is found by the name that is typed on Linux.
    let decomposed = "/drives/42/path/cafe%CC%81";
    for method in [Method::PUT, Method::DELETE] {
        assert!(api.request(method, decomposed).json(&json!({})).send().await.unwrap().status().is_success());
    }
    assert_eq!(output(&api, "restore", &["caf\u{e9}"]).await, "");
    assert_eq!(output(&api, "rm", &["caf\u{e9}", "--purge"]).await, "");
    assert_eq!(output(&api, "restore", &["documents"]).await, "");
    assert_eq!(output(&api, "ls", &["documents/letters"]).await, "a.txt\nb & c?.txt\n");

    // Where the name is taken, another name or another folder helps.
    store(&api, "top.txt", Some(8)).await;
    assert_refused(&api, "restore", &[id], 1, "name").await;
    let restored = output(&api, "restore", &[id, "--name", "old.txt", "--to", "empty", "--json"]).await;
    assert_eq!(lines(&restored)[0]["path"], "empty/old.txt");
    assert_eq!(output(&api, "restore", &[]).await, "");
    // The newest of one name comes back.
    output(&api, "rm", &["top.txt"]).await;
    store(&api, "top.txt", Some(9)).await;
    output(&api, "rm", &["top.txt"]).await;
    output(&api, "restore", &["/top.txt"]).await;
    assert!(output(&api, "ls", &["-l", "top.txt"]).await.contains(" 9 B "));
    // What is purged is in no trash.
    assert_refused(&api, "rm", &["--purge", "documents"], 1, "say -r").await;
    let purged = lines(&output(&api, "rm", &["-r", "--purge", "--json", "documents"]).await);
    assert_eq!(purged[0]["purged"], 4);
    assert!(!output(&api, "restore", &[]).await.contains("documents"));
    assert_refused(&api, "restore", &["a", "b", "--name", "c"], 2, "--name").await;
    assert_refused(&api, "restore", &["top.txt", "--list"], 2, "--list").await;
}

#[tokio::test]
async fn a_user_signs_in_for_that_users_drive() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_AUTH_SECRET", SECRET)]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token = Key::secret(SECRET).token("", &json!({"sub": "42", "scope": "user", "exp": now() + 600}));
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let file = file.to_str().unwrap();
    let made = api.request(Method::POST, "/drives/42/folders").bearer_auth(&token).json(&json!({"path": "a/b"}));
    assert_eq!(made.send().await.unwrap().status(), 201);
    assert_refused(&api, "ls", &[], 1, "--token-file").await;
    assert_refused(&api, "ls", &["--token-file", "/nowhere/token"], 1, "/nowhere/token").await;
    assert_eq!(output(&api, "mv", &["--token-file", file, "a/b", "c"]).await, "");
    assert_eq!(output(&api, "rm", &["--token-file", file, "-r", "a"]).await, "");
    assert_eq!(output(&api, "tree", &["--token-file", file]).await, "/\n└── c/\n\n1 folder, 0 files\n");
    let other = shardrive(&["ls", "--url", api.base(), "--token-file", file, "--user-id", "43"], &[]).await;
    assert!(other.code == 1 && other.err.starts_with("shardrive: ") && !other.err.contains('{'), "{other:?}");
}
