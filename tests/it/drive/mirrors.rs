//! Mirrors: a drive becomes what a listing says, as a whole or not at all.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::listings::{body, by_path, entry, import, read_back};
use crate::support::api::{Api, json as parts};
use crate::support::cache::{TestCache, until_in_use, until_says};
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

pub(super) async fn sync(api: &Api, query: &str, entries: &[Value]) -> (u16, Value) {
    let (status, answer) =
        parts(api.send(&format!("/drives/42/sync?{query}"), "application/json", body(entries)).await).await;
    (status.as_u16(), answer)
}

fn counts(answer: &Value, kind: &str) -> [u64; 4] {
    ["created", "updated", "unchanged", "deleted"].map(|change| answer[change][kind].as_u64().unwrap())
}

/// A drive as a listing knows it: files with their sizes, and the folders that they need or that stand alone.
#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<String, u64>,
}

impl Model {
    fn listing(&self) -> Vec<Value> {
        self.entries.iter().map(|(path, size)| entry(path, *size)).collect()
    }

    fn add(&mut self, path: &str, size: u64) {
        for (end, _) in path.match_indices('/') {
            if self.entries.contains_key(&path[..end]) {
                return;
            }
        }
        if path.ends_with('/') || !self.entries.contains_key(&format!("{path}/")) {
            for (end, _) in path.match_indices('/') {
                self.entries.insert(path[..=end].to_owned(), 0);
            }
            self.entries.insert(path.to_owned(), size);
        }
    }

    fn remove(&mut self, path: &str) {
        self.entries.retain(|other, _| other != path && !(path.ends_with('/') && other.starts_with(path)));
    }

