//! The access that a route needs, and the users whose data a caller reaches.

use actix_web::dev::Payload;
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::{Ready, ready};

use crate::audit::OperatorAction;
use crate::auth::{Principal, Scope, VerifiedToken};
use crate::files::UserId;
use crate::http::response::problem::Problem;
use crate::http::response::problem_code::ProblemCode;
use crate::http::state::AppState;
use crate::limits::CallerKey;
use crate::records::{Collection, Document, KeyType, RecordsPerKey};

/// A collection with this shard key has documents that belong to users.
const USER_FIELD: &str = "user_id";

/// Who may call a route, once sign-in is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum RouteAccess {
    /// Anybody, also without a token.
    Open,
    /// Callers of the scope `user` for their own data; other callers for any user.
    Own(OwnerSource),
    /// Callers with this scope. Changes by operators are [`RouteAccess::Does`] instead.
    Needs(Scope),
    /// Callers with the scope `admin`; the audit log notes each action before the action is done.
    Does(OperatorAction),
}

/// The part of a request that names the user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum OwnerSource {
    /// In this part of the path: the guard checks the user.
    Path(&'static str),
    /// In a field of the body: the handler asks [`Caller::may_reach_user`].
    Body,
    /// In each row of the body, or in the query of a listing; test files need `admin`.
    Rows,
    /// In the query's `user_id`, which must be the caller; without one only the caller's own files are found.
    File,
    /// In the shard key of the document, if the key is the user's number; other collections need `service`.
    Documents,
}

impl RouteAccess {
    /// The least scope that reaches the handler; `None`: no token is needed.
    pub(in crate::http) fn scope(self) -> Option<Scope> {
        match self {
            Self::Open => None,
            Self::Own(_) => Some(Scope::User),
            Self::Needs(scope) => Some(scope),
            Self::Does(_) => Some(Scope::Admin),
        }
    }

    /// True if requests to the route may be operator actions.
    pub(in crate::http) fn has_operator_actions(self) -> bool {
        matches!(self, Self::Does(_) | Self::Own(OwnerSource::Rows))
    }

    /// The operator action that the request asks for.
    pub(super) fn operator_action(self, request: &HttpRequest) -> Option<OperatorAction> {
        match self {
            Self::Does(action) => Some(action),
            Self::Needs(Scope::Admin) => Some(OperatorAction::Look),
            Self::Own(OwnerSource::Rows) if asks_for_test_files(request) => Some(OperatorAction::MakeTestFiles),
            Self::Open | Self::Own(_) | Self::Needs(_) => None,
        }
    }

    /// Lets a caller pass, as far as the path tells.
    ///
    /// # Errors
    /// 403.
    pub(super) fn admit(self, caller: Principal, request: &HttpRequest) -> Result<(), Problem> {
        match self {
            Self::Own(OwnerSource::Rows) if asks_for_test_files(request) => {
                Self::Needs(Scope::Admin).admit(caller, request)
            }
            Self::Open
            | Self::Own(OwnerSource::Body | OwnerSource::Rows | OwnerSource::File | OwnerSource::Documents) => Ok(()),
            Self::Does(_) => Self::Needs(Scope::Admin).admit(caller, request),
            Self::Needs(scope) if caller.grants(scope) => Ok(()),
            Self::Needs(scope) => Err(Problem::scope(scope)),
            Self::Own(OwnerSource::Path(part)) => match caller.only_user() {
                None => Ok(()),
                // A text without a number names no user.
                Some(own) if request.match_info().get(part).and_then(|text| text.parse().ok()) == Some(own) => Ok(()),
                Some(_) => Err(Problem::other_user(part)),
            },
        }
    }
}

/// True for a bulk load that asks for test files.
fn asks_for_test_files(request: &HttpRequest) -> bool {
    Query::<Vec<(String, String)>>::from_query(request.query_string())
        .is_ok_and(|query| query.iter().any(|(name, _)| name == "count"))
}

/// The caller of a request, admitted by the guard; without sign-in anybody may do anything.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Caller {
    principal: Principal,
    /// The caller for the rate limit; `None`: the address counts.
    key: Option<CallerKey>,
}

impl Caller {
    pub(in crate::http) fn new(verified: VerifiedToken) -> Self {
        let key = match verified.principal {
            Principal::User(user) => CallerKey::user(user),
            Principal::Service | Principal::Admin => CallerKey::program(verified.subject),
        };
        Self { principal: verified.principal, key: Some(key) }
    }

