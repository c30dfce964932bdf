//! A reference for `make bench`: the same calls as a good engineer writes them in a day, without what Shardrive adds.
//!
//! Users are spread by `user_id % shards`. Each shard has one pool of 16 connections, and each request is one statement
//! on a plain table with a plain key: no guard, no counts, no moves, no cache. So the ratio to this program is what all
//! of that costs and brings.
//!
//! ```text
//! SHARD_0_URL=postgres://… SHARD_1_URL=postgres://… plain_service
//! ```
//!
//! The program makes its table (`bench.plain_files`) where it is missing, and prints `listening on http://…`.

use std::env;
use std::io::Write as _;

use actix_web::error::{ErrorBadRequest, ErrorInternalServerError, ErrorNotFound};
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{App, HttpResponse, HttpServer, Result, delete, get, patch, post};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

const CONNECTIONS_OF_A_SHARD: u32 = 16;
const MAX_PAGE: i64 = 1000;

const TABLE: &str = "CREATE SCHEMA IF NOT EXISTS bench;
    CREATE TABLE IF NOT EXISTS bench.plain_files (
        user_id bigint NOT NULL, file_id uuid NOT NULL, file_name text NOT NULL, path text, mime_type text, checksum text,
        size_bytes bigint, modified_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, file_id))";
const INSERT: &str =
    "INSERT INTO bench.plain_files (user_id, file_id, file_name, path, mime_type, checksum, size_bytes, modified_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *";
const LIST: &str = "SELECT * FROM bench.plain_files WHERE user_id = $1 AND file_id < $2 ORDER BY file_id DESC LIMIT $3";
const FIND: &str = "SELECT * FROM bench.plain_files WHERE user_id = $1 AND file_id = $2";
const RENAME: &str = "UPDATE bench.plain_files SET file_name = $3, updated_at = now()
    WHERE user_id = $1 AND file_id = $2 RETURNING *";
const DELETE: &str = "DELETE FROM bench.plain_files WHERE user_id = $1 AND file_id = $2";
const COUNT: &str = "SELECT count(*) FROM bench.plain_files";

struct Shards(Vec<PgPool>);

impl Shards {
    /// The pool of a user's shard, and its number.
    fn of(&self, user: i64) -> Result<(usize, &PgPool)> {
        let shard = usize::try_from(user).map_err(ErrorBadRequest)? % self.0.len();
        self.0.get(shard).map(|pool| (shard, pool)).ok_or_else(|| ErrorInternalServerError("no shard"))
    }
}

#[derive(Deserialize)]
struct NewFile {
    user_id: i64,
    file_name: String,
    path: Option<String>,
    mime_type: Option<String>,
    checksum: Option<String>,
    size_bytes: Option<i64>,
    modified_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, FromRow)]
struct StoredFile {
    file_id: Uuid,
    user_id: i64,
    file_name: String,
    path: Option<String>,
    mime_type: Option<String>,
    checksum: Option<String>,
    size_bytes: Option<i64>,
    modified_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Page {
    user_id: i64,
    shard: usize,
    files: Vec<StoredFile>,
    next_cursor: Option<Uuid>,
}

#[derive(Deserialize)]
struct Paging {
    limit: Option<i64>,
    cursor: Option<Uuid>,
}

#[derive(Deserialize)]
struct Owner {
    user_id: i64,
}

#[derive(Deserialize)]
struct Rename {
    file_name: String,
}

/// A `UUIDv7` (RFC 9562, section 5.7): ids sort by their time, as Shardrive's do.
fn new_id() -> Uuid {
    let millis = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

#[get("/")]
async fn index() -> &'static str {
    "plain"
}

#[post("/ingest")]
async fn ingest(shards: Data<Shards>, file: Json<NewFile>) -> Result<HttpResponse> {
    let file = file.into_inner();
    let (_, pool) = shards.of(file.user_id)?;
    let stored: StoredFile = sqlx::query_as(INSERT)
        .bind(file.user_id)
        .bind(new_id())
        .bind(file.file_name)
        .bind(file.path)
        .bind(file.mime_type)
        .bind(file.checksum)
        .bind(file.size_bytes)
        .bind(file.modified_at)
        .fetch_one(pool)
        .await
        .map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Created().json(stored))
}

