//! TLS: on the service's own address, to PostgreSQL, to the cache and to the broker of events.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use reqwest::{Certificate, Client, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use shardrive::local_servers::{CacheServer, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::api::{Api, client};
use crate::support::cache::{until_in_use, until_says};
use crate::support::certificates::TestCa;
use crate::support::nats::Nats;
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

/// A client that trusts this authority alone.
fn client_of(authority: &TestCa) -> Client {
    let _ = client(); // sees to the provider
    let root = Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([root]).build().unwrap()
}

/// A connection of its own, by these protocols.
async fn connect(api: &Api, authority: &TestCa, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let address = api.base().strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
}

async fn served_certificate(api: &Api, authority: &TestCa) -> Vec<u8> {
    let stream = connect(api, authority, &[]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn the_address_speaks_tls_and_takes_new_certificates() {
    let (cluster, authority) = (TestCluster::migrated(1).await, TestCa::new());
    let first = authority.issue_certificate(&["127.0.0.1", "localhost"]);
    let (certificate, key) = (authority.write("cert.pem", &first.certificate), authority.write("key.pem", &first.key));
    let settings = [("SHARDRIVE_TLS_CERT_FILE", certificate.as_str()), ("SHARDRIVE_TLS_KEY_FILE", key.as_str())];
    let mut api = Api::start_with(&cluster, &settings).await;
    assert!(api.base().starts_with("https://"));
    api.call_with(client_of(&authority));
    let answer = api.get("/health").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    let own = [("BIND_ADDR", api.base().strip_prefix("https://").unwrap()), settings[0], settings[1]];
    let asked = shardrive(&["health", "--ready"], &own.map(|(name, value)| (name.to_owned(), value.to_owned()))).await;
    assert_eq!(asked.code, 0, "{asked:?}");
    // HTTP/1.1 alone, also for a client that prefers HTTP/2; and no answer without TLS.
    for protocols in [&[&b"h2"[..], b"http/1.1"][..], &[b"http/1.1"]] {
        let stream = connect(&api, &authority, protocols).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    assert!(connect(&api, &authority, &[b"h2"]).await.is_err(), "a client of HTTP/2 alone");
    let mut plain = TcpStream::connect(api.base().strip_prefix("https://").unwrap()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut text = Vec::new();
    let _ = plain.read_to_end(&mut text).await;
    assert!(!text.starts_with(b"HTTP/"), "{text:?}");

    assert_eq!(served_certificate(&api, &authority).await, der(&first.certificate));
    // A key that is not the certificate's: nothing changes, and it is said once.
    let second = authority.issue_certificate(&["127.0.0.1"]);
    authority.write("cert.pem", &second.certificate);
    poll::until("the warning", async || {
        if api.log().contains("the certificate stays as it is") { Ok(()) } else { Err(api.log()) }
    })
    .await;
    assert_eq!(served_certificate(&api, &authority).await, der(&first.certificate));
    authority.write("key.pem", &second.key);
    poll::until("the new certificate", async || {
        let served = served_certificate(&api, &authority).await;
        if served == der(&second.certificate) { Ok(()) } else { Err("the old one") }
    })
    .await;
    assert_eq!(api.log().matches("the certificate stays as it is").count(), 1, "{}", api.log());
    assert_eq!(api.get("/health").await.status(), StatusCode::OK, "connections go on");
}

/// What curl, which prefers HTTP/2, says of a request with this body: the protocol's version and the status.
async fn ask_by_curl(api: &Api, path: &str, body: &str) -> String {
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["--silent", "--show-error", "--http2", "--max-time", "60", "--insecure"]);
    curl.args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}", "--data-binary", body]);
    let done = curl.arg(format!("{}{path}", api.base())).output().await.unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[tokio::test]
async fn clients_that_prefer_http2_are_served_by_http1() {
    let (cluster, authority) = (TestCluster::migrated(1).await, TestCa::new());
    let pair = authority.issue_certificate(&["127.0.0.1"]);
    let (certificate, key) = (authority.write("cert.pem", &pair.certificate), authority.write("key.pem", &pair.key));
    let settings = [("SHARDRIVE_TLS_CERT_FILE", certificate.as_str()), ("SHARDRIVE_TLS_KEY_FILE", key.as_str())];
    let api = Api::start_with(&cluster, &settings).await;
    // An answer that comes before the body is read must reach the client whole.
    let body = "x".repeat(100_000);
    for attempt in 0..10 {
        assert_eq!(ask_by_curl(&api, "/nowhere", &body).await, "1.1 404", "attempt {attempt}");
    }
}

#[tokio::test]
async fn wrong_certificates_are_refused_at_the_start() {
    let (cluster, authority) = (TestCluster::migrated(1).await, TestCa::new());
    let (one, other) = (authority.issue_certificate(&["127.0.0.1"]), authority.issue_certificate(&["127.0.0.1"]));
    let certificate = authority.write("cert.pem", &one.certificate);
    for (key, reason) in [
        (authority.write("other.pem", &other.key), "do not go together"),
        (authority.write("none.pem", "no key"), "SHARDRIVE_TLS_KEY_FILE: holds no private key"),
        ("/nowhere/key.pem".to_owned(), "SHARDRIVE_TLS_KEY_FILE: /nowhere/key.pem: "),
        (String::new(), "SHARDRIVE_TLS_KEY_FILE: is missing"),
    ] {
        let mut variables = cluster.variables();
        variables.push(("SHARDRIVE_TLS_CERT_FILE".to_owned(), certificate.clone()));
        variables.push(("SHARDRIVE_TLS_KEY_FILE".to_owned(), key));
        let log = Api::try_start(&variables).await.err().expect("was started");
        assert!(log.contains(reason) && !log.contains("PRIVATE"), "{log}");
    }
}

#[tokio::test]
async fn a_handshake_does_not_take_for_ever() {
    let (cluster, authority) = (TestCluster::migrated(1).await, TestCa::new());
    let pair = authority.issue_certificate(&["127.0.0.1"]);
    let (certificate, key) = (authority.write("cert.pem", &pair.certificate), authority.write("key.pem", &pair.key));
    let api = {
        let settings = [
            ("SHARDRIVE_TLS_CERT_FILE", certificate.as_str()),
            ("SHARDRIVE_TLS_KEY_FILE", key.as_str()),
            ("SHARDRIVE_MAX_CONNECTIONS_PER_ADDRESS", "1"),
        ];
        Api::start_with(&cluster, &settings).await
    };
    let mut silent = TcpStream::connect(api.base().strip_prefix("https://").unwrap()).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0, "it is closed");
    // Connections are counted with TLS as without.
    let ask = async |stream: &mut TlsStream<TcpStream>| {
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        stream.read(&mut [0; 1024]).await
    };
    // The client may know of the end before the service has counted it.
    let mut first = poll::until("the place of the silent connection", async || {
        let mut first = connect(&api, &authority, &[]).await.map_err(|error| error.to_string())?;
        match ask(&mut first).await {
            Ok(1..) => Ok(first),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let second = match connect(&api, &authority, &[]).await {
        Ok(mut second) => ask(&mut second).await.unwrap_or(0),
        Err(_) => 0,
    };
    assert_eq!(second, 0, "a second connection");
    assert!(ask(&mut first).await.unwrap() > 0);
}

/// Gives a shard's server a certificate.
async fn encrypt(cluster: &TestCluster, certificate: &crate::support::certificates::Certificate) {
    let folder: String = cluster.value(0, "SELECT current_setting('data_directory')").await;
    for (name, text) in [("server.crt", &certificate.certificate), ("server.key", &certificate.key)] {
        let write = format!(
            "COPY (SELECT unnest(string_to_array('{text}', E'\\n'))) TO PROGRAM 'umask 077; cat > {folder}/{name}'"
        );
        cluster.psql(0, &write).await.unwrap();
    }
    cluster.psql(0, "ALTER SYSTEM SET ssl = on").await.unwrap();
    cluster.psql(0, "SELECT pg_reload_conf()").await.unwrap();
    poll::until("the server to take TLS", async || {
        let on: String = cluster.value(0, "SELECT current_setting('ssl')").await;
        if on == "on" { Ok(()) } else { Err(on) }
    })
    .await;
}

#[tokio::test]
async fn a_shard_is_reached_by_tls_and_only_if_it_is_the_right_one() {
    let (cluster, authority, strangers) = (TestCluster::migrated(1).await, TestCa::new(), TestCa::new());
    encrypt(&cluster, &authority.issue_certificate(&["127.0.0.1", "localhost"])).await;
    let url = |root: &str| format!("{}?sslmode=verify-full&sslrootcert={root}", cluster.url(0));
    let api = Api::start_on(&[url(&authority.ca_file())], &[]).await;
    assert_eq!(api.get("/query/1").await.status(), StatusCode::OK);
    let plain: i64 = cluster
        .value(
            0,
            "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
             WHERE application_name = 'shardrive' AND NOT ssl",
        )
        .await;
    assert_eq!(plain, 0, "every connection of the service");
    drop(api);
    let start = async |url: String| {
        let mut variables = cluster.variables();
        variables[0].1 = url;
        Api::try_start(&variables).await.err().expect("was started")
    };
    let log = start(url(&strangers.write("strangers.pem", &strangers.pem))).await;
    assert!(log.contains("SHARD_0_URL") && log.contains("certificate"), "{log}");
    encrypt(&cluster, &authority.issue_certificate(&["elsewhere.example"])).await;
    let log = start(url(&authority.ca_file())).await;
    assert!(log.contains("SHARD_0_URL") && log.contains("certificate") && log.contains("name"), "{log}");
}

/// A cache server that speaks TLS alone.
struct TlsCache(Child);

impl Drop for TlsCache {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_cache_is_reached_by_tls() {
    let (cluster, authority, strangers) = (TestCluster::migrated(1).await, TestCa::new(), TestCa::new());
    let pair = authority.issue_certificate(&["127.0.0.1"]);
    let (certificate, key) = (authority.write("cert.pem", &pair.certificate), authority.write("key.pem", &pair.key));
    let port = free_port().unwrap();
    let mut server = Command::new(CacheServer::find_program().unwrap());
    server.args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    server.args(["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"]);
    let _server = TlsCache(server.current_dir(std::env::temp_dir()).stdout(Stdio::null()).spawn().unwrap());
    let url = format!("rediss://127.0.0.1:{port}");
    let authority_file = authority.ca_file();
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("SHARDRIVE_REDIS_CA_FILE", authority_file.as_str()),
        ("SHARDRIVE_RATE_LIMIT_PER_S", "100000"),
    ];
    let api = Api::start_with(&cluster, &settings).await;
    until_says(&api, "healthy").await;
    until_in_use(&api, 1).await;
    poll::until("the limit to be shared", async || {
        if api.log().contains("the rate limit is shared") { Ok(()) } else { Err(api.log()) }
    })
    .await;
    drop(api);
    let wrong = strangers.ca_file();
    let api = Api::start_with(&cluster, &[("REDIS_URL", &url), ("SHARDRIVE_REDIS_CA_FILE", &wrong)]).await;
    until_says(&api, "unhealthy").await;
    poll::until("the reason", async || if api.log().contains("cannot be used") { Ok(()) } else { Err(api.log()) })
        .await;
    assert_eq!(api.get("/query/1").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_broker_is_reached_by_tls_and_password() {
    let (cluster, authority, strangers) = (TestCluster::migrated(1).await, TestCa::new(), TestCa::new());
    let Some(nats) = Nats::start_encrypted(&authority).await else { return };
    let (url, known, wrong) = (nats.url(), authority.ca_file(), strangers.ca_file());
    let without_password = url.replace("service:s3cret%2Fof%40the%3Abroker@", "");
    let file = json!({"user_id": 1, "file_name": "a"});
    for (url, authority, reason) in
        [(&url, &wrong, "certificate"), (&without_password, &known, "authorization violation")]
    {
        let api =
            Api::start_with(&cluster, &[("SHARDRIVE_EVENTS_URL", url), ("SHARDRIVE_EVENTS_CA_FILE", authority)]).await;
        poll::until_true("a relay", async || cluster.value(0, "SELECT shardrive.records_events()").await).await;
        assert_eq!(api.post("/ingest", &file).await.status(), StatusCode::CREATED, "events hold nobody up");
        poll::until("the reason", async || {
            let log = api.log();
            let mut lines = log.lines().filter(|line| line.contains("events of shard 0 wait"));
            if lines.any(|line| line.contains(reason)) { Ok(()) } else { Err(log) }
        })
        .await;
        assert!(!api.log().contains("s3cret"), "{}", api.log());
    }
    assert!(nats.published_events().await.is_empty());
    let api = Api::start_with(&cluster, &[("SHARDRIVE_EVENTS_URL", &url), ("SHARDRIVE_EVENTS_CA_FILE", &known)]).await;
    assert_eq!(api.post("/ingest", &file).await.status(), StatusCode::CREATED);
    poll::until("all events", async || match nats.published_events().await.len() {
        3 => Ok(()),
        others => Err(others),
    })
    .await;
}
