//! Ordering, listing and ending jobs.

use serde_json::{Value, json};

use crate::support::Server;

async fn order(server: &Server) -> String {
    let body = json!({"operation": "backup", "group": "etc"});
    let answer = server.post("/hosts/web-1/jobs", &body).await.expect(202);
    answer["job_id"].as_str().unwrap().to_owned()
}

/// The ids on a page, and where the next one begins.
async fn page(server: &Server, query: &str) -> (Vec<String>, Option<String>) {
    let page = server.get(&format!("/jobs?{query}")).await.expect(200);
    let id = |job: &Value| job["id"].as_str().unwrap().to_owned();
    let ids = page["jobs"].as_array().unwrap().iter().map(id).collect();
    (ids, page["next"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn an_ordered_job_waits_for_its_agent() {
    let server = Server::with_group().await;
    let id = order(&server).await;
    let job = server.get(&format!("/jobs/{id}")).await.expect(200);
    assert_eq!((&job["status"], &job["group"]), (&json!("queued"), &json!("etc")));
    assert_eq!((&job["host_name"], &job["cause"]), (&json!("web-1"), &json!("manual")));
    assert_eq!((&job["host_online"], &job["cancel_requested"]), (&json!(false), &json!(false)));
    let log = server.get(&format!("/jobs/{id}/log")).await.expect(200);
    assert_eq!(log["lines"], json!([]));
}

#[tokio::test]
async fn an_order_for_nothing_is_refused() {
    let server = Server::with_group().await;
    let body = json!({"operation": "backup", "group": "srv"});
    server.post("/hosts/web-1/jobs", &body).await.expect_problem(404, "group_not_found");
    server.post("/hosts/web-2/jobs", &body).await.expect_problem(404, "host_not_found");
    let body = json!({"operation": "explode", "group": "etc"});
    server.post("/hosts/web-1/jobs", &body).await.expect_problem(400, "invalid_body");
}

#[tokio::test]
async fn a_job_of_a_host_without_agent_is_cancelled_at_once_and_only_once() {
    let server = Server::with_group().await;
    let id = order(&server).await;
    let answer = server.post(&format!("/jobs/{id}/cancel"), &json!({})).await.expect(202);
    assert_eq!(answer["job_id"], id.as_str());
    let job = server.get(&format!("/jobs/{id}")).await.expect(200);
    assert_eq!(job["status"], "cancelled");
    for verb in ["cancel", "pause", "resume"] {
        let answer = server.post(&format!("/jobs/{id}/{verb}"), &json!({})).await;
        answer.expect_problem(409, "job_ended");
    }
}

#[tokio::test]
async fn an_unknown_job_is_not_found_whatever_its_id_looks_like() {
    let server = Server::with_group().await;
    for id in ["nonsense", "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b", "%3Cscript%3E"] {
        server.get(&format!("/jobs/{id}")).await.expect_problem(404, "job_not_found");
        server.get(&format!("/jobs/{id}/log")).await.expect_problem(404, "job_not_found");
        let answer = server.post(&format!("/jobs/{id}/cancel"), &json!({})).await;
        answer.expect_problem(404, "job_not_found");
    }
}

#[tokio::test]
async fn pages_hold_every_job_once_the_newest_first() {
    let server = Server::with_group().await;
    let mut ordered = Vec::new();
    for _ in 0..5 {
        ordered.push(order(&server).await);
    }
    ordered.reverse();
    let (mut seen, mut next) = page(&server, "limit=2").await;
    while let Some(cursor) = next {
        let (more, after) = page(&server, &format!("limit=2&before={cursor}")).await;
        assert!(!more.is_empty(), "a page after the last one");
        seen.extend(more);
        next = after;
    }
    assert_eq!(seen, ordered);
}

#[tokio::test]
async fn jobs_are_filtered_by_host_and_status() {
    let server = Server::with_group().await;
    server.post("/hosts", &json!({"name": "db-1"})).await.expect(201);
    let first = order(&server).await;
    let second = order(&server).await;
    server.post(&format!("/jobs/{first}/cancel"), &json!({})).await.expect(202);
    assert_eq!(page(&server, "status=cancelled").await.0, [first]);
    assert_eq!(page(&server, "host=web-1&status=queued").await.0, [second]);
    assert_eq!(page(&server, "host=db-1").await.0, [""; 0]);
    server.get("/jobs?status=done").await.expect_problem(400, "invalid_status");
    server.get("/jobs?limit=0").await.expect_problem(400, "invalid_limit");
    server.get("/jobs?limit=9999").await.expect_problem(400, "invalid_limit");
    server.get("/jobs?host=web-9").await.expect_problem(404, "host_not_found");
    server.get("/jobs?before=nonsense").await.expect_problem(400, "invalid_cursor");
    server.get("/jobs?stauts=queued").await.expect_problem(400, "invalid_query");
}
