//! The commands for the cache's server, and the form of an entry.
//!
//! The first byte says what an entry is: `V` a value, `L` a **lease** (a reader loads the value from the database and
//! will put the value here; the token of the lease follows), `T` a **tombstone** (a write is on its way), `X` a value
//! that is too large to be kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{cmd, pipe};

use super::resp::{put_bulk, put_head};
use super::shared_connection::ServerLink;

/// How long a read may wait for an answer before the read goes to the database: about the time of a page there.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_millis(50);
/// How long other commands may take. A write waits for them, and has no other way.
const LIMIT: Duration = Duration::from_millis(250);
/// How long a reader may take to load a value and put it here.
const LEASE_MS: u32 = 2000;
/// The same as text.
const LEASE_TEXT: &[u8] = b"2000";
/// Keys in one command.
const CHUNK: usize = 512;

const VALUE: u8 = b'V';
const LEASED: u8 = b'L';
const TOMBSTONE: &[u8] = b"T";
const TOO_LARGE: &[u8] = b"X";

/// Puts an entry in the place of its lease, if the lease is still there.
const FILL: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then \
    redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) return 1 end return 0";
/// The same for many keys; answers with a digit for each key: 1 if the lease was still there.
const FILL_ALL: &str = "local kept={} for place,key in ipairs(KEYS) do local arg=place*3 \
    if redis.call('GET',key)==ARGV[arg-2] then redis.call('SET',key,ARGV[arg-1],'PX',ARGV[arg]) kept[place]='1' \
    else kept[place]='0' end end return table.concat(kept)";
/// Puts a lease in the place of a useless value, or of nothing.
const TAKE: &str = "local kind=redis.call('GETRANGE',KEYS[1],0,0) if kind=='V' or kind=='' then \
    redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2]) return 1 end return 0";
/// Takes back a lease, if the lease is still there.
pub(super) const RELEASE: &str =
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";

/// A lease, as it stands in the cache: no two are alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FillLease([u8; 17]);

impl FillLease {
    pub(super) fn new() -> Self {
        let mut bytes = [LEASED; 17];
        for (place, random) in bytes.iter_mut().skip(1).zip(rand::random::<[u8; 16]>()) {
            *place = random;
        }
        Self(bytes)
    }
}

/// What a lookup found.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum LookupResult {
    /// Nothing; the lookup has put our lease there.
    Nothing,
    /// A value, behind a first byte.
    Value(Bytes),
    /// The lease of another reader.
    Leased,
    /// Nothing may be cached here at the moment.
    Barred,
}

impl LookupResult {
    pub(super) fn of(entry: Option<Bytes>) -> Self {
        match entry {
            None => Self::Nothing,
            Some(entry) => match entry.first() {
                Some(&VALUE) => Self::Value(entry),
                Some(&LEASED) => Self::Leased,
                _ => Self::Barred,
            },
        }
    }
}

/// Adds a lookup to commands, as [`ServerLink::look_up`] sends it.
pub(super) fn put_lookup(output: &mut Vec<u8>, key: &str, lease: FillLease) {
    let words: [&[u8]; 7] = [b"SET", key.as_bytes(), &lease.0, b"NX", b"GET", b"PX", LEASE_TEXT];
    put_head(output, words.len());
    words.iter().for_each(|word| put_bulk(output, word));
}

/// Adds one command that puts all entries in the places of their leases.
pub(super) fn put_fills(output: &mut Vec<u8>, fills: &[FillCommand]) {
    put_head(output, 3 + fills.len() * 4);
    put_bulk(output, b"EVAL");
    put_bulk(output, FILL_ALL.as_bytes());
    put_bulk(output, fills.len().to_string().as_bytes());
    fills.iter().for_each(|fill| put_bulk(output, fill.key.as_bytes()));
    for fill in fills {
        put_bulk(output, &fill.lease.0);
        put_bulk(output, &fill.entry);
        put_bulk(output, millis(fill.ttl).to_string().as_bytes());
    }
}

/// What takes the place of a lease.
pub(super) struct FillCommand {
    pub(super) key: Arc<str>,
    pub(super) lease: FillLease,
    /// The whole entry, with its first byte.
    pub(super) entry: Bytes,
    pub(super) ttl: Duration,
}

