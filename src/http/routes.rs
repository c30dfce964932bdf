//! Every path of the API, what it takes, and what the others get.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, guard, web};

use super::counts::Route;
use super::{
    Code, Problem, admin, bulk, collections, data, docs, files, health, key_value, metrics, records, stats, store,
};

/// The one table of routes. A path that is not in it is answered 404, a method that its path does not take 405.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        // Looked through from the top for each request: first what is asked for most.
        Endpoint::at("/").get(health::service),
        Endpoint::at("/ingest").on(Method::POST, files::ingest),
        Endpoint::at("/query/{user_id}").get(files::list),
        Endpoint::at("/read/{key:.*}").get(key_value::read),
        Endpoint::at("/write").on(Method::POST, key_value::write),
        Endpoint::at("/files/{file_id}")
            .get(files::find)
            .on(Method::PATCH, files::change)
            .on(Method::DELETE, files::delete),
        Endpoint::at("/data/{id}").get(data::find),
        Endpoint::at("/records/{collection}/{key:.*}")
            .get(records::find)
            .on(Method::PUT, records::put)
            .on(Method::PATCH, records::patch)
            .on(Method::DELETE, records::delete),
        // The rest, by what they are about.
        Endpoint::at("/health").get(health::health),
        Endpoint::at("/health/live").get(health::live),
        Endpoint::at("/health/ready").get(health::ready),
        Endpoint::at("/metrics").get(metrics::metrics),
        Endpoint::at("/ingest/bulk").on(Method::POST, bulk::load),
        Endpoint::at("/stats").get(stats::stats),
        Endpoint::at("/collections").get(collections::list),
        Endpoint::at("/collections/{collection}").get(collections::find).on(Method::PUT, collections::declare),
        Endpoint::at("/records/{collection}").get(records::list).on(Method::POST, records::create),
        Endpoint::at("/store").on(Method::POST, store::put),
        Endpoint::at("/store/{userId}").get(store::find),
        Endpoint::at("/shards").get(store::shards),
        Endpoint::at("/data").get(data::list).on(Method::POST, data::create),
        Endpoint::at("/admin/shards").on(Method::POST, admin::grow),
        Endpoint::at("/admin/moves").get(admin::list).on(Method::POST, admin::begin),
        Endpoint::at("/admin/moves/{id}").get(admin::find),
        Endpoint::at("/admin/moves/{id}/cancel").on(Method::POST, admin::cancel),
        Endpoint::at("/admin/moves/{id}/rollback").on(Method::POST, admin::roll_back),
        Endpoint::at("/admin/moves/{id}/finish").on(Method::POST, admin::finish),
        Endpoint::at("/admin/drain").on(Method::POST, admin::drain),
        Endpoint::at("/admin/rebalance").on(Method::POST, admin::rebalance),
        Endpoint::at("/admin/analysis").get(admin::analysis),
        Endpoint::at("/openapi.json").get(docs::description),
        Endpoint::at("/docs").get(docs::page_redirect),
        Endpoint::at("/docs/{file:.*}").get(docs::page),
    ]
}

/// Puts the table in place.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for (number, endpoint) in endpoints().into_iter().enumerate() {
        config.service(endpoint.into_service(Route(number)));
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
    methods: Vec<Method>,
    resource: Resource,
}

impl Endpoint {
    fn at(path: &'static str) -> Self {
        Self { path: path.replace(":.*", ""), methods: Vec::new(), resource: web::resource(path) }
    }

    /// `GET`, and `HEAD` by the same handler: the server leaves out the body.
    fn get<H, A>(mut self, handler: H) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let guard = guard::Any(guard::Get()).or(guard::Head());
        self.resource = self.resource.route(web::route().guard(guard).to(handler));
        self.methods.push(Method::GET);
        self
    }

    fn on<H, A>(mut self, method: Method, handler: H) -> Self
    where
        H: Handler<A>,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        self.resource = self.resource.route(web::method(method.clone()).to(handler));
        self.methods.push(method);
        self
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    #[cfg(test)]
    pub(super) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter()
    }

    fn into_service(self, route: Route) -> impl HttpServiceFactory + 'static {
        let mut methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        let text = methods.join(", ");
        let detail = format!("{} takes {text}", self.path);
        // Methods are letters, always fit for a header.
        let allow = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        self.resource.app_data(route).default_service(web::to(move || {
            let problem = Problem::new(Code::MethodNotAllowed, detail.clone()).allow(allow.clone());
            async move { Err::<HttpResponse, _>(problem) }
        }))
    }
}
