//! The caller: the subject of a token, or the client's address; trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Somebody whose requests are counted together; the same in every process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallerKey(u128);

/// The highest eight bits say the kind of caller.
const KIND: u32 = 120;

impl CallerKey {
    /// A user.
    #[must_use]
    pub fn user(number: i64) -> Self {
        Self((1 << KIND) | u128::from(number.cast_unsigned()))
    }

    /// A program, by a hash of the token's subject.
    #[must_use]
    pub fn program(subject: u128) -> Self {
        Self((2 << KIND) | (subject >> 8))
    }

    /// The caller as a number, for code that only compares callers.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0
    }

    /// An address. The owner of an IPv6 address mostly has all 2^64 addresses around: a network of 64 bits is one
    /// caller.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self((3 << KIND) | u128::from(address.to_bits())),
            IpAddr::V6(address) => Self((4 << KIND) | (address.to_bits() >> 64)),
        }
    }
}

impl fmt::Display for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Reads an address, or a range of addresses as in `10.0.0.0/8`.
#[must_use]
pub fn parse_address_range(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| address.into()))
}

/// True if one of the ranges contains the address. An IPv4 address in IPv6 notation counts as IPv4.
#[must_use]
pub fn ranges_contain(ranges: &[IpNet], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(&address.to_canonical()))
}

/// The address of the client: the peer, or behind trusted proxies the last untrusted address of
/// `X-Forwarded-For`. Anybody can have written the addresses before.
#[must_use]
pub fn trusted_origin<'a>(
    peer: Option<IpAddr>,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut origin = peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    if trusted.is_empty() {
        return origin;
    }
    for hop in forwarded.rev().flat_map(|line| line.rsplit(',')) {
        if !ranges_contain(trusted, origin) {
            break;
        }
        let Some(address) = parse_hop(hop.trim()) else { break };
        origin = address;
    }
    origin
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().ok().or_else(|| hop.parse().ok().map(|address: std::net::SocketAddr| address.ip()));
    address.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_with_and_without_a_length() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("192.168.1.77/24", "::ffff:192.168.1.9", "192.168.2.1"),
        ] {
            let range = [parse_address_range(text).unwrap()];
            assert!(ranges_contain(&range, inside.parse().unwrap()), "{text}");
            assert!(!ranges_contain(&range, outside.parse().unwrap()), "{text}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "a/8"] {
            assert!(parse_address_range(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        let trusted = ["10.0.0.0/8", "::1"].map(|text| parse_address_range(text).unwrap());
        let origin = |peer: &str, lines: &[&str]| {
            trusted_origin(Some(peer.parse().unwrap()), lines.iter().copied(), &trusted).to_string()
        };
        assert_eq!(origin("203.0.113.9", &["1.1.1.1"]), "203.0.113.9", "no proxy of ours");
        assert_eq!(origin("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(
            origin("10.0.0.1", &["1.1.1.1, 203.0.113.9"]),
            "203.0.113.9",
            "the first one is the client's own tale"
        );
        assert_eq!(origin("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.7"]), "203.0.113.9");
        assert_eq!(origin("::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(origin("10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(origin("10.0.0.1", &["1.1.1.1, nonsense"]), "10.0.0.1");
        assert_eq!(
            trusted_origin(Some("10.0.0.1".parse().unwrap()), ["1.1.1.1"].into_iter(), &[]).to_string(),
            "10.0.0.1"
        );
    }

    #[test]
    fn kinds_of_callers_are_told_apart() {
        let address = |text: &str| CallerKey::address(text.parse().unwrap());
        assert_ne!(CallerKey::user(1), address("0.0.0.1"));
        assert_ne!(CallerKey::program(256), CallerKey::user(1));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff"), "one network");
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:1.2.3.4"), address("1.2.3.4"));
    }
}
