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
use shardrive::shard::apply_migrations;

use super::folders::{RunFolder, entries, lock};
use super::servers::{run, start_on_free_port};

/// A template unused for this long is of another schema, or of a removed PostgreSQL.
const UNUSED: Duration = Duration::from_secs(3600);

/// The content of a template's database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    Nothing,
    /// This program's schema, without an identity: not yet a shard.
    Schema,
}

/// A data folder to copy, with the first shard's database.
pub async fn prepared_template(binaries: &PostgresBinaries, account: ServerAccount, content: Content) -> PathBuf {
    let shared = RunFolder::usual().await.shared();
    let home = shared.join(format!("template-{}-{:016x}", binaries.version(), schema_key()));
    // The drop releases the lock: the next test finds the complete template.
    let _turn = lock(&shared.join("template.lock")).await;
    for other in entries(shared).iter().filter(|other| **other != home && is_unused(other)) {
        let _ = std::fs::remove_dir_all(other);
    }
    let folder = home.join("schema");
    if !folder.exists() {
        make_templates(binaries, account, &home).await;
    }
    std::fs::write(home.join("used"), "").unwrap();
    match content {
        Content::Nothing => home.join("empty"),
        Content::Schema => folder,
    }
}

/// Copies a data folder to a place that does not exist.
pub fn copy_folder(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-Rp").args([from, to]).status().unwrap();
    assert!(done.success(), "could not copy {}", from.display());
}

async fn make_templates(binaries: &PostgresBinaries, account: ServerAccount, home: &Path) {
    let _ = std::fs::remove_dir_all(home); // a partial template
    let (empty, part) = (home.join("empty"), home.join("schema.part"));
    let server = |folder: &Path| {
        PostgresServer::new(binaries.clone(), account, folder.to_owned(), free_port().unwrap(), Durability::ServerOnly)
    };
    let mut first = server(&empty);
    first.init_data_folder().await.unwrap();
    start_on_free_port(&mut first).await;
    first.create_database(&database_name(0)).await.unwrap();
    run(&mut first.connect("postgres").await.unwrap(), &quick_password()).await.unwrap();
    first.stop().await;

    copy_folder(&empty, &part);
    let mut second = server(&part);
    start_on_free_port(&mut second).await;
    let mut connection = second.connect(&database_name(0)).await.unwrap();
    apply_migrations(&mut connection).await.unwrap();
    drop(connection);
    second.stop().await;
    // A folder with the right name is always complete.
    std::fs::rename(part, home.join("schema")).unwrap();
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
