//! Every route that can change something, once, and what the audit tells of it.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    body::Body,
    http::{Method, Request},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use crate::support::{Answer, Server};

const PASSWORD: &str = "canary canary canary";

/// Who asks.
#[derive(Clone, Copy)]
enum Asker<'a> {
    /// The browser that is signed in as the first user.
    Browser,
    /// Who shows this as a bearer.
    Bearer(&'a str),
    Nobody,
}

/// What the entry of a route must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// What was, and what is now, which differ.
    Both,
    /// What is now: there was nothing before.
    After,
    /// What was: there is nothing now.
    Before,
    /// Nothing changed in the server.
    Neither,
}

/// Reports of agents: they are about the agent's own host, say what is so and decide nothing, and
/// they are kept themselves, each with its sender. And the first step of signing in by an identity
/// provider: it gives a browser random words, and nothing is kept of it.
const UNTOLD: &[&str] = &[
    "POST /api/v1/agent/exchange",
    "POST /api/v1/agents/{id}/docker/volumes",
    "POST /api/v1/agents/{id}/file-dump-result",
    "POST /api/v1/agents/{id}/heartbeat",
    "POST /api/v1/agents/{id}/logs",
    "POST /api/v1/agents/{id}/progress",
    "POST /api/v1/agents/{id}/report",
    #[cfg(feature = "oidc")]
    "POST /api/v1/sign-in/oidc/begin",
];

/// A server, the first user's cookie, and which routes were taken.
struct Story {
    server: Server,
    cookie: String,
    seq: u64,
    taken: BTreeMap<String, &'static str>,
}

