//! A repository that hosts of several host groups share, and roles that count for one group only.

use axum::http::Method;
use holdfast_link::{Record, Store as _};
use holdfast_protocol::{
    Incarnation, Message, PROTOCOL_VERSION, RepositoryId,
    message::{
        link::{Facts, Hello},
        snapshot,
    },
};
use holdfast_server::store::{Enrolment, HostStore};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Answer, Server};

/// Ids that begin alike, so that a short one does not tell them apart.
const OURS: &str = "0123456789aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const THEIRS: &str = "0123456789bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What an agent of ours can do, as far as this matters here.
const CAPABILITIES: [&str; 7] = ["restore", "diff", "stats", "tag", "forget", "ls", "dump"];

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

/// The store as the link of the host's agent has it.
async fn session(server: &Server, host: &str) -> HostStore {
    let renewed = server.post(&format!("/hosts/{host}/enrolment-token"), &json!({})).await;
    let token = renewed.expect(201)["enrolment_token"].as_str().unwrap().to_owned();
    let incarnation = Incarnation::from_uuid(uuid::Uuid::new_v4());
    let enrolment = Enrolment {
        token: holdfast_protocol::message::config::Secret::new(token),
        incarnation,
        hostname: host.to_owned(),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        agent_version: "0.1.0".to_owned(),
    };
    let enrolled = server.store.enrol(&enrolment).await.unwrap();
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        incarnation,
        boot: 1,
        instance: None,
        epoch: 0,
        received: 0,
        oldest: 1,
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        facts: Facts::default(),
    };
    let opened = server.store.open_session(enrolled.host_id, &hello).await.unwrap().unwrap();
    HostStore::new(server.store.clone(), enrolled.host_id, opened.epoch)
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
