//! The dashboard: the files of `web/dist`, inside the binary.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::api::problem::Problem;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Assets;

/// The page that stands for every address inside the dashboard.
const INDEX: &str = "index.html";

/// The folder whose files have a hash of their content in their names.
const HASHED: &str = "assets/";

/// What is said when the binary was built without a dashboard.
const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <title>Holdfast</title></head><body><h1>Holdfast</h1>\
    <p>The server runs, but its dashboard was not built.</p>\
    <p>Run <code>cargo xtask web</code> (or <code>npm run build</code> in <code>web/</code>) \
    and start the server again. The API is at <code>/api/v1</code>.</p></body></html>\n";

/// Answers everything that no route answers.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return unknown(uri.path()).into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return wrong_method().into_response();
    }
    if let Some(file) = Assets::get(path) {
        return answer(path, file, &headers);
    }
    if path.starts_with(HASHED) {
        return unknown(uri.path()).into_response();
    }
    match Assets::get(INDEX) {
        Some(index) => answer(INDEX, index, &headers),
        None => not_built(),
    }
}

/// The answer to a method that a known address does not take.
pub(crate) fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address does not take this method.",
        "See the API document at /api/v1/openapi.json.",
    )
}

fn unknown(path: &str) -> Problem {
    let path: String = path.chars().take(200).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_path",
        format!("There is nothing at {path}."),
        "See the API document at /api/v1/openapi.json.",
    )
}

fn answer(path: &str, file: EmbeddedFile, request: &HeaderMap) -> Response {
    let tag = tag(&file);
    // A hashed name stands for one content for ever; every other name is asked for again.
    let caching = if path.starts_with(HASHED) {
        HeaderValue::from_static("public, max-age=31536000, immutable")
    } else {
        HeaderValue::from_static("no-cache")
    };
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|value| *value == tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = content_type(file.metadata.mimetype());
        ([(header::CONTENT_TYPE, kind)], Body::from(file.data)).into_response()
    };
    response.headers_mut().insert(header::ETAG, tag);
    response.headers_mut().insert(header::CACHE_CONTROL, caching);
    response
}

fn tag(file: &EmbeddedFile) -> HeaderValue {
    let hash: String =
        file.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hash}\"")).expect("hexadecimal digits fit a header")
}

fn content_type(guessed: &str) -> HeaderValue {
    let text = guessed.starts_with("text/") && !guessed.contains("charset");
    let full = if text { format!("{guessed}; charset=utf-8") } else { guessed.to_owned() };
    HeaderValue::try_from(full)
        .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

fn not_built() -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, kind)], NOT_BUILT).into_response()
}
