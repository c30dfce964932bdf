//! Data folders copied for each test: a copy takes less time than `initdb`, `CREATE DATABASE` and the migrations.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use shardrive::local_servers::{
    Durability, PASSWORD, PostgresBinaries, PostgresServer, ServerAccount, USER, database_name, free_port,
};
use shardrive::shard::{ShardOptions, migrate};

use super::folders::{RunFolder, entries, lock};
use super::servers::{CONNECT, run, start_on_free_port};

/// A template unused for this long is of another schema, or of a removed PostgreSQL.
const UNUSED: Duration = Duration::from_secs(3600);

/// Data folders to copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Template {
    /// A server with the first shard's database, which is empty.
    Empty,
    /// The servers of a cluster of so many shards. A copy needs a cluster id of its own, and the addresses of its
    /// shards.
    Cluster(usize),
}

impl Template {
    /// The data folder of a shard's server, under the folder of all templates.
    fn folder(self, home: &Path, shard: usize) -> PathBuf {
        match self {
            Self::Empty => home.join("empty"),
            Self::Cluster(shards) => home.join(format!("cluster_of_{shards}")).join(format!("shard_{shard}")),
        }
    }
}

/// The data folders of so many servers, to be copied.
pub async fn prepared_folders(
    binaries: &PostgresBinaries,
    account: ServerAccount,
    template: Template,
    shards: usize,
) -> Vec<PathBuf> {
    let shared = RunFolder::usual().await.shared();
    let home = shared.join(format!("template-{}-{:016x}", binaries.version(), schema_key()));
    // The drop releases the lock: the next test finds the complete template.
    let _turn = lock(&shared.join("template.lock")).await;
    for other in entries(shared).iter().filter(|other| **other != home && is_unused(other)) {
        let _ = std::fs::remove_dir_all(other);
    }
    let maker = TemplateMaker { binaries, account, home: &home };
    maker.make_empty().await;
    if let Template::Cluster(shards) = template {
        maker.make_cluster(shards).await;
    }
    std::fs::write(home.join("used"), "").unwrap();
    (0..shards).map(|shard| template.folder(&home, shard)).collect()
}

/// Copies a data folder to a place that does not exist.
pub fn copy_folder(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-Rp").args([from, to]).status().unwrap();
    assert!(done.success(), "could not copy {}", from.display());
}

struct TemplateMaker<'a> {
    binaries: &'a PostgresBinaries,
    account: ServerAccount,
    home: &'a Path,
}

impl TemplateMaker<'_> {
    fn server(&self, folder: PathBuf) -> PostgresServer {
        let port = free_port().unwrap();
        PostgresServer::new(self.binaries.clone(), self.account, folder, port, Durability::ServerOnly)
    }

    async fn make_empty(&self) {
        let folder = Template::Empty.folder(self.home, 0);
        if folder.exists() {
            return;
        }
        let part = self.home.join("empty.new"); // a folder with the right name is always complete
        let _ = std::fs::remove_dir_all(&part);
        let mut server = self.server(part.clone());
        server.init_data_folder().await.unwrap();
        start_on_free_port(&mut server).await;
        server.create_database(&database_name(0)).await.unwrap();
        run(&mut server.connect("postgres").await.unwrap(), &quick_password()).await.unwrap();
        server.stop().await;
        std::fs::rename(part, folder).unwrap();
    }

    async fn make_cluster(&self, shards: usize) {
        let folder = self.home.join(format!("cluster_of_{shards}"));
        if folder.exists() {
            return;
        }
        let part = folder.with_extension("new");
        let _ = std::fs::remove_dir_all(&part);
        self.account.make_folder(&part).unwrap();
        let mut servers = Vec::new();
        for shard in 0..shards {
            let data = part.join(format!("shard_{shard}"));
            copy_folder(&Template::Empty.folder(self.home, 0), &data);
            let mut server = self.server(data);
            start_on_free_port(&mut server).await;
            rename_database(&server, shard).await;
            servers.push(server);
        }
        let url = |(shard, server): (usize, &PostgresServer)| server.url(&database_name(shard));
        let urls: Vec<_> = servers.iter().enumerate().map(url).map(|url| ShardOptions::parse(&url).unwrap()).collect();
        migrate(&urls, CONNECT).await.unwrap();
        for server in &mut servers {
            server.stop().await;
        }
        std::fs::rename(part, folder).unwrap();
    }
}

/// Gives the database of the empty template the name of a shard's database.
pub async fn rename_database(server: &PostgresServer, shard: usize) {
    if shard > 0 {
        let rename = format!("ALTER DATABASE {} RENAME TO {}", database_name(0), database_name(shard));
        run(&mut server.connect("postgres").await.unwrap(), &rename).await.unwrap();
    }
}

/// Stores the usual password with one hash round instead of 4,096. In a debug build, the rounds of one connection
/// take a hundredth of a second of processor time at both ends.
fn quick_password() -> String {
    const ROUNDS: NonZeroU32 = NonZeroU32::MIN;
    let (salt, mut salted) = ([7; 16], [0; digest::SHA256_OUTPUT_LEN]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, PASSWORD.as_bytes(), &mut salted);
    let key_of = |name: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), name.as_bytes());
    let stored = STANDARD.encode(digest::digest(&digest::SHA256, key_of("Client Key").as_ref()));
    let (server, salt) = (STANDARD.encode(key_of("Server Key")), STANDARD.encode(salt));
    format!("ALTER ROLE {USER} PASSWORD 'SCRAM-SHA-256${ROUNDS}:{salt}${stored}:{server}'")
}

/// A key that differs between schemas.
fn schema_key() -> u64 {
    let mut hasher = DefaultHasher::new();
    quick_password().hash(&mut hasher);
    for migration in sqlx::migrate!("./migrations").iter() {
        (migration.version, &migration.checksum).hash(&mut hasher);
    }
    hasher.finish()
}

fn is_unused(folder: &Path) -> bool {
    let is_template = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("template-"));
    let used = std::fs::metadata(folder.join("used")).and_then(|found| found.modified());
    is_template && used.is_ok_and(|used| SystemTime::now().duration_since(used).is_ok_and(|age| age > UNUSED))
}
