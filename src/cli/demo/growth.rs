//! One more shard, and slots that move to it, while others write and read all the time: no request may fail.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::service::{RunningService, field, number};
use super::show::DemoOutput;
use crate::cli::CliError;

/// Clients that go on writing and reading.
const CLIENTS: u64 = 4;
/// Their users, in slots of every shard, none of those that the other steps store for: this many, from this one on, that
/// far apart.
const USERS: u64 = 500;
const FIRST_USER: u64 = 100_000;
const APART: u64 = 11;
/// Between two looks at the moves.
const LOOK: Duration = Duration::from_millis(300);
/// After so long the demonstration gives up; the moves go on.
const LONGEST: Duration = Duration::from_mins(10);

/// What the clients did.
#[derive(Default)]
struct ClientTotals {
    writes: u64,
    reads: u64,
    failures: Vec<String>,
    /// Files that were acknowledged, by their users.
    acknowledged: BTreeMap<u64, u64>,
}

/// Adds the shard and deals the slots anew. `Null` if there is none to add.
pub(super) async fn grow(
    service: &RunningService,
    show: &DemoOutput,
    new_shard: Option<&str>,
) -> Result<Value, CliError> {
    let Some(url) = new_shard else {
        show.line(
            "Left out: say --new-shard with the URL of an empty database, such as the one that dev --spare 1 prints.",
        );
        return Ok(Value::Null);
    };
    let added = service.post("/admin/shards", &json!({"url": url})).await?;
    let shard = number(&added, "shard_id");
    show.line(&format!("shard {shard} is at {}", field(&added, "place").as_str().unwrap_or_default()));
    let before = counts(service).await?;
    let stop = CancellationToken::new();
    let clients = (0..CLIENTS).map(|client| tokio::spawn(work(service.clone(), client, stop.clone())));
    let clients: Vec<_> = clients.collect();
    let moved = rebalance(service, show).await;
    stop.cancel();
    let mut all = ClientTotals::default();
    for client in clients {
        let done = client.await.map_err(|error| CliError::Failed(format!("a client broke off: {error}")))?;
        all.writes += done.writes;
        all.reads += done.reads;
        all.failures.extend(done.failures);
        done.acknowledged.into_iter().for_each(|(user, files)| *all.acknowledged.entry(user).or_default() += files);
    }
    let moved = moved?;
    let requests = all.writes + all.reads;
    let failed = u64::try_from(all.failures.len()).unwrap_or(u64::MAX);
    for failure in all.failures.iter().take(5) {
        show.line(failure);
    }
    let found = found_again(service, &before, &all.acknowledged).await?;
    let text = format!(
        "{} requests meanwhile, {failed} failed; {found} of {} acknowledged writes are there",
        show.number(requests),
        all.writes
    );
    if failed == 0 {
        show.good(&text)
    } else {
        show.line(&text)
    }
    if found < all.writes {
        return Err(CliError::Failed(format!("{} acknowledged writes are missing", all.writes - found)));
    }
    Ok(
        json!({"shard_id": shard, "moves": moved, "requests": requests, "writes": all.writes, "found": found, "failed": failed}),
    )
}

fn user(turn: u64) -> u64 {
    FIRST_USER + turn % USERS * APART
}

/// Writes and reads by turns until it is told to stop.
async fn work(service: RunningService, client: u64, stop: CancellationToken) -> ClientTotals {
    let mut done = ClientTotals::default();
    let mut turn = client;
    while !stop.is_cancelled() {
        let user = user(turn);
        turn += CLIENTS;
        let file = json!({"user_id": user, "file_name": format!("meanwhile_{turn}.txt")});
        match service.post("/ingest", &file).await {
            Ok(_) => {
                done.writes += 1;
                *done.acknowledged.entry(user).or_default() += 1;
            }
            Err(refusal) => done.failures.push(CliError::from(refusal).to_string()),
        }
        match service.get(&format!("/query/{user}")).await {
            Ok(_) => done.reads += 1,
            Err(refusal) => done.failures.push(CliError::from(refusal).to_string()),
        }
        if !done.failures.is_empty() {
            // A service that is gone is not asked ten thousand times a second.
            sleep(LOOK).await;
        }
    }
    done
}

/// Files that the clients' users have.
async fn counts(service: &RunningService) -> Result<BTreeMap<u64, u64>, CliError> {
    let mut counts = BTreeMap::new();
    for user in (0..USERS).map(user) {
        counts.insert(user, count(service, user).await?);
    }
    Ok(counts)
}

async fn count(service: &RunningService, user: u64) -> Result<u64, CliError> {
    let (mut files, mut cursor) = (0, String::new());
    loop {
        let page = service.get(&format!("/query/{user}?limit=1000{cursor}")).await?;
        files += number(&page, "file_count");
        match field(&page, "next_cursor").as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(files),
        }
    }
}

/// How many of the acknowledged files are there.
async fn found_again(
    service: &RunningService,
    before: &BTreeMap<u64, u64>,
    acknowledged: &BTreeMap<u64, u64>,
) -> Result<u64, CliError> {
    let mut found = 0;
    for (user, files) in acknowledged {
        let new = count(service, *user).await?.saturating_sub(before.get(user).copied().unwrap_or(0));
        found += new.min(*files);
    }
    Ok(found)
}

/// Deals the slots anew, and sees the moves through to their ends.
async fn rebalance(service: &RunningService, show: &DemoOutput) -> Result<Value, CliError> {
    let plan = service.post("/admin/rebalance", &json!({"strategy": "slots", "rollback_window_seconds": 0})).await?;
    let ids: Vec<u64> = field(&plan, "ids").as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    if ids.is_empty() {
        show.line("Nothing to move: every slot is where it should be");
        return Ok(json!([]));
    }
    show.line(&format!("{} slots with {} rows go over", number(&plan, "slots"), show.number(number(&plan, "rows"))));
    let mut moves = Vec::new();
    for id in ids {
        let ended = see_through(service, show, id).await?;
        if field(&ended, "stage") != "done" {
            let why = field(&ended, "reason").as_str().unwrap_or("see its events");
            return Err(CliError::Failed(format!("move {id} ended as {}: {why}", field(&ended, "stage"))));
        }
        moves.push(json!({"id": id, "slots": field(&ended, "slot_count"), "freeze_ms": field(&ended, "freeze_ms")}));
    }
    Ok(Value::Array(moves))
}

async fn see_through(service: &RunningService, show: &DemoOutput, id: u64) -> Result<Value, CliError> {
    let until = Instant::now() + LONGEST;
    let mut stage = Value::Null;
    loop {
        let now = service.get(&format!("/admin/moves/{id}")).await?;
        if *field(&now, "stage") != stage {
            stage = field(&now, "stage").clone();
            let (copied, total) = (number(&now, "copied_rows"), number(&now, "total_rows"));
            let word = stage.as_str().unwrap_or_default().replace('_', " ");
            let (from, to) = (number(&now, "source"), number(&now, "target"));
            show.line(&format!("move {id}: shard {from} → {to}  {word:<10} {copied} of {total} rows"));
        }
        if !field(&now, "ended_at").is_null() {
            return Ok(now);
        }
        if Instant::now() > until {
            return Err(CliError::Failed(format!("move {id} is still at {stage}; it goes on by itself")));
        }
        sleep(LOOK).await;
    }
}
