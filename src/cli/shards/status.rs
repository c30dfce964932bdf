//! `shardrive shards status` and `verify`: reads the shards directly, without an API process.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::output::OutputArgs;
use crate::cli::CliError;
use crate::cli::output::{Counted, say};
use crate::reshard::{MoveService, MoveView};
use crate::shard::{Cluster, ScatterBreadth, ShardId};
use crate::stats::{CountMethod, ShardStatus, VerifyReport, audit, count_all};

pub(super) async fn status(cluster: &Arc<Cluster>, deadline: Duration, output: OutputArgs) -> Result<(), CliError> {
    let stats = count_all(cluster, CountMethod::Counts, ScatterBreadth::All, deadline).await;
    // While shard 0 is away, nobody knows the moves; the shards are shown all the same.
    let moves = MoveService::new(Arc::clone(cluster)).list(100).await.unwrap_or_default();
    let moves: Vec<_> =
        moves.into_iter().filter(|found| !found.stage.is_end()).map(|found| MoveView::new(found, Vec::new())).collect();
    if output.json {
        let shards: Vec<_> = cluster
            .shards()
            .iter()
            .zip(&stats.shards)
            .map(|(shard, stats)| {
                json!({
                    "shard_id": stats.shard.number(), "place": shard.options().address(), "status": stats.status,
                    "slots": stats.slots, "record_count": stats.rows, "size_bytes": stats.bytes,
                    "document_count": stats.documents, "document_bytes": stats.document_bytes,
                })
            })
            .collect();
        let epoch = cluster.map().epoch();
        say!(
            "{}",
            json!({"cluster_id": cluster.id(), "epoch": epoch, "complete": stats.complete, "shards": shards, "moves": moves})
        );
    } else {
        say!("cluster {}, slot map at epoch {}", cluster.id(), cluster.map().epoch());
        say!(
            "{:<6} {:<12} {:>6} {:>15} {:>12} {:>15} {:>12}  place",
            "shard",
            "status",
            "slots",
            "files",
            "bytes",
            "documents",
            "bytes"
        );
        for (shard, stats) in cluster.shards().iter().zip(&stats.shards) {
            let count = |number: Option<u64>| number.map_or("?".to_owned(), |number| HumanCount(number).to_string());
            let size = |number: Option<u64>| number.map_or("?".to_owned(), |bytes| HumanBytes(bytes).to_string());
            let word = match stats.status {
                ShardStatus::Healthy => "healthy",
                ShardStatus::Late => "late",
                ShardStatus::Failed => "failed",
                ShardStatus::Unreachable => "unreachable",
            };
            say!(
                "{:<6} {word:<12} {:>6} {:>15} {:>12} {:>15} {:>12}  {}",
                stats.shard.number(),
                count(stats.slots),
                count(stats.rows),
                size(stats.bytes),
                count(stats.documents),
                size(stats.document_bytes),
                shard.options().address()
            );
        }
        for found in &moves {
            say!(
                "move {}: {} slots from shard {} to shard {}, at {}",
                found.id,
                found.slot_count,
                found.source,
                found.target,
                found.stage.as_str()
            );
        }
    }
    if stats.complete { Ok(()) } else { Err(CliError::Failed("not every shard answered".to_owned())) }
}

pub(super) async fn verify(cluster: &Cluster, output: OutputArgs) -> Result<(), CliError> {
    let audit = audit(cluster).await.map_err(|error| CliError::Failed(error.to_string()))?;
    if output.json {
        let by_shard = |rows: &[(ShardId, u64)]| -> serde_json::Map<_, _> {
            rows.iter().map(|(shard, rows)| (shard.to_string(), json!(rows))).collect()
        };
        let findings: Vec<_> = audit.findings.iter().map(ToString::to_string).collect();
        say!(
            "{}",
            json!({
                "ok": audit.total_findings == 0, "rows": by_shard(&audit.rows), "documents": by_shard(&audit.documents),
                "folders": by_shard(&audit.folders), "findings": findings, "total_findings": audit.total_findings,
            })
        );
    } else {
        for (((shard, rows), (_, documents)), (_, folders)) in
            audit.rows.iter().zip(&audit.documents).zip(&audit.folders)
        {
            let (files, folders) = (Counted(*rows, "file"), Counted(*folders, "folder"));
            say!("shard {shard}: {files}, {folders} and {}, each on its owner", Counted(*documents, "document"));
        }
        audit.findings.iter().for_each(|finding| say!("WRONG: {finding}"));
        if audit.total_findings > VerifyReport::LISTED.try_into().unwrap_or(u64::MAX) {
            say!("… and more");
        }
    }
    match audit.total_findings {
        0 => Ok(()),
        found => Err(CliError::Failed(Counted(found, "finding").to_string())),
    }
}
