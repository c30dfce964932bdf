//! The settings of the HTTP edge: limits, TLS, connections, CORS.

use std::path::PathBuf;

use ipnet::IpNet;

use super::reader::{SettingsReader, to_usize};
use super::setting::{NumberSetting, TextSetting};
use crate::cache::CacheUrl;
use crate::http::{ConnectionLimits, CorsOrigins, LEAST_BURST, TlsFiles};
use crate::limits::{RateQuota, parse_address_range};

const RATE_LIMIT: NumberSetting = NumberSetting::new("RATE_LIMIT_PER_S", "", 1..=1_000_000).protecting();
/// The default is twice the rate, and at least 10.
const RATE_LIMIT_BURST: NumberSetting =
    NumberSetting::new("RATE_LIMIT_BURST", "", LEAST_BURST..=100_000_000).protecting();
/// The default is half of `MAX_BULK_LOADS`.
const LOADS_PER_CALLER: NumberSetting = NumberSetting::new("MAX_BULK_LOADS_PER_CALLER", "", 1..=1_000).protecting();
const TRUSTED_PROXIES: TextSetting = TextSetting::new("TRUSTED_PROXIES", "").list();
const TLS_CERT_FILE: TextSetting = TextSetting::new("TLS_CERT_FILE", "").protecting();
const TLS_KEY_FILE: TextSetting = TextSetting::new("TLS_KEY_FILE", "").protecting();
const REDIS_CA_FILE: TextSetting = TextSetting::new("REDIS_CA_FILE", "").protecting();
const CORS_ORIGINS: TextSetting = TextSetting::new("CORS_ORIGINS", "").list();
const MAX_CONNECTIONS: NumberSetting = NumberSetting::new("MAX_CONNECTIONS", "10000", 1..=1_000_000);
const CONNECTIONS_PER_ADDRESS: NumberSetting = NumberSetting::new("MAX_CONNECTIONS_PER_ADDRESS", "1000", 1..=1_000_000);
/// Longer than load balancers keep connections (60 s is usual), so that no load balancer sends a request into a
/// closing connection.
const KEEP_ALIVE: NumberSetting = NumberSetting::new("KEEP_ALIVE_S", "75", 1..=3_600);

pub(super) const ALL: [TextSetting; 11] = [
    RATE_LIMIT.setting,
    RATE_LIMIT_BURST.setting,
    LOADS_PER_CALLER.setting,
    TRUSTED_PROXIES,
    TLS_CERT_FILE,
    TLS_KEY_FILE,
    REDIS_CA_FILE,
    CORS_ORIGINS,
    MAX_CONNECTIONS.setting,
    CONNECTIONS_PER_ADDRESS.setting,
    KEEP_ALIVE.setting,
];

/// The settings of the HTTP edge.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// `RATE_LIMIT_PER_S`, `RATE_LIMIT_BURST`: how much each caller may ask for.
    pub rate: Option<RateQuota>,
    /// `MAX_BULK_LOADS_PER_CALLER`; `None`: a share of `MAX_BULK_LOADS`, which is everybody's.
    pub loads_per_caller: Option<usize>,
    /// `TRUSTED_PROXIES`: proxies with an `X-Forwarded-For` that counts.
    pub proxies: Vec<IpNet>,
    /// `TLS_CERT_FILE`, `TLS_KEY_FILE`.
    pub tls: Option<TlsFiles>,
}

pub(super) fn read(read: &mut SettingsReader) -> EdgeSettings {
    let (rate, burst) = (read.optional(&RATE_LIMIT), read.optional(&RATE_LIMIT_BURST));
    if rate.is_none() && read.has(&RATE_LIMIT_BURST.setting) {
        read.fault(&RATE_LIMIT_BURST.setting, "says nothing without SHARDRIVE_RATE_LIMIT_PER_S");
    }
    let rate = rate.map(|rate| RateQuota::new(rate, burst.unwrap_or(rate.saturating_mul(2)).max(LEAST_BURST)));
    let tls = read_tls(read);
    EdgeSettings {
        rate,
        loads_per_caller: read.optional(&LOADS_PER_CALLER).map(to_usize),
        proxies: read.parsed(&TRUSTED_PROXIES, networks),
        tls,
    }
}

/// The certificate's files; `None` if the address speaks no TLS.
pub(super) fn read_tls(read: &mut SettingsReader) -> Option<TlsFiles> {
    let certificate = read.parsed(&TLS_CERT_FILE, path);
    let key = read.parsed(&TLS_KEY_FILE, path);
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            read.fault(&TLS_KEY_FILE, "is missing, but there is SHARDRIVE_TLS_CERT_FILE");
            None
        }
        (None, Some(_)) => {
            read.fault(&TLS_CERT_FILE, "is missing, but there is SHARDRIVE_TLS_KEY_FILE");
            None
        }
    }
}

pub(super) fn read_cors(read: &mut SettingsReader) -> Option<CorsOrigins> {
    read.parsed(&CORS_ORIGINS, |text| if text.is_empty() { Ok(None) } else { CorsOrigins::parse(text).map(Some) })
}

pub(super) fn read_connections(read: &mut SettingsReader, proxies: &[IpNet]) -> ConnectionLimits {
    let is_given = read.has(&CONNECTIONS_PER_ADDRESS.setting);
    let (total, per_address) = (read.size(&MAX_CONNECTIONS), read.size(&CONNECTIONS_PER_ADDRESS));
    ConnectionLimits {
        total,
        // By default an address cannot take all connections.
        per_address: if is_given { per_address } else { per_address.min((total / 2).max(1)) },
        proxies: proxies.to_vec(),
        keep_alive: read.seconds(&KEEP_ALIVE),
    }
}

/// The cache's server with the CA certificate, if the settings name a CA.
pub(super) fn with_authority(read: &mut SettingsReader, url: Option<CacheUrl>) -> Option<CacheUrl> {
    let ca_file = read.parsed(&REDIS_CA_FILE, |file| {
        if file.is_empty() {
            return Ok(None);
        }
        std::fs::read(file).map(Some).map_err(|_| "names a file that cannot be read")
    });
    match (url, ca_file) {
        (Some(url), Some(pem)) if url.is_encrypted() => match url.with_authority(pem) {
            Ok(url) => Some(url),
            Err(reason) => {
                read.fault(&REDIS_CA_FILE, reason);
                None
            }
        },
        (url, _) => {
            if read.has(&REDIS_CA_FILE) && !url.as_ref().is_some_and(CacheUrl::is_encrypted) {
                read.fault(&REDIS_CA_FILE, "says nothing without a REDIS_URL that starts with rediss://");
            }
            url
        }
    }
}

fn path(text: &str) -> Result<Option<PathBuf>, &'static str> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn networks(text: &str) -> Result<Vec<IpNet>, &'static str> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            parse_address_range(part).ok_or("must be addresses or ranges with commas in between, as in 10.0.0.0/8,::1")
        })
        .collect()
}
