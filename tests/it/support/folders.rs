//! The folders of the tests' servers: in memory if there is room. A server's thousand files on a disk would cost more
//! processor time than the rest of most tests. `TMPDIR` names another place.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use shardrive::local_servers::{Durability, FileLock, ServerAccount, remove_stale_server};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::poll;
use super::watchdog::Watch;

const MEMORY: &str = "/dev/shm";
/// Far more than the running tests need at one time, in KiB.
const ROOM: u64 = 3 << 20;

/// The folder of one test's servers.
pub struct TestFolder {
    pub path: PathBuf,
    _watch: Watch,
}

impl TestFolder {
    /// Makes a folder for servers of this durability: durable servers are on the disk.
    pub async fn new(account: ServerAccount, durability: Durability) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let run = match durability {
            Durability::Full => RunFolder::on_disk().await,
            Durability::ServerOnly => RunFolder::usual().await,
        };
        let path = run.path.join(format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        account.make_folder(&path).unwrap();
        Self { path, _watch: Watch::begin() }
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// An empty folder that other users may enter. A drop removes the folder.
pub async fn scratch_folder() -> TempDir {
    let folder = tempfile::tempdir_in(&RunFolder::usual().await.path).unwrap();
    open_to_all(folder.path());
    folder
}

/// The folder of this process's tests, locked for as long as the process lives.
pub struct RunFolder {
    path: PathBuf,
    _lock: FileLock,
}

impl RunFolder {
    /// In memory if there is room, or else on the disk.
    pub async fn usual() -> &'static Self {
        static USUAL: OnceCell<RunFolder> = OnceCell::const_new();
        if has_room_in_memory() {
            USUAL.get_or_init(|| Self::make(Path::new(MEMORY))).await
        } else {
            Self::on_disk().await
        }
    }

    async fn on_disk() -> &'static Self {
        static ON_DISK: OnceCell<RunFolder> = OnceCell::const_new();
        ON_DISK.get_or_init(async || Self::make(&std::env::temp_dir()).await).await
    }

    /// The folder that all runs share.
    pub fn shared(&self) -> &Path {
        self.path.parent().unwrap()
    }

    async fn make(parent: &Path) -> Self {
        let base = parent.canonicalize().unwrap().join("shardrive-tests");
        std::fs::create_dir_all(&base).unwrap();
        let path = base.join(format!("run-{}", std::process::id()));
        // One at a time: before its lock exists, another run's folder would look like a leftover.
        let _turn = lock(&base.join("lock")).await;
        remove_leftovers(&base).await;
        std::fs::create_dir_all(&path).unwrap();
        open_to_all(&path);
        let _lock = lock(&path.join("lock")).await;
        Self { path, _lock }
    }
}

/// Waits for the lock on a file.
pub async fn lock(path: &Path) -> FileLock {
    poll::until("a lock", async || FileLock::try_acquire(path).unwrap().ok_or("somebody else has it")).await
}

fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// A container's folder may be small, and a machine's memory as well.
fn has_room_in_memory() -> bool {
    static HAS_ROOM: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let available = || {
        let output = Command::new("df").args(["-Pk", MEMORY]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let folder: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let memory: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(folder.min(memory))
    };
    *HAS_ROOM.get_or_init(|| std::env::var_os("TMPDIR").is_none() && available().is_some_and(|room| room >= ROOM))
}

/// Removes the leftovers of earlier runs, and the servers of killed runs: the locks of such runs are free.
async fn remove_leftovers(base: &Path) {
    for run in entries(base) {
        let is_run = run.file_name().is_some_and(|name| name.to_string_lossy().starts_with("run-"));
        if !is_run || !run.join("lock").exists() {
            continue;
        }
        let Ok(Some(_lock)) = FileLock::try_acquire(&run.join("lock")) else { continue };
        for data in entries(&run).iter().flat_map(|test| entries(test)) {
            let _ = remove_stale_server(&data).await;
        }
        let _ = std::fs::remove_dir_all(&run);
    }
}

/// The entries of a folder; none if there is no such folder.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
