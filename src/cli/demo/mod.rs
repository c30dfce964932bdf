//! `shardrive demo`: shows sharding on a running service, step by step, and checks each result.

mod growth;
mod show;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use show::DemoOutput;

use super::CliError;
use super::dev::DevArgs;
use super::output::complain;
use super::service::{RunningService, json_field, number_field, read_token};

/// The users whose files are stored in single requests.
const USERS: std::ops::RangeInclusive<u64> = 10..=19;
/// The users of the bulk load: a user in each slot.
const BULK_USERS: u64 = 5_040;

const EXAMPLES: &str = "\
Examples:
  shardrive demo                                    with servers of its own, which are gone afterwards
  shardrive demo --url http://127.0.0.1:8000        on a service that runs: dev, compose, Kubernetes
  shardrive demo --url https://drive.example --token-file admin.token
  shardrive demo --url http://127.0.0.1:8000 --new-shard postgres://shard_user:shard_pass@127.0.0.1:5434/drive_shard_2

What it stores on a service that runs stays there, and so does the new shard.

Exit codes: 0 everything went as it should, 1 something failed, 2 wrong usage.";

/// Show sharding on a service: store, spread, count, grow
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct DemoArgs {
    /// The URL of the service. Without a URL, the demo starts its own servers and removes the servers at the end.
    #[arg(long)]
    url: Option<String>,
    /// A sign-in token for the service; a new shard needs the scope admin.
    #[arg(long, conflicts_with = "token_file", requires = "url")]
    token: Option<String>,
    /// A file with such a token: other users cannot see the token in the list of processes.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// An empty database that becomes a new shard; a demo with its own servers has a spare database.
    #[arg(long, value_name = "URL", requires = "url")]
    new_shard: Option<String>,
    /// The number of records in the bulk load.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    records: u64,
    /// Print one JSON object at the end, and nothing else.
    #[arg(long)]
    json: bool,
}

impl DemoArgs {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let token = self.read_token().await?;
        let Some(url) = &self.url else { return self.run_by_itself().await };
        let service = RunningService::new(url, token)?;
        Box::pin(self.run_steps(&service, self.new_shard.as_deref())).await
    }

    async fn read_token(&self) -> Result<Option<String>, CliError> {
        match &self.token_file {
            Some(file) => read_token(file).await.map(Some),
            None => Ok(self.token.clone()),
        }
    }

    /// Runs on its own servers, in a folder for this run only.
    async fn run_by_itself(&self) -> Result<(), CliError> {
        let home = tempfile::Builder::new().prefix("shardrive-demo-").tempdir()?;
        // The servers' user must reach the folders in there.
        tokio::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).await?;
        let dev = DevArgs::of_demo(home.path().join("servers"));
        if !self.json {
            complain!("Starting two PostgreSQL servers, a spare one, and the service …");
        }
        let shown = dev
            .run_while(async |url: String, spare: Vec<String>| {
                let service = RunningService::new(&url, None)?;
                Box::pin(self.run_steps(&service, spare.first().map(String::as_str))).await
            })
            .await;
        shown?
    }

    async fn run_steps(&self, service: &RunningService, new_shard: Option<&str>) -> Result<(), CliError> {
        let show = DemoOutput::new(self.json);
        let mut report = Map::new();
        report.insert("url".to_owned(), json!(service.url()));
        show.print_title("One record at a time");
        report.insert("stored".to_owned(), store_one_by_one(service, &show).await?);
        show.print_title("Many at once");
        report.insert("bulk".to_owned(), self.load_in_bulk(service, &show).await?);
        show.print_title("Where everything is");
        report.insert("distribution".to_owned(), show_distribution(service, &show).await?);
        show.print_title("One more shard, while it all serves");
        let growth = Box::pin(growth::add_shard_under_load(service, &show, new_shard)).await?;
        if !growth.is_null() {
            show.print_title("Where everything is now");
            report.insert("distribution_after".to_owned(), show_distribution(service, &show).await?);
        }
        let failed = number_field(&growth, "failed");
        report.insert("growth".to_owned(), growth);
        show.print_title("What the service counted");
        report.insert("metrics".to_owned(), show_metrics(service, &show).await?);
        report.insert("ok".to_owned(), json!(failed == 0));
        show.print_end(&Value::Object(report), &format!("{}/dashboard", service.url()));
        if failed == 0 { Ok(()) } else { Err(CliError::Failed(format!("{failed} requests failed during the move"))) }
    }

    async fn load_in_bulk(&self, service: &RunningService, show: &DemoOutput) -> Result<Value, CliError> {
        let mut rows = String::new();
        for record in 0..self.records {
            let user = record % BULK_USERS;
            rows.push_str(&format!(
                "{{\"user_id\":{user},\"file_name\":\"bulk_{record}.bin\",\"size_bytes\":{record}}}\n"
            ));
        }
        let begun = std::time::Instant::now();
        let answer = service.post_rows("/ingest/bulk", rows).await?;
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let inserted = number_field(&answer, "inserted");
        let rate = inserted * 1000 / millis;
        show.print_line(&format!(
            "{} records in {millis} ms, {} a second",
            show.format_number(inserted),
            show.format_number(rate)
        ));
        if inserted != self.records {
            return Err(CliError::Failed(format!("{inserted} of {} records were stored: {answer}", self.records)));
        }
        Ok(json!({"records": inserted, "millis": millis, "distribution": json_field(&answer, "distribution")}))
    }
}

