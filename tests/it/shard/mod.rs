//! Shards: set-up, ownership, connections, and servers that are away, short of something or replaced.

mod batched_reads;
mod credentials;
mod dns;
mod failover;
mod faults;
mod grow;
mod guard;
mod ownership;
mod pool_shares;
mod probes;
mod proxy;
mod replicas;
mod server_shortages;
mod start;