    /// The caller for the rate limit; `None`: the address counts.
    pub(in crate::http) fn key(&self) -> Option<CallerKey> {
        self.key
    }

    /// The owner of the caller's idempotency keys: the user, or the program by issuer and subject, with any scope.
    pub(in crate::http) fn name(self) -> String {
        match (self.principal, self.key) {
            (Principal::User(user), _) => format!("user {user}"),
            (Principal::Service | Principal::Admin, Some(key)) => format!("program {key}"),
            // Without sign-in all callers look alike.
            (Principal::Service | Principal::Admin, None) => "anybody".to_owned(),
        }
    }

    pub(in crate::http) fn scope(self) -> Scope {
        self.principal.widest_scope()
    }

    /// The only user whose data the caller reaches; `None` if any user's.
    pub(in crate::http) fn only_user(self) -> Option<UserId> {
        self.principal.only_user().and_then(UserId::new)
    }

    /// Checks that the caller reaches this user, named by `field` of the request.
    ///
    /// # Errors
    /// 403.
    pub(in crate::http) fn may_reach_user(self, user: i64, field: &'static str) -> Result<(), Problem> {
        match self.principal.only_user() {
            Some(own) if own != user => Err(Problem::other_user(field)),
            _ => Ok(()),
        }
    }

    /// Checks that the caller reaches documents of this collection; gives the only user of these documents, if there is
    /// one.
    ///
    /// # Errors
    /// 403, if the collection's documents do not belong to users.
    pub(in crate::http) fn documents_of(self, collection: &Collection) -> Result<Option<i64>, Problem> {
        let Some(own) = self.principal.only_user() else { return Ok(None) };
        let by_user =
            collection.shard_key.as_deref() == Some(USER_FIELD) && collection.key_type == Some(KeyType::Integer);
        if by_user { Ok(Some(own)) } else { Err(Problem::scope(Scope::Service)) }
    }

    /// Checks that a new document is the caller's.
    ///
    /// # Errors
    /// 403; the fault of the field.
    pub(in crate::http) fn may_create_document(
        self,
        collection: &Collection,
        document: &Document,
    ) -> Result<(), Problem> {
        let Some(own) = self.documents_of(collection)? else { return Ok(()) };
        match collection.shard_key_of(document)? {
            Some(key) if key.parse() != Ok(own) => Err(Problem::other_user(USER_FIELD)),
            _ => Ok(()), // without one it is not stored
        }
    }

    /// Checks that the document under a key is the caller's. Another caller's document is not found.
    ///
    /// A minted key belongs to the same document for ever, and a document to the same shard key: the owner does not
    /// change after this check.
    ///
    /// # Errors
    /// 403 where the key itself is another user; 404 if the document is; the shard's error.
    pub(in crate::http) async fn may_reach_document(
        self,
        state: &AppState,
        collection: &std::sync::Arc<Collection>,
        key: &str,
    ) -> Result<(), Problem> {
        let Some(own) = self.documents_of(collection)? else { return Ok(()) };
        match collection.records_per_key {
            RecordsPerKey::One if key.parse() == Ok(own) => Ok(()),
            RecordsPerKey::One => Err(Problem::other_user("key")),
            RecordsPerKey::Many => {
                let found = state.records.find(collection, key).await?;
                match collection.shard_key_of(&found.record.document)? {
                    Some(owner) if owner.parse() == Ok(own) => Ok(()),
                    _ => Err(crate::records::RecordError::NotFound {
                        collection: collection.name.clone(),
                        key: key.into(),
                    }
                    .into()),
                }
            }
        }
    }

    /// Checks that a listing is of the caller's own documents.
    ///
    /// # Errors
    /// 403.
    pub(in crate::http) fn may_list_documents(
        self,
        collection: &Collection,
        shard_key: Option<&str>,
    ) -> Result<(), Problem> {
        match (self.documents_of(collection)?, shard_key) {
            (None, _) => Ok(()),
            (Some(own), Some(key)) if key.parse() == Ok(own) => Ok(()),
            (Some(_), _) => Err(Problem::other_user("shard_key")),
        }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        if let Some(caller) = request.extensions().get::<Self>() {
            return ready(Ok(*caller));
        }
        // A route with a caller and without a guard would admit everybody: the table of routes excludes this.
        let is_off = request.app_data::<Data<AppState>>().is_some_and(|state| state.sign_in.is_none());
        ready(if is_off {
            Ok(Self { principal: Principal::Admin, key: None })
        } else {
            Err(Problem::new(ProblemCode::Internal, "the caller of this request was not looked at"))
        })
    }
}
