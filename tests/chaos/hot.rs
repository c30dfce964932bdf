//! One document that many clients patch at the same time, through all programs: nobody is sent away, and no patch is
//! lost.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::api::{Api, json as parts};

const CLIENTS: usize = 64;
const PATCHES: usize = 5;

pub async fn patch_one_document(apis: &[Api], key: u32) {
    let path = format!("/records/kv/hot-{key}");
    let send = async |client: usize, method: Method, body| {
        let api = &apis[client % apis.len()];
        parts(api.request(method, &path).json(&body).send().await.unwrap()).await
    };
    let (status, answer) = send(0, Method::PUT, json!({})).await;
    assert!(status.is_success(), "{answer}");
    let clients = (0..CLIENTS).map(async |client| {
        for patch in 0..PATCHES {
            let (status, answer) = send(client, Method::PATCH, json!({ format!("{client}-{patch}"): 1 })).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
    });
    join_all(clients).await;
    let (_, found) = apis[0].get_json(&path).await;
    assert_eq!(found["document"].as_object().unwrap().len(), CLIENTS * PATCHES, "a patch is lost");
}
