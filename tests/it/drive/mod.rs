//! The drive: a tree of folders, with files in the folders.

mod batch;
mod by_hand;
mod files;
mod folders;
mod listings;
mod loads;
mod mirrors;
mod model;
mod paths;
mod races;
mod trash;

use reqwest::Method;
use serde_json::Value;

use crate::support::api::{Api, json as parts};

/// Sends a JSON body; the status and the answer.
async fn call(api: &Api, method: Method, path: &str, body: Value) -> (u16, Value) {
    let (status, answer) = parts(api.request(method, path).json(&body).send().await.unwrap()).await;
    (status.as_u16(), answer)
}
