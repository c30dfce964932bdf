//! A client that repeats each request until a process says for sure what became of it.

use rand::prelude::*;
use reqwest::{Client, Method};
use serde_json::Value;
use uuid::Uuid;

use crate::poll;
use crate::support::api::client;

/// A client of several processes.
pub struct InsistentClient {
    http: Client,
    bases: Vec<String>,
}

impl InsistentClient {
    /// A client of the processes at these addresses.
    pub fn new(bases: &[String]) -> Self {
        Self { http: client(), bases: bases.to_vec() }
    }

    /// Sends a request to any process, with one `Idempotency-Key`, until the answer is sure: a success, or a refusal
    /// that no fault explains.
    pub async fn ask(&self, random: &mut StdRng, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let key = Uuid::new_v4().to_string();
        let takes_key = method == Method::POST || method == Method::PATCH;
        loop {
            let base = self.bases.choose(random).unwrap();
            let request = self.http.request(method.clone(), format!("{base}{path}")).json(body);
            let request = if takes_key { request.header("Idempotency-Key", &key) } else { request };
            if let Ok(answer) = request.send().await {
                let status = answer.status().as_u16();
                let answer: Value = answer.json().await.unwrap_or_default();
                // A key in use: the first request may still be running on the shard.
                let is_running = answer["code"] == "idempotency_key_in_use";
                if status < 500 && status != 429 && !is_running {
                    return (status, answer);
                }
            }
            poll::short_pause().await;
        }
    }
}
