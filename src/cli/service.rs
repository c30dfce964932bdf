//! Calls to a running service: JSON in and out, and a failure as a sentence for people.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, RequestBuilder};
use serde_json::Value;

use super::CliError;
use crate::outbound::{CaCertificates, no_answer, with_causes};
use crate::telemetry::OneLine;

/// The time limit of a call.
const LIMIT: Duration = Duration::from_secs(120);

/// Where the service is, and who calls.
#[derive(Args, Debug)]
pub(super) struct ServiceArgs {
    /// The URL of the service.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    pub(super) url: String,
    /// A file with a sign-in token for the service.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ServiceArgs {
    /// The service, for calls with short answers.
    pub(super) async fn connect(&self) -> Result<RunningService, CliError> {
        RunningService::new(&self.url, self.read_token().await?)
    }

    /// The token of the file, if a file is named.
    pub(super) async fn read_token(&self) -> Result<Option<String>, CliError> {
        match &self.token_file {
            Some(file) => read_token(file).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The token in a file.
pub(super) async fn read_token(file: &Path) -> Result<String, CliError> {
    let failed = |error| CliError::Failed(format!("{}: {error}", file.display()));
    tokio::fs::read_to_string(file).await.map_err(failed)
}

/// A builder of a client that signs in with the token.
pub(super) fn client_builder(token: Option<String>) -> Result<ClientBuilder, CliError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        let mut header = header.map_err(|_| CliError::Usage("the token is malformed".to_owned()))?;
        header.set_sensitive(true);
        headers.insert(AUTHORIZATION, header);
    }
    let client = CaCertificates::of_system().client_builder().default_headers(headers);
    Ok(client.connect_timeout(Duration::from_secs(5)))
}

/// Builds the client.
pub(super) fn build_client(builder: ClientBuilder) -> Result<Client, CliError> {
    builder.build().map_err(|error| CliError::Failed(format!("no HTTP client: {}", with_causes(&error))))
}

/// A running service.
#[derive(Clone)]
pub(super) struct RunningService {
    url: String,
    client: Client,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct CallFailure {
    reason: String,
    /// The code of the service's problem; empty without a problem.
    code: String,
}

impl CallFailure {
    /// True if the service answered with the problem of this code.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.code == code
    }
}

impl From<CallFailure> for CliError {
    fn from(failure: CallFailure) -> Self {
        Self::Failed(failure.reason)
    }
}

impl RunningService {
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, CliError> {
        let client = build_client(client_builder(token)?.timeout(LIMIT))?;
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

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Value, CallFailure> {
        self.send_for_json(path, self.client.patch(self.url_of(path)).json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, CallFailure> {
        self.send_for_json(path, self.client.delete(self.url_of(path))).await
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
        serde_json::from_str(&text).map_err(|_| self.failure(path, "the answer is no JSON"))
    }

    async fn send_for_text(&self, path: &str, request: RequestBuilder) -> Result<String, CallFailure> {
        let broken = |error: reqwest::Error| self.failure(path, &no_answer(error));
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        let text = answer.text().await.map_err(broken)?;
        if status.is_success() {
            return Ok(text);
        }
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let text_field = |name: &str| json_field(&problem, name).as_str();
        let Some(reason) = text_field("detail").or(text_field("title")) else {
            return Err(self.failure(path, &format!("no reason given (status {})", status.as_u16())));
        };
        let hint = if status == reqwest::StatusCode::UNAUTHORIZED { "; say --token-file" } else { "" };
        let code = text_field("code").unwrap_or_default().to_owned();
        Err(CallFailure { reason: format!("{}{hint}", OneLine(reason)), code })
    }

    /// A failure without a problem of the service.
    fn failure(&self, path: &str, why: &str) -> CallFailure {
        CallFailure { reason: format!("{}: {why}", self.url_of(path)), code: String::new() }
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