    /// Changes some entries at random.
    fn change(&mut self, random: &mut StdRng) {
        for _ in 0..random.random_range(1..20) {
            let place = random.random_range(0..=self.entries.len());
            let picked = self.entries.keys().nth(place).cloned();
            match (random.random_range(0..5), picked) {
                (0, Some(path)) => self.remove(&path),
                (1, Some(path)) if !path.ends_with('/') => self.add(&path, random.random_range(0..100)),
                // A file becomes a folder, or a folder a file.
                (2, Some(path)) => {
                    self.remove(&path);
                    match path.strip_suffix('/') {
                        Some(path) => self.add(path, 1),
                        None => self.add(&format!("{path}/"), 0),
                    }
                }
                _ => {
                    let depth = random.random_range(1..5);
                    let names: Vec<String> = (0..depth).map(|_| format!("n{}", random.random_range(0..4))).collect();
                    let slash = if random.random_range(0..3) == 0 { "/" } else { "" };
                    self.add(&format!("{}{slash}", names.join("/")), random.random_range(0..100));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_changed_listing_reads_back_equal_and_a_dry_run_tells_it_before() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let seed: u64 = rand::random();
    let (mut random, mut model) = (StdRng::seed_from_u64(seed), Model::default());
    for round in 0..25 {
        model.change(&mut random);
        let listing = model.listing();
        let before = read_back(&api, 42).await;
        let delete = ["trash", "purge"][round % 2];
        let (status, told) = sync(&api, &format!("max_delete=100%25&dry_run=true&delete={delete}"), &listing).await;
        assert_eq!(status, 200, "seed {seed}, round {round}: {told}");
        assert_eq!(read_back(&api, 42).await, before, "seed {seed}, round {round}: a dry run writes nothing");
        let (status, mut done) = sync(&api, &format!("max_delete=100%25&delete={delete}"), &listing).await;
        assert_eq!((status, &done["dry_run"]), (200, &json!(false)), "seed {seed}, round {round}: {done}");
        done["dry_run"] = json!(true);
        assert_eq!(done, told, "seed {seed}, round {round}");
        let after = read_back(&api, 42).await;
        assert_eq!(after, by_path(&listing), "seed {seed}, round {round}: {done}");
        let is_new = |path: &&String| !before.contains_key(*path);
        assert_eq!(
            done["created"]["files"].as_u64().unwrap() + done["created"]["folders"].as_u64().unwrap()
                - changed_kinds(&before, &after),
            u64::try_from(after.keys().filter(is_new).count()).unwrap(),
            "seed {seed}, round {round}: {done}"
        );
        // An unchanged listing writes no row.
        let newest =
            "SELECT max(version) FROM (SELECT version FROM folders UNION ALL SELECT version FROM file_metadata) AS v";
        let version: Option<i64> = cluster.value(0, newest).await;
        let (_, again) = sync(&api, "", &listing).await;
        for kind in ["folders", "files"] {
            let [created, updated, unchanged, deleted] = counts(&again, kind);
            assert_eq!([created, updated, deleted], [0; 3], "seed {seed}, round {round}: {again}");
            let wanted = after.values().filter(|entry| (entry["IsDir"] == true) == (kind == "folders")).count();
            assert_eq!(unchanged, u64::try_from(wanted).unwrap(), "seed {seed}, round {round}: {again}");
        }
        assert_eq!(cluster.value::<Option<i64>>(0, newest).await, version, "an unchanged row is not written");
    }
    let done = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
}

/// Paths that were a file and are a folder now, or the other way round.
fn changed_kinds(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> u64 {
    let is_changed =
        |(path, entry): &(&String, &Value)| before.get(*path).is_some_and(|old| old["IsDir"] != entry["IsDir"]);
    u64::try_from(after.iter().filter(is_changed).count()).unwrap()
}

#[tokio::test]
async fn a_vanished_folder_goes_into_the_trash_as_one_row_and_comes_back_with_all() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let whole = [entry("a/b/c", 1), entry("a/b/d/e", 2), entry("a/f", 3), entry("g", 4)];
    assert_eq!(sync(&api, "", &whole).await.0, 200);
    let before = read_back(&api, 42).await;
    let (status, done) = sync(&api, "max_delete=6", &[entry("g", 4)]).await;
    assert_eq!((status, counts(&done, "files"), counts(&done, "folders")), (200, [0, 0, 1, 3], [0, 0, 0, 3]), "{done}");
    let told: Vec<_> = done["differences"].as_array().unwrap().iter().map(|one| one["path"].clone()).collect();
    assert_eq!(told, ["a", "a/b", "a/b/c", "a/b/d", "a/b/d/e", "a/f"].map(Value::from), "{done}");
    let trashed = "SELECT (SELECT count(*) FROM folders WHERE trashed_at IS NOT NULL) \
                   + (SELECT count(*) FROM file_metadata WHERE trashed_at IS NOT NULL)";
    assert_eq!(cluster.value::<i64>(0, trashed).await, 1);
    let folder: uuid::Uuid = cluster.value(0, "SELECT folder_id FROM folders WHERE folder_name = 'a'").await;
    let (status, _) = api.post_json(&format!("/drives/42/trash/{folder}/restore"), &json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(read_back(&api, 42).await, before);
    // For good: the rows are gone, also of what was in the trash below.
    let (status, _) = sync(&api, "max_delete=100%25&delete=purge", &[]).await;
    assert_eq!(status, 200);
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await, 0);
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM folders").await, 1);
}

#[tokio::test]
async fn too_many_deletes_are_refused_before_the_first() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let whole: Vec<Value> = (0..19).map(|number| entry(&format!("d/{number}"), 1)).collect();
    assert_eq!(sync(&api, "", &whole).await.0, 200);
    let before = read_back(&api, 42).await;
    for (query, kept) in [("", 16), ("max_delete=10%25", 0), ("max_delete=2", 16), ("max_delete=0&dry_run=true", 18)] {
        let (status, problem) = sync(&api, query, &whole[..kept]).await;
        assert_eq!((status, &problem["code"]), (409, &json!("too_many_deletes")), "{query}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        let gone = if kept == 0 { 20 } else { 19 - kept };
        assert!(detail.contains(&format!("delete {gone} of 20 files and folders")), "{detail}");
        assert_eq!(read_back(&api, 42).await, before);
    }
    assert_eq!(sync(&api, "", &whole[..18]).await.0, 200);
    let (_, kept) = sync(&api, "delete=keep", &[entry("new", 1)]).await;
    assert_eq!((counts(&kept, "files"), read_back(&api, 42).await.len()), ([1, 0, 0, 0], 20), "{kept}");
    // A drive of folders alone is kept from an empty listing too.
    assert_eq!(sync(&api, "root=folders", &[entry("a/", 0), entry("b/", 0)]).await.0, 200);
    let (status, problem) = sync(&api, "root=folders", &[]).await;
    assert_eq!((status, &problem["code"]), (409, &json!("too_many_deletes")), "{problem}");
    assert_eq!(read_back(&api, 42).await.len(), 23);
}

#[tokio::test]
async fn a_listing_that_is_cut_or_has_a_fault_deletes_nothing() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let whole = [entry("a/b", 1), entry("a/c", 1), entry("d", 1)];
    assert_eq!(sync(&api, "", &whole).await.0, 200);
    let before = read_back(&api, 42).await;
    let path = "/drives/42/sync?max_delete=100%25";
    // The array has no end.
    let cut = body(&[entry("a/b", 2), entry("e", 1)]).replace("\n]", "");
    let (status, problem) = parts(api.send(path, "application/json", cut).await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("incomplete_body")), "{problem}");
    assert_eq!(read_back(&api, 42).await, before);
    // The connection breaks off.
    let broken =
        futures_util::stream::iter([Ok("[\n{\"Path\":\"e\",\"Name\":\"e\"}"), Err(std::io::Error::other("cut"))]);
    let request = api.request(reqwest::Method::POST, path).body(reqwest::Body::wrap_stream(broken));
    assert!(request.send().await.is_err());
    assert_eq!(read_back(&api, 42).await, before);
    // Entries with faults: the others are taken, and all that was there stays.
    for fault in [json!({"Path": "x/../y", "Name": "y"}), entry("f", 7), entry("f/g", 7)] {
        let (status, answer) = sync(&api, "max_delete=100%25", &[entry("f", 1), fault]).await;
        assert_eq!(
            (status, &answer["rejected"], &answer["deletes_withheld"]),
            (200, &json!(1), &json!(true)),
            "{answer}"
        );
        assert_eq!(counts(&answer, "files")[3], 0, "{answer}");
        assert_eq!(answer["rejections"][0]["field"], "Path");
        assert_eq!(sync(&api, "max_delete=100%25", &whole).await.0, 200);
        assert_eq!(read_back(&api, 42).await, before);
    }
    // A file that has become a folder cannot be one beside the file.
    let (status, problem) = sync(&api, "delete=keep", &[entry("d/x", 1)]).await;
    assert_eq!((status, &problem["code"]), (409, &json!("kind_stays")), "{problem}");
    let (status, problem) = sync(&api, "delete=keep", &[entry("a", 1)]).await;
    assert_eq!((status, &problem["code"]), (409, &json!("kind_stays")), "{problem}");
    let (status, problem) = sync(&api, "root=d/x", &[entry("a", 1)]).await;
    assert_eq!((status, &problem["code"]), (409, &json!("kind_stays")), "{problem}");
    assert_eq!(read_back(&api, 42).await, before);
    // Faults of the listing keep the file: they are named.
    let faulty = [entry("d/x", 1), json!({"Path": "x/../y", "Name": "y"}), entry("z", 1), entry("z/1", 1)];
    let (status, problem) = sync(&api, "max_delete=100%25", &faulty).await;
    assert_eq!((status, &problem["code"], &problem["rejected"]), (409, &json!("kind_stays"), &json!(2)), "{problem}");
    let lines: Vec<_> = problem["rejections"].as_array().unwrap().iter().map(|one| one["record"].clone()).collect();
    assert_eq!(lines, [2, 3], "{problem}");
    assert_eq!(read_back(&api, 42).await, before);
}

#[tokio::test]
async fn a_mirror_of_a_folder_touches_nothing_beside_it() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    import(&api, 42, &[entry("docs/a", 1), entry("docs-2/a", 1), entry("x", 1)]).await;
    api.post_json("/ingest", &json!({"user_id": 42, "file_name": "unfiled"})).await;
    let (status, done) = sync(&api, "root=docs&max_delete=100%25", &[entry("b/c", 1), entry("a", 2)]).await;
    assert_eq!((status, counts(&done, "files"), counts(&done, "folders")), (200, [1, 1, 0, 0], [1, 0, 0, 0]), "{done}");
    let (status, done) = sync(&api, "root=new/place", &[entry("a", 2)]).await;
    assert_eq!((status, counts(&done, "folders")), (200, [2, 0, 0, 0]), "{done}");
    let paths: Vec<String> = read_back(&api, 42).await.into_keys().collect();
    assert_eq!(
        paths,
        ["docs", "docs-2", "docs-2/a", "docs/a", "docs/b", "docs/b/c", "new", "new/place", "new/place/a", "x"]
    );
    // As a stream of lines, from the listing of that folder.
    let (_, part) = api.get_json("/drives/42/tree?format=lsjson&prefix=docs/").await;
    let lines: Vec<String> = part.as_array().unwrap().iter().map(Value::to_string).collect();
    let answer = api.send("/drives/42/sync?root=docs", "application/x-ndjson", lines.join("\n")).await;
    let (status, done) = parts(answer).await;
    assert_eq!((status.as_u16(), counts(&done, "files")), (200, [0, 0, 2, 0]), "{done}");
    // Spelled otherwise, a name is the same, and shown as the listing writes it.
    assert_eq!(sync(&api, "root=m", &[entry("caf\u{e9}/\u{e9}", 1)]).await.0, 200);
    let (_, done) = sync(&api, "root=m", &[entry("cafe\u{301}/e\u{301}", 1)]).await;
    assert_eq!((counts(&done, "files"), counts(&done, "folders")), ([0, 1, 0, 0], [0, 1, 0, 0]), "{done}");
    assert!(read_back(&api, 42).await.contains_key("m/cafe\u{301}/e\u{301}"));
}

#[tokio::test]
async fn a_mirror_whose_slot_moves_meanwhile_changes_nothing_and_succeeds_when_sent_again() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let whole = [entry("a/b", 1), entry("c", 1)];
    assert_eq!(sync(&api, "", &whole).await.0, 200);
    let before = read_back(&api, 42).await;
    let (sender, receiver) = mpsc::channel::<Result<String, std::io::Error>>(1);
    let chunks = futures_util::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let request = api.request(reqwest::Method::POST, "/drives/42/sync?max_delete=100%25");
    let request = request.body(reqwest::Body::wrap_stream(chunks));
    let sending = tokio::spawn(async move { parts(request.send().await.unwrap()).await });
    sender.send(Ok(format!("[\n{},\n", entry("new", 1)))).await.unwrap();
    let moved = ["shards", "move", "--slots", "42", "--to", "1", "--rollback-window", "0"];
    let done = shardrive(&moved, &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
    sender.send(Ok(format!("{}\n]\n", entry("c", 2)))).await.unwrap();
    drop(sender);
    let (status, problem) = sending.await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("slot_moving")), "{problem}");
    assert_eq!(read_back(&api, 42).await, before);
    let (status, done) = sync(&api, "max_delete=100%25", &[entry("new", 1), entry("c", 2)]).await;
    assert_eq!((status, &done["shard_id"], counts(&done, "files")), (200, &json!(1), [1, 1, 0, 1]), "{done}");
}

