//! The table of routes: path, method, access, cost and handler.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard, web};
use ipnet::IpNet;

use super::api::drives::{batch, browse, folders, paths, sync, trash, tree};
use super::api::{
    audit_log, collections, data, files, files_bulk, health, key_value, moves, openapi, records, shards, stats,
    user_values,
};
use super::dashboard;
use super::guards::access::RouteAccess::{Does, Needs, Open, Own};
use super::guards::access::{OwnerSource, RouteAccess};
use super::guards::audit_gate::require_audit_entry;
use super::guards::gate::GateMiddleware;
use super::guards::rate_limit::{RateLimitGate, cost};
use super::guards::sign_in::{SignInGate, SignInState};
use super::metrics::exposition;
use super::metrics::request_counts::RouteNumber;
use super::request::conditional;
use super::request::extract::refuse_query;
use super::response::problem::Problem;
use super::response::problem_code::ProblemCode;
use crate::audit::OperatorAction;
use crate::auth::Scope::{Admin, Service};
use crate::limits::RateLimiter;

/// The table of routes, with the access of each. Other paths are answered 404, other methods 405.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        // Searched from the top for each request: the most frequent routes come first.
        Endpoint::at("/").get(Open, health::service),
        Endpoint::at("/ingest").on(Own(OwnerSource::Body), Method::POST, files::ingest),
        Endpoint::at("/query/{user_id}").get(Own(OwnerSource::Path("user_id")), files::list),
        Endpoint::at("/read/{key:.*}").get(Needs(Service), key_value::read),
        Endpoint::at("/write").on(Needs(Service), Method::POST, key_value::write),
        Endpoint::at("/files/{file_id}")
            .get(Own(OwnerSource::File), files::find)
            .on(Own(OwnerSource::File), Method::PATCH, files::change)
            .on(Own(OwnerSource::File), Method::DELETE, files::delete)
            .conditional(),
        Endpoint::at("/data/{id}").get(Needs(Service), data::find),
        Endpoint::at("/records/{collection}/{key:.*}")
            .get(Own(OwnerSource::Documents), records::find)
            .on(Own(OwnerSource::Documents), Method::PUT, records::put)
            .on(Own(OwnerSource::Documents), Method::PATCH, records::patch)
            .on(Own(OwnerSource::Documents), Method::DELETE, records::delete)
            .conditional(),
        Endpoint::at("/drives/{user_id}").get(Own(OwnerSource::Path("user_id")), browse::summarize),
        Endpoint::at("/drives/{user_id}/children").get(Own(OwnerSource::Path("user_id")), browse::list_children),
        Endpoint::at("/drives/{user_id}/path/{path:.*}")
            .get(Own(OwnerSource::Path("user_id")), paths::find_path)
            .on(Own(OwnerSource::Path("user_id")), Method::PUT, paths::put_path)
            .on(Own(OwnerSource::Path("user_id")), Method::DELETE, paths::trash_path)
            .conditional(),
        Endpoint::at("/drives/{user_id}/batch").on(Own(OwnerSource::Path("user_id")), Method::POST, batch::change_all),
        Endpoint::at("/drives/{user_id}/folders").on(
            Own(OwnerSource::Path("user_id")),
            Method::POST,
            folders::create_folder,
        ),
        Endpoint::at("/drives/{user_id}/trash").get(Own(OwnerSource::Path("user_id")), trash::list_trash).on(
            Own(OwnerSource::Path("user_id")),
            Method::DELETE,
            trash::empty_trash,
        ),
        Endpoint::at("/drives/{user_id}/trash/{entry_id}/restore").on(
            Own(OwnerSource::Path("user_id")),
            Method::POST,
            trash::restore_entry,
        ),
        Endpoint::at("/folders/{folder_id}")
            .get(Own(OwnerSource::File), folders::find_folder)
            .on(Own(OwnerSource::File), Method::PATCH, folders::change_folder)
            .on(Own(OwnerSource::File), Method::DELETE, folders::trash_folder)
            .conditional(),
        Endpoint::at("/drives/{user_id}/tree").get(Own(OwnerSource::Path("user_id")), tree::list_tree),
        Endpoint::at("/drives/{user_id}/sync").on(Own(OwnerSource::Path("user_id")), Method::POST, sync::sync),
        // The rest, by subject.
        Endpoint::at("/health").get(Open, health::health),
        Endpoint::at("/health/live").get(Open, health::live),
        Endpoint::at("/health/ready").get(Open, health::ready),
        Endpoint::at("/metrics").get(Open, exposition::metrics),
        Endpoint::at("/ingest/bulk").on(Own(OwnerSource::Rows), Method::POST, files_bulk::load),
        Endpoint::at("/stats").get(Needs(Service), stats::stats),
        Endpoint::at("/collections").get(Needs(Service), collections::list),
        Endpoint::at("/collections/{collection}").get(Needs(Service), collections::find).on(
            Does(OperatorAction::DeclareCollection),
            Method::PUT,
            collections::declare,
        ),
        Endpoint::at("/records/{collection}").get(Own(OwnerSource::Documents), records::list).on(
            Own(OwnerSource::Documents),
            Method::POST,
            records::create,
        ),
        Endpoint::at("/store").on(Own(OwnerSource::Body), Method::POST, user_values::put),
        Endpoint::at("/store/{userId}").get(Own(OwnerSource::Path("userId")), user_values::find),
        Endpoint::at("/shards").get(Needs(Admin), user_values::shards),
        Endpoint::at("/data").get(Needs(Service), data::list).on(Needs(Service), Method::POST, data::create),
        Endpoint::at("/admin/shards").on(Does(OperatorAction::AddShard), Method::POST, shards::grow),
        Endpoint::at("/admin/moves").get(Needs(Admin), moves::list).on(
            Does(OperatorAction::MoveSlots),
            Method::POST,
            moves::begin,
        ),
        Endpoint::at("/admin/moves/{id}").get(Needs(Admin), moves::find),
        Endpoint::at("/admin/moves/{id}/cancel").on(Does(OperatorAction::Cancel), Method::POST, moves::cancel),
        Endpoint::at("/admin/moves/{id}/rollback").on(Does(OperatorAction::RollBack), Method::POST, moves::roll_back),
        Endpoint::at("/admin/moves/{id}/finish").on(Does(OperatorAction::Finish), Method::POST, moves::finish),
        Endpoint::at("/admin/drain").on(Does(OperatorAction::Drain), Method::POST, moves::drain),
        Endpoint::at("/admin/rebalance").on(Does(OperatorAction::Rebalance), Method::POST, moves::rebalance),
        Endpoint::at("/admin/analysis").get(Needs(Admin), moves::analysis),
        Endpoint::at("/admin/audit").get(Needs(Admin), audit_log::list),
        Endpoint::at("/openapi.json").get(Open, openapi::description),
        Endpoint::at("/docs").get(Open, openapi::page_redirect),
        Endpoint::at("/docs/{file:.*}").get(Open, openapi::page),
        Endpoint::at("/dashboard").get(Open, dashboard::page),
        Endpoint::at("/dashboard/events").get(Needs(Admin), dashboard::events),
        Endpoint::at("/dashboard/{file:.*}").get(Open, dashboard::file),
    ]
}

