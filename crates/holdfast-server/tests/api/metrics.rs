//! The numbers, and what is shipped to read them.

use std::{collections::BTreeSet, path::Path};

use axum::{body::Body, http::Request};
use serde_json::json;

use crate::support::{Answer, Server};

async fn numbers(server: &Server) -> Answer {
    let bearer = format!("Bearer {}", server.viewer);
    let request = Request::get("/metrics").header("authorization", bearer);
    server.send(request.body(Body::empty()).unwrap()).await
}

/// Asks until the live view has caught up, and gives the whole page.
async fn until(server: &Server, fits: impl Fn(&str) -> bool) -> String {
    let asking = async {
        loop {
            let text = numbers(server).await.text;
            if fits(&text) {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.unwrap()
}

#[tokio::test]
async fn the_fleets_standing_is_a_number_and_leaves_with_its_host() {
    let server = Server::with_group().await;
    let line = "holdfast_host_standing{host=\"web-1\",standing=\"never\"} 1\n";
    let text = until(&server, |text| text.contains("group=\"etc\"")).await;
    assert!(text.contains(line), "{text}");
    assert!(text.contains("holdfast_host_objective_seconds{host=\"web-1\",group=\"etc\"} 604800"));
    assert!(text.contains("holdfast_alerts_open{severity=\"critical\"} 0"));
    server.delete("/hosts/web-1").await.expect(204);
    until(&server, |text| !text.contains("web-1")).await;
}

#[tokio::test]
async fn every_number_is_told_once() {
    let server = Server::with_group().await;
    holdfast_server::metrics::install();
    let text = until(&server, |text| text.contains("group=\"etc\"")).await;
    assert!(text.contains("holdfast_build_info"), "{text}");
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert!(seen.insert(line), "{line} twice");
    }
}

/// The names that begin like ours.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(word).filter(|it| it.starts_with("holdfast_")).map(str::to_owned).collect()
}

/// A rule over a number that is not there never rings.
#[tokio::test]
async fn the_shipped_rules_and_board_read_numbers_that_exist() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let rules = std::fs::read_to_string(packaging.join("prometheus/holdfast.rules.yml")).unwrap();
    let board = std::fs::read_to_string(packaging.join("grafana/holdfast.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&board).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics.rs");
    let counted = std::fs::read_to_string(source).unwrap();
    let server = Server::with_group().await;
    let told = numbers(&server).await.text;
    // Counters appear with their first event, so those are looked for where they are defined.
    let known: BTreeSet<String> = names(&counted).union(&names(&told)).cloned().collect();
    let used: BTreeSet<String> = names(&rules).union(&names(&board)).cloned().collect();
    assert!(used.len() >= 12, "{used:?}");
    for name in used {
        let name = name.trim_end_matches("_bucket");
        assert!(known.contains(name), "{name} is read and never told");
    }
}

#[tokio::test]
async fn numbers_are_text_for_prometheus_and_for_nobody_else() {
    let server = Server::start().await;
    let stranger = Request::get("/metrics").body(Body::empty()).unwrap();
    server.send(stranger).await.expect_problem(401, "invalid_token");
    let answer = numbers(&server).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain"));
    server.post("/hosts", &json!({"name": "db-1"})).await.expect(201);
    until(&server, |text| text.contains("holdfast_host_up{host=\"db-1\"} 0\n")).await;
}
