//! The preflight: checks of everything that a move needs, before the move touches anything, and in every dry run.

use serde::Serialize;
use sqlx::Connection;
use utoipa::ToSchema;

use crate::reshard::error::MoveError;
use crate::reshard::transfer::compose;
use crate::reshard::transfer::direction::Direction;
use crate::reshard::transfer::side::{MoveSide, MoveSides, ReadPlan};
use crate::reshard::transfer::tables::TABLES;
use crate::shard::{ShardId, Slot};

/// Replication slots of a move on each server: one for the stream, and during the copy one for each table.
const SLOTS_NEEDED: i64 = 3;
/// The difference of the servers' clocks from which on the preflight reports it.
const CLOCK_SECONDS: f64 = 5.0;

/// A finding of the preflight.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct PreflightFinding {
    /// True if the finding rules the move out.
    pub fatal: bool,
    /// The fact, and what to change.
    pub what: String,
}

impl PreflightFinding {
    fn fatal(what: String) -> Self {
        Self { fatal: true, what }
    }

    fn note(what: String) -> Self {
        Self { fatal: false, what }
    }
}

/// The disk space that a move takes on the target, and the free space there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct DiskForecast {
    /// Bytes of the rows and indexes on the source.
    pub needed_bytes: i64,
    /// Free bytes in the target's data folder; null if the role may not ask.
    pub free_bytes: Option<i64>,
}

/// The outcome of a preflight.
pub(in crate::reshard) struct PreflightReport {
    pub(in crate::reshard) findings: Vec<PreflightFinding>,
    pub(in crate::reshard) disk: DiskForecast,
}

/// The settings and free resources of a server.
#[derive(sqlx::FromRow)]
struct ServerFacts {
    wal_level: String,
    free_slots: i64,
    free_senders: i64,
    free_connections: i64,
    free_workers: i64,
    may_replicate: bool,
    may_advance: bool,
    kept_wal: String,
    now: f64,
    is_standby: bool,
}

/// Checks everything that a move of these slots needs, and also tries whether the servers reach one another and let
/// streams be made.
///
/// # Errors
/// Only if a shard could not be asked.
pub(super) async fn inspect_and_try(slots: &[Slot], sides: &mut MoveSides) -> Result<PreflightReport, MoveError> {
    let mut found = inspect(slots, sides).await?;
    if !found.findings.iter().any(|finding| finding.fatal) {
        for direction in Direction::BOTH {
            found.findings.extend(try_stream(sides, direction).await?);
        }
    }
    Ok(found)
}

/// The same without a trial: the move itself makes the streams before it touches any row.
///
/// # Errors
/// Only if a shard could not be asked.
pub(in crate::reshard) async fn inspect(slots: &[Slot], sides: &mut MoveSides) -> Result<PreflightReport, MoveError> {
    let (source, target) = sides.along(Direction::Forward);
    let mut findings = Vec::new();
    let facts = [server_facts(source).await?, server_facts(target).await?];
    for (side, facts) in [&*source, &*target].into_iter().zip(&facts) {
        findings.extend(judge_server(&side.id().to_string(), facts));
    }
    let [here, there] = &facts;
    if (here.now - there.now).abs() > CLOCK_SECONDS {
        findings.push(PreflightFinding::note(format!(
            "the clocks of the servers differ by {:.0} s",
            (here.now - there.now).abs()
        )));
    }
    for (owner, epoch) in source.owners(slots).await? {
        if owner != source.id().to_sql() {
            let (shard, count) = (source.id(), slots.len());
            findings.push(PreflightFinding::fatal(format!(
                "shard {shard} does not own all of the {count} slots: shard {owner} does some, since epoch {epoch}"
            )));
        }
    }
    if shape(source).await? != shape(target).await? {
        findings.push(PreflightFinding::fatal("the tables of the shards differ; run \"shardrive migrate\"".to_owned()));
    }
    // The planner expects to meet such a row soon. There is none, and so a sequential scan would read the whole table.
    target.read_by(ReadPlan::OrderedIndex).await?;
    for table in TABLES {
        let (found,): (bool,) = target.one(compose::has_rows(table, slots), &[]).await?;
        if found {
            findings.push(PreflightFinding::fatal(format!(
                "shard {} holds rows of these slots in {}, which it does not own; remove them first",
                target.id(),
                table.short
            )));
        }
    }
    target.read_by(ReadPlan::Planner).await?;
    let disk = DiskForecast { needed_bytes: needed_bytes(slots, source).await?, free_bytes: free_bytes(target).await? };
    findings.extend(judge_disk(target.id(), disk));
    Ok(PreflightReport { findings, disk })
}

/// The disk space of the slots' rows on the source: the share of each table.
async fn needed_bytes(slots: &[Slot], source: &mut MoveSide) -> Result<i64, MoveError> {
    let slots: Vec<i32> = slots.iter().map(|slot| slot.to_sql()).collect();
    let mut sum: i64 = 0;
    for table in TABLES {
        let failed = source.failed();
        let statement = sqlx::query_scalar(sqlx::AssertSqlSafe(compose::share_of_disk(table))).bind(&slots);
        let bytes: i64 = statement.fetch_one(&mut source.db).await.map_err(failed)?;
        sum = sum.saturating_add(bytes);
    }
    Ok(sum)
}

