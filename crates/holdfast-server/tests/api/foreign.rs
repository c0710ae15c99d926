//! Hosts of other systems: what their agents have no words for is refused before it is stored.

use serde_json::{Value, json};

use crate::support::Server;

/// The dialects, and what a source group of such a host may include.
const DIALECTS: [(&str, &str); 4] = [
    ("backupy", "postgresql://app@db:5432/shop"),
    ("envelope", "/home"),
    ("local", "/home"),
    ("nerdbackup", "/home"),
];

async fn with_host(dialect: &str, include: &str) -> Server {
    let server = Server::with_group().await;
    let address = if dialect == "local" { "ws://127.0.0.1:9/ws" } else { "" };
    let host = json!({"name": "their-1", "address": address});
    server.post(&format!("/dialects/{dialect}/hosts"), &host).await.expect(201);
    let group = json!({"name": "data", "repository": "main", "includes": [include]});
    server.post("/hosts/their-1/groups", &group).await.expect(201);
    server
}

async fn abilities(server: &Server) -> Vec<String> {
    let host = server.get("/hosts/their-1").await.expect(200);
    let words = host["capabilities"].as_array().unwrap().iter();
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_order_that_an_agent_has_no_words_for_is_refused_up_front() {
    let main = json!({"repository": "main", "parameters": {}});
    let maintenance = |operation: &str| {
        let mut order = main.clone();
        order["operation"] = operation.into();
        order
    };
    let mut stats = maintenance("stats");
    stats["parameters"] = json!({"mode": "raw_data"});
    let orders = [
        ("backup", json!({"operation": "backup", "group": "data"})),
        ("maintain", maintenance("check")),
        ("maintain", maintenance("prune")),
        ("maintain", maintenance("unlock")),
        // A size that is reported is no size that can be asked for.
        ("maintain", stats),
    ];
    for (dialect, include) in DIALECTS {
        let server = with_host(dialect, include).await;
        let can = abilities(&server).await;
        let mut taken = 0;
        for (ability, order) in &orders {
            let answer = server.post("/hosts/their-1/jobs", order).await;
            if can.iter().any(|word| word == ability) {
                answer.expect(202);
                taken += 1;
                continue;
            }
            let title = answer.expect_problem(409, &format!("host_cannot_{ability}"));
            assert!(title.contains("cannot") && title.contains(dialect), "{title}");
        }
        let jobs = server.get("/jobs?host=their-1").await.expect(200);
        assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(taken), "{dialect}: {jobs}");
    }
}

#[tokio::test]
async fn a_schedule_that_no_agent_would_hear_of_is_refused_up_front() {
    let schedule = json!({"cron": "30 2 * * *", "time_zone": "UTC"});
    for (dialect, include) in DIALECTS {
        let server = with_host(dialect, include).await;
        let answer = server.put("/hosts/their-1/groups/data/schedule", &schedule).await;
        if dialect == "local" {
            answer.expect_problem(409, "host_cannot_schedule");
        } else {
            answer.expect(200);
        }
        let group = server.get("/hosts/their-1").await.expect(200)["groups"][0].clone();
        let scheduled = group.get("schedule").is_some_and(|it| *it != Value::Null);
        assert_eq!(scheduled, dialect != "local", "{group}");
    }
}
