//! What a route needs of its caller, and which users' data a caller reaches.

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

/// The field of a collection's shard key that makes its documents belong to users.
const USER_FIELD: &str = "user_id";

/// Who may call a route, once sign-in is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum RouteAccess {
    /// Anybody, also without a token.
    Open,
    /// Callers of the scope `user` for what is their own; others for any user.
    Own(OwnerSource),
    /// Callers with this scope. What changes something for operators is [`RouteAccess::Does`] instead.
    Needs(Scope),
    /// Callers with the scope `admin`; each time is noted in the audit log before it is done.
    Does(OperatorAction),
}

/// Where a request says whose data it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum OwnerSource {
    /// In this part of the path: the guard looks at it.
    Path(&'static str),
    /// In a field of the body: the handler asks [`Caller::reaches`].
    Body,
    /// In each row of the body, or in the query of a listing; test files need `admin`.
    Rows,
    /// In the file that the path names: another user's file is as one that is not there.
    File,
    /// In the shard key of the document, if that is the user's number; other collections need `service`.
    Documents,
}

impl RouteAccess {
    /// The least scope that gets to the handler; `None` if none is needed.
    pub(in crate::http) fn scope(self) -> Option<Scope> {
        match self {
            Self::Open => None,
            Self::Own(_) => Some(Scope::User),
            Self::Needs(scope) => Some(scope),
            Self::Does(_) => Some(Scope::Admin),
        }
    }

    /// True if requests to the route may be acts, which are noted before they are done.
    pub(in crate::http) fn has_acts(self) -> bool {
        matches!(self, Self::Does(_) | Self::Own(OwnerSource::Rows))
    }

    /// What the request would do that is for operators alone.
    pub(in crate::http) fn act(self, request: &HttpRequest) -> Option<OperatorAction> {
        match self {
            Self::Does(act) => Some(act),
            Self::Needs(Scope::Admin) => Some(OperatorAction::Look),
            Self::Own(OwnerSource::Rows) if makes_test_files(request) => Some(OperatorAction::MakeTestFiles),
            Self::Open | Self::Own(_) | Self::Needs(_) => None,
        }
    }

    /// Lets a caller pass, as far as the path tells.
    ///
    /// # Errors
    /// 403.
    pub(in crate::http) fn admit(self, caller: Principal, request: &HttpRequest) -> Result<(), Problem> {
        match self {
            Self::Own(OwnerSource::Rows) if makes_test_files(request) => {
                Self::Needs(Scope::Admin).admit(caller, request)
            }
            Self::Open
            | Self::Own(OwnerSource::Body | OwnerSource::Rows | OwnerSource::File | OwnerSource::Documents) => Ok(()),
            Self::Does(_) => Self::Needs(Scope::Admin).admit(caller, request),
            Self::Needs(scope) if caller.has(scope) => Ok(()),
            Self::Needs(scope) => Err(Problem::scope(scope)),
            Self::Own(OwnerSource::Path(part)) => match caller.only_user() {
                None => Ok(()),
                // What is no number is no user of anybody's.
                Some(own) if request.match_info().get(part).and_then(|text| text.parse().ok()) == Some(own) => Ok(()),
                Some(_) => Err(Problem::other_user(part)),
            },
        }
    }
}

/// True for a bulk load that asks for test files.
fn makes_test_files(request: &HttpRequest) -> bool {
    Query::<Vec<(String, String)>>::from_query(request.query_string())
        .is_ok_and(|query| query.iter().any(|(name, _)| name == "count"))
}

/// The caller of a request, whom the guard has let pass; anybody may do anything while sign-in is off.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Caller {
    principal: Principal,
    /// By whom the request is counted; `None`: by its address.
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

    /// By whom the request is counted; `None`: by its address.
    pub(in crate::http) fn key(&self) -> Option<CallerKey> {
        self.key
    }

    /// Whose the caller's keys are: the user's, or the program's by its issuer and subject, whatever its scope.
    pub(in crate::http) fn name(self) -> String {
        match (self.principal, self.key) {
            (Principal::User(user), _) => format!("user {user}"),
            (Principal::Service | Principal::Admin, Some(key)) => format!("program {key}"),
            // Without sign-in nobody can be told from anybody.
            (Principal::Service | Principal::Admin, None) => "anybody".to_owned(),
        }
    }

    /// The widest of their scopes.
    pub(in crate::http) fn scope(self) -> Scope {
        self.principal.scope()
    }

    /// The only user whose data the caller reaches; `None` if any user's.
    pub(in crate::http) fn only_user(self) -> Option<UserId> {
        self.principal.only_user().and_then(UserId::new)
    }

    /// Checks that the caller reaches this user, whom `field` of the request names.
    ///
    /// # Errors
    /// 403.
    pub(in crate::http) fn reaches(self, user: i64, field: &'static str) -> Result<(), Problem> {
        match self.principal.only_user() {
            Some(own) if own != user => Err(Problem::other_user(field)),
            _ => Ok(()),
        }
    }

    /// Checks that the caller reaches documents of this collection at all; gives the user whose documents they must be.
    ///
    /// # Errors
    /// 403, if the collection's documents do not belong to users.
    pub(in crate::http) fn documents_of(self, collection: &Collection) -> Result<Option<i64>, Problem> {
        let Some(own) = self.principal.only_user() else { return Ok(None) };
        let by_user =
            collection.shard_key.as_deref() == Some(USER_FIELD) && collection.key_type == Some(KeyType::Integer);
        if by_user { Ok(Some(own)) } else { Err(Problem::scope(Scope::Service)) }
    }

    /// Checks that a document which is to be stored is the caller's.
    ///
    /// # Errors
    /// 403; what is wrong with the field.
    pub(in crate::http) fn may_create(self, collection: &Collection, document: &Document) -> Result<(), Problem> {
        let Some(own) = self.documents_of(collection)? else { return Ok(()) };
        match collection.shard_key_of(document)? {
            Some(key) if key.parse() != Ok(own) => Err(Problem::other_user(USER_FIELD)),
            _ => Ok(()), // without one it is not stored
        }
    }

    /// Checks that the document under a key is the caller's. One that is not is as one that is not there.
    ///
    /// A key that was minted belongs to one document for ever, and a document to one shard key: whose it is does not
    /// change between this check and what comes after.
    ///
    /// # Errors
    /// 403 where the key itself is another user; 404 if the document is; the shard's error.
    pub(in crate::http) async fn may_reach(
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
    pub(in crate::http) fn may_list(self, collection: &Collection, shard_key: Option<&str>) -> Result<(), Problem> {
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
        // A route that asks for its caller and has no guard would let everybody in: never, the table sees to it.
        let is_off = request.app_data::<Data<AppState>>().is_some_and(|state| state.sign_in.is_none());
        ready(if is_off {
            Ok(Self { principal: Principal::Admin, key: None })
        } else {
            Err(Problem::new(ProblemCode::Internal, "the caller of this request was not looked at"))
        })
    }
}
