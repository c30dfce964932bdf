//! What a mirror is asked for, and what it has done.

use serde::Serialize;
use utoipa::ToSchema;

use crate::drive::error::RefusedEntry;
use crate::drive::model::EntryKind;
use crate::files::DrivePath;

/// What becomes of entries that the listing leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeletePolicy {
    /// They go into the trash.
    Trash,
    /// Their rows go for good.
    Purge,
    /// They stay.
    Keep,
}

/// How many entries a mirror may delete: files and folders, counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteLimit {
    /// So many entries.
    Entries(u64),
    /// So many of a hundred entries below the folder of the mirror.
    Percent(u8),
}

impl DeleteLimit {
    /// Reads a number such as `20`, or a percentage such as `10%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match text.strip_suffix('%') {
            Some(percent) => {
                percent.parse().ok().filter(|number| *number <= 100 && is_number(percent)).map(Self::Percent)
            }
            None => text.parse().ok().filter(|_| is_number(text)).map(Self::Entries),
        }
    }

    /// The most entries that may go of `there` entries.
    #[must_use]
    pub fn most(self, there: u64) -> u64 {
        match self {
            Self::Entries(most) => most,
            Self::Percent(percent) => there.saturating_mul(u64::from(percent)) / 100,
        }
    }
}

/// What a mirror is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorOptions {
    /// The folder that the listing describes; the drive's root is the usual one.
    pub root: DrivePath,
    /// What becomes of entries that the listing leaves out.
    pub delete: DeletePolicy,
    /// The most entries that may be deleted.
    pub max_delete: DeleteLimit,
    /// Compare and tell, and write nothing.
    pub dry_run: bool,
}

/// Folders and files, counted apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, ToSchema)]
pub struct EntryCounts {
    /// Folders.
    #[schema(example = 1)]
    pub folders: u64,
    /// Files.
    #[schema(example = 12)]
    pub files: u64,
}

/// What a mirror does to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceChange {
    /// The entry is new.
    Create,
    /// The entry is there otherwise.
    Update,
    /// The listing leaves the entry out.
    Delete,
}

/// A difference between a drive and a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct MirrorDifference {
    /// What the mirror does.
    pub change: DifferenceChange,
    /// Folder or file.
    pub kind: EntryKind,
    /// The path from the drive's root on.
    #[schema(example = "letters/my_document.txt")]
    pub path: String,
}

/// What a mirror has done, or would do.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MirrorSummary {
    /// New entries.
    pub created: EntryCounts,
    /// Changed entries.
    pub updated: EntryCounts,
    /// Entries that were right already, which are not written.
    pub unchanged: EntryCounts,
    /// Entries that the listing leaves out.
    pub deleted: EntryCounts,
    /// The first differences, by path.
    pub differences: Vec<MirrorDifference>,
    /// Entries whose paths other entries of the listing have, the first 100.
    pub refused: Vec<RefusedEntry>,
    /// How many more there are.
    pub refused_beyond: u64,
    /// The listing has faults, so that nothing was deleted.
    pub deletes_withheld: bool,
}

impl EntryCounts {
    /// Folders and files together.
    #[must_use]
    pub fn entries(self) -> u64 {
        self.folders.saturating_add(self.files)
    }
}

impl MirrorSummary {
    /// True if the drive differs from the listing.
    #[must_use]
    pub fn has_differences(&self) -> bool {
        [self.created, self.updated, self.deleted].iter().any(|counts| *counts != EntryCounts::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_percentage() {
        assert_eq!(DeleteLimit::parse("20"), Some(DeleteLimit::Entries(20)));
        assert_eq!(DeleteLimit::parse("10%"), Some(DeleteLimit::Percent(10)));
        for text in ["", "%", "+1", "-1", "101%", "1.5%", "all", "1e3", " 1"] {
            assert_eq!(DeleteLimit::parse(text), None, "{text}");
        }
        assert_eq!(DeleteLimit::Percent(10).most(19), 1);
        assert_eq!(DeleteLimit::Percent(100).most(u64::MAX / 100), u64::MAX / 100);
        assert_eq!(DeleteLimit::Entries(3).most(0), 3);
    }
}
