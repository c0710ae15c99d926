//! The API document is a reviewed file.

use std::path::Path;

use axum::{body::Body, http::Request};
use serde_json::Value;

use crate::support::Server;

/// The objects' keys in order, so that the file does not depend on any map's.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(ordered).collect(),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            pairs.into_iter().map(|(key, value)| (key.clone(), ordered(value))).collect()
        }
        plain => plain.clone(),
    }
}

#[tokio::test]
async fn the_document_is_the_reviewed_one() {
    let server = Server::start().await;
    let request = Request::get("/api/v1/openapi.json").body(Body::empty()).unwrap();
    let document = server.send(request).await.expect(200);
    let text = format!("{:#}\n", ordered(&document));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi.json");
    if std::env::var_os("HOLDFAST_ACCEPT").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        text == reviewed,
        "The API document differs from tests/openapi.json. Run the test again with \
         HOLDFAST_ACCEPT=1, review the difference and commit it."
    );
}

#[tokio::test]
async fn every_operation_and_field_is_described() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            assert!(operation["operationId"].is_string(), "{method} {path} has no operationId");
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let fields = schema["properties"].as_object();
        for (field, property) in fields.into_iter().flatten() {
            let text = property.to_string();
            assert!(text.contains("description"), "{name}.{field} is not described");
        }
    }
}
