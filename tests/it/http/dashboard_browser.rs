//! The dashboard in a real browser: what people see and do there, by mouse, by keyboard and on a phone.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::browser::Browser;
use crate::support::poll;
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";
/// A file's name that would do something if it were taken for markup.
const MARKUP: &str = "<img src=x onerror=\"document.title='taken over'\">.txt";

async fn open(api: &Api) -> Option<Browser> {
    let browser = Browser::start().await?;
    browser.open(&format!("{}/dashboard", api.base())).await;
    browser.until_text("#link", "live").await;
    Some(browser)
}

fn shard(id: usize) -> String {
    format!("#shards > :nth-child({})", id + 1)
}

#[tokio::test]
async fn the_first_files_go_in_by_form_and_are_shown_as_they_are() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let Some(browser) = open(&api).await else { return };
    browser.until_text("#empty", &format!("curl -X POST '{}/ingest/bulk?count=100'", api.base())).await;
    browser.picture("empty").await;

    browser.fill("#ingest-form [name=user_id]", "11").await;
    browser.fill("#ingest-form [name=file_name]", MARKUP).await;
    browser.fill("#ingest-form [name=size_bytes]", "1500").await;
    browser.click("#ingest-form button").await;
    browser.until_text("#stored", "Storing data for user 11 → shard 1 (slot 11)").await;
    browser.until_shown("#empty", false).await;
    browser.fill("#find-form [name=user_id]", "11").await;
    browser.click("#find-form button").await;
    browser.until_text("#found", "User 11 is in slot 11 on shard 1: 0 folders, 1 file.").await;
    browser.until_text("#files", MARKUP).await;
    assert_eq!(browser.run("return document.querySelectorAll('#files img').length").await, 0);
    assert_eq!(browser.run("return document.title").await, "Shardrive");
    browser.until_text("#slot", "slot 11 · shard 1").await;

    // A number that JavaScript would round, and one that no user has.
    browser.fill("#find-form [name=user_id]", "9007199254740993").await;
    browser.click("#find-form button").await;
    browser.until_text("#found", "User 9007199254740993 is in slot 33 on shard 1: 0 folders, 0 files.").await;
    browser.fill("#find-form [name=user_id]", "9999999999999999999").await;
    browser.click("#find-form button").await;
    browser.until_text("#found", "user_id").await;

    // Counts follow what others store.
    browser.until_text(&shard(1), "Files\n1\n").await;
    assert_eq!(api.post("/ingest/bulk?count=100", &json!({})).await.status(), 200);
    browser.until_text(&shard(0), "Files\n50\n").await;
    browser.until_text(&shard(1), "Files\n51\n").await;
    browser.until_text("#totals", "101 files").await;
    browser.until_text("#charts", "p99 ").await;

    // Nothing came from elsewhere, and not much came at all.
    let transfer = "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .map((entry) => [entry.name, entry.transferSize])";
    let loaded: Vec<(String, u64)> = serde_json::from_value(browser.run(transfer).await).unwrap();
    assert!(loaded.iter().all(|(url, _)| url.starts_with(api.base())), "{loaded:?}");
    let page: u64 = loaded
        .iter()
        .filter(|(url, _)| url.contains("/dashboard") && !url.ends_with("/events"))
        .map(|(_, bytes)| bytes)
        .sum();
    assert!(page > 10_000 && page < 70_000, "{page} bytes: {loaded:?}");
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|text| text.contains("/drives/9999999999999999999")), "{complaints:?}");
}

