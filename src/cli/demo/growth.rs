//! A new shard, and moves of slots to it, under constant writes and reads: no request may fail.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::service::{RunningService, field, number};
use super::show::DemoOutput;
use crate::cli::CliError;

/// The number of clients.
const CLIENTS: u64 = 4;
/// The clients' users: so many, from this number on, with this distance. They lie in slots of every shard, and differ
/// from the users of the other steps.
const USERS: u64 = 500;
const FIRST_USER: u64 = 100_000;
const APART: u64 = 11;
/// The pause between two reads of the moves' state.
const LOOK: Duration = Duration::from_millis(300);
/// The demonstration gives up after this time; the moves go on.
const LONGEST: Duration = Duration::from_mins(10);

/// The clients' requests and failures.
#[derive(Default)]
struct ClientTotals {
    writes: u64,
    reads: u64,
    failures: Vec<String>,
    /// Acknowledged files by user.
    acknowledged: BTreeMap<u64, u64>,
}

/// Adds the shard and rebalances the slots. `Null` without a shard to add.
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

/// Writes and reads in turn until `stop` is cancelled.
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
            // A pause, so that a dead service does not get ten thousand requests a second.
            sleep(LOOK).await;
        }
    }
    done
}

/// The number of files of each client's user.
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

/// The number of acknowledged files that are still there.
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

/// Rebalances the slots, and follows the moves to their ends.
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
