//! Listings in and out: what was imported reads back as the same set, in the order of whole paths, as object stores
//! list their keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::api::{Api, json as parts};
use crate::support::servers::TestCluster;

/// An entry of `rclone lsjson`. The path of a folder ends in a slash.
pub fn entry(path: &str, size: u64) -> Value {
    let (path, is_folder) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
    let name = path.rsplit('/').next().unwrap();
    if is_folder {
        return json!({"Path": path, "Name": name, "Size": -1, "MimeType": "inode/directory", "IsDir": true});
    }
    json!({"Path": path, "Name": name, "Size": size, "MimeType": "text/plain", "ModTime": "2024-05-01T12:00:00Z", "IsDir": false})
}

/// The listing as rclone writes it.
pub fn body(entries: &[Value]) -> String {
    let lines: Vec<String> = entries.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

pub async fn import(api: &Api, user: i64, entries: &[Value]) -> Value {
    let path = format!("/ingest/bulk?format=lsjson&user_id={user}");
    let (status, answer) = parts(api.send(&path, "application/json", body(entries)).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// What a drive reads back as, by path. The time of a folder is the shard's.
pub async fn read_back(api: &Api, user: i64) -> BTreeMap<String, Value> {
    let (status, entries) = api.get_json(&format!("/drives/{user}/tree?format=lsjson&limit=7")).await;
    assert_eq!(status, StatusCode::OK, "{entries}");
    by_path(entries.as_array().unwrap())
}

/// The entries by path, without the times of folders.
pub fn by_path(entries: &[Value]) -> BTreeMap<String, Value> {
    let keyed = entries.iter().map(|entry| {
        let mut entry = entry.clone();
        if entry["IsDir"] == true {
            entry.as_object_mut().unwrap().remove("ModTime");
        }
        (entry["Path"].as_str().unwrap().to_owned(), entry)
    });
    let found: BTreeMap<String, Value> = keyed.collect();
    assert_eq!(found.len(), entries.len(), "a path is there twice");
    found
}

/// A listing of a real folder, as rclone makes it.
fn list_folder(root: &Path, folder: &Path, entries: &mut Vec<Value>) {
    for child in std::fs::read_dir(folder).unwrap() {
        let child = child.unwrap();
        let (path, data) = (child.path(), child.metadata().unwrap());
        let shown = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if data.is_dir() {
            entries.push(entry(&format!("{shown}/"), 0));
            list_folder(root, &path, entries);
            continue;
        }
        let changed: chrono::DateTime<chrono::Utc> = data.modified().unwrap().into();
        let mut file = entry(&shown, data.len());
        file["ModTime"] = json!(changed.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        entries.push(file);
    }
}

/// The keys of an object store with these entries: folders end in a slash.
async fn keys(api: &Api, user: i64, query: &str) -> (Vec<String>, Vec<String>) {
    let (mut found, mut prefixes, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let start = if after.is_empty() { String::new() } else { format!("&start_after={}", encode(&after)) };
        let (status, page) = api.get_json(&format!("/drives/{user}/tree?{query}{start}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        found
            .extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()));
        prefixes
            .extend(page["common_prefixes"].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()));
        match page["next_start_after"].as_str() {
            Some(next) => {
                assert!(next > after.as_str(), "{next} comes after {after}");
                after = next.to_owned();
            }
            None => return (found, prefixes),
        }
    }
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Every folder that these paths need, with a slash at its end, and the paths.
fn keys_of(paths: &[&str]) -> Vec<String> {
    let mut keys: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    for path in paths {
        keys.extend(path.match_indices('/').map(|(end, _)| path[..=end].to_owned()));
    }
    keys.sort();
    keys.dedup();
    keys
}

#[tokio::test]
async fn a_listing_of_a_real_folder_reads_back_as_it_was() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut entries = vec![entry("an empty folder/", 0)];
    for part in ["sql", "migrations", "examples"] {
        entries.push(entry(&format!("{part}/"), 0));
        list_folder(root, &root.join(part), &mut entries);
    }
    let imported = import(&api, 42, &entries).await;
    let folders = entries.iter().filter(|entry| entry["IsDir"] == true).count();
    assert_eq!((&imported["folders"], &imported["rejected"]), (&json!(folders), &json!(0)), "{imported}");
    assert_eq!(imported["inserted"], json!(entries.len() - folders));
    assert_eq!(read_back(&api, 42).await, by_path(&entries));
    // Again, and nothing is new.
    let again = import(&api, 42, &entries).await;
    assert_eq!((&again["inserted"], &again["updated"]), (&json!(0), &json!(0)), "{again}");
    assert_eq!(read_back(&api, 42).await, by_path(&entries));
    // A part, as rclone lists a folder: paths begin there.
    let (_, part) = api.get_json("/drives/42/tree?format=lsjson&prefix=sql/").await;
    assert_eq!(part[0]["Path"], "audit", "{part}");
}

#[tokio::test]
async fn a_folder_or_file_in_the_way_is_a_rejected_line() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    import(&api, 42, &[entry("a/b", 1), entry("c", 1)]).await;
    let wrong = [entry("a", 1), entry("c/d", 1), entry("c/", 0), entry("e", 1)];
    let answer = import(&api, 42, &wrong).await;
    assert_eq!((&answer["inserted"], &answer["rejected"]), (&json!(1), &json!(3)), "{answer}");
    let reasons: Vec<_> = answer["rejections"].as_array().unwrap().iter().map(|fault| fault["line"].clone()).collect();
    assert_eq!(reasons, [json!(2), json!(3), json!(4)], "{answer}");
}

#[tokio::test]
async fn two_imports_of_one_drive_do_not_wait_in_a_ring() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_BULK_BATCH_ROWS", "50")]).await;
    let paths: Vec<Value> =
        (0..600).map(|number| entry(&format!("d{}/e{}/f{number}", number % 7, number % 31), 1)).collect();
    let turned: Vec<Value> = paths.iter().rev().cloned().collect();
    let (one, two) = tokio::join!(import(&api, 42, &paths), import(&api, 42, &turned));
    for answer in [&one, &two] {
        assert_eq!(answer["rejected"], 0, "{answer}");
    }
    assert_eq!(read_back(&api, 42).await.len(), 600 + 7 + 217);
    assert_eq!(
        cluster.value::<i64>(0, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await,
        0
    );
}

#[tokio::test]
async fn the_order_is_that_of_whole_paths_and_pages_go_on_in_it() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let paths = [
        "a/b",
        "a-b",
        "a.b",
        "a0",
        "a/b-c",
        "a/c/d",
        "a/c-d",
        "a/c/e/f",
        "b",
        "B",
        "é/x",
        "z",
        "a-b-",
        "a!/x",
        "a b/c",
        "日本/語",
        "😀",
    ];
    let entries: Vec<Value> = paths.iter().map(|path| entry(path, 1)).collect();
    import(&api, 42, &entries).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), keys_of(&paths).join("\n")).unwrap();
    let sorted = Command::new("sort").env("LC_ALL", "C").arg(file.path()).output().unwrap();
    let sorted: Vec<String> = String::from_utf8(sorted.stdout).unwrap().lines().map(str::to_owned).collect();
    for limit in [1, 2, 3, 1000] {
        assert_eq!(keys(&api, 42, &format!("limit={limit}")).await, (sorted.clone(), vec![]), "pages of {limit}");
    }
    let lines = api.request(reqwest::Method::GET, "/drives/42/tree?limit=2").header("Accept", "application/x-ndjson");
    let lines = lines.send().await.unwrap().text().await.unwrap();
    let streamed: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(streamed, sorted);
    // From anywhere, also from a path that is not there.
    for after in ["", "a", "a/", "a/b", "a/bb/c", "a/c/", "a/c/e/", "a0/x", "zz", "a!"] {
        let (status, page) = api.get_json(&format!("/drives/42/tree?start_after={}", encode(after))).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let found: Vec<_> =
            page["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
        let wanted: Vec<_> = sorted.iter().map(String::as_str).filter(|key| *key > after).collect();
        assert_eq!(found, wanted, "after {after:?}");
    }
    let (_, empty) = api.get_json("/drives/44/tree").await;
    assert_eq!(empty["entries"], json!([]));
    assert_eq!(api.get_json("/drives/44/tree?format=lsjson").await.1, json!([]));
}