/// The entry of a value, or of a value that is too large to be kept.
pub(super) fn entry_of(value: &[u8], largest: usize) -> Bytes {
    if value.len() > largest {
        return Bytes::from_static(TOO_LARGE);
    }
    let mut entry = Vec::with_capacity(value.len() + 1);
    entry.push(VALUE);
    entry.extend_from_slice(value);
    entry.into()
}

/// The value in an entry, if the entry holds a value.
pub(super) fn value_in(entry: &Bytes) -> Option<Bytes> {
    entry.strip_prefix(&[VALUE]).map(|value| entry.slice_ref(value))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl ServerLink {
    /// The entry under a key; where there is none, the lease is put there.
    pub(super) async fn look_up(&self, key: &str, lease: FillLease) -> Option<LookupResult> {
        let mut command = cmd("SET");
        command.arg(key).arg(&lease.0).arg("NX").arg("GET").arg("PX").arg(LEASE_MS);
        let entry: Option<Vec<u8>> =
            self.call(LOOKUP_LIMIT, async move |mut at| command.query_async(&mut at).await).await?;
        Some(LookupResult::of(entry.map(Bytes::from)))
    }

    /// Puts the lease in the place of a value. False: another entry is there by now.
    pub(super) async fn replace_by_lease(&self, key: &str, lease: FillLease) -> Option<bool> {
        let mut command = cmd("EVAL");
        command.arg(TAKE).arg(1).arg(key).arg(&lease.0).arg(LEASE_MS);
        self.call(LOOKUP_LIMIT, async move |mut at| command.query_async(&mut at).await).await
    }

    /// Puts entries in the places of their leases; says for each entry whether its lease was still there.
    pub(super) async fn fill<'a>(&self, fills: impl Iterator<Item = &'a FillCommand>) -> Option<Vec<bool>> {
        let mut commands = pipe();
        for fill in fills {
            let command = commands.cmd("EVAL").arg(FILL).arg(1).arg(&*fill.key).arg(&fill.lease.0);
            command.arg(&*fill.entry).arg(millis(fill.ttl));
        }
        self.call(LIMIT, async move |mut at| commands.query_async(&mut at).await).await
    }

    /// Takes leases back.
    pub(super) async fn release<'a>(&self, leases: impl Iterator<Item = (&'a str, FillLease)>) -> Option<()> {
        let mut commands = pipe();
        for (key, lease) in leases {
            commands.cmd("EVAL").arg(RELEASE).arg(1).arg(key).arg(&lease.0).ignore();
        }
        self.call(LIMIT, async move |mut at| commands.query_async(&mut at).await).await
    }

    /// Bars the keys for as long as a write may be on its way.
    pub(super) async fn bar(&self, keys: &[String], time: Duration) -> Option<()> {
        for keys in keys.chunks(CHUNK) {
            let mut commands = pipe();
            for key in keys {
                commands.cmd("SET").arg(key).arg(TOMBSTONE).arg("PX").arg(millis(time)).ignore();
            }
            self.call::<(), _>(LIMIT, async move |mut at| commands.query_async(&mut at).await).await?;
        }
        Some(())
    }

    /// Removes all entries under the keys. `None`: nobody knows, and the link is given up.
    pub(super) async fn remove(&self, keys: &[String]) -> Option<()> {
        for keys in keys.chunks(CHUNK) {
            let mut command = cmd("DEL");
            command.arg(keys);
            let removed: Option<u64> = self.call(LIMIT, async move |mut at| command.query_async(&mut at).await).await;
            if removed.is_none() {
                self.give_up("it did not say that it removed a value");
            }
            removed?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_what_it_is() {
        assert_eq!(LookupResult::of(None), LookupResult::Nothing);
        assert_eq!(LookupResult::of(Some(FillLease::new().0.to_vec().into())), LookupResult::Leased);
        assert_eq!(LookupResult::of(Some(TOMBSTONE.into())), LookupResult::Barred);
        assert_eq!(LookupResult::of(Some(Bytes::new())), LookupResult::Barred);
        let entry = entry_of(b"value", 5);
        assert_eq!(value_in(&entry), Some("value".into()));
        assert_eq!(LookupResult::of(Some(entry.clone())), LookupResult::Value(entry));
        assert_eq!(LookupResult::of(Some(entry_of(b"value", 4))), LookupResult::Barred);
        assert_ne!(FillLease::new(), FillLease::new());
        assert_eq!(LEASE_TEXT, LEASE_MS.to_string().as_bytes());
    }
}
