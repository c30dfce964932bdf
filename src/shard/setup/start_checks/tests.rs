//! Each fault of a start, one by one.

use super::*;

const CLUSTER: Uuid = Uuid::from_u128(1);

fn good(shard: i32, count: i32) -> DatabaseFacts {
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
        migrations,
        identity: Some(FoundIdentity { cluster_id: CLUSTER, shard_id: shard, shard_count: count, ready: true }),
        map: Some(SlotMap::initial(2)),
        registry: Vec::new(),
        has_rows: false,
    }
}

fn changed(shard: i32, change: impl FnOnce(&mut DatabaseFacts)) -> DatabaseProbe {
    let mut facts = good(shard, 2);
    change(&mut facts);
    Ok(facts)
}

fn empty(shard: i32) -> DatabaseProbe {
    changed(shard, |facts| {
        facts.migrations.clear();
        facts.identity = None;
        facts.map = None;
    })
}

fn away() -> DatabaseProbe {
    Err("away".to_owned())
}

#[test]
fn each_fault_is_named() {
    let (zero, one) = (ShardId::new(0), ShardId::new(1));
    let last = migrator().iter().last().unwrap().version;
    let table: Vec<(&str, Vec<DatabaseProbe>, Vec<StartFault>)> = vec![
        ("good", vec![Ok(good(0, 2)), Ok(good(1, 2))], vec![]),
        ("one away", vec![Ok(good(0, 2)), away()], vec![]),
        (
            "all away",
            vec![away(), away()],
            vec![StartFault::NoShardReachable(vec![(zero, "away".into()), (one, "away".into())])],
        ),
        ("same database", vec![Ok(good(0, 2)), changed(0, |_| ())], vec![StartFault::SameDatabase(zero, one)]),
        (
            "swapped",
            vec![Ok(good(1, 2)), Ok(good(0, 2))],
            vec![StartFault::Swapped(zero, 1), StartFault::Swapped(one, 0)],
        ),
        (
            "grown by the settings alone",
            vec![Ok(good(0, 2)), Ok(good(1, 2)), empty(2)],
            vec![
                StartFault::ShardCount(zero, 2, 3),
                StartFault::ShardCount(one, 2, 3),
                StartFault::MissingMigrations(ShardId::new(2), migrator().iter().map(|m| m.version).collect()),
            ],
        ),
        ("some know of the third shard, others not yet", vec![Ok(good(0, 3)), Ok(good(1, 2)), Ok(good(2, 3))], vec![]),
        (
            "nobody knows where the third shard is",
            vec![Ok(good(0, 3)), Ok(good(1, 3))],
            vec![StartFault::ShardCount(zero, 3, 2), StartFault::ShardCount(one, 3, 2)],
        ),
        ("lost", vec![Ok(good(0, 2)), empty(1)], vec![StartFault::LostShard(one)]),
        (
            "other cluster",
            vec![Ok(good(0, 2)), changed(1, |facts| facts.identity.as_mut().unwrap().cluster_id = Uuid::from_u128(2))],
            vec![StartFault::OtherCluster(one)],
        ),
        (
            "missing migration",
            vec![
                Ok(good(0, 2)),
                changed(1, |facts| {
                    facts.migrations.pop();
                }),
            ],
            vec![StartFault::MissingMigrations(one, vec![last])],
        ),
        (
            "newer migration",
            vec![
                Ok(good(0, 2)),
                changed(1, |facts| {
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
            vec![Ok(good(0, 2)), changed(1, |facts| facts.migrations.last_mut().unwrap().checksum = vec![1])],
            vec![StartFault::BrokenMigrations(one, vec![last])],
        ),
        (
            "half set up",
            vec![Ok(good(0, 2)), changed(1, |facts| facts.identity.as_mut().unwrap().ready = false)],
            vec![StartFault::NotSetUp(one)],
        ),
        (
            "two faults at once",
            vec![changed(0, |facts| facts.server_version = 140_009), changed(1, |facts| facts.is_standby = true)],
            vec![StartFault::OldServer(zero, 140_009), StartFault::Standby(one)],
        ),
        ("no map", vec![Ok(good(0, 2)), changed(1, |facts| facts.map = None)], vec![StartFault::NoMap(one)]),
    ];
    for (name, probes, expected) in table {
        assert_eq!(faults(&probes, &migrator()), expected, "{name}");
    }
}
