//! `shardrive import`: files and standard input into a running service, and what goes wrong on the way.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::api::{Api, PROGRAM};
use crate::support::pack::pack;
use crate::support::poll;
use crate::support::program::{CommandOutput, shardrive, shardrive_reading};
use crate::support::servers::TestCluster;

async fn import(api: &Api, arguments: &[&str], input: &[u8]) -> CommandOutput {
    let mut all = vec!["import", "--url", api.base()];
    all.extend(arguments);
    shardrive_reading(&all, &[], input.to_vec()).await
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn total(api: &Api) -> Value {
    api.get_json("/stats").await.1["total_records"].clone()
}

#[tokio::test]
async fn what_a_slow_pipe_has_brought_is_stored_before_its_end() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let mut child = tokio::process::Command::new(PROGRAM)
        .args(["import", "-", "--format", "ndjson", "--url", api.base()])
        .env_clear()
        .current_dir(std::env::temp_dir()) // no .env there
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for rows in 1..=2 {
        pipe.write_all(b"{\"user_id\":1,\"file_name\":\"a\"}\n").await.unwrap();
        poll::until_true("the row", async || api.get_json("/query/1").await.1["file_count"] == rows).await;
    }
    drop(pipe);
    let done = child.wait_with_output().await.unwrap();
    let out = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && out.contains("2 stored"), "{out}");
}

#[tokio::test]
async fn files_of_every_kind_and_standard_input_are_sent() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let ndjson = b"{\"user_id\":1,\"file_name\":\"a\"}\n{\"user_id\":2,\"file_name\":\"b\"}\n";
    let csv = b"user_id,file_name\n3,c\n";
    let listing = br#"[{"Path":"d/e","Name":"e","Size":1,"IsDir":false}]"#;
    let mut files = vec![
        write(folder.path(), "one.ndjson", ndjson),
        write(folder.path(), "two.jsonl.gz", &pack("gzip", ndjson).await),
        write(folder.path(), "three.csv.zst", &pack("zstd", csv).await),
        write(folder.path(), "four.json", b"[{\"user_id\":4,\"file_name\":\"d\"}]"),
    ];
    let names: Vec<_> = files.iter().map(String::as_str).collect();
    let done = import(&api, &names, b"").await;
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    assert!(
        done.out.contains(&format!("{}: 2 stored, 0 updated, 0 were there already, 0 rejected", files[0])),
        "{done:?}"
    );
    assert!(done.out.contains("  shard 0: 1 stored\n  shard 1: 1 stored\n"), "{done:?}");
    assert_eq!(total(&api).await, 6);

    files.push(write(folder.path(), "list.json.gz", &pack("gzip", listing).await));
    for stored in [1, 0] {
        let done = import(&api, &["--user-id", "42", "--json", &files[4]], b"").await;
        assert_eq!((done.code, &done.json()["inserted"]), (0, &json!(stored)), "{done:?}");
        assert_eq!(done.json()["unchanged"], 1 - stored, "{done:?}");
    }
    for (arguments, input) in [(&["--format", "ndjson"][..], &ndjson[..]), (&["-", "--format", "csv"], csv)] {
        let done = import(&api, arguments, input).await;
        assert_eq!(done.code, 0, "{done:?}");
    }
    assert_eq!(total(&api).await, 10);
}

#[tokio::test]
async fn a_listing_is_mirrored_and_a_dry_run_shows_the_differences() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let listing = |paths: &[&str]| {
        let entries: Vec<Value> = paths
            .iter()
            .map(|path| json!({"Path": path, "Name": path.rsplit('/').next().unwrap(), "Size": 1, "IsDir": false}))
            .collect();
        Value::from(entries).to_string().into_bytes()
    };
    let monday = write(folder.path(), "monday.json", &listing(&["a/b", "a/c", "d"]));
    let tuesday = write(folder.path(), "tuesday.json.gz", &pack("gzip", &listing(&["a/b", "e"])).await);
    let sync = async |arguments: &[&str]| {
        let mut all = vec!["--sync", "--user-id", "42"];
        all.extend(arguments);
        import(&api, &all, b"").await
    };
    let done = sync(&[&monday]).await;
    assert_eq!((done.code, done.out.contains("created: 3 files, 1 folder")), (0, true), "{done:?}");
    // Two files of three files and a folder are more than a tenth.
    let done = sync(&[&tuesday]).await;
    assert!(done.code == 1 && done.err.contains("would delete 2 of 4 files and folders"), "{done:?}");
    let done = sync(&["--max-delete", "2", "--dry-run", &tuesday]).await;
    assert!(done.code == 0 && done.out.contains("(nothing is written)"), "{done:?}");
    assert!(done.out.ends_with("  delete a/c\n  delete d\n  create e\n"), "{done:?}");
    assert_eq!(total(&api).await, 3);
    let done = sync(&["--max-delete", "90%", "--delete", "purge", "--json", &tuesday]).await;
    assert_eq!((done.code, &done.json()["deleted"]["files"]), (0, &json!(2)), "{done:?}");
    assert_eq!(total(&api).await, 2);
    for wrong in [&["--dry-run", &monday][..], &["--sync", &monday], &["--sync", "--user-id", "42", &monday, &tuesday]]
    {
        let done = import(&api, wrong, b"").await;
        assert_eq!(done.code, 2, "{wrong:?}: {done:?}");
    }
}