/// SQL knows no free disk space; a program on the server's machine does, for a role that may run programs there. `None`
/// for other roles, and for a machine without an answer.
async fn free_bytes(target: &mut MoveSide) -> Result<Option<i64>, MoveError> {
    let failed = target.failed();
    let may: bool = sqlx::query_scalar(include_str!("../../../sql/reshard/may_run_programs.sql"))
        .fetch_one(&mut target.db)
        .await
        .map_err(&failed)?;
    if !may {
        return Ok(None);
    }
    let mut asking = target.db.begin().await.map_err(&failed)?;
    let make = sqlx::query(include_str!("../../../sql/reshard/create_disk_table.sql"));
    make.execute(&mut *asking).await.map_err(&failed)?;
    let answer = async {
        sqlx::query(include_str!("../../../sql/reshard/run_df.sql")).execute(&mut *asking).await?;
        let read = sqlx::query_scalar(include_str!("../../../sql/reshard/read_free_disk.sql"));
        read.fetch_optional(&mut *asking).await.map(Option::flatten)
    };
    let kilobytes: Option<i64> = match answer.await {
        Ok(answer) => answer,
        // A server without the program, or with a folder that the program does not know.
        Err(sqlx::Error::Database(_)) => None,
        Err(error) => return Err(failed(error)),
    };
    asking.rollback().await.map_err(failed)?;
    Ok(kilobytes.map(|kilobytes| kilobytes.saturating_mul(1024)))
}

/// The rows come once into the tables and once into the server's log.
fn judge_disk(shard: ShardId, disk: DiskForecast) -> Option<PreflightFinding> {
    let Some(free) = disk.free_bytes else {
        let what = "the free disk space is not known: the role may not ask (pg_execute_server_program)";
        return Some(PreflightFinding::note(format!("shard {shard}: {what}")));
    };
    let needed = disk.needed_bytes.saturating_mul(2);
    let megabytes = |bytes: i64| bytes / 1_000_000;
    (free < needed).then(|| {
        PreflightFinding::fatal(format!(
            "shard {shard}: {} MB of disk are free, {} MB are needed for the rows and the log; make room, or move less",
            megabytes(free),
            megabytes(needed)
        ))
    })
}

async fn server_facts(side: &mut MoveSide) -> Result<ServerFacts, MoveError> {
    let failed = side.failed();
    let statement = sqlx::query_as(include_str!("../../../sql/reshard/read_server_facts.sql"));
    statement.fetch_one(&mut side.db).await.map_err(failed)
}

fn judge_server(shard: &str, facts: &ServerFacts) -> Vec<PreflightFinding> {
    let mut findings = Vec::new();
    let mut need = |is_good: bool, what: String| {
        if !is_good {
            findings.push(PreflightFinding::fatal(format!("shard {shard}: {what}")));
        }
    };
    need(facts.wal_level == "logical", format!("wal_level is {}; set it to logical and restart", facts.wal_level));
    need(!facts.is_standby, "the server is a standby".to_owned());
    need(
        facts.free_slots >= SLOTS_NEEDED,
        format!(
            "{} replication slots are free, {SLOTS_NEEDED} are needed; raise max_replication_slots",
            facts.free_slots
        ),
    );
    need(
        facts.free_senders >= SLOTS_NEEDED,
        format!("{} WAL senders are free, {SLOTS_NEEDED} are needed; raise max_wal_senders", facts.free_senders),
    );
    need(
        facts.free_workers >= 2,
        format!(
            "{} logical replication workers are free, 2 are needed; raise max_logical_replication_workers",
            facts.free_workers
        ),
    );
    need(
        facts.free_connections >= 5,
        format!("{} connections are free, 5 are needed; raise max_connections", facts.free_connections),
    );
    need(facts.may_replicate, "the role may not replicate; ALTER ROLE … REPLICATION".to_owned());
    need(
        facts.may_advance,
        "the role may not set where a stream begins; GRANT EXECUTE ON FUNCTION pg_replication_origin_advance"
            .to_owned(),
    );
    if facts.kept_wal == "-1" {
        let what = "max_slot_wal_keep_size has no limit; the service gives a slot up on its own when it keeps too much";
        findings.push(PreflightFinding::note(format!("shard {shard}: {what}")));
    }
    findings
}

/// The columns of the moving tables, in order.
async fn shape(side: &mut MoveSide) -> Result<Vec<String>, MoveError> {
    let failed = side.failed();
    let names: Vec<_> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/list_columns.sql")).bind(names);
    statement.fetch_all(&mut side.db).await.map_err(failed)
}

/// Makes the objects of a stream and rolls them back: a publication on the sending server, and a subscription on the
/// receiving server, which connects to the sender.
async fn try_stream(sides: &mut MoveSides, direction: Direction) -> Result<Vec<PreflightFinding>, MoveError> {
    let (from, to) = sides.along(direction);
    let name = "shardrive_preflight";
    let mut findings = Vec::new();
    let mut trial = {
        let failed = from.failed();
        from.db.begin().await.map_err(failed)
    }?;
    let sql = compose::create_publication(name, 0, direction, &[]);
    if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *trial).await {
        findings.push(refused(format!("shard {}: the role may not create a publication", from.shard.id()), &error));
    }
    drop(trial);
    let url = from.shard.options().secret_subscription_url();
    let mut trial = {
        let failed = to.failed();
        to.db.begin().await.map_err(failed)
    }?;
    let sql = compose::try_subscription(name, &url);
    if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *trial).await {
        let what = format!(
            "shard {}: its server cannot subscribe to shard {} at {}; the role needs the right (superuser before \
             PostgreSQL 16, pg_create_subscription from then on) and the servers must reach one another",
            to.shard.id(),
            from.shard.id(),
            from.shard.options().address(),
        );
        findings.push(refused(what, &error));
    }
    drop(trial);
    Ok(findings)
}

fn refused(what: String, error: &sqlx::Error) -> PreflightFinding {
    let code = error.as_database_error().and_then(|error| error.code());
    PreflightFinding::fatal(code.map_or(what.clone(), |code| format!("{what} (SQLSTATE {code})")))
}
