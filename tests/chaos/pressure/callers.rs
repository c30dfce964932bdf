//! Callers that ask for more than their share.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::bystanders::is_refusal;
use crate::support::api::{Api, client};
use crate::support::poll;

/// Documents of one user, and how long each is.
const LARGE: usize = 24;
const LENGTH: usize = 900_000;
/// Callers that list them, half of them from one address.
const LISTERS: usize = 24;
/// Callers that change one document.
const CHANGERS: usize = 64;
/// Connections on which nobody says anything. Few systems let a process open many more.
const SILENT: usize = 900;
/// Where they come from; any address of 127.0.0.0/8 is ours on Linux.
const ELSEWHERE: &str = "127.0.0.2:0";
/// Bodies of which no byte comes.
const BODIES: usize = 16;

/// What [`list_large_documents`] lists.
pub async fn store_large_documents(api: &Api) {
    let collection = json!({"shard_key": "k", "records_per_key": "many", "key_type": "integer"});
    let declared = api.request(Method::PUT, "/collections/notes").json(&collection).send().await.unwrap();
    assert!(declared.status().is_success(), "{}", declared.text().await.unwrap());
    for _ in 0..LARGE {
        let (status, answer) = api.post_json("/records/notes", &json!({"k": 2, "text": "x".repeat(LENGTH)})).await;
        assert!(status.is_success(), "{answer}");
    }
}

/// Lists the largest pages that there are, without a pause.
pub async fn list_large_documents(api: &Api, until: Instant) -> Vec<String> {
    let mut tasks = JoinSet::new();
    for number in 0..LISTERS {
        let address = if number % 2 == 0 { "203.0.113.1".to_owned() } else { format!("203.0.113.{}", 2 + number) };
        let (client, url) = (client(), format!("{}/records/notes?shard_key=2&limit=1000", api.base()));
        tasks.spawn(async move {
            let mut wrong = Vec::new();
            while Instant::now() < until {
                let answer = client.get(&url).header("X-Forwarded-For", &address).send().await;
                let status = match answer {
                    Ok(answer) => answer.status(),
                    Err(error) => {
                        wrong.push(format!("{error:?}"));
                        continue;
                    }
                };
                if is_refusal(status) {
                    poll::short_pause().await;
                } else if !status.is_success() {
                    wrong.push(format!("a listing of large documents: {status}"));
                }
            }
            wrong
        });
    }
    tasks.join_all().await.concat()
}

/// What [`patch_hot_document`] patches.
pub async fn store_hot_document(api: &Api) {
    let stored = api.request(Method::PUT, "/records/kv/hot").json(&json!({})).send().await.unwrap();
    assert!(stored.status().is_success(), "{}", stored.text().await.unwrap());
}

/// Each caller counts up a member of one document. Nobody may be sent away, and no count may be lost.
pub async fn patch_hot_document(api: &Api, until: Instant) -> Vec<String> {
    let mut tasks = JoinSet::new();
    for number in 0..CHANGERS {
        let (client, url) = (client(), format!("{}/records/kv/hot", api.base()));
        tasks.spawn(async move {
            let (name, mut count, mut wrong) = (format!("m{number}"), 0, Vec::new());
            while Instant::now() < until {
                let change = client.patch(&url).header("Content-Type", "application/merge-patch+json");
                match change.body(json!({&name: count + 1}).to_string()).send().await {
                    Ok(answer) if answer.status().is_success() => count += 1,
                    Ok(answer) => {
                        wrong.push(format!("a patch: {} {}", answer.status(), answer.text().await.unwrap_or_default()));
                        break;
                    }
                    Err(error) => {
                        wrong.push(format!("a patch: {error:?}"));
                        break;
                    }
                }
            }
            (name, count, wrong)
        });
    }
    let done: Vec<(String, u64, Vec<String>)> = tasks.join_all().await;
    let (_, found) = api.get_json("/records/kv/hot").await;
    println!("    {} changes of one document", done.iter().map(|(_, count, _)| count).sum::<u64>());
    let lost = |(name, count, wrong): (String, u64, Vec<String>)| {
        let shown = &found["document"][&name];
        let is_right = !wrong.is_empty() || shown.as_u64().unwrap_or(0) == count;
        let fault = (!is_right).then(|| format!("member {name} is {shown} after {count} changes"));
        wrong.into_iter().chain(fault)
    };
    done.into_iter().flat_map(lost).collect()
}

/// Holds connections without a handshake. Those that the service ends are opened anew.
pub async fn connect_and_say_nothing(api: &Api, until: Instant) -> Vec<String> {
    let address = api.base().rsplit('/').next().unwrap().parse().unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..SILENT {
        tasks.spawn(async move {
            while Instant::now() < until {
                let socket = TcpSocket::new_v4().unwrap();
                // Elsewhere all come from one address, as the bystanders do.
                let _ = socket.bind(ELSEWHERE.parse().unwrap());
                if let Ok(mut stream) = socket.connect(address).await {
                    until_closed(&mut stream, until).await;
                }
                poll::short_pause().await;
            }
        });
    }
    tasks.join_all().await;
    Vec::new()
}

/// Opens bulk bodies of which no byte comes. Those that the service ends are opened anew.
pub async fn open_bodies_and_say_nothing(api: &Api, until: Instant) -> Vec<String> {
    let address = api.base().rsplit('/').next().unwrap().to_owned();
    let mut tasks = JoinSet::new();
    for _ in 0..BODIES {
        let address = address.clone();
        tasks.spawn(async move {
            let head = "POST /ingest/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n\
                        X-Forwarded-For: 203.0.113.1\r\nContent-Length: 100000\r\n\r\n";
            while Instant::now() < until {
                if let Ok(mut stream) = TcpStream::connect(&address).await
                    && stream.write_all(head.as_bytes()).await.is_ok()
                {
                    until_closed(&mut stream, until).await;
                }
                poll::short_pause().await;
            }
        });
    }
    tasks.join_all().await;
    Vec::new()
}

/// Until the other side has closed, or then.
async fn until_closed(stream: &mut TcpStream, until: Instant) {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout_at(until.into(), stream.read_to_end(&mut answer)).await;
}

/// The problem's code, if the answer is one.
pub fn code_of(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or_default()
}
