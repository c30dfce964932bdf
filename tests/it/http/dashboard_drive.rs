//! A user's drive on the dashboard, in a real browser: folders, paths, unfiled files and the trash, by mouse and by
//! keyboard.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::browser::Browser;
use crate::support::poll;
use crate::support::servers::TestCluster;

/// A file's name that would do something if it were taken for markup.
const MARKUP: &str = "<img src=x onerror=alert(1)>";
const DOWN: &str = "\u{e015}";
const ENTER: &str = "\u{e007}";
const BACKSPACE: &str = "\u{e003}";
const TAB: &str = "\u{e004}";
const END: &str = "\u{e010}";
const F2: &str = "\u{e032}";
const DELETE: &str = "\u{e017}";

/// Stores files of user 42, each at its path.
async fn store(api: &Api, paths: &[&str]) {
    let row = |path: &&str| {
        let name = path.rsplit('/').next().unwrap();
        format!("{}\n", json!({"user_id": 42, "file_name": name, "path": path, "size_bytes": 1500}))
    };
    let rows: String = paths.iter().map(row).collect();
    let answer = api.send("/ingest/bulk", "application/x-ndjson", rows).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["inserted"], paths.len());
}

/// The dashboard with the drive of user 42 on it.
async fn open(api: &Api) -> Option<Browser> {
    let browser = Browser::start().await?;
    browser.open(&format!("{}/dashboard", api.base())).await;
    browser.until_text("#link", "live").await;
    browser.fill("#find-form [name=user_id]", "42").await;
    browser.click("#find-form button").await;
    browser.until_text("#found", "User 42 is in slot 42 on shard 0").await;
    browser.until_shown("#drive", true).await;
    Some(browser)
}