#[tokio::test]
async fn a_shard_that_is_killed_turns_red_and_heals() {
    let mut cluster = TestCluster::migrated(2).await;
    let mut api = Api::start(&cluster).await;
    api.post("/ingest/bulk?count=100", &json!({})).await;
    let Some(browser) = open(&api).await else { return };
    browser.until_shown(&format!("{}[data-state=good]", shard(1)), true).await;
    let killed = Instant::now();
    cluster.server(1).kill().await;
    browser.until_shown(&format!("{}[data-state=bad]", shard(1)), true).await;
    let red = killed.elapsed();
    eprintln!("a killed shard was red after {red:?}");
    // How soon it is on a quiet machine, tests/chaos/run measures.
    assert!(red < Duration::from_secs(10), "{red:?}");
    browser.until_text(&shard(1), "unreachable").await;
    browser.until_shown(&format!("{}[data-state=good]", shard(0)), true).await;
    assert_eq!(browser.run("return document.getElementById('news').textContent").await, "Shard 1 is unreachable.");
    browser.picture("shard-away").await;
    cluster.server(1).start().await.unwrap();
    let back = Instant::now();
    browser.until_shown(&format!("{}[data-state=good]", shard(1)), true).await;
    eprintln!("when it was back it was well again after {:?}", back.elapsed());

    // So does the page itself when the service comes back.
    let address = api.base().strip_prefix("http://").unwrap().to_owned();
    api.kill9();
    browser.until_text("#link", "no answer").await;
    let _again = Api::start_with(&cluster, &[("BIND_ADDR", &address)]).await;
    browser.until_text("#link", "live").await;
    browser.until_text("#totals", "100 files").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_tried_dry_started_and_seen_through_to_its_end() {
    let cluster = TestCluster::migrated(2).await;
    cluster
        .psql(0, "INSERT INTO file_metadata (user_id, file_name) SELECT 2 * (n % 400), 'f' || n FROM generate_series(1, 20000) AS n")
        .await
        .unwrap();
    let api = Api::start(&cluster).await;
    api.post("/ingest/bulk?count=2000", &json!({})).await;
    let Some(browser) = open(&api).await else { return };
    browser.click("#new-move summary").await;
    browser.choose("#move-form [name=kind]", "moves").await;
    browser.fill("#move-form [name=slots]", "1").await;
    browser.choose("#move-form [name=to]", "1").await;
    browser.click("#move-form [name=look]").await;
    browser.until_text("#plan", "shard 1 owns these slots already").await;
    assert!(!browser.find("#move-form [name=start]").await.is_enabled().await.unwrap());
    let even: Vec<_> = (0..300).map(|slot| (2 * slot).to_string()).collect();
    browser.fill("#move-form [name=slots]", &even.join(",")).await;
    browser.fill("#move-form [name=copy_rate]", "4000").await;
    browser.click("#move-form [name=look]").await;
    browser.until_text("#plan", "shard 0 → shard 1: 300 slots, 15,").await;
    assert_eq!(api.get_json("/admin/moves").await.1["moves"], json!([]), "nothing was started");
    // What is changed after the look must be looked at again.
    browser.fill("#move-form [name=rollback_window_seconds]", "500").await;
    assert!(!browser.find("#move-form [name=start]").await.is_enabled().await.unwrap());
    browser.click("#move-form [name=look]").await;
    poll::until_true("the start", async || browser.find("#move-form [name=start]").await.is_enabled().await.unwrap())
        .await;
    browser.click("#move-form [name=start]").await;
    browser.until_text("#plan", "Started: move 1.").await;

    browser.until_shown("#moves [data-move='1'] progress", true).await;
    browser.run("document.getElementById('slots-title').scrollIntoView()").await;
    browser.until_text("#moves [data-move='1']", "of 15,").await;
    let label = "return document.getElementById('map').getAttribute('aria-label')";
    poll::until("slots on their way", async || {
        let text = browser.run(label).await;
        if text.as_str().unwrap().contains("of which 300 are on their way elsewhere") { Ok(()) } else { Err(text) }
    })
    .await;
    browser.picture("move").await;
    browser.until_shown("#moves [data-move='1'][data-stage=rollback_window]", true).await;
    browser.until_text("#legend", "shard 1: 2,820").await;
    browser.click("#moves [data-move='1'] summary").await;
    browser.until_text("#moves [data-move='1'] .events", "changes owners").await;
    browser.click("#moves [data-move='1'] [data-request=finish]").await;
    browser.accept().await;
    browser.until_shown("#moves [data-move='1'][data-stage=done]", true).await;
    browser.until_shown("#moves [data-move='1'] [data-request=finish]", false).await;
    assert_eq!(api.get_json("/admin/moves/1").await.1["stage"], "done");
    browser.run("scrollTo(0, 0)").await;
    browser.picture("light").await;
    browser.prefer("dark").await;
    browser.picture("dark").await;
    browser.run("document.getElementById('slots-title').scrollIntoView()").await;
    browser.picture("dark-slots").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn it_fits_a_phone_and_needs_no_mouse() {
    let cluster = TestCluster::migrated(3).await;
    let api = Api::start(&cluster).await;
    api.post("/ingest/bulk?count=100", &json!({})).await;
    let Some(browser) = open(&api).await else { return };
    browser.resize(320, 640).await;
    browser.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })").await;
    browser.fill("#find-form [name=user_id]", "42").await;
    browser.click("#find-form button").await;
    browser.until_text("#found", "User 42 is in slot 42 on shard 0").await;
    assert_eq!(browser.run("return document.documentElement.scrollWidth").await, 320);
    browser.picture("phone-bottom").await;
    browser.run("scrollTo(0, 0)").await;
    browser.picture("phone").await;

    // Everything that can be used has its turn, shows that it has it, and has a name.
    // By their places: the page may put a new element in the place of an old one at any time.
    let all = "[...document.querySelectorAll('a, button, input, select, summary, [tabindex=\"0\"]')]
        .filter((element) => element.checkVisibility() && !element.disabled)";
    let usable = browser.run(&format!("return {all}.length")).await.as_u64().unwrap();
    let focused = format!(
        "const on = document.activeElement;
         return [{all}.indexOf(on), getComputedStyle(on).outlineStyle, on.outerHTML.slice(0, 80)]"
    );
    let mut reached = std::collections::BTreeSet::new();
    // Where the turns begin is wherever the last click was.
    for _ in 0..usable + 3 {
        browser.press("\u{e004}").await; // Tab
        let focus = browser.run(&focused).await;
        if let Some(place) = focus[0].as_u64() {
            assert_ne!(focus[1], "none", "{focus}");
            reached.insert(place);
        }
    }
    assert_eq!(reached, (0..usable).collect(), "each once");
    let nameless = "return [...document.querySelectorAll('button, input, select')]
        .filter((element) => !(element.textContent.trim() || element.ariaLabel || element.labels?.length)).length";
    assert_eq!(browser.run(nameless).await, 0);
    browser.run("document.getElementById('map').focus()").await;
    browser.press("\u{e014}").await; // right
    browser.press("\u{e014}").await;
    browser.until_text("#slot", "slot 1 · shard 1").await;
    browser.press("\u{e010}").await; // end
    browser.until_text("#slot", "slot 5039 · shard 2").await;
}

