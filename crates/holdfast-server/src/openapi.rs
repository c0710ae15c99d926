//! The API document, and what it says about who may use a route.

use axum::http::Method;
use utoipa::{
    OpenApi as _,
    openapi::{
        Components, OpenApi,
        extensions::Extensions,
        path::{Operation, PathItem},
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::{
    auth::{Access, cookie},
    view,
};

/// The extension under which an operation tells what it needs.
const X_ROLE: &str = "x-role";

/// The names under which the document lists ways to prove who asks.
const BEARER: &str = "bearer";
const COOKIE: &str = "sign_in";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Keeps fleets of machines backed up. Sizes are bytes, times RFC 3339 in UTC. \
            `x-role` tells the smallest role that may use an operation; `own` is for everybody \
            who is signed in, about themselves.",
    ),
    components(schemas(view::JobStatus, view::JobOperation, view::LogSource))
)]
struct Document;

/// The document without paths.
pub(crate) fn document() -> OpenApi {
    let mut document = Document::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    let sign_in = ApiKey::Cookie(ApiKeyValue::with_description(
        cookie::NAME_HTTPS,
        "Over plain HTTP, to this machine only, its name has no `__Host-`.",
    ));
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(sign_in));
    document
}

/// Routes that need `access`. The word goes into the document, from which the guard takes it.
pub(crate) fn routes<S>(
    access: Access,
    (schemas, mut paths, router): UtoipaMethodRouter<S>,
) -> UtoipaMethodRouter<S> {
    for item in paths.paths.values_mut() {
        for (_, operation) in operations_mut(item) {
            declare(operation, access);
        }
    }
    (schemas, paths, router)
}

/// What an operation needs, as the document tells it.
pub(crate) fn access(operation: &Operation) -> Option<Access> {
    let word = operation.extensions.as_ref()?.get(X_ROLE)?.as_str()?;
    Access::from_word(word)
}

/// The operations of a path with their methods.
pub(crate) fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
        (Method::OPTIONS, &item.options),
        (Method::HEAD, &item.head),
        (Method::TRACE, &item.trace),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
        (Method::OPTIONS, &mut item.options),
        (Method::HEAD, &mut item.head),
        (Method::TRACE, &mut item.trace),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn declare(operation: &mut Operation, access: Access) {
    let extensions = operation.extensions.get_or_insert_with(Extensions::default);
    extensions.insert(X_ROLE.to_owned(), access.as_str().into());
    let none: [&str; 0] = [];
    operation.security = match access {
        Access::Public | Access::Enrolment => None,
        Access::Agent => Some(vec![SecurityRequirement::new(BEARER, none)]),
        Access::Own | Access::Role(_) => Some(vec![
            SecurityRequirement::new(BEARER, none),
            SecurityRequirement::new(COOKIE, none),
        ]),
    };
}
