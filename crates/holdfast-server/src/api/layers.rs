//! What every request and every answer goes through.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{DefaultPredicate, NotForContentType, Predicate},
    },
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
};

use super::problem::Problem;

/// The largest body, in bytes.
const BODY_SIZE_MAX: usize = 1024 * 1024;

/// How long an answer may take. A WebSocket has answered as soon as it is open.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Only our own files run, are shown or are asked, and nobody frames the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self'; \
    img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Wraps `router`. The outermost layer comes last.
pub(super) fn wrap(router: Router) -> Router {
    let id = HeaderName::from_static("x-request-id");
    router
        .layer(DefaultBodyLimit::max(BODY_SIZE_MAX))
        .layer(CompressionLayer::new().compress_when(worth_compressing()))
        .layer(middleware::from_fn(deadline))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(secure))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::new(id.clone()))
        .layer(SetRequestIdLayer::new(id, MakeRequestUuid))
}

/// People's files come as they are: compressing them would hide their length, and with it whether
/// all has come.
fn worth_compressing() -> impl Predicate {
    DefaultPredicate::new().and(NotForContentType::const_new("application/octet-stream"))
}

/// The query is left out: a careless client may put a secret there.
fn span(request: &Request) -> tracing::Span {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let id = request.extensions().get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", id, method = %request.method(), path)
}

async fn deadline(request: Request, next: Next) -> Response {
    tokio::time::timeout(ANSWER_DEADLINE, next.run(request)).await.unwrap_or_else(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_slow",
            "The server could not answer in time.",
            "Try again a little later.",
        )
        .into_response()
    })
}

async fn secure(request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if api {
        // Answers hold secrets once (tokens) and the state of the moment always. Lists that have
        // a tag say themselves that they may be kept, to be asked for again.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let what = panic.downcast_ref::<String>().map(String::as_str);
    let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    tracing::error!(what, "a request panicked");
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str) -> (StatusCode, String, String) {
        let never = async || std::future::pending::<()>().await;
        let fault = async || -> () { panic!("canary") };
        let router = Router::new().route("/never", get(never)).route("/fault", get(fault));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = wrap(router).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 4096).await.unwrap();
        let id = head.headers["x-request-id"].to_str().unwrap().to_owned();
        (head.status, String::from_utf8(body.to_vec()).unwrap(), id)
    }

    #[tokio::test]
    async fn a_panic_is_answered_without_its_text() {
        let (status, body, id) = ask("/fault").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("internal_error") && !body.contains("canary"), "{body}");
        assert!(!id.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_is_given_up() {
        let (status, body, _) = ask("/never").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("too_slow"), "{body}");
    }
}
