//! Clients that keep a place and send nothing, or little: they cost nobody else anything, and the log names them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Certificate, Client, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::api::{Api, client, json as parts};
use crate::support::certificates::TestCa;
use crate::support::pace::between_bytes;
use crate::support::poll;
use crate::support::servers::TestCluster;

const NDJSON: &str = "application/x-ndjson";
/// More than actix lets a worker have TLS handshakes under way by itself, which is 256.
const SILENT: usize = 400;
/// The settings of a service with a single worker.
const ONE_WORKER: (&str, &str) = ("SHARDRIVE_HTTP_WORKERS", "1");

fn address(api: &Api) -> SocketAddr {
    api.base().rsplit_once('/').unwrap().1.parse().unwrap()
}

/// A client at another address of this machine.
fn other_client(authority: Option<&TestCa>) -> Client {
    drop(client()); // installs what TLS needs
    let builder = Client::builder().no_proxy().local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    match authority {
        None => builder.build().unwrap(),
        Some(authority) => {
            builder.tls_certs_only([Certificate::from_pem(authority.pem.as_bytes()).unwrap()]).build().unwrap()
        }
    }
}

fn metric(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// A connection on which TLS is spoken, and no request is sent.
async fn connect_over_tls(address: SocketAddr, authority: &TestCa) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap()
}

