//! Lists that are asked for again and again: whoever has the newest is told so in one line.
//!
//! The tag is a hash of the answer, so it is as exact as the answer itself, whoever asks and
//! whatever they may see. What is saved is the way to the browser and its work there.

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::problem::{Problem, chain};

/// What may be long and is often the same as before.
const LISTS: [&str; 11] = [
    "/api/v1/alerts",
    "/api/v1/hosts",
    "/api/v1/hosts/{host}",
    "/api/v1/hosts/{host}/evaluations",
    "/api/v1/hosts/{host}/snapshots",
    "/api/v1/jobs",
    "/api/v1/jobs/{job}/log",
    "/api/v1/overview",
    "/api/v1/overview/days",
    "/api/v1/repositories",
    "/api/v1/schedules",
];

/// The browser keeps the answer and asks each time whether it still holds.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The middleware.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let listed = path.is_some_and(|path| LISTS.contains(&path.as_str()));
    if !listed || request.method() != Method::GET {
        return next.run(request).await;
    }
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return unreadable(&error),
    };
    let tag = tag_of(&body);
    let same = known.is_some_and(|known| names(&known, &tag));
    note(&mut head.headers, tag);
    if same {
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        head.status = StatusCode::NOT_MODIFIED;
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, body.into())
}

/// A weak one: the answer may travel compressed or not.
fn tag_of(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&hash[..18]))
}

/// Whether a list of tags has this one in it.
fn names(known: &HeaderValue, tag: &str) -> bool {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let known = known.to_str().unwrap_or_default();
    known.split(',').any(|one| opaque(one) == opaque(tag))
}

fn note(headers: &mut HeaderMap, tag: String) {
    headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
}

fn unreadable(error: &axum::Error) -> Response {
    tracing::error!(error = chain(error), "an answer could not be read");
    Problem::internal().into_response()
}
