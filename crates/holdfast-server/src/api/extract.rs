//! axum's extractors, with our errors.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// What stands in the path.
pub(crate) struct Segments<T>(pub(crate) T);

/// What stands after the `?`.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "The body is not marked as JSON.",
                "Send the header `Content-Type: application/json`.",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|error| unread(&error))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| misunderstood(&error))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(segments)| Self(segments)).map_err(|_| {
            Problem::invalid(
                "invalid_path",
                "A part of the address cannot be read.",
                "Escape names and ids in the address as UTF-8.",
            )
        })
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|error| {
            Problem::invalid(
                "invalid_query",
                format!("The query cannot be read: {}.", error.body_text()),
                "See the API document at /api/v1/openapi.json.",
            )
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn unread(error: &BytesRejection) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is larger than 1 MiB.",
            "Send less at a time.",
        );
    }
    Problem::invalid("body_unread", "The body did not arrive whole.", "Send it again.")
}

/// serde's own text may repeat a value, and values may be secrets; only field names pass.
fn misunderstood(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let named = ["missing field", "unknown field", "duplicate field"];
    let what = if !error.is_data() {
        "it is not JSON".to_owned()
    } else if named.iter().any(|start| text.starts_with(start)) {
        text.split(" at line ").next().unwrap_or_default().to_owned()
    } else {
        "a value has the wrong type".to_owned()
    };
    let (line, column) = (error.line(), error.column());
    Problem::invalid(
        "invalid_body",
        format!("The body cannot be read: {what} (line {line}, column {column})."),
        "See the API document at /api/v1/openapi.json.",
    )
}

#[cfg(test)]
mod tests {
    use axum::{body::Body as Raw, response::IntoResponse};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only whether it can be read matters")]
        password: String,
    }

    async fn refuse(kind: &str, body: &str) -> (StatusCode, String) {
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, kind)
            .body(Raw::from(body.to_owned()))
            .unwrap();
        let problem = Body::<Order>::from_request(request, &()).await.err().unwrap();
        let response = problem.into_response();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_body_of_the_wrong_shape_is_named_without_its_values() {
        let json = "application/json; charset=utf-8";
        let (_, missing) = refuse(json, "{}").await;
        assert!(missing.contains("missing field `password`"), "{missing}");
        let (_, unknown) = refuse(json, r#"{"passwort":"canary"}"#).await;
        assert!(unknown.contains("unknown field `passwort`"), "{unknown}");
        let (_, wrong) = refuse(json, r#"["canary"]x"#).await;
        assert!(!wrong.contains("canary"), "{wrong}");
        let (_, number) = refuse(json, r#"{"password":4711}"#).await;
        assert!(number.contains("wrong type") && !number.contains("4711"), "{number}");
    }

    #[tokio::test]
    async fn a_body_that_is_not_marked_as_json_is_refused() {
        let (status, text) = refuse("text/plain", "{}").await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(text.contains("application/json"), "{text}");
    }
}
