//! Tokens signed by a test, and a provider that publishes the test's keys, for faults that a real provider does not
//! have.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::poll;

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A key that signs.
pub enum Key {
    Secret(Vec<u8>),
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub fn secret(text: &str) -> Self {
        Self::Secret(text.as_bytes().to_vec())
    }

    pub fn ed() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    pub fn ec() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    /// By openssl, as ring makes none.
    pub fn rsa() -> Self {
        let arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"];
        let made = Command::new("openssl").args(arguments).output().unwrap();
        let pair = RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout));
        Self::Rsa(pair.unwrap())
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public part of the key.
    pub fn public(&self) -> Vec<u8> {
        match self {
            Self::Secret(secret) => secret.clone(),
            Self::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Self::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The key as a provider publishes it.
    pub fn jwk(&self, id: &str) -> Value {
        let public = self.public();
        match self {
            Self::Secret(_) => json!({"kty": "oct", "kid": id, "alg": "HS256", "k": base64(public)}),
            Self::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "x": base64(public)}),
            Self::Ec(_) => json!({
                "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": base64(&public[1..33]), "y": base64(&public[33..]),
            }),
            Self::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                // With a leading zero, as some providers write it.
                json!({"kty": "RSA", "kid": id, "n": base64([vec![0], n].concat()), "e": base64(e)})
            }
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(secret) => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
                ring::hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token with this header and these claims.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        format!("{message}.{}", base64(self.sign(message.as_bytes())))
    }

    /// A token with these claims, of the key of this id.
    pub fn token(&self, id: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "typ": "JWT", "kid": id}), claims)
    }
}

/// The provider's present behaviour.
#[derive(Clone)]
pub enum Mood {
    /// Publishes these keys.
    Keys(Vec<Value>),
    /// Answers with this text.
    Text(&'static str),
    /// Accepts the request and closes the connection.
    Silent,
    /// Publishes these keys after a delay.
    Slow(Duration, Vec<Value>),
}

/// A provider's discovery and keys. A drop ends the provider.
pub struct StubProvider {
    pub issuer: String,
    mood: Arc<Mutex<Mood>>,
    fetches: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl StubProvider {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (mood, fetches) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicUsize::new(0)));
        let (its_mood, its_fetches, its_issuer) = (Arc::clone(&mood), Arc::clone(&fetches), issuer.clone());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let is_discovery = head[..read].starts_with(b"GET /.well-known/openid-configuration ");
                let mood = its_mood.lock().unwrap().clone();
                let body = match mood {
                    _ if is_discovery => {
                        json!({"issuer": its_issuer, "jwks_uri": format!("{its_issuer}/keys")}).to_string()
                    }
                    Mood::Silent => continue,
                    Mood::Text(text) => text.to_owned(),
                    Mood::Keys(keys) => json!({"keys": keys}).to_string(),
                    Mood::Slow(time, keys) => {
                        poll::delay(time).await;
                        json!({"keys": keys}).to_string()
                    }
                };
                its_fetches.fetch_add(usize::from(!is_discovery), Ordering::SeqCst);
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { issuer, mood, fetches, task }
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The number of answered requests for keys.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl Drop for StubProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}
