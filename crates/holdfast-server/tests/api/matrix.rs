//! Every route with everybody who might ask, against what the routes declare.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};

use crate::{
    access::operations,
    support::{Answer, Server},
};

/// What the guard answers when it does not let somebody through.
const REFUSALS: [&str; 5] =
    ["invalid_token", "role_too_small", "outside_scope", "not_for_browsers", "closed"];

/// Who asks.
#[derive(Debug, Clone)]
struct Asker {
    name: &'static str,
    token: Option<String>,
    /// 0 for nobody, 1 for a viewer, 2 for an operator, 3 for an admin.
    rank: usize,
    /// Whether the role counts everywhere, where the host is, or elsewhere.
    reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    All,
    Here,
    Elsewhere,
}

/// What a route declares.
struct Route {
    method: Method,
    path: String,
    role: String,
    scope: String,
}

async fn askers(server: &Server) -> Vec<Asker> {
    let token = async |name: &str, role: &str, groups: &str, life: Option<u32>| {
        let mut body = json!({"name": name, "role": role, "host_groups": [groups]});
        if let Some(life) = life {
            body["expires_in_seconds"] = life.into();
        }
        let made = server.post("/tokens", &body).await.expect(201);
        Some(made["token"].as_str().unwrap().to_owned())
    };
    let asker = |name, token, rank, reach| Asker { name, token, rank, reach };
    // From who may least to who may most: what is let through may change the fleet.
    vec![
        asker("nobody", None, 0, Reach::All),
        asker("a forged token", Some("hf_api_forged".to_owned()), 0, Reach::All),
        asker("an agent", Some(agent_token(server).await), 0, Reach::All),
        asker("an expired admin", Some(expired(server).await), 0, Reach::All),
        asker("a removed admin", Some(removed(server).await), 0, Reach::All),
        asker("a viewer elsewhere", token("v-e", "viewer", "lan", None).await, 1, Reach::Elsewhere),
        asker("an admin elsewhere", token("a-e", "admin", "lan", None).await, 3, Reach::Elsewhere),
        asker("a viewer here", token("v-h", "viewer", "dmz", None).await, 1, Reach::Here),
        asker("an operator here", token("o-h", "operator", "dmz", None).await, 2, Reach::Here),
        asker("an admin here", token("a-h", "admin", "dmz", Some(3600)).await, 3, Reach::Here),
        asker("a viewer", Some(server.viewer.clone()), 1, Reach::All),
        asker("an operator", Some(server.operator.clone()), 2, Reach::All),
        asker("an admin", Some(server.admin.clone()), 3, Reach::All),
    ]
}

async fn agent_token(server: &Server) -> String {
    let host = server.post("/hosts", &json!({"name": "spare"})).await.expect(201);
    let enrol = json!({"token": host["enrolment_token"], "incarnation": uuid::Uuid::now_v7()});
    let agent = server.ask(Method::POST, "/agent/enrol", None, Some(&enrol)).await.expect(201);
    agent["agent_token"].as_str().unwrap().to_owned()
}

async fn expired(server: &Server) -> String {
    let now = server.store.now();
    let new = holdfast_server::store::NewToken {
        name: "expired".to_owned(),
        role: "admin".to_owned(),
        host_groups: vec!["*".to_owned()],
        expires_at: Some(now - jiff::SignedDuration::from_secs(1)),
    };
    server.store.add_token("test", &new).await.unwrap().token.expose().to_owned()
}

async fn removed(server: &Server) -> String {
    let made = server.post("/tokens", &json!({"name": "removed", "role": "admin"})).await;
    let made = made.expect(201);
    server.get("/me").await.expect(200);
    server.delete(&format!("/tokens/{}", made["id"].as_str().unwrap())).await.expect(204);
    made["token"].as_str().unwrap().to_owned()
}

/// What somebody who asks must be told, as a code; `None` for "goes through".
fn wanted(route: &Route, asker: &Asker) -> Option<&'static str> {
    let needed = match route.role.as_str() {
        "own" => 1,
        role => 1 + ["viewer", "operator", "admin"].iter().position(|it| *it == role).unwrap(),
    };
    if asker.rank == 0 {
        return Some("invalid_token");
    }
    if asker.rank < needed {
        return Some("role_too_small");
    }
    match (route.scope.as_str(), asker.reach) {
        (_, Reach::All) | ("own" | "narrowed", _) | ("host", Reach::Here) => None,
        ("host", Reach::Elsewhere) => Some("not_found"),
        _ => Some("outside_scope"),
    }
}

