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
    auth::{Access, Reach, cookie},
    live::{logs, state},
    view,
};

/// The extension under which an operation tells what it needs.
const X_ROLE: &str = "x-role";

/// The extension under which an operation tells how far it reaches.
const X_SCOPE: &str = "x-scope";

/// Parts of a path that name one host, or something of one host.
const OF_A_HOST: [&str; 3] = ["{host}", "{job}", "{alert}"];

/// The names under which the document lists ways to prove who asks.
const BEARER: &str = "bearer";
const COOKIE: &str = "sign_in";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Keeps fleets of machines backed up. Sizes are bytes, times RFC 3339 in UTC. \
            `x-role` tells the smallest role that may use an operation; `own` is for everybody \
            who is signed in, about themselves. `x-scope` tells what a role in some host groups \
            opens: nothing (`fleet`), the host, job or alert in the path where it is of those \
            groups (`host`), or an answer that holds only those hosts (`narrowed`).",
    ),
    components(schemas(
        view::JobStatus,
        view::JobOperation,
        view::LogSource,
        state::Update,
        logs::Said,
        logs::Told
    ))
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
///
/// Who has a role in some host groups only may use them for a host, job or alert in the path that
/// is theirs; all else is closed to them.
pub(crate) fn routes<S>(access: Access, routes: UtoipaMethodRouter<S>) -> UtoipaMethodRouter<S> {
    declare_all(routes, |path| {
        let of_a_host = OF_A_HOST.iter().any(|part| path.contains(part));
        (access, if of_a_host { Reach::Host } else { Reach::Fleet })
    })
}

/// Routes that need `access` and show everybody only the hosts of their host groups.
pub(crate) fn narrowed<S>(access: Access, routes: UtoipaMethodRouter<S>) -> UtoipaMethodRouter<S> {
    declare_all(routes, |_| (access, Reach::Narrowed))
}

fn declare_all<S>(
    (schemas, mut paths, router): UtoipaMethodRouter<S>,
    needs: impl Fn(&str) -> (Access, Reach),
) -> UtoipaMethodRouter<S> {
    for (path, item) in &mut paths.paths {
        let (access, reach) = needs(path);
        for (_, operation) in operations_mut(item) {
            declare(operation, access, reach);
        }
    }
    (schemas, paths, router)
}

/// What an operation needs, as the document tells it.
pub(crate) fn access(operation: &Operation) -> Option<Access> {
    let word = operation.extensions.as_ref()?.get(X_ROLE)?.as_str()?;
    Access::from_word(word)
}

/// How far an operation reaches, as the document tells it.
pub(crate) fn reach(operation: &Operation) -> Option<Reach> {
    let word = operation.extensions.as_ref()?.get(X_SCOPE)?.as_str()?;
    Reach::from_word(word)
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

fn declare(operation: &mut Operation, access: Access, reach: Reach) {
    let extensions = operation.extensions.get_or_insert_with(Extensions::default);
    extensions.insert(X_ROLE.to_owned(), access.as_str().into());
    if let Access::Role(_) = access {
        extensions.insert(X_SCOPE.to_owned(), reach.as_str().into());
    }
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
