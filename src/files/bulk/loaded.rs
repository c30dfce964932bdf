//! What a load has done, counted and named.

use std::collections::BTreeMap;

use super::parse::RecordFault;
use crate::telemetry::metrics::BULK_ROWS;

/// How many rejections, and how many warnings, are listed one by one.
const LISTED: usize = 100;

/// What a load has done.
#[derive(Clone, Default, Debug)]
pub struct LoadSummary {
    /// Files stored.
    pub inserted: u64,
    /// Files whose ids were there already.
    pub duplicates: u64,
    /// Files of a listing whose rows were changed.
    pub updated: u64,
    /// Files of a listing whose rows were right already.
    pub unchanged: u64,
    /// Records that cannot be stored.
    pub rejected: u64,
    /// Files taken without a field that cannot be kept.
    pub warned: u64,
    /// Folders that a listing names, made or there already.
    pub folders: u64,
    /// Files stored on each shard.
    pub distribution: BTreeMap<u16, u64>,
    /// The first 100 rejections.
    pub rejections: Vec<RecordFault>,
    /// The first 100 warnings.
    pub warnings: Vec<RecordFault>,
}

impl LoadSummary {
    pub(super) fn reject(&mut self, rejection: RecordFault) {
        self.rejected += 1;
        BULK_ROWS.rejected.add(1);
        if self.rejections.len() < LISTED {
            self.rejections.push(rejection);
        }
    }

    pub(super) fn warn(&mut self, warning: RecordFault) {
        self.warned += 1;
        if self.warnings.len() < LISTED {
            self.warnings.push(warning);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.duplicates += other.duplicates;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.warned += other.warned;
        self.folders += other.folders;
        for (shard, rows) in other.distribution {
            *self.distribution.entry(shard).or_default() += rows;
        }
        add_first(&mut self.rejections, other.rejections);
        add_first(&mut self.warnings, other.warnings);
    }
}

/// Keeps the faults that stand first in the body.
fn add_first(faults: &mut Vec<RecordFault>, others: Vec<RecordFault>) {
    faults.extend(others);
    faults.sort_by_key(|fault| fault.place.line);
    faults.truncate(LISTED);
}