async fn store_one_by_one(service: &RunningService, show: &DemoOutput) -> Result<Value, CliError> {
    let mut stored = Vec::new();
    for user in USERS {
        let file = json!({"user_id": user, "file_name": format!("demo_{user}.txt"), "size_bytes": 1000 + user});
        let answer = service.post("/ingest", &file).await?;
        let shard = number_field(json_field(&answer, "data"), "shard_id");
        show.print_line(&format!("Storing data for user {user} → Shard {shard}"));
        let found = service.get(&format!("/query/{user}")).await?;
        // The second read comes from the cache, if any.
        let again = service.get(&format!("/query/{user}")).await?;
        if found.pointer("/files/0/file_id") != answer.pointer("/data/file_id") || again != found {
            return Err(CliError::Failed(format!("user {user}'s newest file is not the one that was just stored")));
        }
        stored.push(json!({"user_id": user, "shard_id": shard}));
    }
    show.print_line("Each was read back: a user's shard is found by user_id mod 5040, without asking anybody.");
    Ok(Value::Array(stored))
}

async fn show_distribution(service: &RunningService, show: &DemoOutput) -> Result<Value, CliError> {
    let stats = service.get("/stats").await?;
    let total = number_field(&stats, "total_records");
    for shard in json_field(&stats, "shards").as_array().into_iter().flatten() {
        show.print_bar(
            number_field(shard, "shard_id"),
            json_field(shard, "record_count").as_u64(),
            total,
            json_field(shard, "slots").as_u64(),
        );
    }
    let complete = json_field(&stats, "complete") == true;
    show.print_line(&format!(
        "{} files{}",
        show.format_number(total),
        if complete { "" } else { "; not every shard answered" }
    ));
    Ok(json!({"total_records": total, "complete": complete, "shards": json_field(&stats, "shard_distribution")}))
}

async fn show_metrics(service: &RunningService, show: &DemoOutput) -> Result<Value, CliError> {
    let text = service.get_text("/metrics").await?;
    let sum = |name: &str, label: &str| -> u64 {
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(label)
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    let answered = "http_server_request_duration_seconds_count";
    let (answers, failed) = (sum(answered, ""), sum(answered, "http_response_status_code=\"5"));
    let (hits, misses) = (sum("shardrive_cache_hits_total", ""), sum("shardrive_cache_misses_total", ""));
    show.print_line(&format!("{} answers of this process, {failed} of them a 5xx", show.format_number(answers)));
    show.print_line(&format!(
        "{} reads came from the cache, {} from a shard",
        show.format_number(hits),
        show.format_number(misses)
    ));
    Ok(json!({"answers": answers, "failed": failed, "cache_hits": hits, "cache_misses": misses}))
}
