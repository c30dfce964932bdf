//! Sign-in in the API's description, made of the table of routes, so that both say the same.

use actix_web::http::Method;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HeaderBuilder, ObjectBuilder, OpenApi, Ref, Response, ResponseBuilder, Type,
};

use crate::auth::Scope;
use crate::http::guards::access::{OwnerSource, RouteAccess};
use crate::http::routes::endpoints;

/// The name of the way to sign in.
const SCHEME: &str = "bearer";

/// Adds the access of each operation, and the refusals.
pub(super) fn describe(document: &mut OpenApi) {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(
        "A token of the sign-in provider, with the scope `user`, `service` or `admin`. Not needed where sign-in is off.",
    ));
    let components = document.components.take().unwrap_or_else(|| ComponentsBuilder::new().build());
    let components = ComponentsBuilder::from(components).security_scheme(SCHEME, SecurityScheme::Http(scheme.build()));
    document.components = Some(components.build());
    for endpoint in endpoints() {
        let Some(path) = document.paths.paths.get_mut(endpoint.path()) else { continue };
        for (method, access) in endpoint.methods() {
            if let (Some(operation), Some(scope)) = (operation(path, method), access.scope()) {
                restrict(operation, access, scope);
            }
        }
    }
}

fn operation<'a>(path: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match method.as_str() {
        "GET" => path.get.as_mut(),
        "POST" => path.post.as_mut(),
        "PUT" => path.put.as_mut(),
        "PATCH" => path.patch.as_mut(),
        "DELETE" => path.delete.as_mut(),
        _ => None,
    }
}

fn restrict(operation: &mut Operation, access: RouteAccess, scope: Scope) {
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope.as_str()])]);
    let text = operation.description.take().map(|text| text + "\n\n").unwrap_or_default();
    operation.description = Some(format!("{text}{}", sentence(access)));
    let responses = &mut operation.responses.responses;
    for (status, description) in
        [("401", "There is no token, or it does not count"), ("403", "The token does not grant this")]
    {
        let refusal = refusal(description, "WWW-Authenticate", Type::String);
        responses.insert(status.to_owned(), refusal.into());
    }
    let limited = refusal("More was asked for than the limit of the caller allows", "Retry-After", Type::Integer);
    responses.insert("429".to_owned(), limited.into());
    let away = || refusal("The sign-in provider does not answer", "Retry-After", Type::Integer);
    responses.entry("503".to_owned()).or_insert_with(|| away().into());
}

fn sentence(access: RouteAccess) -> String {
    match access {
        RouteAccess::Open => String::new(),
        RouteAccess::Needs(scope) => format!("Needs the scope `{scope}`."),
        RouteAccess::Does(_) => "Needs the scope `admin`. Noted in the audit log; what cannot be noted is not done (503).".to_owned(),
        RouteAccess::Own(OwnerSource::Path(part)) => format!("With the scope `user` only for the token's own `{part}`."),
        RouteAccess::Own(OwnerSource::Body) => "With the scope `user` only for the token's own user.".to_owned(),
        RouteAccess::Own(OwnerSource::Rows) => {
            "With the scope `user` only for the token's own user: records of others are rejected. `count` needs the scope \
             `admin`."
                .to_owned()
        }
        RouteAccess::Own(OwnerSource::File) => "With the scope `user` a file of another user is not found.".to_owned(),
        RouteAccess::Own(OwnerSource::Documents) => {
            "With the scope `user` only in collections whose shard key is the integer `user_id`, and there only the \
             token's own documents."
                .to_owned()
        }
    }
}

/// A problem with a header.
fn refusal(description: &str, header: &str, header_type: Type) -> Response {
    let value = ObjectBuilder::new().schema_type(header_type).build();
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", problem)
        .header(header, HeaderBuilder::new().schema(Some(value)).build())
        .build()
}

#[cfg(test)]
mod tests {
    use crate::http::api::openapi::tests::{document, operations};

    #[test]
    fn every_call_says_who_may_use_it() {
        let document = document();
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        let open = ["/", "/health", "/health/live", "/health/ready", "/openapi.json", "/metrics"];
        for (method, path, operation) in operations(&document) {
            let security = &operation["security"][0]["bearer"][0];
            let responses = &operation["responses"];
            if open.contains(&path) {
                assert_eq!(operation["security"], serde_json::json!([]), "{method} {path}");
                assert!(responses["401"].is_null(), "{method} {path}");
            } else {
                assert!(["user", "service", "admin"].iter().any(|scope| security == scope), "{method} {path}");
                assert!(responses["401"].is_object() && responses["403"].is_object(), "{method} {path}");
            }
            let is_admin =
                path.starts_with("/admin/") || path == "/shards" || method == "put" && path.starts_with("/collections");
            assert_eq!(security == "admin", is_admin, "{method} {path}");
        }
    }
}