#[get("/query/{user}")]
async fn list(shards: Data<Shards>, user: Path<i64>, paging: Query<Paging>) -> Result<HttpResponse> {
    let limit = paging.limit.unwrap_or(100).clamp(1, MAX_PAGE);
    let (shard, pool) = shards.of(*user)?;
    let files: Vec<StoredFile> = sqlx::query_as(LIST)
        .bind(*user)
        .bind(paging.cursor.unwrap_or(Uuid::max()))
        .bind(limit)
        .fetch_all(pool)
        .await
        .map_err(ErrorInternalServerError)?;
    let is_full = i64::try_from(files.len()) == Ok(limit);
    let next_cursor = files.last().filter(|_| is_full).map(|file| file.file_id);
    Ok(HttpResponse::Ok().json(Page { user_id: *user, shard, files, next_cursor }))
}

#[get("/files/{id}")]
async fn find(shards: Data<Shards>, id: Path<Uuid>, owner: Query<Owner>) -> Result<HttpResponse> {
    let (_, pool) = shards.of(owner.user_id)?;
    let found: Option<StoredFile> = sqlx::query_as(FIND)
        .bind(owner.user_id)
        .bind(*id)
        .fetch_optional(pool)
        .await
        .map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().json(found.ok_or_else(|| ErrorNotFound("no such file"))?))
}

#[patch("/files/{id}")]
async fn rename(
    shards: Data<Shards>,
    id: Path<Uuid>,
    owner: Query<Owner>,
    rename: Json<Rename>,
) -> Result<HttpResponse> {
    let (_, pool) = shards.of(owner.user_id)?;
    let renamed: Option<StoredFile> = sqlx::query_as(RENAME)
        .bind(owner.user_id)
        .bind(*id)
        .bind(&rename.file_name)
        .fetch_optional(pool)
        .await
        .map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().json(renamed.ok_or_else(|| ErrorNotFound("no such file"))?))
}

#[delete("/files/{id}")]
async fn remove(shards: Data<Shards>, id: Path<Uuid>, owner: Query<Owner>) -> Result<HttpResponse> {
    let (_, pool) = shards.of(owner.user_id)?;
    let done = sqlx::query(DELETE).bind(owner.user_id).bind(*id).execute(pool).await;
    match done.map_err(ErrorInternalServerError)?.rows_affected() {
        0 => Err(ErrorNotFound("no such file")),
        _ => Ok(HttpResponse::NoContent().finish()),
    }
}

#[get("/stats")]
async fn stats(shards: Data<Shards>) -> Result<HttpResponse> {
    let counts = shards.0.iter().map(|pool| sqlx::query_scalar::<_, i64>(COUNT).fetch_one(pool));
    let counts = futures_util::future::try_join_all(counts).await.map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().json(counts))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pools = Vec::new();
    while let Ok(url) = env::var(format!("SHARD_{}_URL", pools.len())) {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_OF_A_SHARD).connect(&url).await?;
        sqlx::raw_sql(TABLE).execute(&pool).await?;
        pools.push(pool);
    }
    if pools.is_empty() {
        return Err("SHARD_0_URL is not set".into());
    }
    let shards = Data::new(Shards(pools));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shards.clone())
            .service(index)
            .service(ingest)
            .service(list)
            .service(find)
            .service(rename)
            .service(remove)
            .service(stats)
    })
    .bind(env::var("BIND_ADDR").unwrap_or_else(|_| "127.0.0.1:0".to_owned()))?;
    let address = server.addrs().first().copied().ok_or("no address")?;
    println!("listening on http://{address}");
    std::io::stdout().flush()?;
    server.run().await?;
    Ok(())
}
