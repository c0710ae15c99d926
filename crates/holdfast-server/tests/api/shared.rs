//! A repository that hosts of several host groups share, and roles that count for one group only.

use axum::http::Method;
use holdfast_link::{Record, Store as _};
use holdfast_protocol::{Message, RepositoryId, message::snapshot};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Answer, Server, session};

/// Ids that begin alike, so that a short one does not tell them apart.
const OURS: &str = "0123456789aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const THEIRS: &str = "0123456789bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A server with `web-1` in the host group `dmz` and `db-1` in `lan`, which share the repository
/// `main` and have a snapshot each, and tokens in `dmz`.
struct Shared {
    server: Server,
    admin: String,
    operator: String,
}

impl Shared {
    async fn new() -> Self {
        let server = Server::with_group().await;
        server.post("/hosts", &json!({"name": "db-1"})).await.expect(201);
        let group = json!({"name": "etc", "repository": "main", "includes": ["/etc"]});
        server.post("/hosts/db-1/groups", &group).await.expect(201);
        for (host, group, id) in [("web-1", "dmz", OURS), ("db-1", "lan", THEIRS)] {
            let change = json!({"host_group": group});
            let path = format!("/hosts/{host}");
            server.ask(Method::PATCH, &path, Some(&server.admin), Some(&change)).await.expect(200);
            list(&server, host, id).await;
        }
        let token = async |role: &str| {
            let new = json!({"name": role, "role": role, "host_groups": ["dmz"]});
            let made = server.post("/tokens", &new).await.expect(201);
            made["token"].as_str().unwrap().to_owned()
        };
        let (admin, operator) = (token("admin").await, token("operator").await);
        Self { server, admin, operator }
    }

    async fn order(&self, token: &str, host: &str, body: &Value) -> Answer {
        let path = format!("/hosts/{host}/jobs");
        self.server.ask(Method::POST, &path, Some(token), Some(body)).await
    }
}

/// Has the agent of `host` tell that the repository `main` holds this snapshot of it.
async fn list(server: &Server, host: &str, id: &str) {
    let repositories = server.get("/repositories").await.expect(200);
    let repository: RepositoryId =
        repositories["repositories"][0]["id"].as_str().unwrap().parse().unwrap();
    let report = Message::SnapshotsReport(snapshot::Report {
        repository_id: repository,
        report_id: "first".to_owned(),
        last: true,
        listed_at: Timestamp::now(),
        snapshots: vec![snapshot::Snapshot {
            id: id.to_owned(),
            short_id: id[..8].to_owned(),
            time: Timestamp::now(),
            hostname: host.to_owned(),
            paths: vec!["/etc".to_owned()],
            tags: vec!["etc".to_owned()],
            size_bytes: None,
            file_count: None,
        }],
    });
    let (kind, payload) = (report.kind().to_owned(), report.encode());
    let record = Record { seq: 1, ts: Timestamp::now(), kind, payload };
    session(server, host).await.apply(vec![record]).await.unwrap();
}

fn restore(snapshot: &str) -> Value {
    json!({"operation": "restore", "repository": "main",
        "parameters": {"snapshot_id": snapshot, "target": "restore_root"}})
}

#[tokio::test]
async fn nobody_restores_the_snapshot_of_a_host_elsewhere_through_one_of_theirs() {
    let shared = Shared::new().await;
    for token in [&shared.operator, &shared.admin] {
        for id in [THEIRS, &THEIRS[..12], &"f".repeat(64)] {
            let answer = shared.order(token, "web-1", &restore(id)).await;
            answer.expect_problem(404, "snapshot_not_found");
        }
        shared.order(token, "web-1", &restore(OURS)).await.expect(202);
    }
    // Who works everywhere may bring it to another machine.
    shared.order(&shared.server.operator, "web-1", &restore(THEIRS)).await.expect(202);
}

#[tokio::test]
async fn what_begins_alike_becomes_the_one_that_is_theirs() {
    let shared = Shared::new().await;
    let job = shared.order(&shared.operator, "web-1", &restore(&OURS[..8])).await.expect(202);
    let job = shared.server.get(&format!("/jobs/{}", job["job_id"].as_str().unwrap())).await;
    assert_eq!(job.expect(200)["parameters"]["snapshot_id"], OURS);
}

#[tokio::test]
async fn no_other_job_names_a_snapshot_of_a_host_elsewhere() {
    let shared = Shared::new().await;
    for order in [
        json!({"operation": "diff",
            "parameters": {"from_snapshot_id": OURS, "to_snapshot_id": THEIRS}}),
        json!({"operation": "stats",
            "parameters": {"mode": "restore_size", "snapshot_id": THEIRS}}),
        json!({"operation": "tag",
            "parameters": {"snapshot_ids": [OURS, THEIRS], "edit": {"add": ["x"]}}}),
        json!({"operation": "forget", "parameters": {"which": {"snapshots": [THEIRS]}}}),
    ] {
        let answer = shared.order(&shared.admin, "web-1", &order).await;
        answer.expect_problem(404, "snapshot_not_found");
    }
}

#[tokio::test]
async fn nobody_looks_into_the_snapshot_of_a_host_elsewhere() {
    let shared = Shared::new().await;
    let ask = async |token: &str, path: &str| {
        shared.server.ask(Method::GET, &format!("/hosts/web-1{path}"), Some(token), None).await
    };
    let routes = |id: &str| {
        [
            format!("/snapshots/{id}/entries?path=/etc"),
            format!("/snapshots/{id}/search?pattern=passwd"),
            format!("/snapshots/{id}/download?path=/etc/passwd"),
            format!("/diff?from={OURS}&to={id}"),
        ]
    };
    for id in [THEIRS, &THEIRS[..12]] {
        for route in routes(id) {
            for named in [route.clone(), format!("{route}&repository=main")] {
                let answer = ask(&shared.operator, &named).await;
                answer.expect_problem(404, "snapshot_not_found");
            }
            // Who works everywhere gets as far as the host.
            let answer = ask(&shared.server.operator, &route).await;
            answer.expect_problem(409, "host_offline");
        }
    }
    for route in routes(&OURS[..12]) {
        ask(&shared.operator, &route).await.expect_problem(409, "host_offline");
    }
}