#[tokio::test]
async fn a_delimiter_rolls_up_as_an_object_store_does() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let paths = ["a/b", "a/c/d", "a/c/e/f", "a/c-d/g", "ab/c", "a-b", "abc", "b/x", "b/y/z", "c"];
    import(&api, 42, &paths.iter().map(|path| entry(path, 1)).collect::<Vec<_>>()).await;
    let all = keys_of(&paths);
    for prefix in ["", "a", "a/", "a/c", "a/c/", "a/c/e/f", "ab", "b/y/", "x", "a/x/"] {
        // The keys with the prefix; what goes on behind a slash is rolled up.
        let (mut entries, mut prefixes) = (Vec::new(), Vec::new());
        for key in all.iter().filter(|key| key.starts_with(prefix)) {
            match key[prefix.len()..].find('/') {
                Some(end) => prefixes.push(key[..=prefix.len() + end].to_owned()),
                None => entries.push(key.clone()),
            }
        }
        prefixes.dedup();
        for limit in [1, 2, 1000] {
            let query = format!("prefix={}&delimiter=/&limit={limit}", encode(prefix));
            assert_eq!(keys(&api, 42, &query).await, (entries.clone(), prefixes.clone()), "{prefix:?} by {limit}");
        }
        let below: Vec<String> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(keys(&api, 42, &format!("prefix={}&limit=2", encode(prefix))).await.0, below, "{prefix:?}");
    }
    for (query, field) in [("delimiter=-", "delimiter"), ("prefix=a%00", "prefix"), ("format=csv", "format")] {
        let (status, problem) = api.get_json(&format!("/drives/42/tree?{query}")).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{problem}");
    }
}