#[tokio::test]
async fn with_sign_in_it_asks_for_a_token_and_keeps_it_for_this_tab() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_AUTH_SECRET", SECRET)]).await;
    let token = |scope: &str| Key::secret(SECRET).token("", &json!({"sub": "7", "scope": scope, "exp": now() + 600}));
    api.request(Method::POST, "/ingest/bulk?count=3").bearer_auth(token("admin")).send().await.unwrap();
    let Some(browser) = Browser::start().await else { return };
    browser.open(&format!("{}/dashboard", api.base())).await;
    browser.until_text("#sign-in-why", "Sign-in is on.").await;
    browser.until_shown("#moves-title", false).await;

    // A user's token does not show the shards, and does for the user's own files.
    let sign_in = async |text: &str| {
        browser.fill("#sign-in-form [name=token]", text).await;
        browser.click("#sign-in-form button").await;
    };
    sign_in(&token("user")).await;
    browser.until_text("#sign-in-why", "admin").await;
    browser.fill("#find-form [name=user_id]", "7").await;
    browser.click("#find-form button").await;
    browser.until_text("#found", "User 7 is in slot 7 on shard 0").await;
    browser.fill("#find-form [name=user_id]", "8").await;
    browser.click("#find-form button").await;
    browser.until_text("#found", "paste it above").await;

    sign_in(&token("admin")).await;
    browser.until_text("#link", "live").await;
    browser.until_shown("#sign-in", false).await;
    browser.until_text("#totals", "3 files").await;
    let kept = "return [localStorage.length, document.cookie, sessionStorage.length, location.search]";
    assert_eq!(browser.run(kept).await, Value::from(vec![json!(0), json!(""), json!(1), json!("")]));
    browser.open(&format!("{}/dashboard", api.base())).await;
    browser.until_text("#link", "live").await;
}
