//! The codes of problems: stable names, each with its HTTP status.

use actix_web::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// Every kind of problem there is. Clients rely on the names.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ProblemCode {
            $($(#[$doc])+ $name,)+
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The status of the answer.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// The meaning in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// There is no token.
    SignInRequired = "sign_in_required", UNAUTHORIZED, "Sign in first";
    /// The token is none.
    TokenMalformed = "token_malformed", UNAUTHORIZED, "The token cannot be read";
    /// The token's time is over.
    TokenExpired = "token_expired", UNAUTHORIZED, "The token has expired";
    /// The token's time has not come.
    TokenNotYetValid = "token_not_yet_valid", UNAUTHORIZED, "The token is not valid yet";
    /// The token is meant for others.
    TokenWrongAudience = "token_wrong_audience", UNAUTHORIZED, "The token is meant for others";
    /// The token is another provider's.
    TokenWrongIssuer = "token_wrong_issuer", UNAUTHORIZED, "The token is from elsewhere";
    /// The token's key is none of the provider's.
    TokenUnknownKey = "token_unknown_key", UNAUTHORIZED, "The token's key is not known";
    /// The token is not genuine, or lacks what it must have.
    TokenInvalid = "token_invalid", UNAUTHORIZED, "The token is not valid";
    /// The token is a user's and names none.
    TokenWithoutUser = "token_without_user", UNAUTHORIZED, "The token names no user";
    /// The token does not grant what the route needs.
    InsufficientScope = "insufficient_scope", FORBIDDEN, "The token does not grant this";
    /// What is asked for belongs to another user.
    OtherUser = "other_user", FORBIDDEN, "This belongs to another user";
    /// The provider's keys cannot be had.
    SignInUnavailable = "sign_in_unavailable", SERVICE_UNAVAILABLE, "The sign-in provider does not answer";
    /// The caller asks for more than the limit allows.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// The caller runs as many bulk loads as one may.
    TooManyOwnLoads = "too_many_own_loads", TOO_MANY_REQUESTS, "Too many bulk loads of one caller";
    /// The caller has as many calls on a shard as one may.
    TooManyOwnCalls = "too_many_own_calls", TOO_MANY_REQUESTS, "Too many calls of one caller";
    /// The address is too long.
    UrlTooLong = "url_too_long", URI_TOO_LONG, "The address is too long";
    /// No route has this path.
    UnknownPath = "unknown_path", NOT_FOUND, "There is nothing at this path";
    /// The path has a route, but not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "This path does not take this method";
    /// A part of the path is wrong.
    InvalidPath = "invalid_path", BAD_REQUEST, "A part of the path is wrong";
    /// A parameter behind the `?` is wrong.
    InvalidQuery = "invalid_query", BAD_REQUEST, "A query parameter is wrong";
    /// A header is wrong.
    InvalidHeader = "invalid_header", BAD_REQUEST, "A header is wrong";
    /// The request's key has come with another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The key belongs to another request";
    /// The request with this key is being worked on.
    IdempotencyKeyInUse = "idempotency_key_in_use", CONFLICT, "The same request is being worked on";
    /// Streams take no key.
    IdempotencyKeyNotTaken = "idempotency_key_not_taken", BAD_REQUEST, "This request takes no key";
    /// The body cannot be read as what it should be.
    InvalidBody = "invalid_body", BAD_REQUEST, "The body cannot be read";
    /// A field of the body is wrong.
    InvalidField = "invalid_field", BAD_REQUEST, "A field is wrong";
    /// The body broke off.
    IncompleteBody = "incomplete_body", BAD_REQUEST, "The body is not complete";
    /// The body came too slowly.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "The body came too slowly";
    /// The body is too long.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body has a type that is not taken here.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "This type of body is not taken here";
    /// The body is compressed in a way that is not taken.
    UnsupportedEncoding = "unsupported_encoding", UNSUPPORTED_MEDIA_TYPE, "This Content-Encoding is not taken";
    /// The shard's table refused a value that passed all checks before.
    RowRefused = "row_refused", BAD_REQUEST, "The database refused a value";
    /// There is no such file.
    FileNotFound = "file_not_found", NOT_FOUND, "There is no such file";
    /// There is no such folder, or it is in the trash.
    FolderNotFound = "folder_not_found", NOT_FOUND, "There is no such folder";
    /// Neither a folder nor a file has the id.
    EntryNotFound = "entry_not_found", NOT_FOUND, "There is no such file or folder";
    /// No folder and no file has the path.
    PathNotFound = "path_not_found", NOT_FOUND, "There is nothing at this path";
    /// A file stands where the path needs a folder.
    NotAFolder = "not_a_folder", CONFLICT, "A file stands where a folder is needed";
    /// The entry to be taken out of the trash is not in it.
    NotTrashed = "not_trashed", CONFLICT, "The entry is not in the trash";
    /// Another entry of the folder has the name.
    NameTaken = "name_taken", CONFLICT, "The folder has an entry of this name";
    /// A folder would be in itself.
    WouldCycle = "would_cycle", CONFLICT, "A folder cannot be in itself";
    /// The root of a drive cannot be renamed, moved or deleted.
    RootFixed = "root_fixed", CONFLICT, "The root keeps its place";
    /// An operation of a batch is at fault, and nothing was done.
    BatchRefused = "batch_refused", CONFLICT, "An operation of the batch is at fault";
    /// A mirror would delete more files than it may.
    TooManyDeletes = "too_many_deletes", CONFLICT, "The mirror would delete too many files";
    /// A path would hold a file and a folder, as a mirror deletes neither.
    KindStays = "kind_stays", CONFLICT, "A path would hold a file and a folder";
    /// A mirror lost its connection or a race, and changed nothing.
    SyncInterrupted = "sync_interrupted", SERVICE_UNAVAILABLE, "The mirror was interrupted";
    /// The request names no user, and several users have a file under the id.
    SeveralUsers = "several_users", CONFLICT, "Several users have a file under this id";
    /// Nobody declared this collection.
    CollectionNotFound = "collection_not_found", NOT_FOUND, "There is no such collection";
    /// The collection is declared, but otherwise.
    CollectionDiffers = "collection_differs", CONFLICT, "The collection is declared otherwise";
    /// There is no such document.
    RecordNotFound = "record_not_found", NOT_FOUND, "There is no such document";
    /// There is a document under this key already.
    RecordExists = "record_exists", CONFLICT, "The key is taken";
    /// A document would come under another shard key.
    ShardKeyFixed = "shard_key_fixed", CONFLICT, "A document's shard key does not change";
    /// The document is not as `If-Match` or `If-None-Match` asks for.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "What is to be changed is not in the state asked for";
    /// Earlier changes of the document have not ended in time, or too many wait.
    RecordContended = "record_contended", SERVICE_UNAVAILABLE, "Earlier changes of the document have not ended";
    /// Earlier changes of the file have not ended in time, or too many wait.
    FileContended = "file_contended", SERVICE_UNAVAILABLE, "Earlier changes of the file have not ended";
    /// There is no such move.
    MoveNotFound = "move_not_found", NOT_FOUND, "There is no such move";
    /// Another move, or the stage of this one, is in the way.
    MoveConflict = "move_conflict", CONFLICT, "Something is in the way of the move";
    /// The database cannot become a shard.
    ShardRefused = "shard_refused", CONFLICT, "The database cannot become a shard";
    /// The shard is away.
    ShardUnavailable = "shard_unavailable", SERVICE_UNAVAILABLE, "A shard is not available";
    /// The act could not be noted in the audit log, and was not done.
    AuditUnavailable = "audit_unavailable", SERVICE_UNAVAILABLE, "The act cannot be noted";
    /// As many bulk loads as the process takes are running.
    TooManyLoads = "too_many_loads", SERVICE_UNAVAILABLE, "Too many bulk loads at once";
    /// As many large bodies as the process takes are in memory.
    TooManyLargeBodies = "too_many_large_bodies", SERVICE_UNAVAILABLE, "Too many large bodies at once";
    /// As many people watch the dashboard as the process tells.
    TooManyViewers = "too_many_viewers", SERVICE_UNAVAILABLE, "Too many people watch the dashboard";
    /// The shard has too much to do.
    ShardOverloaded = "shard_overloaded", SERVICE_UNAVAILABLE, "A shard has too much to do";
    /// The disk of the shard's server is full.
    ShardStorageFull = "shard_storage_full", INSUFFICIENT_STORAGE, "The disk of a shard's server is full";
    /// The user's data is on its way to another shard.
    SlotMoving = "slot_moving", SERVICE_UNAVAILABLE, "The user's data is being moved";
    /// The shard did not answer in time.
    ShardTimeout = "shard_timeout", GATEWAY_TIMEOUT, "A shard did not answer in time";
    /// The service is stopping, or no shard is there.
    NotReady = "not_ready", SERVICE_UNAVAILABLE, "The service takes no requests at the moment";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let names: HashSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ProblemCode::ALL.len());
        assert!(ProblemCode::ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error()));
    }

    #[test]
    fn the_page_of_problems_lists_every_code() {
        let page = include_str!("../../../docs/problems.md");
        let is_row = |line: &&str| line.starts_with("| ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_digit);
        let shown: Vec<&str> = page.lines().filter(is_row).collect();
        for code in ProblemCode::ALL {
            let row = format!("| {} | `{}` | {} |", code.status().as_u16(), code.as_str(), code.title());
            assert!(shown.iter().any(|line| line.starts_with(&row)), "docs/problems.md lacks {row}");
        }
        assert_eq!(shown.len(), ProblemCode::ALL.len(), "docs/problems.md lists a code twice, or one that is gone");
    }
}
