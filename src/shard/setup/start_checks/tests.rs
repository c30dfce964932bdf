//! Each fault of a start.

use uuid::Uuid;

use super::facts::{AppliedMigration, DatabaseFacts, FoundIdentity};
use super::*;

const CLUSTER: Uuid = Uuid::from_u128(1);

fn healthy_facts(shard: i32, count: i32) -> DatabaseFacts {
    let migrations = migrator()
        .iter()
        .map(|m| AppliedMigration {
            version: m.version,
            checksum: m.checksum.to_vec(),
            success: true,
            description: m.description.to_string(),
        })
        .collect();
    DatabaseFacts {
        database_key: format!("key {shard}"),
        is_standby: false,
        server_version: 170_002,
        encoding: "UTF8".to_owned(),
        has_other_tables: false,
        migrations,
        identity: Some(FoundIdentity { cluster_id: CLUSTER, shard_id: shard, shard_count: count, ready: true }),
        map: Some(SlotMap::initial(2)),
        registry: Vec::new(),
        has_rows: false,
    }
}

fn probe_with(shard: i32, change: impl FnOnce(&mut DatabaseFacts)) -> DatabaseProbe {
    let mut facts = healthy_facts(shard, 2);
    change(&mut facts);
    Ok(facts)
}

fn empty_database(shard: i32) -> DatabaseProbe {
    probe_with(shard, |facts| {
        facts.migrations.clear();
        facts.identity = None;
        facts.map = None;
    })
}

fn unreachable_probe() -> DatabaseProbe {
    Err("away".to_owned())
}

#[test]
fn each_fault_is_named() {
    let (zero, one) = (ShardId::new(0), ShardId::new(1));
    let last = migrator().iter().last().unwrap().version;
    let table: Vec<(&str, Vec<DatabaseProbe>, Vec<StartFault>)> = vec![
        ("good", vec![Ok(healthy_facts(0, 2)), Ok(healthy_facts(1, 2))], vec![]),
        ("one away", vec![Ok(healthy_facts(0, 2)), unreachable_probe()], vec![]),
        (
            "all away",
            vec![unreachable_probe(), unreachable_probe()],
            vec![StartFault::NoShardReachable(vec![(zero, "away".into()), (one, "away".into())])],
        ),
        (
            "same database",
            vec![Ok(healthy_facts(0, 2)), probe_with(0, |_| ())],
            vec![StartFault::SameDatabase(zero, one)],
        ),
        (
            "swapped",
            vec![Ok(healthy_facts(1, 2)), Ok(healthy_facts(0, 2))],
            vec![StartFault::Swapped(zero, 1), StartFault::Swapped(one, 0)],
        ),
        (
            "grown by the settings alone",
            vec![Ok(healthy_facts(0, 2)), Ok(healthy_facts(1, 2)), empty_database(2)],
            vec![
                StartFault::ShardCount(zero, 2, 3),
                StartFault::ShardCount(one, 2, 3),
                StartFault::MissingMigrations(ShardId::new(2), migrator().iter().map(|m| m.version).collect()),
            ],
        ),
        (
            "some know of the third shard, others not yet",
            vec![Ok(healthy_facts(0, 3)), Ok(healthy_facts(1, 2)), Ok(healthy_facts(2, 3))],
            vec![],
        ),
        (
            "nobody knows where the third shard is",
            vec![Ok(healthy_facts(0, 3)), Ok(healthy_facts(1, 3))],
            vec![StartFault::ShardCount(zero, 3, 2), StartFault::ShardCount(one, 3, 2)],
        ),
        ("lost", vec![Ok(healthy_facts(0, 2)), empty_database(1)], vec![StartFault::LostShard(one)]),
        (
            "other cluster",
            vec![
                Ok(healthy_facts(0, 2)),
                probe_with(1, |facts| facts.identity.as_mut().unwrap().cluster_id = Uuid::from_u128(2)),
            ],
            vec![StartFault::OtherCluster(one)],
        ),
        (
            "missing migration",
            vec![
                Ok(healthy_facts(0, 2)),
                probe_with(1, |facts| {
                    facts.migrations.pop();
                }),
            ],
            vec![StartFault::MissingMigrations(one, vec![last])],
        ),
        (
            "newer migration",
            vec![
                Ok(healthy_facts(0, 2)),
                probe_with(1, |facts| {
                    for (version, description) in [(9997, "more"), (9998, "contract 0001 x"), (9999, "contract 9997 y")]
                    {
                        let description = description.to_owned();
                        facts.migrations.push(AppliedMigration {
                            version,
                            checksum: vec![],
                            success: true,
                            description,
                        });
                    }
                }),
            ],
            vec![StartFault::NewerMigrations(one, vec![9999])],
        ),
        (
            "changed migration",
            vec![
                Ok(healthy_facts(0, 2)),
                probe_with(1, |facts| facts.migrations.last_mut().unwrap().checksum = vec![1]),
            ],
            vec![StartFault::BrokenMigrations(one, vec![last])],
        ),
        (
            "half set up",
            vec![Ok(healthy_facts(0, 2)), probe_with(1, |facts| facts.identity.as_mut().unwrap().ready = false)],
            vec![StartFault::NotSetUp(one)],
        ),
        (
            "another encoding",
            vec![Ok(healthy_facts(0, 2)), probe_with(1, |facts| facts.encoding = "LATIN1".to_owned())],
            vec![StartFault::Encoding(one, "LATIN1".to_owned())],
        ),
        (
            "two faults at once",
            vec![probe_with(0, |facts| facts.server_version = 140_009), probe_with(1, |facts| facts.is_standby = true)],
            vec![StartFault::OldServer(zero, 140_009), StartFault::Standby(one)],
        ),
        (
            "no map",
            vec![Ok(healthy_facts(0, 2)), probe_with(1, |facts| facts.map = None)],
            vec![StartFault::NoMap(one)],
        ),
    ];
    for (name, probes, expected) in table {
        assert_eq!(find_faults(&probes, &migrator()), expected, "{name}");
    }
}
