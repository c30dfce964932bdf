//! Files as rows of `COPY`: those of a batch, and those of a staged listing.

use uuid::Uuid;

use super::parse::RecordPosition;
use crate::files::model::NewFile;
use crate::files::path::DrivePath;
use crate::payload::FieldFault;
use crate::shard::CopyRows;

/// The columns of `sql/files/copy_batch.sql`.
const COLUMNS: i16 = 9;
/// The columns of `sql/drive/copy_listing.sql`.
const LISTING_COLUMNS: i16 = 10;
/// The bytes of a chunk of a listing.
const CHUNK: usize = 256 * 1024;

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

/// The entries of a listing on the way to the shard that compares the listing with a drive.
pub struct ListingRows {
    /// The path of the folder that the listing describes, with a slash at its end; empty for the drive's root.
    root: String,
    rows: CopyRows,
}

impl ListingRows {
    /// For a listing of this folder.
    #[must_use]
    pub fn new(root: &DrivePath) -> Self {
        let root = root.to_string();
        let root = if root.is_empty() { root } else { root + "/" };
        Self { root, rows: CopyRows::with_capacity(CHUNK) }
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

    /// Adds a file. Returns a chunk to send once there is one.
    ///
    /// # Errors
    /// If a value is longer than the format can say.
    pub fn push_file(&mut self, place: RecordPosition, file: &NewFile) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.begin(place, file.id, file.path().unwrap_or(&file.name), false)?;
        self.rows.put_text(file.mime_type.as_deref())?;
        self.rows.put_text(file.checksum.as_deref())?;
        self.rows.put_number(file.size_bytes)?;
        self.rows.put_time(file.modified_at)?;
        Ok(self.take_full())
    }

    /// Adds a folder, in the same way.
    ///
    /// # Errors
    /// As [`ListingRows::push_file`].
    pub fn push_folder(&mut self, place: RecordPosition, path: &DrivePath) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.begin(place, Uuid::nil(), &path.to_string(), true)?;
        self.rows.put_text(None)?;
        self.rows.put_text(None)?;
        self.rows.put_number(None)?;
        self.rows.put_time(None)?;
        Ok(self.take_full())
    }

    /// The last chunk.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.rows.finish()
    }

    fn begin(&mut self, place: RecordPosition, id: Uuid, path: &str, is_folder: bool) -> Result<(), sqlx::Error> {
        let (around, name) = path.rsplit_once('/').unwrap_or(("", path));
        let around = format!("{}{around}", self.root);
        self.rows.begin_row(LISTING_COLUMNS);
        self.rows.put_number(i64::try_from(place.record).ok())?;
        self.rows.put_number(i64::try_from(place.line).ok())?;
        self.rows.put_id(Some(id))?;
        self.rows.put_text(Some(around.trim_end_matches('/')))?;
        self.rows.put_text(Some(name))?;
        self.rows.put_bool(is_folder)
    }

    fn take_full(&mut self) -> Option<Vec<u8>> {
        (self.rows.len() >= CHUNK).then(|| std::mem::replace(&mut self.rows, CopyRows::with_capacity(CHUNK)).finish())
    }
}