/// What somebody was told, in the words of [`wanted`].
fn told(route: &Route, answer: &Answer) -> Option<&'static str> {
    if answer.status.is_success() {
        return None;
    }
    let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or_default();
    let hidden = ["host_not_found", "job_not_found", "alert_not_found"].contains(&code);
    if hidden && route.scope == "host" {
        return Some("not_found");
    }
    REFUSALS.into_iter().find(|refusal| *refusal == code)
}

/// The path with existing things of a host in `dmz` in the place of its parameters.
fn filled(path: &str, job: &str) -> String {
    let path = path.replace("{host}", "web-1").replace("{job}", job);
    let mut parts = Vec::new();
    for part in path.split('/') {
        parts.push(if part.starts_with('{') { "none" } else { part });
    }
    parts.join("/")
}

async fn routes(server: &Server) -> Vec<Route> {
    let document = server.get("/openapi.json").await.json();
    let operations = operations(&document).into_iter();
    let scope = |method: &Method, path: &str| {
        let item = &document["paths"][&format!("/api/v1{path}")];
        item[method.as_str().to_lowercase()]["x-scope"].as_str().unwrap_or("own").to_owned()
    };
    let route = |(method, path, role): (Method, String, String)| {
        let scope = scope(&method, &path);
        Route { method, path, role, scope }
    };
    operations.map(route).collect()
}

async fn fleet() -> (Server, String) {
    let server = Server::with_group().await;
    let dmz = json!({"host_group": "dmz"});
    server.ask(Method::PATCH, "/hosts/web-1", Some(&server.admin), Some(&dmz)).await.expect(200);
    let order = json!({"operation": "backup", "group": "etc"});
    let job = server.post("/hosts/web-1/jobs", &order).await.expect(202);
    (server, job["job_id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn no_cell_of_routes_and_roles_is_wrong() {
    let (mut server, mut job) = fleet().await;
    let mut askers_now = askers(&server).await;
    let mut cells = BTreeMap::new();
    let mut wrong = Vec::new();
    for route in routes(&server).await {
        if matches!(route.role.as_str(), "public" | "enrolment") {
            continue;
        }
        for asker in &askers_now {
            let path = filled(&route.path, &job);
            let token = asker.token.as_deref();
            let body = json!({});
            let answer = server.ask(route.method.clone(), &path, token, Some(&body)).await;
            let (wanted, told) = (wanted(&route, asker), told(&route, &answer));
            // There is no alert to be allowed to see, and what was let through before may have
            // removed what this one asks for.
            let gone = wanted.is_none() && told == Some("not_found");
            if wanted != told && !gone {
                let (method, path) = (&route.method, &route.path);
                wrong.push(format!(
                    "{method} {path} ({} {}), {}: {told:?} instead of {wanted:?}",
                    route.role, route.scope, asker.name
                ));
            }
            *cells.entry((asker.name, wanted)).or_insert(0) += 1;
        }
        if route.method != Method::GET {
            (server, job) = fleet().await;
            askers_now = askers(&server).await;
        }
    }
    assert!(wrong.is_empty(), "{} wrong cells:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells.values().sum::<usize>() > 500, "{cells:?}");
    for refusal in ["invalid_token", "role_too_small", "outside_scope", "not_found"] {
        assert!(cells.keys().any(|(_, wanted)| *wanted == Some(refusal)), "{refusal}: {cells:?}");
    }
}

#[tokio::test]
async fn what_is_not_in_the_document_is_declared_too() {
    let (server, _) = fleet().await;
    for asker in askers(&server).await {
        let bearer = asker.token.clone().unwrap_or_default();
        let ask = async |path: &str| {
            let request = axum::http::Request::get(path)
                .header("authorization", format!("Bearer {bearer}"))
                .body(axum::body::Body::empty())
                .unwrap();
            server.send(request).await
        };
        let route = |path: &str, scope: &str| Route {
            method: Method::GET,
            path: path.to_owned(),
            role: "viewer".to_owned(),
            scope: scope.to_owned(),
        };
        for route in [route("/metrics", "fleet"), route("/api/v1/live", "narrowed")] {
            let answer = ask(&route.path).await;
            assert_eq!(
                told(&route, &answer),
                wanted(&route, &asker),
                "{route:?} {asker:?}",
                route = route.path
            );
        }
        for path in ["/healthz", "/api/v1/openapi.json"] {
            assert_eq!(ask(path).await.status, 200, "{path} {asker:?}");
        }
        let link = ask("/api/v1/agent/connect").await;
        let opens = asker.name == "an agent";
        assert_eq!(link.status != 401, opens, "{asker:?}: {}", link.text);
    }
}