/// Waits until the listing has these names and no others.
async fn until_names(browser: &Browser, names: &[&str]) {
    let shown = "return [...document.querySelectorAll('#files td:first-child')].map((cell) => cell.textContent)";
    poll::until(&format!("the names {names:?}"), async || {
        let found = browser.run(shown).await;
        if found == json!(names) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Waits until the focus is on the row of this name.
async fn until_focus(browser: &Browser, name: &str) {
    let focused = "return document.activeElement.closest('#files tr')?.cells[0].textContent";
    poll::until(&format!("the focus on {name}"), async || {
        let found = browser.run(focused).await;
        if found == json!(name) { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn go_to(browser: &Browser, path: &str) {
    browser.fill("#path-form [name=path]", path).await;
    browser.click("#path-form button").await;
}

#[tokio::test]
async fn a_person_browses_into_a_folder_and_back() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    store(&api, &["documents/letters/a.txt", "documents/b.txt", "top.txt", MARKUP]).await;
    let many: Vec<String> = (0..150).map(|number| format!("many/f{number:03}")).collect();
    store(&api, &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let Some(browser) = open(&api).await else { return };
    until_names(&browser, &["documents", "many", MARKUP, "top.txt"]).await;
    browser.until_text("#found", "3 folders, 154 files.").await;
    browser.until_text("#files tr:nth-child(4)", "1.5 KB").await;
    browser.picture("drive").await;

    browser.click("#files tr:nth-child(1) .open").await;
    until_names(&browser, &["letters", "b.txt"]).await;
    browser.click("#files tr:nth-child(1) .open").await;
    until_names(&browser, &["a.txt"]).await;
    browser.until_text("#crumbs", "documents").await;
    browser.click("#crumbs li:nth-child(2) button").await;
    until_names(&browser, &["letters", "b.txt"]).await;
    browser.click("#crumbs li:nth-child(1) button").await;
    until_names(&browser, &["documents", "many", MARKUP, "top.txt"]).await;

    browser.click("#files tr:nth-child(2) .open").await;
    browser.until_text("#files tr:nth-child(100)", "f099").await;
    browser.until_shown("#files tr:nth-child(101)", false).await;
    browser.click("#more").await;
    browser.until_text("#files tr:nth-child(150)", "f149").await;
    browser.until_shown("#more", false).await;

    // The path box leads to a folder, to a file, and nowhere.
    go_to(&browser, "/documents/letters/").await;
    until_names(&browser, &["a.txt"]).await;
    go_to(&browser, "documents/b.txt").await;
    until_names(&browser, &["b.txt"]).await;
    browser.until_text("#crumbs", "documents").await;
    for nowhere in ["documents/nothing", "../secret"] {
        go_to(&browser, nowhere).await;
        browser.until_shown("#done[data-state=bad]", true).await;
        until_names(&browser, &["b.txt"]).await;
        go_to(&browser, "documents/b.txt").await;
        browser.until_shown("#done[data-state=bad]", false).await;
    }
    go_to(&browser, MARKUP).await;
    until_names(&browser, &[MARKUP]).await;
    assert_eq!(browser.run("return document.querySelectorAll('main img').length").await, 0);
    let faults = browser.complaints().await;
    assert!(faults.iter().all(|fault| fault.contains("/children?path=")), "answers 4xx alone: {faults:?}");
}

#[tokio::test]
async fn the_keyboard_alone_is_enough() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    store(&api, &["documents/a.txt", "documents/b.txt", "photos/c.jpg", "top.txt"]).await;
    let Some(browser) = open(&api).await else { return };
    browser.run("document.querySelector('#find-form [name=user_id]').focus()").await;
    poll::until_true("the listing has its turn of Tab", async || {
        browser.press(TAB).await;
        browser.run("return document.activeElement.matches('#files tr')").await == true
    })
    .await;
    assert_ne!(browser.run("return getComputedStyle(document.activeElement).outlineStyle").await, "none");
    until_focus(&browser, "documents").await;
    browser.press(DOWN).await;
    until_focus(&browser, "photos").await;
    browser.press(ENTER).await;
    until_focus(&browser, "c.jpg").await;
    browser.press(BACKSPACE).await;
    until_focus(&browser, "photos").await;
    assert_eq!(browser.run("return document.getElementById('news').textContent").await, "The root: 3.");

    browser.press(F2).await;
    browser.answer("pictures").await;
    until_names(&browser, &["documents", "pictures", "top.txt"]).await;
    until_focus(&browser, "pictures").await;
    browser.until_text("#done", "photos is now pictures.").await;
    browser.press(END).await;
    until_focus(&browser, "top.txt").await;
    browser.press(DELETE).await;
    until_names(&browser, &["documents", "pictures"]).await;
    until_focus(&browser, "documents").await;
    browser.until_text("#found", "1 in the trash.").await;
    browser.press(ENTER).await;
    until_focus(&browser, "a.txt").await;
    browser.press(F2).await;
    browser.answer("b.txt").await;
    browser.until_shown("#done[data-state=bad]", true).await;
    until_names(&browser, &["a.txt", "b.txt"]).await;
    assert_eq!(api.get_json("/drives/42/path/pictures/c.jpg").await.0, 200);
    let faults = browser.complaints().await;
    assert!(faults.iter().all(|fault| fault.contains("/files/")), "the taken name alone: {faults:?}");
}

#[tokio::test]
async fn what_is_in_the_trash_comes_back_and_unfiled_files_are_shown() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    store(&api, &["documents/a.txt", "b.txt"]).await;
    assert_eq!(api.post("/ingest", &json!({"user_id": 42, "file_name": "loose.txt"})).await.status(), 201);
    let Some(browser) = open(&api).await else { return };
    until_names(&browser, &["documents", "b.txt"]).await;
    browser.click("#acts [data-act=trash]").await;
    until_names(&browser, &["b.txt"]).await;
    browser.click("#acts [data-act=trash]").await;
    until_names(&browser, &["This folder is empty."]).await;
    browser.click("#acts [data-act=create]").await;
    browser.answer("b.txt").await;
    until_names(&browser, &["b.txt"]).await;

    browser.click("#views [data-view=trash]").await;
    until_names(&browser, &["b.txt", "documents"]).await;
    browser.picture("drive-trash").await;
    browser.click("#files tr:nth-child(2) td").await;
    browser.click("#acts [data-act=restore]").await;
    until_names(&browser, &["b.txt"]).await;
    browser.until_text("#done", "documents is back.").await;
    // The folder has the file's name now: the page asks for another name.
    browser.click("#acts [data-act=restore]").await;
    browser.answer("c.txt").await;
    until_names(&browser, &["The trash is empty."]).await;

    browser.click("#views [data-view=unfiled]").await;
    until_names(&browser, &["loose.txt"]).await;
    browser.click("#acts [data-act=rename]").await;
    browser.answer("found.txt").await;
    until_names(&browser, &["found.txt"]).await;
    browser.click("#views [data-view=folders]").await;
    until_names(&browser, &["b.txt", "documents", "c.txt"]).await;
    assert_eq!(api.get_json("/drives/42/path/documents/a.txt").await.0, 200);

    // The trash is emptied for good, once the person has confirmed it.
    browser.click("#acts [data-act=trash]").await;
    until_names(&browser, &["documents", "c.txt"]).await;
    browser.click("#views [data-view=trash]").await;
    until_names(&browser, &["b.txt"]).await;
    browser.click("#acts [data-act=empty]").await;
    browser.accept().await;
    until_names(&browser, &["The trash is empty."]).await;
    browser.until_text("#done", "The trash is empty: 1 deleted for good.").await;
    assert_eq!(api.get_json("/drives/42").await.1["data"]["trashed"], 0);
}

#[tokio::test]
async fn a_drive_fits_a_phone_and_a_dark_room() {
    let cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    let long = "a_name_without_a_space_".repeat(10);
    store(&api, &["documents/2026/letters/a.txt", &long]).await;
    let Some(browser) = open(&api).await else { return };
    browser.resize(320, 640).await;
    until_names(&browser, &["documents", &long]).await;
    assert_eq!(browser.run("return document.documentElement.scrollWidth").await, 320);
    browser.run("document.getElementById('drive-title').scrollIntoView()").await;
    browser.picture("drive-phone").await;
    browser.prefer("dark").await;
    browser.picture("drive-phone-dark").await;
    browser.click("#files tr:nth-child(1) .open").await;
    until_names(&browser, &["2026"]).await;
    go_to(&browser, "documents/2026/letters").await;
    until_names(&browser, &["a.txt"]).await;
    assert_eq!(browser.run("return document.documentElement.scrollWidth").await, 320);
    browser.resize(1200, 900).await;
    browser.picture("drive-dark").await;
}
