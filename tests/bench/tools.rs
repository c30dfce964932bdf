//! The load generators: wrk, pgbench, psql, curl and oha, and the figures in what they print.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::rounds::{Run, median};
use crate::service::Service;
use crate::shards::SHARDS;
use crate::{Bench, Result};

/// The folder of this file, where the scripts are.
const HOME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench");

/// What a run of wrk gave; times in milliseconds.
pub struct Wrk {
    pub run: Run,
    pub p50: f64,
    pub p99: f64,
}

/// The longest run that waits for an operation to end.
const MOST_SECONDS: u64 = 64;

/// Runs a load generator as long as the options say, and twice as long again and again until an operation has ended: a
/// busy disk may hold a short run up from its first commit to its last.
fn until_one_ended<T>(bench: &Bench, run: impl Fn(u64) -> Result<T>, operations: impl Fn(&T) -> f64) -> Result<T> {
    let mut seconds = bench.options.seconds();
    loop {
        let done = run(seconds)?;
        if operations(&done) > 0.0 {
            return Ok(done);
        }
        if seconds >= MOST_SECONDS {
            return Err(format!("no operation has ended within {seconds} seconds").into());
        }
        seconds *= 2;
    }
}

/// Asks the service as fast as so many connections can, each waiting for its answer.
pub fn wrk(bench: &Bench, service: &Service, connections: u64, script: &str, args: &[&str]) -> Result<Wrk> {
    let run = |seconds| wrk_for(seconds, service, connections, script, args);
    until_one_ended(bench, run, |done| done.run.operations)
}

fn wrk_for(seconds: u64, service: &Service, connections: u64, script: &str, args: &[&str]) -> Result<Wrk> {
    let scripts = format!("{HOME}/wrk");
    let output = Command::new("wrk")
        .env("BENCH_SCRIPTS", &scripts)
        .arg(format!("-t{}", connections.min(2)))
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .args(["--timeout", "10s", "-s", &format!("{scripts}/{script}.lua"), &service.base, "--"])
        .args(args)
        .output()?;
    let text = checked("wrk", output)?;
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).ok_or("wrk gave no figures")?;
    let number = |name: &str| -> Result<f64> {
        let pair = line.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Ok(pair.ok_or("wrk's figures are not all there")?.parse()?)
    };
    if number("refused")? + number("broken")? > 0.0 {
        return Err(format!("the service did not answer all requests of {script}: {line}").into());
    }
    let operations = number("requests")?;
    let figure = operations / (number("micros")? / 1e6);
    let millis = |name| Ok::<_, Box<dyn std::error::Error + Send + Sync>>(number(name)? / 1e3);
    Ok(Wrk { run: Run { figure, operations }, p50: millis("p50")?, p99: millis("p99")? })
}

/// Starts pgbench on a shard with the statements of a script, for some seconds.
fn start_pgbench(
    bench: &Bench,
    (shard, clients): (usize, usize),
    seconds: u64,
    script: &Path,
    more: &[String],
) -> Result<Child> {
    let mut command = Command::new(bench.shards.program("pgbench"));
    command.args(["-n", "-M", "prepared", "-j", "1", "-c", &clients.to_string()]);
    command.args(["-T", &seconds.to_string(), "-D", &format!("shard={shard}")]);
    command.args(more).arg("-f").arg(script).args(bench.shards.urls.get(shard));
    command.current_dir(&bench.options.folder);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// The path of one of our scripts for pgbench.
pub fn statements(name: &str) -> PathBuf {
    format!("{HOME}/pgbench/{name}.sql").into()
}

/// pgbench on all shards at once, each with its part of the clients. `values` are variables of the script.
pub fn pgbench(bench: &Bench, clients: usize, script: &Path, values: &[(&str, u64)]) -> Result<Run> {
    let values: Vec<String> =
        values.iter().flat_map(|(name, value)| ["-D".to_owned(), format!("{name}={value}")]).collect();
    let run = |seconds| {
        let start = |shard| start_pgbench(bench, (shard, clients / SHARDS), seconds, script, &values);
        let running: Result<Vec<Child>> = (0..SHARDS).map(start).collect();
        let mut sum = Run { figure: 0.0, operations: 0.0 };
        for child in running? {
            let text = checked("pgbench", child.wait_with_output()?)?;
            let operations = number_after(&text, "number of transactions actually processed: ")?;
            // pgbench tells no rate of nothing.
            sum.figure += if operations > 0.0 { number_after(&text, "tps = ")? } else { 0.0 };
            sum.operations += operations;
        }
        Ok(sum)
    };
    until_one_ended(bench, run, |sum| sum.operations)
}

/// One client of pgbench on one shard; gives the median latency in milliseconds.
pub fn pgbench_latency(bench: &Bench, script: &Path, values: &[(&str, u64)]) -> Result<Run> {
    let log = bench.options.folder.join("latency");
    let mut more: Vec<String> =
        values.iter().flat_map(|(name, value)| ["-D".to_owned(), format!("{name}={value}")]).collect();
    more.extend(["-l".to_owned(), format!("--log-prefix={}", log.display())]);
    let run = |seconds| {
        let child = start_pgbench(bench, (0, 1), seconds, script, &more)?;
        let log = log.with_file_name(format!("latency.{}", child.id()));
        checked("pgbench", child.wait_with_output()?)?;
        // Client, transaction, microseconds, ...
        let text = std::fs::read_to_string(&log)?;
        std::fs::remove_file(&log)?;
        let micros: Vec<f64> = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok()).collect();
        Ok(Run { figure: median(&micros) / 1e3, operations: micros.len() as f64 })
    };
    until_one_ended(bench, run, |run| run.operations)
}

