//! A small file system in memory, which a test can fill.

use std::path::{Path, PathBuf};
use std::process::Command;

use shardrive::local_servers::ServerAccount;

/// A mounted file system. A drop unmounts the file system.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// A file system of this size, owned by the servers' user; `None` if mounting is not allowed.
    pub fn mount(folder: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        let disk = mounted.then(|| Self(folder.to_owned()))?;
        ServerAccount::find().unwrap().give_ownership(folder).unwrap();
        Some(disk)
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        let full = std::io::copy(&mut std::io::repeat(7), &mut filler).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Frees the space that [`SmallDisk::fill`] took.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