/// Opens silent connections, and asks as somebody else while they are all open.
async fn others_are_answered(api: &Api, authority: Option<&TestCa>) {
    poll::until("an answer while the others are silent", async || {
        let address = address(api);
        let silent = join_all((0..SILENT).map(|_| TcpStream::connect(address))).await;
        let silent: Vec<TcpStream> = silent.into_iter().map(Result::unwrap).collect();
        // A new client, so that its connection stands behind all the silent ones.
        let answer = other_client(authority).get(format!("{}/metrics", api.base())).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let open = metric(&answer.text().await.unwrap(), "shardrive_connections_open");
        drop(silent);
        // On a machine so slow that the first were timed out before the last came, another try tells.
        if open > 300 { Ok(()) } else { Err(open) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_cost_nobody_else_and_are_named() {
    let (cluster, authority) = (TestCluster::migrated(1).await, TestCa::new());
    let own = authority.issue_certificate(&["127.0.0.1"]);
    let (certificate, key) = (authority.write("cert.pem", &own.certificate), authority.write("key.pem", &own.key));
    let settings =
        [("SHARDRIVE_TLS_CERT_FILE", certificate.as_str()), ("SHARDRIVE_TLS_KEY_FILE", key.as_str()), ONE_WORKER];
    let over_tls = Api::start_with(&cluster, &settings).await;
    let plain = Api::start_with(&cluster, &[ONE_WORKER]).await;
    tokio::join!(others_are_answered(&over_tls, Some(&authority)), others_are_answered(&plain, None));

    for (api, authority) in [(&over_tls, Some(&authority)), (&plain, None)] {
        let address = address(api);
        let after_handshake = match authority {
            Some(authority) => Some(connect_over_tls(address, authority).await),
            None => None,
        };
        let mut silent = Vec::new();
        for _ in 0..300 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // The server closes each after some seconds. Not a byte: it could be taken for the answer to a request.
        for stream in &mut silent {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{rest:?}");
        }
        if let Some(mut stream) = after_handshake {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("an end that is no cut");
            assert!(rest.is_empty(), "{rest:?}");
        }
        poll::until("the line that names the address", async || {
            let log = api.log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains("sent no request on them")).collect();
            match lines.as_slice() {
                [line, ..] if line.contains(" 127.0.0.1 opened ") => Ok(()),
                _ => Err(log),
            }
        })
        .await;
        let answer = other_client(authority).get(format!("{}/metrics", api.base())).send().await.unwrap();
        let text = answer.text().await.unwrap();
        assert!(metric(&text, "shardrive_connections_total{result=\"silent\"}") >= 300, "{text}");
        let timed_out = metric(&text, "shardrive_tls_handshakes_total{result=\"timed_out\"}");
        assert_eq!(timed_out >= 300, authority.is_some(), "{timed_out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_told_so() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[ONE_WORKER]).await;
    let mut stream = TcpStream::connect(address(&api)).await.unwrap();
    stream.write_all(b"GET / HT").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

/// Begins a bulk load of this many bytes, and sends only its first ones.
async fn begin_load(api: &Api, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address(api)).await.unwrap();
    let head = format!(
        "POST /ingest/bulk HTTP/1.1\r\nHost: a\r\nContent-Type: {NDJSON}\r\nContent-Length: 6000\r\n\r\n{first}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn silent_loads_take_no_place_and_one_caller_takes_half() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_MAX_BULK_LOADS", "4")]).await;
    let other = other_client(None);
    let load = async |name: &str| {
        let row = json!({"user_id": 1, "file_name": name}).to_string();
        parts(api.send("/ingest/bulk", NDJSON, row).await).await
    };
    let load_of_other = async || {
        let request = other.request(Method::POST, format!("{}/ingest/bulk", api.base())).header("Content-Type", NDJSON);
        request.body(json!({"user_id": 1, "file_name": "other"}).to_string()).send().await.unwrap().status()
    };
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(begin_load(&api, "").await);
    }
    poll::until_true("the silent loads to be there", async || {
        metric(&api.get("/metrics").await.text().await.unwrap(), "shardrive_connections_open") > 8
    })
    .await;
    let (status, answer) = load("mine").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(load_of_other().await, StatusCode::OK);

    // With a byte each they hold places: those of their caller, not all.
    poll::until("the caller's share to be used up", async || {
        held.push(begin_load(&api, "{").await);
        let (status, answer) = load("mine").await;
        if status == StatusCode::TOO_MANY_REQUESTS { Ok(answer) } else { Err(status) }
    })
    .await;
    assert_eq!(load("mine").await.1["code"], "too_many_own_loads");
    assert_eq!(load_of_other().await, StatusCode::OK);
    drop(held);
    poll::until_true("the places to be free again", async || load("mine").await.0 == StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_steady_upload_is_stored_as_it_comes() {
    const SECONDS: u32 = 34;
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &[("SHARDRIVE_COLLECTIONS", "notes:user_id:integer:many")]).await;
    let slow_body = |row: fn(u32) -> String| {
        let rows = futures_util::stream::unfold(0, move |number| async move {
            if number > 0 {
                between_bytes().await;
            }
            (number < SECONDS).then(|| (Ok::<_, std::io::Error>(row(number)), number + 1))
        });
        reqwest::Body::wrap_stream(rows)
    };
    // About 170 bytes each.
    let file = |number: u32| {
        let row = json!({"user_id": 1, "file_name": format!("{number:04}"), "checksum": "x".repeat(120)});
        format!("{row}\n")
    };
    let document = |number: u32| format!("{}\n", json!({"user_id": 1, "number": number, "text": "x".repeat(130)}));
    let send = |path: &'static str, body| {
        let request = api.request(Method::POST, path).header("Content-Type", NDJSON).body(body);
        tokio::spawn(request.timeout(Duration::from_secs(300)).send())
    };
    let files = send("/ingest/bulk", slow_body(file));
    let documents = send("/records/notes", slow_body(document));
    poll::until_true("the first file", async || api.get_json("/query/1").await.1["file_count"] != 0).await;
    poll::until_true("the first document", async || {
        let (_, page) = api.get_json("/records/notes?shard_key=1").await;
        page["records"].as_array().is_some_and(|records| !records.is_empty())
    })
    .await;
    assert!(!files.is_finished() && !documents.is_finished(), "stored before the body's end");
    let (status, answer) = parts(files.await.unwrap().unwrap()).await;
    assert_eq!((status, &answer["inserted"]), (StatusCode::OK, &json!(SECONDS)), "{answer}");
    let (status, answer) = parts(documents.await.unwrap().unwrap()).await;
    assert_eq!((status, &answer["stored"]), (StatusCode::OK, &json!(SECONDS)), "{answer}");
}