/// The columns of files that a client gives.
pub const COLUMNS: &str = "user_id, file_id, file_name, mime_type, checksum, size_bytes, modified_at";

/// `\copy` of a file into each shard, all at once; gives the seconds that it took.
pub fn copy(bench: &Bench, files: &[PathBuf], columns: &str) -> Result<f64> {
    let start = Instant::now();
    let running: std::io::Result<Vec<Child>> = files
        .iter()
        .enumerate()
        .map(|(shard, file)| {
            let copy = format!("\\copy file_metadata ({columns}) FROM '{}'", file.display());
            bench.shards.psql(shard).args(["--command", &copy]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        })
        .collect();
    for child in running? {
        checked("psql", child.wait_with_output()?)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// `POST` of a file as it is; gives the seconds that it took, and the answer.
pub fn upload(service: &Service, path: &str, kind: &str, file: &Path) -> Result<(f64, Value)> {
    let start = Instant::now();
    let output = upload_command(service, path, kind).arg("-T").arg(file).output()?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((seconds, answer(output)?))
}

/// curl, ready to send a body.
pub fn upload_command(service: &Service, path: &str, kind: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail-with-body", "-X", "POST", "-H", "Expect:", "-H"]).arg(format!("Content-Type: {kind}"));
    command.arg(service.url(path));
    command
}

/// The JSON that curl got.
pub fn answer(output: Output) -> Result<Value> {
    Ok(serde_json::from_str(&checked("curl", output)?)?)
}

/// The milliseconds that the service took for a `GET`, by curl's clock: from before the connection is made to the last
/// byte of the answer.
pub fn get_millis(service: &Service, path: &str) -> Result<f64> {
    let output = Command::new("curl")
        .args(["-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}"])
        .arg(service.url(path))
        .output()?;
    Ok(checked("curl", output)?.trim().parse::<f64>()? * 1e3)
}

/// Where `oha` is, if it has been built.
pub fn oha() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Some(target.join("tools/bin/oha")).filter(|path| path.exists())
}

/// Asks at a fixed rate, whether or not the answers come in time; a late answer counts from when its request was due.
/// Gives the latencies of half and of 99 % of the requests in milliseconds.
pub fn open_loop(bench: &Bench, oha: &Path, rate: f64, request: &[&str]) -> Result<(f64, f64)> {
    let output = Command::new(oha)
        .args([
            "--no-tui",
            "--output-format",
            "json",
            "-c",
            "64",
            "--latency-correction",
            "--wait-ongoing-requests-after-deadline",
        ])
        .args(["-q", &format!("{rate:.0}"), "-z", &format!("{}s", bench.options.seconds() * 2)])
        .args(request)
        .output()?;
    let figures: Value = serde_json::from_str(&checked("oha", output)?)?;
    let part = |name| figures.pointer(name).and_then(Value::as_f64).ok_or("oha's figures are not all there");
    // An answer of any status is a success to oha.
    let statuses = figures.get("statusCodeDistribution").and_then(Value::as_object);
    let refused = statuses.is_none_or(|statuses| statuses.keys().any(|status| !status.starts_with('2')));
    if refused || part("/summary/successRate")? < 1.0 {
        return Err(format!("the service did not do all that oha asked for: {statuses:?}").into());
    }
    Ok((part("/latencyPercentiles/p50")? * 1e3, part("/latencyPercentiles/p99")? * 1e3))
}

fn checked(name: &str, output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{name} failed: {} {}", errors.trim(), out.trim()).into())
}

fn number_after(text: &str, words: &str) -> Result<f64> {
    let (_, rest) = text.split_once(words).ok_or_else(|| format!("there is no '{words}' in:\n{text}"))?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
    Ok(rest.get(..end).unwrap_or_default().parse()?)
}
