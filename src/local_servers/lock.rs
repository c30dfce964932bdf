//! A lock on a file: one holder at a time, in this process or in another.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::error::LocalError;

/// A locked file. A drop releases the lock.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Locks the file, and creates the file first if missing. `None`: another holder has the lock.
    ///
    /// # Errors
    /// An input or output error.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, LocalError> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(LocalError::io_at(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(LocalError::io_at(path)(error)),
        }
    }
}

impl Drop for FileLock {
    /// Closing the file is not enough: the system keeps the lock as long as any copy of the descriptor is open. A
    /// child process that another thread starts has a copy until its `exec`.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            log::warn!("a lock is released late: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_lock_is_free_after_its_drop_though_a_child_has_a_copy_of_the_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FileLock::try_acquire(&path).unwrap().unwrap();
        let copy = held.file.try_clone().unwrap();
        let mut child = Command::new("sleep").arg("60").stdin(copy).stdout(Stdio::null()).spawn().unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(held);
        let again = FileLock::try_acquire(&path).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(again.is_some(), "the child's copy of the descriptor keeps the lock");
    }
}