#[tokio::test]
async fn names_are_one_in_every_normal_form_and_read_back_as_given() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    // Two names, and whether they are one.
    let table = [
        ("caf\u{e9}", "cafe\u{301}", true),
        ("\u{c5}", "\u{212b}", true),
        ("stra\u{df}e", "strasse", false),
        ("STRASSE", "stra\u{1e9e}e", false),
        ("\u{130}", "i\u{307}", false),
        ("\u{fb01}le", "file", false),
        ("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", "\u{1f468}\u{1f469}\u{1f467}", false),
        ("a", "A", false),
    ];
    for (user, (first, second, is_one)) in (100..).zip(table) {
        import(&api, user, &[entry(first, 1), entry(&format!("{first}-d/"), 0)]).await;
        let back = read_back(&api, user).await;
        assert_eq!(back.keys().collect::<Vec<_>>().len(), 2);
        assert!(back.contains_key(first), "{first} reads back as it was given");
        let answer = import(&api, user, &[entry(second, 2), entry(&format!("{second}-d/f"), 1)]).await;
        assert_eq!(answer["inserted"], if is_one { 1 } else { 2 }, "{first} {second}: {answer}");
        let back = read_back(&api, user).await;
        assert_eq!(back.len(), if is_one { 3 } else { 5 }, "{first} {second}: {back:?}");
    }
}

#[tokio::test]
async fn a_page_of_long_names_ends_early_and_the_next_one_goes_on() {
    const FILES: usize = 900;
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    // Each byte of these names takes six in JSON.
    let name = |number| format!("{number:03}{}", "\u{1}".repeat(1000));
    let lines = (0..FILES).map(|number| {
        json!({"user_id": 7, "file_name": name(number), "path": format!("d/{}", name(number))}).to_string() + "\n"
    });
    let loaded = api.send("/ingest/bulk", "application/x-ndjson", lines.collect::<String>()).await;
    assert_eq!(loaded.status(), StatusCode::OK, "{}", loaded.text().await.unwrap());
    let folder = api.get_json("/drives/7/path/d").await.1["data"]["folder_id"].as_str().unwrap().to_owned();
    let names: Vec<_> = (0..FILES).map(name).collect();
    let names_from_last: Vec<_> = names.iter().rev().cloned().collect();
    for (order, expected) in [("name", &names), ("-name", &names_from_last)] {
        let base = format!("/drives/7/children?folder_id={folder}&limit=1000&order={order}");
        let pages = read_pages(&api, &base, "name", ("next_cursor", "cursor")).await;
        assert_eq!((pages.concat() == *expected, pages.len()), (true, 3));
    }
    let pages = read_pages(&api, "/drives/7/tree?prefix=d/0&limit=1000", "path", ("next_start_after", "start_after"));
    let (pages, paths) = (pages.await, names.iter().take(100).map(|name| format!("d/{name}")));
    assert_eq!((pages.concat() == paths.collect::<Vec<_>>(), pages.len()), (true, 1));
    let pages = read_pages(&api, "/drives/7/tree?limit=1000", "path", ("next_start_after", "start_after")).await;
    assert_eq!((pages.concat().len(), pages.len()), (FILES + 1, 3));
    // Of files in the trash both the name and the path are shown.
    cluster.psql(0, "UPDATE file_metadata SET trashed_at = now() WHERE user_id = 7").await.unwrap();
    let pages = read_pages(&api, "/drives/7/trash?limit=1000", "name", ("next_cursor", "cursor")).await;
    let mut trashed = pages.concat();
    trashed.sort();
    assert_eq!((trashed == names, pages.len()), (true, 6));
}

/// A field of the entries of each page. `next` is the field with the position after a page, and the parameter that takes
/// the position.
async fn read_pages(api: &Api, base: &str, field: &str, next: (&str, &str)) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), base.to_owned());
    loop {
        let text = api.get(&path).await.text().await.unwrap();
        assert!(text.len() < (2 << 20) + 16 * 1024, "{} bytes", text.len());
        let page: Value = serde_json::from_str(&text).unwrap();
        let entries = page["entries"].as_array().unwrap_or_else(|| panic!("{page}"));
        pages.push(entries.iter().map(|entry| entry[field].as_str().unwrap().to_owned()).collect());
        match page[next.0].as_str() {
            Some(position) => path = format!("{base}&{}={}", next.1, encode(position)),
            None => return pages,
        }
    }
}
