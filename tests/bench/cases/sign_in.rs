//! What the check of a token costs a read: a service that checks, against one that does not, by their CPU.

use std::io::Write as _;
use std::time::Duration;

use shardrive::auth::{AuthSettings, KeySource, Scope, SigningSecret, mint_token};

use super::query::fill;
use crate::rounds::{PerOperation, Run, Side, judge, measure, median};
use crate::service::Service;
use crate::table::Bar;
use crate::tools::wrk;
use crate::{Bench, Result};

const CONNECTIONS: u64 = 64;
const SECRET: &str = "a secret of the benchmark, long enough for HS256";
const MANY: i64 = 10_000;
/// Microseconds of CPU.
const LIMIT: f64 = 20.0;

pub fn run(bench: &mut Bench) -> Result<()> {
    let open = Service::start(bench)?;
    let users = fill(bench, &open)?;
    bench.shards.settle()?;
    let checked = Service::start_with(bench, &[("SHARDRIVE_AUTH_SECRET", SECRET.to_owned())])?;
    for (name, count) in [("one token", 1), ("10,000 tokens", MANY)] {
        let tokens = bench.options.folder.join("tokens");
        write_tokens(&tokens, count)?;
        let tokens = tokens.display().to_string();
        let read = |service: &Service, seed: u64| {
            Ok(wrk(bench, service, CONNECTIONS, "query_signed", &[&seed.to_string(), &users.to_string(), &tokens])?.run)
        };
        // Both have seen each token.
        for service in [&open, &checked] {
            read(service, 1)?;
        }
        let (mut ours, mut reference): (Vec<(Run, PerOperation)>, Vec<_>) = (Vec::new(), Vec::new());
        for round in 0..bench.options.rounds() as u64 {
            for with in [round % 2 == 0, round % 2 == 1] {
                let (service, runs) = if with { (&checked, &mut ours) } else { (&open, &mut reference) };
                runs.push(measure(bench, Some(service.pid()), || read(service, round * 2 + u64::from(with) + 2))?);
            }
        }
        let costs: Vec<f64> = ours.iter().zip(&reference).map(|(with, without)| with.1.api - without.1.api).collect();
        let cost = median(&costs);
        let found = judge(&ours, &reference);
        let (with, without) = (found.ours.cpu.api, found.reference.cpu.api);
        let note = format!("the same without sign-in, which does not read the header; CPU of its API {without:.1} µs");
        bench.compared(&format!("GET /query with sign-in, {name}"), "/s", found, None, &note);
        let side = Side { median: cost, rounds: costs, ..Side::default() };
        let bar = Bar::new("≤ 20 µs", cost <= LIMIT);
        let note = format!("CPU of the API, {with:.1} − {without:.1} µs; median of the rounds' differences");
        bench.alone(&format!("the check of a token, {name}"), "µs", side, bar, &note);
    }
    Ok(())
}

/// Tokens of programs, each another one; one a line.
fn write_tokens(path: &std::path::Path, count: i64) -> Result<()> {
    let settings = AuthSettings {
        ca_certificates: None,
        source: KeySource::Secret(SigningSecret::new(SECRET)?),
        audience: None,
        clock_skew: Duration::ZERO,
        user_claim: "sub".into(),
        scope_claim: "scope".into(),
    };
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for number in 0..count {
        let (token, _) = mint_token(&settings, Scope::Service, Some(number), Duration::from_hours(1))?;
        writeln!(out, "{token}")?;
    }
    Ok(out.flush()?)
}
