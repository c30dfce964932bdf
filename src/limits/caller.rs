//! Who is counted: the subject of a token, or the client's address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Somebody whose requests are counted together; the same in every process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallerKey(u128);

/// The highest eight bits say what kind of caller it is.
const KIND: u32 = 120;

impl CallerKey {
    /// A user.
    #[must_use]
    pub fn user(number: i64) -> Self {
        Self((1 << KIND) | u128::from(number.cast_unsigned()))
    }

    /// A program, by a hash of the subject of its tokens.
    #[must_use]
    pub fn program(subject: u128) -> Self {
        Self((2 << KIND) | (subject >> 8))
    }

    /// The caller as a number, for those who only tell callers apart.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0
    }

    /// An address. One who has an IPv6 address mostly has the 2^64 around it as well: they count as one.
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

/// A range of addresses, as in `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressRange {
    base: u128,
    bits: u32,
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl AddressRange {
    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - self.bits).unwrap_or(0)
    }

    /// True if the address is one of them.
    #[must_use]
    pub fn holds(self, address: IpAddr) -> bool {
        bits_of(address) & self.mask() == self.base
    }
}

impl FromStr for AddressRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse::<u32>).ok().filter(|bits| *bits <= most).ok_or(())?;
        let mut network = Self { base: 0, bits: 128 - most + bits };
        network.base = bits_of(address) & network.mask();
        Ok(network)
    }
}

/// The address that a request came from: the peer's, unless that is a trusted proxy; then the last one of
/// `X-Forwarded-For` that is none. What stands before it anybody can have written.
#[must_use]
pub fn trusted_origin<'a>(
    peer: Option<IpAddr>,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[AddressRange],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let mut origin = peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    if trusted.is_empty() {
        return origin;
    }
    for hop in forwarded.rev().flat_map(|line| line.rsplit(',')) {
        if !is_trusted(origin) {
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

    fn network(text: &str) -> Result<AddressRange, ()> {
        text.parse()
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("::/0", "8.8.8.8", ""),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("192.168.1.77/24", "::ffff:192.168.1.9", "192.168.2.1"),
        ] {
            let network = network(text).unwrap();
            assert!(network.holds(inside.parse().unwrap()), "{text}");
            assert!(outside.is_empty() || !network.holds(outside.parse().unwrap()), "{text}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "a/8"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        let trusted = [network("10.0.0.0/8").unwrap(), network("::1").unwrap()];
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
