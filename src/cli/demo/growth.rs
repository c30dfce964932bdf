//! A new shard, and moves of slots to it, under constant writes and reads: no request may fail.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::show::DemoOutput;
use crate::cli::CliError;
use crate::cli::service::{RunningService, json_field, number_field};

/// The number of clients.
const CLIENTS: u64 = 4;
/// The clients' users: so many, from this number on, with this distance. They lie in slots of every shard, and differ
/// from the users of the other steps.
const USERS: u64 = 500;
const FIRST_USER: u64 = 100_000;
const USER_STEP: u64 = 11;
/// The pause between two reads of the moves' state.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// The demonstration gives up after this time; the moves go on.
const TIME_LIMIT: Duration = Duration::from_mins(10);

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
pub(super) async fn add_shard_under_load(
    service: &RunningService,
    show: &DemoOutput,
    new_shard: Option<&str>,
) -> Result<Value, CliError> {
    let Some(url) = new_shard else {
        show.print_line(
            "Left out: say --new-shard with the URL of an empty database, such as the one that dev --spare 1 prints.",
        );
        return Ok(Value::Null);
    };
    let added = service.post("/admin/shards", &json!({"url": url})).await?;
    let shard = number_field(&added, "shard_id");
    show.print_line(&format!("shard {shard} is at {}", json_field(&added, "place").as_str().unwrap_or_default()));
    let before = count_files_of_users(service).await?;
    let stop = CancellationToken::new();
    let clients = (0..CLIENTS).map(|client| tokio::spawn(write_and_read(service.clone(), client, stop.clone())));
    let clients: Vec<_> = clients.collect();
    let moved = rebalance(service, show).await;
    stop.cancel();
    let mut all = ClientTotals::default();
    for client in clients {
        let done = client.await.map_err(|error| CliError::Failed(format!("a client task failed: {error}")))?;
        all.writes += done.writes;
        all.reads += done.reads;
        all.failures.extend(done.failures);
        done.acknowledged.into_iter().for_each(|(user, files)| *all.acknowledged.entry(user).or_default() += files);
    }
    let moved = moved?;
    let requests = all.writes + all.reads;
    let failed = u64::try_from(all.failures.len()).unwrap_or(u64::MAX);
    for failure in all.failures.iter().take(5) {
        show.print_line(failure);
    }
    let found = count_found(service, &before, &all.acknowledged).await?;
    let text = format!(
        "{} requests meanwhile, {failed} failed; {found} of {} acknowledged writes are there",
        show.format_number(requests),
        all.writes
    );
    if failed == 0 {
        show.print_success(&text)
    } else {
        show.print_line(&text)
    }
    if found < all.writes {
        return Err(CliError::Failed(format!("{} acknowledged writes are missing", all.writes - found)));
    }
    Ok(
        json!({"shard_id": shard, "moves": moved, "requests": requests, "writes": all.writes, "found": found, "failed": failed}),
    )
}

fn user_of_turn(turn: u64) -> u64 {
    FIRST_USER + turn % USERS * USER_STEP
}

/// Writes and reads in turn until `stop` is cancelled.
async fn write_and_read(service: RunningService, client: u64, stop: CancellationToken) -> ClientTotals {
    let mut done = ClientTotals::default();
    let mut turn = client;
    while !stop.is_cancelled() {
        let user = user_of_turn(turn);
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
            sleep(POLL_INTERVAL).await;
        }
    }
    done
}

/// The number of files of each client's user.
async fn count_files_of_users(service: &RunningService) -> Result<BTreeMap<u64, u64>, CliError> {
    let mut counts = BTreeMap::new();
    for user in (0..USERS).map(user_of_turn) {
        counts.insert(user, count_files(service, user).await?);
    }
    Ok(counts)
}

async fn count_files(service: &RunningService, user: u64) -> Result<u64, CliError> {
    let (mut files, mut cursor) = (0, String::new());
    loop {
        let page = service.get(&format!("/query/{user}?limit=1000{cursor}")).await?;
        files += number_field(&page, "file_count");
        match json_field(&page, "next_cursor").as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(files),
        }
    }
}

/// The number of acknowledged files that are still there.
async fn count_found(
    service: &RunningService,
    before: &BTreeMap<u64, u64>,
    acknowledged: &BTreeMap<u64, u64>,
) -> Result<u64, CliError> {
    let mut found = 0;
    for (user, files) in acknowledged {
        let new = count_files(service, *user).await?.saturating_sub(before.get(user).copied().unwrap_or(0));
        found += new.min(*files);
    }
    Ok(found)
}

/// Rebalances the slots, and follows the moves to their ends.
async fn rebalance(service: &RunningService, show: &DemoOutput) -> Result<Value, CliError> {
    let plan = service.post("/admin/rebalance", &json!({"strategy": "slots", "rollback_window_seconds": 0})).await?;
    let ids: Vec<u64> = json_field(&plan, "ids").as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    if ids.is_empty() {
        show.print_line("Nothing to move: the slots are balanced already");
        return Ok(json!([]));
    }
    show.print_line(&format!(
        "{} slots with {} rows will move",
        number_field(&plan, "slots"),
        show.format_number(number_field(&plan, "rows"))
    ));
    let mut moves = Vec::new();
    for id in ids {
        let ended = follow_move(service, show, id).await?;
        if json_field(&ended, "stage") != "done" {
            let why = json_field(&ended, "reason").as_str().unwrap_or("see its events");
            return Err(CliError::Failed(format!("move {id} ended as {}: {why}", json_field(&ended, "stage"))));
        }
        moves.push(
            json!({"id": id, "slots": json_field(&ended, "slot_count"), "freeze_ms": json_field(&ended, "freeze_ms")}),
        );
    }
    Ok(Value::Array(moves))
}

async fn follow_move(service: &RunningService, show: &DemoOutput, id: u64) -> Result<Value, CliError> {
    let until = Instant::now() + TIME_LIMIT;
    let mut stage = Value::Null;
    loop {
        let now = service.get(&format!("/admin/moves/{id}")).await?;
        if *json_field(&now, "stage") != stage {
            stage = json_field(&now, "stage").clone();
            let (copied, total) = (number_field(&now, "copied_rows"), number_field(&now, "total_rows"));
            let word = stage.as_str().unwrap_or_default().replace('_', " ");
            let (from, to) = (number_field(&now, "source"), number_field(&now, "target"));
            show.print_line(&format!("move {id}: shard {from} → {to}  {word:<10} {copied} of {total} rows"));
        }
        if !json_field(&now, "ended_at").is_null() {
            return Ok(now);
        }
        if Instant::now() > until {
            return Err(CliError::Failed(format!("move {id} is still at {stage}; it goes on by itself")));
        }
        sleep(POLL_INTERVAL).await;
    }
}