impl Story {
    /// Takes `route` at the `path` that fills it, and checks that an entry for `action` tells of it
    /// as it should. Gives the answer and the entry.
    async fn take(
        &mut self,
        (route, path): (&str, &str),
        asker: Asker<'_>,
        body: Value,
        (action, tells): (&'static str, Tells),
    ) -> (Value, Value) {
        let answer = self.ask(route, path, asker, &body).await;
        assert!(answer.status.is_success(), "{route}: {} {}", answer.status, answer.text);
        if self.cookie.is_empty() {
            self.cookie = answer.cookie();
        }
        let entry = self.entry_of(route, action).await;
        check(route, &entry, tells);
        self.taken.insert(route.to_owned(), action);
        (serde_json::from_str(&answer.text).unwrap_or_default(), entry)
    }

    async fn ask(&self, route: &str, path: &str, asker: Asker<'_>, body: &Value) -> Answer {
        let method: Method = route.split_once(' ').unwrap().0.parse().unwrap();
        let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        let request = request.header("content-type", "application/json");
        let request = match asker {
            Asker::Browser => request
                .header("host", "backup.example")
                .header("origin", "http://backup.example")
                .header("cookie", &self.cookie),
            Asker::Bearer(token) => request.header("authorization", format!("Bearer {token}")),
            Asker::Nobody => request,
        };
        self.server.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// The entry for `action` among those since the last look.
    async fn entry_of(&mut self, route: &str, action: &str) -> Value {
        let page = self.ask("GET ", "/audit?limit=500", Asker::Browser, &Value::Null).await;
        let page = page.expect(200);
        let entries = page["entries"].as_array().unwrap();
        let number = |entry: &Value| entry["seq"].as_u64().unwrap();
        let new: Vec<&Value> = entries.iter().filter(|entry| number(entry) > self.seq).collect();
        self.seq = number(&entries[0]);
        let found = new.iter().find(|entry| entry["action"] == action);
        (*found.unwrap_or_else(|| panic!("{route} is not noted as {action}: {new:?}"))).clone()
    }

    async fn change(
        &mut self,
        route: &str,
        path: &str,
        body: Value,
        action: &'static str,
    ) -> Value {
        self.take((route, path), Asker::Browser, body, (action, Tells::Both)).await.0
    }

    async fn add(&mut self, route: &str, path: &str, body: Value, action: &'static str) -> Value {
        self.take((route, path), Asker::Browser, body, (action, Tells::After)).await.0
    }

    async fn remove(&mut self, route: &str, path: &str, action: &'static str) -> Value {
        self.take((route, path), Asker::Browser, Value::Null, (action, Tells::Before)).await.1
    }
}

#[track_caller]
fn check(route: &str, entry: &Value, tells: Tells) {
    let (before, after) = (&entry["before"], &entry["after"]);
    let told = match (before.is_null(), after.is_null()) {
        (true, true) => Tells::Neither,
        (true, false) => Tells::After,
        (false, true) => Tells::Before,
        (false, false) => Tells::Both,
    };
    assert_eq!(told, tells, "{route}: {entry}");
    assert!(tells != Tells::Both || before != after, "{route} tells of no difference: {entry}");
    assert!(!entry["actor"].as_str().unwrap().is_empty(), "{route}: {entry}");
    assert!(!entry["subject"].as_str().unwrap().is_empty(), "{route}: {entry}");
}

async fn begin() -> Story {
    let server = Server::empty().await;
    let code = server.setup_code.clone().unwrap();
    let mut story = Story { server, cookie: String::new(), seq: 0, taken: BTreeMap::new() };
    let first = json!({"code": code, "name": "alice", "password": PASSWORD});
    let route = ("POST /api/v1/setup", "/setup");
    story.take(route, Asker::Nobody, first, ("user.add", Tells::After)).await;
    story
}

async fn people(story: &mut Story) {
    let offer =
        story.change("POST /api/v1/me/totp", "/me/totp", json!({}), "user.totp_offer").await;
    let now = Timestamp::now().as_second().cast_unsigned();
    let code = holdfast_server::auth::totp_code(offer["secret"].as_str().unwrap(), now / 30);
    let confirm = ("POST /api/v1/me/totp/confirm", "/me/totp/confirm");
    story.change(confirm.0, confirm.1, json!({"code": code}), "user.totp_on").await;
    let proof = json!({"password": PASSWORD});
    story.change("DELETE /api/v1/me/totp", "/me/totp", proof, "user.change").await;
    let change = json!({"old": PASSWORD, "new": "canary canary canary 2"});
    story.change("PUT /api/v1/me/password", "/me/password", change, "user.change").await;

    let user = json!({"name": "bob", "role": "viewer", "password": PASSWORD});
    story.add("POST /api/v1/users", "/users", user, "user.add").await;
    let user = ("PATCH /api/v1/users/{name}", "/users/bob");
    story.change(user.0, user.1, json!({"role": "operator"}), "user.change").await;
    let bob = json!({"name": "bob", "password": PASSWORD});
    let entered = ("sign_in", Tells::After);
    let route = ("POST /api/v1/sign-in", "/sign-in");
    let (_, entry) = story.take(route, Asker::Nobody, bob.clone(), entered).await;
    let id = entry["after"]["id"].as_str().unwrap();
    let end = format!("/sign-ins/{id}");
    let entry = story.remove("DELETE /api/v1/sign-ins/{sign_in}", &end, "sign_in.end").await;
    assert_eq!(entry["before"]["user"], "bob");
    let bobs = story.ask(route.0, route.1, Asker::Nobody, &bob).await.cookie();
    let alices = std::mem::replace(&mut story.cookie, bobs);
    let left = story.ask("POST ", "/sign-out", Asker::Browser, &Value::Null).await;
    left.expect(204);
    story.cookie = alices;
    let entry = story.entry_of("POST /api/v1/sign-out", "sign_out").await;
    check("POST /api/v1/sign-out", &entry, Tells::Before);
    assert_eq!((&entry["actor"], &entry["actor_kind"]), (&json!("bob"), &json!("user")));
    story.taken.insert("POST /api/v1/sign-out".to_owned(), "sign_out");
    story.remove("DELETE /api/v1/users/{name}", "/users/bob", "user.remove").await;

    let token = json!({"name": "script", "role": "viewer"});
    story.add("POST /api/v1/tokens", "/tokens", token, "token.create").await;
    story.remove("DELETE /api/v1/tokens/{token}", "/tokens/script", "token.remove").await;
}

async fn hosts(story: &mut Story) {
    story.add("POST /api/v1/hosts", "/hosts", json!({"name": "web-1"}), "host.add").await;
    let host = ("PATCH /api/v1/hosts/{host}", "/hosts/web-1");
    story.change(host.0, host.1, json!({"host_group": "dmz"}), "host.change").await;
    let renew = ("POST /api/v1/hosts/{host}/enrolment-token", "/hosts/web-1/enrolment-token");
    let made = story.add(renew.0, renew.1, json!({}), "host.renew_enrolment").await;
    let enrol = json!({
        "token": made["enrolment_token"], "incarnation": uuid::Uuid::now_v7(), "hostname": "web",
    });
    let route = ("POST /api/v1/agent/enrol", "/agent/enrol");
    story.take(route, Asker::Nobody, enrol, ("host.enrol", Tells::Both)).await;

    let route = ("POST /api/v1/dialects/{dialect}/hosts", "/dialects/nerdbackup/hosts");
    let made = story.add(route.0, route.1, json!({"name": "nerd-1"}), "host.add").await;
    let install = json!({ "install_token": made["install_token"], "platform": "linux",
        "arch": "amd64", "hostname": "nerd" });
    let route = ("POST /api/v1/agents/register-with-token", "/agents/register-with-token");
    let installed = ("host.enrol", Tells::After);
    let (agent, _) = story.take(route, Asker::Nobody, install, installed).await;
    let text = |field: &str| agent["data"][field].as_str().unwrap_or_default().to_owned();
    let (id, token) = (text("agent_id"), text("agent_token"));
    let leave = ("DELETE /api/v1/agents/{id}", format!("/agents/{id}"));
    let (leave, gone) = ((leave.0, leave.1.as_str()), ("host.leave", Tells::Before));
    story.take(leave, Asker::Bearer(&token), Value::Null, gone).await;
    let register = json!({"name": "nerd-2", "platform": "linux", "arch": "amd64", "hostname": "n"});
    story.add("POST /api/v1/agents", "/agents", register, "host.add").await;
}

async fn repositories(story: &mut Story) {
    let repository = json!({ "name": "main", "url": "rest:https://u:canary@h:8000/",
        "password": "canary", "environment": {"RESTIC_REST_PASSWORD": "canary"} });
    story.add("POST /api/v1/repositories", "/repositories", repository, "repository.add").await;
    let slot = "/api/v1/repositories/{repository}/credentials/{slot}";
    let password = json!({"password": "canary"});
    for (slot_path, set) in [
        ("/repositories/main/credentials/repo", "repository.credentials.repo"),
        ("/repositories/main/credentials/admin", "repository.credentials.admin"),
    ] {
        story.change(&format!("PUT {slot}"), slot_path, password.clone(), set).await;
        let clear = "repository.credentials.clear";
        story.change(&format!("DELETE {slot}"), slot_path, Value::Null, clear).await;
    }
    let route = "PUT /api/v1/repositories/{repository}/maintenance/{operation}";
    let path = "/repositories/main/maintenance/prune";
    let plan = |cron: &str| json!({"cron": cron, "time_zone": "UTC", "enabled": true});
    story.add(route, path, plan("0 4 * * 0"), "maintenance.set").await;
    story.change(route, path, plan("0 5 * * 0"), "maintenance.set").await;
    let route = ("PUT /api/v1/repositories/{repository}/runner", "/repositories/main/runner");
    story.change(route.0, route.1, json!({"host": "web-1"}), "repository.runner").await;
}

async fn groups(story: &mut Story) {
    let group = json!({"name": "etc", "repository": "main", "includes": ["/etc"]});
    let route = "/api/v1/hosts/{host}/groups";
    story.add(&format!("POST {route}"), "/hosts/web-1/groups", group, "group.add").await;
    let (one, path) = (format!("{route}/{{name}}"), "/hosts/web-1/groups/etc");
    let includes = json!({"includes": ["/etc", "/srv"]});
    story.change(&format!("PUT {one}"), path, includes, "group.change").await;
    let schedule = json!({"cron": "0 3 * * *", "time_zone": "UTC"});
    for (what, body, set, cleared) in [
        (
            "objective",
            json!({"objective_seconds": 86_400}),
            "group.objective",
            Some("group.objective"),
        ),
        ("retention", json!({"keep_daily": 7}), "group.retention", None),
        ("schedule", schedule, "schedule.set", Some("schedule.remove")),
    ] {
        let path = format!("{path}/{what}");
        story.change(&format!("PUT {one}/{what}"), &path, body, set).await;
        if let Some(cleared) = cleared {
            story.change(&format!("DELETE {one}/{what}"), &path, Value::Null, cleared).await;
        }
    }
}

async fn jobs(story: &mut Story) {
    let order = json!({"operation": "backup", "group": "etc"});
    let route = ("POST /api/v1/hosts/{host}/jobs", "/hosts/web-1/jobs");
    let made = story.add(route.0, route.1, order, "job.run").await;
    let job = made["job_id"].as_str().unwrap();
    for (verb, action) in
        [("pause", "job.pause"), ("resume", "job.resume"), ("cancel", "job.cancel")]
    {
        let (route, path) =
            (format!("POST /api/v1/jobs/{{job}}/{verb}"), format!("/jobs/{job}/{verb}"));
        story.change(&route, &path, json!({}), action).await;
    }
}

async fn alarm(story: &mut Story) {
    let channel = json!({ "name": "chat",
        "settings": {"kind": "slack", "url": "http://127.0.0.1:9/canary"} });
    story.add("POST /api/v1/channels", "/channels", channel, "channel.add").await;
    let route = ("PATCH /api/v1/channels/{channel}/digest", "/channels/chat/digest");
    let digest = json!({"cron": "0 7 * * 2", "time_zone": "UTC"});
    story.change(route.0, route.1, digest, "channel.digest").await;
    let test = ("POST /api/v1/channels/{channel}/test", "/channels/chat/test");
    story.take(test, Asker::Browser, json!({}), ("request", Tells::Neither)).await;
    story.remove("DELETE /api/v1/channels/{channel}", "/channels/chat", "channel.remove").await;

    let rule = json!({"enabled": false, "grace_seconds": 600});
    let route = ("PUT /api/v1/alert-rules/{rule}", "/alert-rules/offline");
    story.change(route.0, route.1, rule, "alert_rule.set").await;
    let until = (Timestamp::now() + SignedDuration::from_hours(8)).to_string();
    let silence = json!({"until": until, "reason": "The disk is replaced."});
    let made = story.add("POST /api/v1/silences", "/silences", silence, "silence.add").await;
    let path = format!("/silences/{}", made["id"].as_str().unwrap());
    story.change("DELETE /api/v1/silences/{silence}", &path, Value::Null, "silence.end").await;
    let path = format!("/alerts/{}/acknowledge", an_alert(&story.server).await);
    let route = "POST /api/v1/alerts/{alert}/acknowledge";
    story.change(route, &path, json!({}), "alert.acknowledge").await;
}

/// An alert as the alarm writes it.
async fn an_alert(server: &Server) -> String {
    let file = format!("sqlite://{}", server.dir.path().join("holdfast.db").display());
    let mut alarm = SqliteConnection::connect(&file).await.unwrap();
    let id = uuid::Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO alerts (id, key, rule, severity, state, title, cause, action, subjects, count,
             occurrences, since, first_seen_at, last_seen_at)
         VALUES ($1, 'k', 'failed', 'critical', 'open', 't', 'c', 'a', '[]', 1, '[]', 1, 1, 1)",
    )
    .bind(&id)
    .execute(&mut alarm)
    .await
    .unwrap();
    id
}

#[cfg(feature = "oidc")]
async fn provider(story: &mut Story) {
    use crate::oidc::{Provider, claims, settings};

    let provider = Provider::start().await;
    story.add("PUT /api/v1/oidc", "/oidc", settings(&provider), "oidc.set").await;
    let begun = story.ask("POST ", "/sign-in/oidc/begin", Asker::Nobody, &json!({})).await;
    let url = begun.expect(200)["url"].as_str().unwrap().to_owned();
    let (code, state) = provider.authorize(&url, &claims("7", "carol", &["ops"]));
    let alices = std::mem::replace(&mut story.cookie, begun.cookie());
    let arrival = json!({"code": code, "state": state});
    let arrived = story.ask("POST ", "/sign-in/oidc", Asker::Browser, &arrival).await;
    arrived.expect(200);
    story.cookie = alices;
    let route = "POST /api/v1/sign-in/oidc";
    let entry = story.entry_of(route, "sign_in").await;
    check(route, &entry, Tells::After);
    assert_eq!((&entry["actor"], &entry["after"]["by"]), (&json!("carol"), &json!("oidc")));
    story.taken.insert(route.to_owned(), "sign_in");
    story.remove("DELETE /api/v1/oidc", "/oidc", "oidc.clear").await;
}

#[tokio::test]
async fn every_route_that_changes_something_tells_how_it_was_and_how_it_is() {
    let mut story = begin().await;
    people(&mut story).await;
    hosts(&mut story).await;
    repositories(&mut story).await;
    groups(&mut story).await;
    jobs(&mut story).await;
    alarm(&mut story).await;
    #[cfg(feature = "oidc")]
    provider(&mut story).await;
    let group = ("DELETE /api/v1/hosts/{host}/groups/{name}", "/hosts/web-1/groups/etc");
    story.remove(group.0, group.1, "group.remove").await;
    story.remove("DELETE /api/v1/hosts/{host}", "/hosts/web-1", "host.remove").await;

    let declared = holdfast_server::api::changing_routes();
    let declared: BTreeSet<String> =
        declared.into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    let mut told: BTreeSet<String> = story.taken.keys().cloned().collect();
    told.extend(UNTOLD.iter().map(|route| (*route).to_owned()));
    assert_eq!(told, declared, "left: what this test knows; right: what the server has");

    let all = story.ask("GET ", "/audit?limit=500", Asker::Browser, &Value::Null).await;
    assert!(all.text.len() > 10_000 && !all.text.contains("canary"), "{}", all.text);
    let verdict = story.ask("GET ", "/audit/verify", Asker::Browser, &Value::Null).await;
    assert_eq!(verdict.expect(200)["ok"], true);
}

#[tokio::test]
async fn a_guessed_code_of_the_app_is_told_as_a_refused_sign_in() {
    let mut story = begin().await;
    let offer =
        story.change("POST /api/v1/me/totp", "/me/totp", json!({}), "user.totp_offer").await;
    let now = Timestamp::now().as_second().cast_unsigned();
    let code = holdfast_server::auth::totp_code(offer["secret"].as_str().unwrap(), now / 30);
    let confirm = ("POST /api/v1/me/totp/confirm", "/me/totp/confirm");
    story.change(confirm.0, confirm.1, json!({"code": code}), "user.totp_on").await;
    // Who guesses codes has the password already.
    let guess = json!({"name": "alice", "password": PASSWORD, "totp_code": "000"});
    let refused = story.ask("POST ", "/sign-in", Asker::Nobody, &guess).await;
    refused.expect_problem(401, "invalid_credentials");
    let entry = story.entry_of("POST /api/v1/sign-in", "sign_in.refused").await;
    assert_eq!((&entry["subject"], &entry["actor_kind"]), (&json!("alice"), &json!("public")));
}
