//! Every path of the API, what it takes and of whom, and what the others get.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, guard, web};

use super::access::Access::{self, Does, Needs, Open, Own};
use super::access::In;
use super::acts::noted;
use super::counts::Route;
use super::gate::Before;
use super::limit::{Limit, cost};
use super::sign_in::{Guard, SignIn};
use super::{
    Code, Problem, admin, audit, bulk, collections, dashboard, data, docs, files, health, key_value, metrics, records,
    stats, store,
};
use crate::audit::Act;
use crate::auth::Scope::{Admin, Service};
use crate::limits::{Limiter, Network};

/// The one table of routes, and of who may call each. A path that is not in it is answered 404, a method that its path does not take 405.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        // Looked through from the top for each request: first what is asked for most.
        Endpoint::at("/").get(Open, health::service),
        Endpoint::at("/ingest").on(Own(In::Body), Method::POST, files::ingest),
        Endpoint::at("/query/{user_id}").get(Own(In::Path("user_id")), files::list),
        Endpoint::at("/read/{key:.*}").get(Needs(Service), key_value::read),
        Endpoint::at("/write").on(Needs(Service), Method::POST, key_value::write),
        Endpoint::at("/files/{file_id}")
            .get(Own(In::File), files::find)
            .on(Own(In::File), Method::PATCH, files::change)
            .on(Own(In::File), Method::DELETE, files::delete),
        Endpoint::at("/data/{id}").get(Needs(Service), data::find),
        Endpoint::at("/records/{collection}/{key:.*}")
            .get(Own(In::Documents), records::find)
            .on(Own(In::Documents), Method::PUT, records::put)
            .on(Own(In::Documents), Method::PATCH, records::patch)
            .on(Own(In::Documents), Method::DELETE, records::delete),
        // The rest, by what they are about.
        Endpoint::at("/health").get(Open, health::health),
        Endpoint::at("/health/live").get(Open, health::live),
        Endpoint::at("/health/ready").get(Open, health::ready),
        Endpoint::at("/metrics").get(Open, metrics::metrics),
        Endpoint::at("/ingest/bulk").on(Own(In::Rows), Method::POST, bulk::load),
        Endpoint::at("/stats").get(Needs(Service), stats::stats),
        Endpoint::at("/collections").get(Needs(Service), collections::list),
        Endpoint::at("/collections/{collection}").get(Needs(Service), collections::find).on(
            Does(Act::DeclareCollection),
            Method::PUT,
            collections::declare,
        ),
        Endpoint::at("/records/{collection}").get(Own(In::Documents), records::list).on(
            Own(In::Documents),
            Method::POST,
            records::create,
        ),
        Endpoint::at("/store").on(Own(In::Body), Method::POST, store::put),
        Endpoint::at("/store/{userId}").get(Own(In::Path("userId")), store::find),
        Endpoint::at("/shards").get(Needs(Admin), store::shards),
        Endpoint::at("/data").get(Needs(Service), data::list).on(Needs(Service), Method::POST, data::create),
        Endpoint::at("/admin/shards").on(Does(Act::AddShard), Method::POST, admin::grow),
        Endpoint::at("/admin/moves").get(Needs(Admin), admin::list).on(
            Does(Act::MoveSlots),
            Method::POST,
            admin::begin,
        ),
        Endpoint::at("/admin/moves/{id}").get(Needs(Admin), admin::find),
        Endpoint::at("/admin/moves/{id}/cancel").on(Does(Act::Cancel), Method::POST, admin::cancel),
        Endpoint::at("/admin/moves/{id}/rollback").on(Does(Act::RollBack), Method::POST, admin::roll_back),
        Endpoint::at("/admin/moves/{id}/finish").on(Does(Act::Finish), Method::POST, admin::finish),
        Endpoint::at("/admin/drain").on(Does(Act::Drain), Method::POST, admin::drain),
        Endpoint::at("/admin/rebalance").on(Does(Act::Rebalance), Method::POST, admin::rebalance),
        Endpoint::at("/admin/analysis").get(Needs(Admin), admin::analysis),
        Endpoint::at("/admin/audit").get(Needs(Admin), audit::list),
        Endpoint::at("/openapi.json").get(Open, docs::description),
        Endpoint::at("/docs").get(Open, docs::page_redirect),
        Endpoint::at("/docs/{file:.*}").get(Open, docs::page),
        Endpoint::at("/dashboard").get(Open, dashboard::page),
        Endpoint::at("/dashboard/events").get(Needs(Admin), dashboard::events),
        Endpoint::at("/dashboard/{file:.*}").get(Open, dashboard::file),
    ]
}