/// The gates before the routes of a worker.
#[derive(Clone, Default)]
pub(super) struct RouteGuards {
    pub(super) sign_in: Option<Rc<SignInState>>,
    /// With the proxies whose word counts.
    pub(super) limiter: Option<(Arc<RateLimiter>, Rc<[IpNet]>)>,
}

/// Registers the table. Before each route of operator actions stands the audit log; with sign-in, a guard before every
/// route but the open ones; with a limit, a gate before every route with a cost.
pub(super) fn configure(config: &mut web::ServiceConfig, guards: &RouteGuards) {
    for (number, endpoint) in endpoints().into_iter().enumerate() {
        config.service(endpoint.into_service(RouteNumber(number), guards));
    }
    config.default_service(web::to(unknown_path));
}

async fn unknown_path() -> Result<HttpResponse, Problem> {
    Err(Problem::new(ProblemCode::UnknownPath, "no route has this path; /docs lists those there are"))
}

pub(super) struct Endpoint {
    /// The documented path, without patterns.
    path: String,
    calls: Vec<EndpointMethod>,
    /// The handlers honour conditions (`If-Match` and others); every other route refuses a request with a condition.
    is_conditional: bool,
    resource: Resource,
}

struct EndpointMethod {
    access: RouteAccess,
    method: Method,
    handler: actix_web::Route,
}

