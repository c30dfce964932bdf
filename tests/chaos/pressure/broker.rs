//! A broker that takes the events of files and refuses those of documents: the first go on, the second wait and are
//! named.

use std::time::Instant;

use async_nats::jetstream::{self, stream};
use reqwest::Method;
use serde_json::json;

use crate::support::api::Api;
use crate::support::nats::Nats;
use crate::support::poll;

/// A stream's name and the subjects that it takes.
type Kept = (&'static str, &'static str);

const FILES: Kept = ("files", "shardrive.file.>");
const DOCUMENTS: Kept = ("documents", "shardrive.record.>");
/// Events of files that must be published while those of documents are refused.
const PUBLISHED: u64 = 20;

/// A broker with a stream for files and another one for documents.
pub struct PickyBroker {
    nats: Nats,
    context: jetstream::Context,
}

impl PickyBroker {
    pub async fn start() -> Self {
        let _ = crate::support::api::client(); // sees to the provider of TLS
        let nats = Nats::start().await.expect("nats-server; run scripts/setup bench");
        let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let broker = Self { nats, context };
        broker.keep(FILES).await;
        broker.keep(DOCUMENTS).await;
        broker
    }

    pub fn url(&self) -> String {
        self.nats.url()
    }

    async fn keep(&self, (name, subject): Kept) {
        let config =
            stream::Config { name: name.to_owned(), subjects: vec![subject.to_owned()], ..stream::Config::default() };
        self.context.create_stream(config).await.unwrap();
    }

    async fn count(&self, (name, _): Kept) -> u64 {
        let mut stream = self.context.get_stream(name).await.unwrap();
        stream.info().await.unwrap().state.messages
    }

    /// Refuses the events of documents until then; gives what was wrong.
    pub async fn refuse_until(&self, api: &Api, until: Instant) -> Vec<String> {
        self.context.delete_stream(DOCUMENTS.0).await.unwrap();
        let mut stored = 0;
        while Instant::now() < until {
            let document =
                api.request(Method::PUT, &format!("/records/kv/refused-{stored}")).json(&json!({})).send().await;
            assert!(document.unwrap().status().is_success());
            stored += 1;
            poll::short_pause().await;
        }
        let mut wrong = Vec::new();
        let before = self.count(FILES).await;
        poll::until("events of files", async || {
            let published = self.count(FILES).await - before;
            if published >= PUBLISHED { Ok(()) } else { Err(published) }
        })
        .await;
        let (_, health) = api.get_json("/health").await;
        if !health["warnings"].to_string().contains("shardrive.record.") {
            wrong.push(format!("/health does not name what the broker refuses: {health}"));
        }
        self.keep(DOCUMENTS).await;
        poll::until("the events that waited", async || {
            let published = self.count(DOCUMENTS).await;
            if published >= stored { Ok(()) } else { Err((published, stored)) }
        })
        .await;
        println!("    {stored} events of documents waited until the broker took them");
        wrong
    }
}
