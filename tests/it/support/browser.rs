//! A real browser: headless Chromium, driven by chromedriver. Both are children of the test and end with the test.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use shardrive::local_servers::free_port;
use thirtyfour::prelude::{By, WebDriver, WebElement};
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel};
use tokio::sync::{Mutex, MutexGuard};

use super::api::client;
use super::folders::scratch_folder;
use super::{poll, tools};

/// The folder for the pictures of [`Browser::picture`]; without this variable no picture is saved. The pictures of
/// the page in docs/ come from here.
const PICTURES: &str = "SHARDRIVE_TEST_PICTURES";

/// One browser at a time: several would slow each other down until a wait fails.
static TURN: Mutex<()> = Mutex::const_new(());

/// A browser with one empty window.
pub struct Browser {
    page: WebDriver,
    driver: Child,
    home: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts a browser; `None` if none is installed.
    pub async fn start() -> Option<Self> {
        let program = tools::find_or_skip("chromedriver")?;
        let turn = TURN.lock().await;
        let home = scratch_folder().await;
        // A port of our own: asked for any port, some versions of chromedriver name port 0 as theirs.
        let port = free_port().unwrap();
        let mut driver = Command::new(program)
            .arg(format!("--port={port}"))
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (started, is_started) = tokio::sync::oneshot::channel();
        let out = BufReader::new(driver.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut started = Some(started);
            // Read to the end, so that chromedriver never blocks on a full pipe.
            for line in out.lines().map_while(Result::ok) {
                if let Some(started) = started.take_if(|_| line.contains("started successfully")) {
                    let _ = started.send(());
                }
            }
        });
        is_started.await.expect("chromedriver ended at its start");
        let mut wanted = DesiredCapabilities::chrome();
        for argument in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--lang=en",
            "--force-prefers-reduced-motion", // nothing glides away under a click
            "--window-size=1200,900",
        ] {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", home.path().join("profile").display())).unwrap();
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let connect = WebDriver::builder(format!("http://127.0.0.1:{port}"), wanted).client(client()).connect();
        match connect.await {
            Ok(page) => Some(Self { page, driver, home, _turn: turn }),
            Err(error) => {
                let _ = driver.kill();
                let _ = driver.wait();
                panic!("no browser: {error}");
            }
        }
    }

    pub async fn open(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    pub async fn find(&self, css: &str) -> WebElement {
        self.page.find(By::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// The visible text of an element; empty if the element is missing or hidden.
    pub async fn text(&self, css: &str) -> String {
        match self.page.find(By::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub async fn click(&self, css: &str) {
        let element = self.find(css).await;
        element.scroll_into_view().await.unwrap();
        element.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Clears a field, and types into it.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap_or_else(|error| panic!("{css}: {error}"));
        field.send_keys(text).await.unwrap();
    }

    /// Chooses an entry of a list by the entry's value.
    pub async fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value=\"{value}\"]")).await;
    }

    /// Presses a key where the focus is.
    pub async fn press(&self, key: &str) {
        self.page.action_chain().send_keys(key).perform().await.unwrap();
    }

    /// Confirms the page's question.
    pub async fn accept(&self) {
        self.page.accept_alert().await.unwrap();
    }

    /// Waits for the page's question, and answers with a text.
    pub async fn answer(&self, text: &str) {
        poll::until("a question", async || self.page.get_alert_text().await).await;
        self.page.send_alert_text(text).await.unwrap();
        self.page.accept_alert().await.unwrap();
    }

    /// The result of a script.
    pub async fn run(&self, script: &str) -> Value {
        let done = self.page.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"));
        done.json().clone()
    }

    /// Waits until an element's text holds a part.
    pub async fn until_text(&self, css: &str, part: &str) {
        let what = format!("{css} to say \"{part}\"");
        poll::until(&what, async || {
            let text = self.text(css).await;
            if text.contains(part) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits until an element is visible, or hidden.
    pub async fn until_shown(&self, css: &str, shown: bool) {
        poll::until(&format!("{css} shown: {shown}"), async || {
            let found = match self.page.find(By::Css(css)).await {
                Ok(element) => element.is_displayed().await.unwrap_or(false),
                Err(_) => false,
            };
            if found == shown { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Sets the width and height of the page, for example to a phone's.
    pub async fn resize(&self, width: u16, height: u16) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.page.cdp().send_raw("Emulation.setDeviceMetricsOverride", metrics).await.unwrap();
    }

    /// Sets dark or light colours.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.page.cdp().send_raw("Emulation.setEmulatedMedia", features).await.unwrap();
    }

    /// The browser's errors: faults of scripts, missing files, violations of the page's own policy.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.page.browser_log().await.unwrap();
        log.into_iter().filter(|entry| entry.level == "SEVERE").map(|entry| entry.message).collect()
    }

    /// Saves the page as a picture, if a folder is set.
    pub async fn picture(&self, name: &str) {
        if let Ok(folder) = std::env::var(PICTURES) {
            self.page.screenshot(&PathBuf::from(folder).join(format!("{name}.png"))).await.unwrap();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Otherwise the session's own drop would wait a minute for an answer of the driver, which is killed here.
        let _ = self.page.clone().leak();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // Chromium is the driver's child and outlives it; only this browser uses the folder.
        let home = self.home.path().display().to_string();
        let list = Command::new("ps").args(["-A", "-ww", "-o", "pid=,args="]).output().unwrap();
        for line in String::from_utf8_lossy(&list.stdout).lines().filter(|line| line.contains(&home)) {
            if let Some(pid) = line.split_whitespace().next() {
                let _ = Command::new("kill").args(["-s", "KILL", pid]).stderr(Stdio::null()).status();
            }
        }
    }
}
