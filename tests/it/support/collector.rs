//! A small collector of traces: takes OTLP over HTTP and keeps the spans.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::poll;

/// The received data: the sending service, and the spans.
#[derive(Clone, Default, Debug)]
pub struct Received {
    pub service: String,
    pub spans: Vec<Span>,
}

/// A running collector; a drop ends the collector.
pub struct Collector {
    port: u16,
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Received::default()));
        let kept = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve_connection(client, Arc::clone(&kept)));
            }
        });
        Self { port, received, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The data received so far.
    pub fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }

    /// Waits for the spans of a trace, until there are `spans` of them.
    pub async fn wait_for_trace(&self, trace_id: &str, spans: usize) -> Vec<Span> {
        poll::until("the spans of a trace", async || {
            let mut found = self.received().spans;
            found.retain(|span| hex(&span.trace_id) == trace_id);
            if found.len() >= spans { Ok(found) } else { Err(self.received()) }
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of a span's attribute, as text.
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// Answers every request of a connection.
async fn serve_connection(mut client: TcpStream, received: Arc<Mutex<Received>>) {
    let mut bytes = Vec::new();
    loop {
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            match client.read_buf(&mut bytes).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        assert!(text.starts_with("post /v1/traces http/1.1\r\n"), "{text}");
        assert!(text.contains("content-type: application/x-protobuf"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let end = head + 4 + length.trim().parse::<usize>().unwrap();
        while bytes.len() < end {
            if client.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let request = ExportTraceServiceRequest::decode(&bytes[head + 4..end]).unwrap();
        store_spans(request, &mut received.lock().unwrap());
        bytes.drain(..end);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        if client.write_all(answer).await.is_err() {
            return;
        }
    }
}

fn store_spans(request: ExportTraceServiceRequest, received: &mut Received) {
    for resource in request.resource_spans {
        for attribute in resource.resource.into_iter().flat_map(|resource| resource.attributes) {
            if let ("service.name", Some(Value::StringValue(name))) =
                (attribute.key.as_str(), attribute.value.and_then(|value| value.value))
            {
                received.service = name;
            }
        }
        received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
}