/// What stands before the routes on one worker.
#[derive(Clone, Default)]
pub(super) struct Guards {
    pub(super) sign_in: Option<Rc<SignIn>>,
    /// With the proxies whose word counts.
    pub(super) limiter: Option<(Arc<Limiter>, Rc<[Network]>)>,
}

/// Puts the table in place. Before each route that may be an act stands the audit log; with sign-in, a guard before every
/// route that is not open; with a limit, one before every route that costs something.
pub(super) fn configure(config: &mut web::ServiceConfig, guards: &Guards) {
    for (number, endpoint) in endpoints().into_iter().enumerate() {
        config.service(endpoint.into_service(Route(number), guards));
    }
    config.default_service(web::to(unknown_path));
}

async fn unknown_path() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Code::UnknownPath, "no route has this path; /docs lists those there are"))
}

/// A path and what it takes.
pub(super) struct Endpoint {
    /// As it is documented: without the patterns of its parts.
    path: String,
    calls: Vec<Call>,
    resource: Resource,
}

/// A method of a path.
struct Call {
    access: Access,
    method: Method,
    handler: actix_web::Route,
}

impl Endpoint {
    fn at(path: &'static str) -> Self {
        Self { path: path.replace(":.*", ""), calls: Vec::new(), resource: web::resource(path) }
    }

    /// `GET`, and `HEAD` by the same handler: the server leaves out the body.
    fn get<H, A>(mut self, access: Access, handler: H) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let guard = guard::Any(guard::Get()).or(guard::Head());
        self.calls.push(Call { access, method: Method::GET, handler: web::route().guard(guard).to(handler) });
        self
    }

    fn on<H, A>(mut self, access: Access, method: Method, handler: H) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let handler = web::method(method.clone()).to(handler);
        self.calls.push(Call { access, method, handler });
        self
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The methods that the path takes, and who may use each.
    pub(super) fn methods(&self) -> impl Iterator<Item = (&Method, Access)> {
        self.calls.iter().map(|call| (&call.method, call.access))
    }

    fn into_service(mut self, route: Route, guards: &Guards) -> impl HttpServiceFactory + 'static {
        let mut methods: Vec<&str> = self.calls.iter().map(|call| call.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        let text = methods.join(", ");
        let detail = format!("{} takes {text}", self.path);
        // Methods are letters, always fit for a header.
        let allow = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        for Call { access, handler, method } in self.calls {
            let handler = if access.has_acts() {
                handler.wrap(from_fn(move |request, next| noted(access, request, next)))
            } else {
                handler
            };
            let handler = match (&guards.limiter, cost(&self.path, &method, access)) {
                (Some((limiter, proxies)), Some(cost)) => handler.wrap(Before(Rc::new(Limit {
                    limiter: Arc::clone(limiter),
                    proxies: Rc::clone(proxies),
                    cost,
                }))),
                _ => handler,
            };
            self.resource = self.resource.route(match (&guards.sign_in, access) {
                (None, _) | (_, Open) => handler,
                (Some(sign_in), access) => handler.wrap(Before(Rc::new(Guard::new(Rc::clone(sign_in), access)))),
            });
        }
        self.resource.app_data(route).default_service(web::to(move || {
            let problem = Problem::new(Code::MethodNotAllowed, detail.clone()).header(ALLOW, allow.clone());
            async move { Err::<HttpResponse, _>(problem) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_something_for_operators_is_noted() {
        let mut acts = vec![Act::Look, Act::MakeTestFiles];
        for endpoint in endpoints() {
            for (method, access) in endpoint.methods() {
                let is_act = matches!(access, Does(_));
                let is_operators = access.scope() == Some(Admin) || endpoint.path().starts_with("/admin");
                assert_eq!(is_act, is_operators && *method != Method::GET, "{method} {}", endpoint.path());
                assert!(!is_act || access.has_acts(), "{method} {}", endpoint.path());
                if let Does(act) = access {
                    assert!(!acts.contains(&act), "{act:?} is done by two routes");
                    acts.push(act);
                }
            }
        }
        assert_eq!(acts.len(), Act::ALL.len(), "an act that no route does");
        assert!(Own(In::Rows).has_acts());
    }
}