#[tokio::test]
async fn a_mirror_that_loses_a_race_for_a_name_compares_once_more() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    assert_eq!(sync(&api, "", &[entry("a/b", 1)]).await.0, 200);
    // Another writer has taken the name, and has not committed yet.
    let mut other = cluster.connect(0).await;
    let take = "BEGIN; INSERT INTO file_metadata (user_id, file_name, folder_id) \
                VALUES (42, 'new', '00000000-0000-0000-0000-000000000000')";
    sqlx::raw_sql(take).execute(&mut other).await.unwrap();
    let listing = [entry("a/c", 1), entry("new", 1)];
    let (answer, ()) = tokio::join!(sync(&api, "max_delete=100%25", &listing), async {
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        poll::until_true("the mirror waits for the name", async || cluster.value::<i64>(0, waits).await > 0).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    });
    // The other writer's file is the file of the listing: it is updated.
    assert_eq!((answer.0, counts(&answer.1, "files")), (200, [1, 1, 0, 1]), "{}", answer.1);
    assert_eq!(read_back(&api, 42).await.len(), 3);
    assert_eq!(read_back(&api, 42).await["new"]["Size"], 1);
}

#[tokio::test]
async fn no_page_from_before_a_mirror_is_shown_after_it() {
    let (cluster, cache) = (TestCluster::migrated(1).await, TestCache::start().await);
    let api = Api::start_with(&cluster, &[("REDIS_URL", &cache.url())]).await;
    until_says(&api, "healthy").await;
    for size in 0..5 {
        assert_eq!(sync(&api, "", &[entry("a", size), entry("b", 1)]).await.0, 200);
        until_in_use(&api, 42).await;
        let (_, page) = api.get_json("/query/42").await;
        let shown = page["files"].as_array().unwrap().iter().find(|file| file["path"] == "a").unwrap();
        assert_eq!(shown["size_bytes"], size, "{page}");
    }
}

/// As `rclone lsjson … > listing` leaves the file if it fails.
#[tokio::test]
async fn no_listing_is_not_the_listing_of_an_empty_drive() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    assert_eq!(sync(&api, "", &[entry("a", 1)]).await.0, 200);
    let path = "/drives/42/sync?max_delete=100%25&delete=purge";
    for blank in ["", " \n\n", "\u{feff}", "\u{feff} \n"] {
        let (status, answer) = parts(api.send(path, "application/json", blank).await).await;
        assert_eq!((status.as_u16(), &answer["code"]), (400, &json!("invalid_body")), "{answer}");
    }
    assert_eq!(api.get_json("/query/42").await.1["file_count"], 1);
    let (status, answer) = parts(api.send(path, "application/json", "[]\n").await).await;
    assert_eq!((status.as_u16(), counts(&answer, "files")), (200, [0, 0, 0, 1]), "{answer}");
}
