//! The program as an HTTP client: on a machine without CA certificates, with authorities of its own, and what its
//! faults say.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::api::Api;
use crate::support::certificates::TestCa;
use crate::support::collector::Collector;
use crate::support::poll;
use crate::support::program::shardrive_reading;
use crate::support::servers::TestCluster;
use crate::support::tls_front::TlsFront;
use crate::support::tokens::{Key, Mood, StubProvider, now};

/// No file and no folder with certificates of authorities.
const NO_CERTIFICATES: [(&str, &str); 2] = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];

async fn traced_query(api: &Api, token: &str, collector: &Collector) {
    let answer = api.request(Method::GET, "/query/1").bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    poll::until("spans at the collector", async || {
        let received = collector.received();
        if received.spans.is_empty() {
            return Err(api.log());
        }
        assert_eq!(received.service, "shardrive");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn plain_http_needs_no_certificates() {
    let cluster = TestCluster::migrated(1).await;
    let (collector, key) = (Collector::start().await, Key::ec());
    let provider = StubProvider::start(Mood::Keys(vec![key.jwk("k")])).await;
    let endpoint = collector.url();
    let settings = [
        NO_CERTIFICATES[0],
        NO_CERTIFICATES[1],
        ("SHARDRIVE_AUTH_ISSUER", provider.issuer.as_str()),
        ("SHARDRIVE_AUTH_AUDIENCE", "drive"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
    ];
    let api = Api::start_with(&cluster, &settings).await;
    let claims = json!({"iss": provider.issuer, "aud": "drive", "exp": now() + 600, "sub": "app", "scope": "service"});
    let token = key.token("k", &claims);
    traced_query(&api, &token, &collector).await;

    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, token).unwrap();
    let arguments =
        ["import", "-", "--format", "ndjson", "--url", api.base(), "--token-file", token_file.to_str().unwrap()];
    let variables = NO_CERTIFICATES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let line = b"{\"user_id\": 1, \"file_name\": \"a\"}\n".to_vec();
    let done = shardrive_reading(&arguments, &variables, line).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM file_metadata").await, 1);
}

#[tokio::test]
async fn servers_are_known_by_authorities_of_ones_own_and_no_others() {
    let cluster = TestCluster::migrated(1).await;
    let (authority, stranger) = (TestCa::new(), TestCa::new());
    let (collector, key) = (Collector::start().await, Key::ec());
    let provider = StubProvider::start(Mood::Keys(vec![key.jwk("k")])).await;
    let keys = TlsFront::start(&authority, &provider.issuer).await;
    let spans = TlsFront::start(&authority, &collector.url()).await;
    let keys_url = format!("{}/keys", keys.url);
    let settings = |file: &str| {
        [
            ("SHARDRIVE_AUTH_JWKS_URL", keys_url.clone()),
            ("SHARDRIVE_AUTH_AUDIENCE", "drive".to_owned()),
            ("SHARDRIVE_AUTH_CA_FILE", file.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", spans.url.clone()),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_owned()),
        ]
    };
    let start = async |file: &str| {
        let settings = settings(file);
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Api::start_with(&cluster, &settings).await
    };
    let token = key.token("k", &json!({"aud": "drive", "exp": now() + 600, "sub": "app", "scope": "service"}));

    let distrusting = start(&stranger.ca_file()).await;
    let refused = distrusting.request(Method::GET, "/query/1").bearer_auth(&token).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Each fault tells its cause.
    for beginning in ["the sign-in provider's keys cannot be fetched: ", "the collector takes no spans: "] {
        poll::until(beginning, async || {
            let log = distrusting.log();
            let mut lines = log.lines().filter(|line| line.contains(beginning));
            if lines.any(|line| line.contains("invalid peer certificate")) { Ok(()) } else { Err(log) }
        })
        .await;
    }
    assert_eq!((provider.fetches(), collector.received().spans.len()), (0, 0));

    let trusting = start(&authority.ca_file()).await;
    traced_query(&trusting, &token, &collector).await;
}