#[tokio::test]
async fn rejected_records_are_shown_and_have_a_code_of_their_own() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let input = b"{\"user_id\":1,\"file_name\":\"a\"}\n{\"user_id\":1,\"file_name\":\"a/b\"}\nnonsense\n";
    let done = import(&api, &["--format", "ndjson"], input).await;
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.out.contains("-: 1 stored, 0 updated, 0 were there already, 2 rejected"), "{done:?}");
    assert!(done.err.contains("line 2: file_name: must not contain /"), "{done:?}");
    assert!(done.err.contains("line 3: ") && done.err.contains("2 records were rejected"), "{done:?}");

    let done = import(&api, &["--format", "ndjson", "--on-error", "abort"], input).await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("line 2: file_name") && done.err.contains("1 records were stored before"), "{done:?}");
    assert_eq!(total(&api).await, 2);
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_and_nothing_is_stored() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let packed = pack("gzip", b"{\"user_id\":1,\"file_name\":\"a\"}\n").await;
    let cut = write(folder.path(), "cut.ndjson.gz", &packed[..packed.len() - 4]);
    let plain = write(folder.path(), "plain.ndjson.zst", b"{\"user_id\":1,\"file_name\":\"a\"}\n");
    let nameless = write(folder.path(), "nameless", b"");
    let broken = write(folder.path(), "broken.json", b"[{\"user_id\":1}");
    let missing = folder.path().join("missing.csv");
    for (arguments, code, text) in [
        (&[plain.as_str()][..], 1, "plain.ndjson.zst: "),
        (&[&broken], 1, "status 400"),
        (&[missing.to_str().unwrap()], 1, "No such file"),
        (&[missing.with_extension("").to_str().unwrap()], 1, "No such file"),
        (&[folder.path().to_str().unwrap(), "--format", "csv"], 2, "is a folder"),
        (&[folder.path().to_str().unwrap()], 2, "is a folder"),
        (&[&nameless], 2, "unknown format"),
        (&[], 2, "unknown format"),
        (&["--format", "lsjson"], 2, "--user-id"),
        (&["--format", "xml"], 2, "xml"),
        (&["--user-id=-1"], 2, "--user-id"),
        (&["--format", "ndjson", "--user-id", "7"], 2, "--user-id"),
        (&["--format", "lsjson", "--user-id", "18446744073709551615"], 1, "user_id"),
    ] {
        let done = import(&api, arguments, b"").await;
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
        assert!(done.err.contains(text), "{arguments:?}: {done:?}");
    }
    assert_eq!(total(&api).await, 0);
    let done = import(&api, &[&cut], b"").await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("cut.ndjson.gz: ") && done.err.contains("may be stored"), "{done:?}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    let done =
        shardrive_reading(&["import", "--url", &url, "--format", "csv"], &[], b"user_id,file_name\n".to_vec()).await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains(&url) && done.err.contains("does the service run?"), "{done:?}");
    let done = shardrive(&["import", "--url", "no url", "--format", "csv"], &[]).await;
    assert_eq!(done.code, 1, "{done:?}");
}

#[tokio::test]
async fn a_service_of_another_kind_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(tokio::io::AsyncReadExt::read(&mut socket, &mut head).await.unwrap() > 0);
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        tokio::io::AsyncWriteExt::write_all(&mut socket, answer).await.unwrap();
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    });
    let done = shardrive(&["import", "--url", &url, "--format", "csv"], &[]).await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("no JSON answer (status 404"), "{done:?}");
    other.abort();
}
