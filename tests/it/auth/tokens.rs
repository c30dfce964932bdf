//! Which tokens count: every algorithm, every forgery, and a provider that is away, slow, talks nonsense or changes
//! keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use shardrive::auth::{
    AuthError, AuthSettings, KeySource, Principal, ProviderUrl, SigningSecret, TokenVerifier, VerifiedTokens, unix_now,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::api::client;
use crate::support::poll;
use crate::support::tokens::{Key, Mood, StubProvider, base64, now};

const SECRET: &str = "a secret of the test, long enough for HS256";
const AUDIENCE: &str = "drive";

fn settings(source: KeySource) -> AuthSettings {
    AuthSettings {
        ca_certificates: None,
        source,
        audience: Some(AUDIENCE.to_owned()),
        clock_skew: Duration::from_secs(30),
        user_claim: "sub".to_owned(),
        scope_claim: "scope".to_owned(),
    }
}

fn with_secret() -> TokenVerifier {
    TokenVerifier::new(settings(KeySource::Secret(SigningSecret::new(SECRET).unwrap()))).unwrap().0
}

/// A verifier with the provider's keys, which are kept as long as the guard.
fn with_provider(stub: &StubProvider) -> (Arc<TokenVerifier>, DropGuard) {
    drop(client()); // installs what TLS needs
    let source = KeySource::Issuer(ProviderUrl::parse(&stub.issuer).unwrap());
    let (verifier, provider) = TokenVerifier::new(settings(source)).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(provider.unwrap().keep_fetching(stop.clone()));
    (Arc::new(verifier), stop.drop_guard())
}

