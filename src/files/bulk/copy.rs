//! Files as rows of `COPY`: those of a batch, and those of a staged listing.

use std::collections::HashMap;

use uuid::Uuid;

use super::parse::RecordPosition;
use crate::files::model::NewFile;
use crate::files::path::DrivePath;
use crate::payload::FieldFault;
use crate::shard::CopyRows;

/// The columns of `sql/files/copy_batch.sql`.
const COLUMNS: i16 = 9;
/// The columns of `sql/drive/copy_listing.sql`.
const LISTING_COLUMNS: i16 = 9;
/// The columns of `sql/drive/copy_listed_folders.sql`.
const LISTED_FOLDER_COLUMNS: i16 = 2;
/// The bytes of a part of a listing. Each `COPY` may wait 40 ms for the server's kernel to acknowledge its last bytes
/// (docs/decisions/0007-bulk-loads.md), so parts are large.
const CHUNK: usize = 4 << 20;
/// Folders whose numbers are remembered: a few megabytes for a listing of any length.
const REMEMBERED_FOLDERS: usize = 16_384;

/// The rows of a `COPY` of the columns that `sql/files/copy_batch.sql` names: files, each with the folder around it.
///
/// # Errors
/// If a value is longer than the format can say.
pub(super) fn encode<'a>(
    files: impl Iterator<Item = (&'a NewFile, Option<Uuid>)>,
    capacity: usize,
) -> Result<Vec<u8>, sqlx::Error> {
    let mut rows = CopyRows::with_capacity(capacity);
    for (file, folder) in files {
        rows.begin_row(COLUMNS);
        rows.put_number(Some(file.user.get()))?;
        rows.put_id(Some(file.id))?;
        rows.put_text(Some(&file.name))?;
        rows.put_id(folder)?;
        rows.put_text(file.mime_type.as_deref())?;
        rows.put_text(file.checksum.as_deref())?;
        rows.put_number(file.size_bytes)?;
        rows.put_time(file.modified_at)?;
        rows.put_text(file.content_ref.as_deref())?;
    }
    Ok(rows.finish())
}

/// A part of a listing on the way to the shard that compares the listing with a drive: rows of `COPY`.
pub enum ListingPart {
    /// Files, for `sql/drive/copy_listing.sql`.
    Files(Vec<u8>),
    /// Folders, for `sql/drive/copy_listed_folders.sql`.
    Folders(Vec<u8>),
}

/// Writes the entries of a listing. A file names the folder around it by a number, and the folder's path stands beside
/// the number once.
pub struct ListingRows {
    /// The path of the folder that the listing describes, with a slash at its end; empty for the drive's root.
    root: String,
    files: CopyRows,
    folders: CopyRows,
    numbers: HashMap<Box<str>, i32>,
    last_number: i32,
}

impl ListingRows {
    /// For a listing of this folder.
    #[must_use]
    pub fn new(root: &DrivePath) -> Self {
        let root = root.to_string();
        let root = if root.is_empty() { root } else { root + "/" };
        Self { root, files: part(), folders: part(), numbers: HashMap::new(), last_number: 0 }
    }

    /// Checks the path of an entry, which the listing gives from its folder on.
    ///
    /// # Errors
    /// If the path from the drive's root on is too long.
    pub fn check(&self, path: &str) -> Result<(), FieldFault> {
        if self.root.is_empty() {
            return Ok(());
        }
        DrivePath::parse(&format!("{}{path}", self.root), "Path").map(|_| ())
    }

    /// Adds a file. Returns a part to send once there is one.
    ///
    /// # Errors
    /// If a value is longer than the format can say.
    pub fn push_file(&mut self, place: RecordPosition, file: &NewFile) -> Result<Option<ListingPart>, sqlx::Error> {
        let path = file.path().unwrap_or(&file.name);
        let (around, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.number(around)?;
        let rows = &mut self.files;
        rows.begin_row(LISTING_COLUMNS);
        rows.put_number(i64::try_from(place.record).ok())?;
        rows.put_number(i64::try_from(place.line).ok())?;
        rows.put_id(Some(file.id))?;
        rows.put_integer(folder)?;
        rows.put_text(Some(name))?;
        rows.put_text(file.mime_type.as_deref())?;
        rows.put_text(file.checksum.as_deref())?;
        rows.put_number(file.size_bytes)?;
        rows.put_time(file.modified_at)?;
        Ok(self.take_full())
    }

    /// Adds a folder, in the same way.
    ///
    /// # Errors
    /// As [`ListingRows::push_file`].
    pub fn push_folder(&mut self, path: &DrivePath) -> Result<Option<ListingPart>, sqlx::Error> {
        self.number(&path.to_string())?;
        Ok(self.take_full())
    }

    /// The last parts.
    #[must_use]
    pub fn finish(self) -> [ListingPart; 2] {
        [ListingPart::Folders(self.folders.finish()), ListingPart::Files(self.files.finish())]
    }

    /// The number of a folder. A new folder gets a row.
    fn number(&mut self, path: &str) -> Result<i32, sqlx::Error> {
        if let Some(number) = self.numbers.get(path) {
            return Ok(*number);
        }
        // A folder that comes again after so many others gets another number, which means the same folder.
        if self.numbers.len() >= REMEMBERED_FOLDERS {
            self.numbers.clear();
        }
        self.last_number += 1;
        self.numbers.insert(path.into(), self.last_number);
        self.folders.begin_row(LISTED_FOLDER_COLUMNS);
        self.folders.put_integer(self.last_number)?;
        self.folders.put_text(Some(format!("{}{path}", self.root).trim_end_matches('/')))?;
        Ok(self.last_number)
    }

    fn take_full(&mut self) -> Option<ListingPart> {
        let take = |rows: &mut CopyRows| (rows.len() >= CHUNK).then(|| std::mem::replace(rows, part()).finish());
        take(&mut self.files).map(ListingPart::Files).or_else(|| take(&mut self.folders).map(ListingPart::Folders))
    }
}

/// Grows with its rows: most listings are small.
fn part() -> CopyRows {
    CopyRows::with_capacity(64 * 1024)
}