impl Endpoint {
    fn at(path: &'static str) -> Self {
        Self { path: path.replace(":.*", ""), calls: Vec::new(), is_conditional: false, resource: web::resource(path) }
    }

    /// `GET`, and `HEAD` by the same handler: the server leaves out the body.
    fn get<H, A>(mut self, access: RouteAccess, handler: H) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let guard = guard::Any(guard::Get()).or(guard::Head());
        self.calls.push(EndpointMethod { access, method: Method::GET, handler: web::route().guard(guard).to(handler) });
        self
    }

    fn on<H, A>(mut self, access: RouteAccess, method: Method, handler: H) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let handler = web::method(method.clone()).to(handler);
        self.calls.push(EndpointMethod { access, method, handler });
        self
    }

    fn conditional(mut self) -> Self {
        self.is_conditional = true;
        self
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The methods of the path, with the access of each.
    pub(super) fn methods(&self) -> impl Iterator<Item = (&Method, RouteAccess)> {
        self.calls.iter().map(|call| (&call.method, call.access))
    }

    fn into_service(mut self, route: RouteNumber, guards: &RouteGuards) -> impl HttpServiceFactory + 'static {
        let mut methods: Vec<&str> = self.calls.iter().map(|call| call.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        let text = methods.join(", ");
        let detail = format!("{} takes {text}", self.path);
        // Methods are letters, always fit for a header.
        let allow = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        let taken = methods.iter().map(ToString::to_string).collect::<Vec<_>>();
        for EndpointMethod { access, handler, method } in self.calls {
            // What is open to everybody takes any query: probes and browsers add their own.
            let handler = if access == Open || openapi::reads_query(&method, &self.path) {
                handler
            } else {
                handler.wrap(from_fn(refuse_query))
            };
            let handler = if self.is_conditional {
                handler
            } else {
                handler.guard(guard::fn_guard(|context| conditional::unsupported_condition(context.head()).is_none()))
            };
            let handler = if access.has_operator_actions() {
                handler.wrap(from_fn(move |request, next| require_audit_entry(access, request, next)))
            } else {
                handler
            };
            let handler = match (&guards.limiter, cost(&self.path, &method, access)) {
                (Some((limiter, proxies)), Some(cost)) => handler.wrap(GateMiddleware(Rc::new(RateLimitGate {
                    limiter: Arc::clone(limiter),
                    proxies: Rc::clone(proxies),
                    cost,
                }))),
                _ => handler,
            };
            self.resource = self.resource.route(match (&guards.sign_in, access) {
                (None, _) | (_, Open) => handler,
                (Some(sign_in), access) => {
                    handler.wrap(GateMiddleware(Rc::new(SignInGate::new(Rc::clone(sign_in), access))))
                }
            });
        }
        // Requests that no route has taken: another method, or a condition that the method's route does not honour.
        self.resource.app_data(route).default_service(web::to(move |request: HttpRequest| {
            let is_taken = taken.iter().any(|method| method == request.method().as_str());
            let problem = match conditional::unsupported_condition(request.head()) {
                Some(header) if is_taken => conditional::reject_condition(header),
                _ => Problem::new(ProblemCode::MethodNotAllowed, detail.clone()).header(ALLOW, allow.clone()),
            };
            async move { Err::<HttpResponse, _>(problem) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_something_for_operators_is_noted() {
        let mut acts = vec![OperatorAction::Look, OperatorAction::MakeTestFiles];
        for endpoint in endpoints() {
            for (method, access) in endpoint.methods() {
                let is_act = matches!(access, Does(_));
                let is_operators = access.scope() == Some(Admin) || endpoint.path().starts_with("/admin");
                assert_eq!(is_act, is_operators && *method != Method::GET, "{method} {}", endpoint.path());
                assert!(!is_act || access.has_operator_actions(), "{method} {}", endpoint.path());
                if let Does(act) = access {
                    assert!(!acts.contains(&act), "{act:?} is done by two routes");
                    acts.push(act);
                }
            }
        }
        assert_eq!(acts.len(), OperatorAction::ALL.len(), "an act that no route does");
        assert!(Own(OwnerSource::Rows).has_operator_actions());
    }
}
