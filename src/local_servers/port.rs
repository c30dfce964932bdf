//! Free ports on 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use super::error::LocalError;

/// Below the operating systems' range for outgoing connections, so that a stopped server finds its port still
/// free.
const RANDOM_PORTS: std::ops::Range<u16> = 15_000..32_000;
const TRIES: usize = 1000;

/// True if no server listens on this port now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A free port. Another program may take the port before the caller does: be ready to ask again.
///
/// # Errors
/// `NoPort` if none was found.
pub fn free_port() -> Result<u16, LocalError> {
    let mut ports = std::iter::repeat_with(|| rand::random_range(RANDOM_PORTS)).take(TRIES);
    ports.find(|port| is_free(*port)).ok_or(LocalError::NoPort)
}

/// The first free port from `first` on that is not in `taken`.
pub(super) fn next_free_port(first: u16, taken: &[u16]) -> Result<u16, LocalError> {
    let mut ports = (first..=u16::MAX).take(TRIES);
    ports.find(|port| !taken.contains(port) && is_free(*port)).ok_or(LocalError::NoPort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_and_taken_ports_are_passed_over() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = busy.local_addr().unwrap().port();
        assert!(!is_free(port));
        let next = next_free_port(port, &[]).unwrap();
        assert!(next > port);
        assert!(next_free_port(port, &[next]).unwrap() > next);
        assert!(RANDOM_PORTS.contains(&free_port().unwrap()));
    }
}
