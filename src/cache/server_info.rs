//! What a Redis or Valkey server says of itself, and whether this service can use it.

use std::collections::HashMap;
use std::sync::Arc;

/// The oldest Redis that has `SET … NX GET`.
const OLDEST: u32 = 7;

/// Stands before the formats in the name that a fence gives.
const FORMATS: char = '+';

/// The lines of an answer to `INFO`.
pub(super) struct ServerInfo<'a>(HashMap<&'a str, &'a str>);

impl<'a> ServerInfo<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }

    fn get(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Which server this is: its run, and the history of its data. The run changes with each start. The history changes
    /// when the server becomes a replica of another server, whose data then takes the place of the old data.
    ///
    /// # Errors
    /// Why the server will not do.
    pub(super) fn check(&self) -> Result<Arc<str>, String> {
        let version = self.get("redis_version"); // // Valkey names here the Redis that it is like: 7.2.4
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if self.get("valkey_version").is_empty() && major.is_none_or(|major| major < OLDEST) {
            return Err(format!("Redis {OLDEST} or newer is needed, or Valkey; this is {version:?}"));
        }
        if self.get("role") != "master" {
            return Err("it is a replica; name the primary".to_owned());
        }
        if self.get("loading") == "1" {
            return Err("it is still reading its data".to_owned());
        }
        let (run, history) = (self.get("run_id"), self.get("master_replid"));
        if run.is_empty() {
            return Err("it does not say which server it is".to_owned());
        }
        Ok(format!("{run}-{history}").into())
    }
}

/// The name in a fence: the server, and the formats of the processes that share it. A process with other formats reads
/// the name of another server, and so the two never use the cache at the same time.
pub(super) fn name_in_fence(server: &str, formats: &str) -> Arc<str> {
    format!("{server}{FORMATS}{formats}").into()
}

/// True if both name the same server.
pub(super) fn is_same_server(one: &str, other: &str) -> bool {
    let server = |name: &str| name.split_once(FORMATS).map_or_else(|| name.to_owned(), |(server, _)| server.to_owned());
    server(one) == server(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str, role: &str, more: &str) -> Result<Arc<str>, String> {
        let text = format!("# Server\r\n{version}\r\nrun_id:abc\r\nrole:{role}\r\nmaster_replid:def\r\n{more}\r\n");
        ServerInfo::parse(&text).check()
    }

    #[test]
    fn other_formats_are_another_server() {
        let one = name_in_fence("abc-def", "page1,record1");
        let two = name_in_fence("abc-def", "page1,record2");
        assert_eq!(&*one, "abc-def+page1,record1");
        assert!(one != two && is_same_server(&one, &two));
        assert!(!is_same_server(&one, &name_in_fence("abc-xyz", "page1,record1")));
    }

    #[test]
    fn only_a_primary_that_is_new_enough_will_do() {
        assert_eq!(&*check("redis_version:7.0.15", "master", "loading:0").unwrap(), "abc-def");
        assert!(check("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0", "master", "").is_ok());
        assert!(check("redis_version:10.0.0", "master", "").is_ok());
        assert!(check("redis_version:6.2.9", "master", "").unwrap_err().contains("Redis 7 or newer"));
        assert!(check("", "master", "").is_err());
        assert!(check("redis_version:7.0.15", "slave", "").unwrap_err().contains("replica"));
        assert!(check("redis_version:7.0.15", "master", "loading:1").is_err());
        assert!(ServerInfo::parse("redis_version:7.0.0\nrole:master").check().is_err());
    }
}
