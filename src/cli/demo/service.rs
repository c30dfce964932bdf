//! Calls to the service: JSON in and out, and an error that names the call and the cause.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::cli::CliError;
use crate::outbound::{CaCertificates, with_causes};

/// The time limit of a call.
const LIMIT: Duration = Duration::from_secs(120);

/// A running service.
#[derive(Clone)]
pub(super) struct RunningService {
    url: String,
    client: Client,
}

/// Why a call failed.
pub(super) struct CallFailure {
    why: String,
}

impl From<CallFailure> for CliError {
    fn from(refusal: CallFailure) -> Self {
        Self::Failed(refusal.why)
    }
}

impl RunningService {
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, CliError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
            let mut header = header.map_err(|_| CliError::Usage("the token is malformed".to_owned()))?;
            header.set_sensitive(true);
            headers.insert(AUTHORIZATION, header);
        }
        let client = CaCertificates::of_system().client_builder().default_headers(headers);
        let client = client.connect_timeout(Duration::from_secs(5)).timeout(LIMIT).build();
        let client = client.map_err(|error| CliError::Failed(format!("no HTTP client: {}", with_causes(&error))))?;
        let parsed = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if parsed.is_none() {
            return Err(CliError::Usage(format!("--url {url}: must begin with http:// or https://")));
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, CallFailure> {
        self.send_for_json(path, self.client.get(self.url_of(path))).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, CallFailure> {
        self.send_for_json(path, self.client.post(self.url_of(path)).json(body)).await
    }

    /// Sends JSON objects, one in each line.
    pub(super) async fn post_rows(&self, path: &str, rows: String) -> Result<Value, CallFailure> {
        let request = self.client.post(self.url_of(path)).header("Content-Type", "application/x-ndjson");
        self.send_for_json(path, request.body(rows)).await
    }

    pub(super) async fn get_text(&self, path: &str) -> Result<String, CallFailure> {
        self.send_for_text(path, self.client.get(self.url_of(path))).await
    }

    fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn send_for_json(&self, path: &str, request: RequestBuilder) -> Result<Value, CallFailure> {
        let text = self.send_for_text(path, request).await?;
        serde_json::from_str(&text)
            .map_err(|_| CallFailure { why: format!("{}: the answer is no JSON", self.url_of(path)) })
    }

    async fn send_for_text(&self, path: &str, request: RequestBuilder) -> Result<String, CallFailure> {
        let broken = |error: reqwest::Error| CallFailure {
            why: format!("{}: no answer: {}", self.url_of(path), with_causes(&error.without_url())),
        };
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        let text = answer.text().await.map_err(broken)?;
        if status.is_success() {
            return Ok(text);
        }
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let reason = json_field(&problem, "detail")
            .as_str()
            .or(json_field(&problem, "title").as_str())
            .unwrap_or("no reason given");
        let hint = match status.as_u16() {
            401 => "; say --token or --token-file",
            403 => "; the token needs the scope admin",
            _ => "",
        };
        let why = format!("{}: {reason} (status {}){hint}", self.url_of(path), status.as_u16());
        Err(CallFailure { why })
    }
}

/// A number in an answer; 0 if missing.
pub(super) fn number_field(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// A part of an answer; `null` if missing.
pub(super) fn json_field<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer.get(name).unwrap_or(&Value::Null)
}