/// Good claims, with some replaced; null takes one away.
fn claims(issuer: &str, changes: Value) -> Value {
    let mut claims = json!({"iss": issuer, "aud": AUDIENCE, "sub": "42", "scope": "user", "exp": now() + 600});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[tokio::test]
async fn a_secret_counts_and_nothing_else_does() {
    let (verifier, key) = (with_secret(), Key::secret(SECRET));
    let good = key.token("any", &claims("", json!({})));
    assert_eq!(verifier.verify(&good).await.unwrap().principal, Principal::User(42));
    let other = Key::secret("another secret, which is long enough as well").token("any", &claims("", json!({})));
    assert_eq!(verifier.verify(&other).await.unwrap_err(), AuthError::Invalid);

    // Cut at any place, or with any part of another token.
    for end in 0..good.len() {
        assert!(verifier.verify(good.get(..end).unwrap()).await.is_err(), "{end}");
    }
    let admin = key.token("any", &claims("", json!({"scope": "admin", "exp": now() - 900})));
    let (a, b): (Vec<_>, Vec<_>) = (good.split('.').collect(), admin.split('.').collect());
    for mixed in [[a[0], b[1], a[2]], [a[0], a[1], b[2]], [a[0], b[1], ""], ["", a[1], a[2]], [a[1], a[0], a[2]]] {
        let error = verifier.verify(&mixed.join(".")).await.unwrap_err();
        assert!(matches!(error, AuthError::Invalid | AuthError::Malformed), "{error:?}");
    }
    let long = key.token("any", &claims("", json!({"x": "x".repeat(9000)})));
    assert_eq!(verifier.verify(&long).await.unwrap_err(), AuthError::Malformed);
}

#[tokio::test]
async fn no_algorithm_but_the_keys_own() {
    let verifier = with_secret();
    let key = Key::secret(SECRET);
    let claims = claims("", json!({}));
    for algorithm in ["none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256", "hs256"] {
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let signed = key.token_with(&header, &claims);
        let error = verifier.verify(&signed).await.unwrap_err();
        assert!(matches!(error, AuthError::Malformed | AuthError::Invalid), "{algorithm}: {error:?}");
        let unsigned = format!("{}.{}.", base64(header.to_string()), base64(claims.to_string()));
        assert!(verifier.verify(&unsigned).await.is_err(), "{algorithm}");
    }
    for header in [json!({"typ": "JWT"}), json!({"alg": "HS256", "crit": ["exp"]}), json!([]), json!("HS256")] {
        assert_eq!(
            verifier.verify(&key.token_with(&header, &claims)).await.unwrap_err(),
            AuthError::Malformed,
            "{header}"
        );
    }
}

#[tokio::test]
async fn claims_say_for_whom_from_whom_and_when() {
    let stub = StubProvider::start(Mood::Silent).await;
    let key = Key::ed();
    stub.set_mood(Mood::Keys(vec![key.jwk("1")]));
    let (verifier, _running) = with_provider(&stub);
    let table = [
        (json!({}), None),
        (json!({"aud": ["other", AUDIENCE]}), None),
        (json!({"aud": ["other", "drives"]}), Some(AuthError::WrongAudience)),
        (json!({"aud": []}), Some(AuthError::WrongAudience)),
        (json!({"aud": "Drive"}), Some(AuthError::WrongAudience)),
        (json!({"aud": null}), Some(AuthError::WrongAudience)),
        (json!({"iss": "https://evil.example"}), Some(AuthError::WrongIssuer)),
        (json!({"iss": format!("{}/", stub.issuer)}), Some(AuthError::WrongIssuer)),
        (json!({"iss": null}), Some(AuthError::WrongIssuer)),
        (json!({"exp": now() - 20}), None), // within the clock skew
        (json!({"exp": now() - 40}), Some(AuthError::Expired)),
        (json!({"exp": 0}), Some(AuthError::Expired)),
        (json!({"exp": null}), Some(AuthError::Invalid)),
        (json!({"exp": "tomorrow"}), Some(AuthError::Invalid)),
        (json!({"nbf": now() + 20}), None),
        (json!({"nbf": now() + 60}), Some(AuthError::NotYetValid)),
        (json!({"nbf": "tomorrow"}), Some(AuthError::Invalid)),
        (json!({"sub": null}), Some(AuthError::NoUser)),
        (json!({"sub": "alice"}), Some(AuthError::NoUser)),
        (json!({"scope": null}), Some(AuthError::NoScope)),
        (json!({"scope": "openid"}), Some(AuthError::NoScope)),
    ];
    for (changes, expected) in table {
        let token = key.token("1", &claims(&stub.issuer, changes.clone()));
        assert_eq!(verifier.verify(&token).await.err(), expected, "{changes}");
    }
}

#[tokio::test]
async fn a_providers_key_is_for_one_algorithm() {
    let keys = [("ed", Key::ed()), ("ec", Key::ec()), ("rsa", Key::rsa())];
    let mut published: Vec<Value> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
    let secret = Key::secret(SECRET);
    let mut for_packing = Key::ed().jwk("enc");
    for_packing["use"] = json!("enc");
    let mut weak = Key::rsa().jwk("other-alg");
    weak["alg"] = json!("RS512");
    // What must not disturb the others.
    published.push(keys[0].1.jwk("ed"));
    published.extend([secret.jwk("oct"), for_packing, weak, json!({"kty": "new"}), json!(7), json!({"kty": "RSA"})]);
    let stub = StubProvider::start(Mood::Keys(published)).await;
    let (verifier, _running) = with_provider(&stub);
    let claims = claims(&stub.issuer, json!({}));
    for (id, key) in &keys {
        let principal = verifier.verify(&key.token(id, &claims)).await.map(|verified| verified.principal);
        assert_eq!(principal, Ok(Principal::User(42)), "{id}");
        // Without an id there is one key of its kind.
        let header = json!({"alg": key.algorithm()});
        assert!(verifier.verify(&key.token_with(&header, &claims)).await.is_ok(), "{id}");
        // The public key as a secret.
        for public in [key.public(), base64(key.public()).into_bytes(), key.jwk(id).to_string().into_bytes()] {
            let forged = Key::Secret(public).token(id, &claims);
            assert_eq!(verifier.verify(&forged).await.unwrap_err(), AuthError::Invalid, "{id}");
        }
        // Another key under its id, of any kind.
        for other in [Key::ed(), Key::ec(), Key::rsa()] {
            assert_eq!(verifier.verify(&other.token(id, &claims)).await.unwrap_err(), AuthError::Invalid, "{id}");
        }
    }
    // A secret of the provider's is none of ours.
    assert!(verifier.verify(&secret.token("oct", &claims)).await.is_err());
    // A key that the token brings along, and ids that mean something to somebody else.
    let mine = Key::ed();
    let header = json!({
        "alg": "EdDSA", "kid": "ed", "jwk": mine.jwk("ed"), "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/",
    });
    assert!(verifier.verify(&mine.token_with(&header, &claims)).await.is_err());
    for id in ["../../dev/null", "' OR 1=1 --", "", "ed\0", "ED", &"x".repeat(4000)] {
        assert_eq!(verifier.verify(&mine.token(id, &claims)).await.unwrap_err(), AuthError::UnknownKey, "{id}");
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_and_at_most_so_often() {
    let (old, new) = (Key::ed(), Key::ec());
    let stub = StubProvider::start(Mood::Keys(vec![old.jwk("old")])).await;
    let (verifier, _running) = with_provider(&stub);
    let claims = claims(&stub.issuer, json!({}));
    let (by_old, by_new) = (old.token("old", &claims), new.token("new", &claims));
    assert!(verifier.verify(&by_old).await.is_ok());
    assert_eq!(stub.fetches(), 1);
    let epoch = verifier.keys_epoch();

    stub.set_mood(Mood::Slow(Duration::from_millis(300), vec![new.jwk("new")]));
    let all = join_all((0..200).map(|_| verifier.verify(&by_new))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(stub.fetches(), 2);
    // Withdrawn: nothing that was verified before counts any more.
    assert!(verifier.keys_epoch() > epoch);
    assert_eq!(verifier.verify(&by_old).await.unwrap_err(), AuthError::UnknownKey);

    stub.set_mood(Mood::Keys(vec![new.jwk("new")]));
    for id in 0..300 {
        let stranger = old.token(&id.to_string(), &claims);
        assert_eq!(verifier.verify(&stranger).await.unwrap_err(), AuthError::UnknownKey);
    }
    assert!(stub.fetches() <= 6, "{} fetches", stub.fetches());
    assert!(verifier.verify(&by_new).await.is_ok());
}

#[tokio::test]
async fn a_new_key_under_an_old_id_counts_at_once() {
    let (old, new, other) = (Key::ed(), Key::ed(), Key::ec());
    let stub = StubProvider::start(Mood::Keys(vec![old.jwk("k")])).await;
    let (verifier, _running) = with_provider(&stub);
    let claims = claims(&stub.issuer, json!({}));
    assert!(verifier.verify(&old.token("k", &claims)).await.is_ok());
    for key in [&new, &other] {
        stub.set_mood(Mood::Keys(vec![key.jwk("k")]));
        assert!(verifier.verify(&key.token("k", &claims)).await.is_ok(), "{}", key.algorithm());
        assert_eq!(verifier.verify(&old.token("k", &claims)).await.unwrap_err(), AuthError::Invalid);
    }
    for _ in 0..300 {
        assert_eq!(verifier.verify(&Key::ed().token("k", &claims)).await.unwrap_err(), AuthError::Invalid);
    }
    assert!(stub.fetches() <= 7, "{} fetches", stub.fetches());
    assert!(verifier.verify(&other.token("k", &claims)).await.is_ok());
}

#[tokio::test]
async fn key_sets_of_every_shape_are_understood() {
    let without_id = |key: &Key| {
        let mut jwk = key.jwk("");
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let named_by_curve = |key: &Key, id: &str| {
        let mut jwk = key.jwk(id);
        jwk["alg"] = json!("Ed25519");
        jwk
    };
    let keys: Vec<Key> = (0..200).map(|_| Key::ed()).collect();
    let (first, second, rsa) = (&keys[0], &keys[1], Key::rsa());
    for (what, published, id) in [
        ("keys without ids", vec![without_id(first), without_id(second), without_id(&rsa)], Some("k")),
        ("keys without ids, and tokens without one", vec![without_id(first), without_id(second)], None),
        ("two keys under one id", vec![first.jwk("k"), second.jwk("k")], Some("k")),
        ("several keys, and tokens without an id", vec![first.jwk("a"), second.jwk("b"), rsa.jwk("c")], None),
        ("Ed25519", vec![named_by_curve(first, "k"), named_by_curve(second, "k")], Some("k")),
    ] {
        let stub = StubProvider::start(Mood::Keys(published)).await;
        let (verifier, _running) = with_provider(&stub);
        let token = |key: &Key, algorithm: &str, changes: Value| {
            let mut header = json!({"alg": algorithm});
            if let Some(id) = id {
                header["kid"] = json!(id);
            }
            key.token_with(&header, &claims(&stub.issuer, changes))
        };
        for algorithm in ["EdDSA", "Ed25519"] {
            for key in [first, second] {
                let verified = verifier.verify(&token(key, algorithm, json!({}))).await;
                assert_eq!(verified.map(|verified| verified.principal), Ok(Principal::User(42)), "{what}, {algorithm}");
            }
            for (changes, expected) in [
                (json!({"exp": now() - 900}), AuthError::Expired),
                (json!({"aud": "others"}), AuthError::WrongAudience),
                (json!({"iss": "others"}), AuthError::WrongIssuer),
                (json!({"nbf": now() + 900}), AuthError::NotYetValid),
                (json!({"exp": null}), AuthError::Invalid),
            ] {
                let error = verifier.verify(&token(first, algorithm, changes.clone())).await.unwrap_err();
                assert_eq!(error, expected, "{what}, {algorithm}: {changes}");
            }
            let forged = verifier.verify(&token(&keys[2], algorithm, json!({}))).await.unwrap_err();
            assert_eq!(forged, AuthError::Invalid, "{what}, {algorithm}");
            let other_claims = token(first, algorithm, json!({"sub": "7"}));
            let (good, bad) = (token(first, algorithm, json!({})), other_claims.split('.').collect::<Vec<_>>());
            let good: Vec<_> = good.split('.').collect();
            let mixed = [good[0], bad[1], good[2]].join(".");
            assert_eq!(verifier.verify(&mixed).await.unwrap_err(), AuthError::Invalid, "{what}, {algorithm}");
        }
    }
    let many = keys.iter().enumerate().map(|(number, key)| key.jwk(&number.to_string())).collect();
    let stub = StubProvider::start(Mood::Keys(many)).await;
    let (verifier, _running) = with_provider(&stub);
    for (number, key) in keys.iter().enumerate() {
        let token = key.token(&number.to_string(), &claims(&stub.issuer, json!({})));
        assert!(verifier.verify(&token).await.is_ok(), "key {number}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_keeps_nobody_out_whose_key_is_known() {
    let (known, new) = (Key::ed(), Key::ec());
    let stub = StubProvider::start(Mood::Silent).await;
    let (verifier, _running) = with_provider(&stub);
    let claims = claims(&stub.issuer, json!({}));
    let (by_known, by_new) = (known.token("1", &claims), new.token("2", &claims));
    // Away at the start: no token can be checked; then it comes, and nobody tells us.
    assert_eq!(verifier.verify(&by_known).await.unwrap_err(), AuthError::Unavailable);
    stub.set_mood(Mood::Keys(vec![known.jwk("1")]));
    poll::until("the provider's keys", async || verifier.verify(&by_known).await).await;

    let epoch = verifier.keys_epoch();
    for mood in [
        Mood::Silent,
        Mood::Text("<html>a login page</html>"),
        Mood::Text("{\"keys\":[]}"),
        Mood::Text("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}]}"),
        Mood::Text(""),
    ] {
        stub.set_mood(mood);
        assert_eq!(verifier.verify(&by_new).await.unwrap_err(), AuthError::Unavailable);
        assert!(verifier.verify(&by_known).await.is_ok());
    }
    assert_eq!(verifier.keys_epoch(), epoch);
    stub.set_mood(Mood::Keys(vec![known.jwk("1"), new.jwk("2")]));
    poll::until("the new key", async || verifier.verify(&by_new).await).await;
}

#[tokio::test]
async fn a_provider_that_calls_itself_otherwise_is_not_believed() {
    let key = Key::ed();
    let stub = StubProvider::start(Mood::Keys(vec![key.jwk("1")])).await;
    drop(client());
    let other_name = stub.issuer.replace("127.0.0.1", "localhost");
    let source = KeySource::Issuer(ProviderUrl::parse(&other_name).unwrap());
    let (verifier, provider) = TokenVerifier::new(settings(source)).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(provider.unwrap().keep_fetching(stop.clone()));
    let _running = stop.drop_guard();
    let token = key.token("1", &claims(&other_name, json!({})));
    assert_eq!(verifier.verify(&token).await.unwrap_err(), AuthError::Unavailable);
    assert_eq!(stub.fetches(), 0);
}

/// `cargo test --test it -- --ignored --nocapture what_a_check_costs`
#[tokio::test]
#[ignore = "measures, and judges nothing"]
async fn what_a_check_costs() {
    let keys = [("EdDSA", Key::ed()), ("ES256", Key::ec()), ("RS256", Key::rsa())];
    let stub = StubProvider::start(Mood::Keys(keys.iter().map(|(id, key)| key.jwk(id)).collect())).await;
    let (verifier, _running) = with_provider(&stub);
    let tokens =
        keys.iter().map(|(id, key)| (*id, key.token(id, &claims(&stub.issuer, json!({"jti": "x".repeat(200)})))));
    for (id, token) in tokens {
        let verified = verifier.verify(&token).await.unwrap();
        let mut remembered = VerifiedTokens::new(1000);
        remembered.remember(&token, verified);
        let (rounds, start) = (2_000, Instant::now());
        for _ in 0..rounds {
            assert!(verifier.verify(&token).await.is_ok());
        }
        let first = start.elapsed() / rounds;
        let (rounds, start) = (200_000, Instant::now());
        for _ in 0..rounds {
            assert!(remembered.find_verified(&token, unix_now(), verifier.keys_epoch()).is_some());
        }
        println!("{id}, {} bytes: first {first:?}, remembered {:?}", token.len(), start.elapsed() / rounds);
    }
}
