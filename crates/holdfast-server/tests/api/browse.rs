//! Looking into snapshots and downloading from them, with an agent that is invented.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Method, Request},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use holdfast_link::{
    Client, ClientConfig, Credentials, CredentialsError, Host, Identity, LinkStatus,
    Request as Asked, store::memory::MemoryStore,
};
use holdfast_protocol::{
    Incarnation, Payload,
    message::{
        browse::{self, PIECE_SIZE_MAX, Piece},
        config::Secret,
        link::{Facts, Refusal},
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use crate::support::{Answer, Server};

/// More than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Not a whole number of pieces.
const SIZE: usize = 20 * PIECE_SIZE_MAX + 1234;

/// What was asked of the agent.
struct Count {
    listings: AtomicUsize,
    pieces: AtomicUsize,
    /// Pieces after which restic fails; none when 0.
    fails_after: AtomicUsize,
    /// What lies below `/silent` is told when this is opened.
    silence: Semaphore,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            listings: AtomicUsize::new(0),
            pieces: AtomicUsize::new(0),
            fails_after: AtomicUsize::new(0),
            silence: Semaphore::new(0),
        }
    }
}

/// An agent whose one snapshot holds `/large`, `/link` and a directory.
#[derive(Clone)]
struct Machine {
    token: Secret,
    count: Arc<Count>,
}

impl Credentials for Machine {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(self.token.clone())
    }
}

impl Host for Machine {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn capabilities(&self) -> Vec<String> {
        ["ls", "dump", "diff"].map(str::to_owned).to_vec()
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&json!({
            "sent_at": Timestamp::now(), "active_job_ids": [], "queue_depth": 0,
            "config_version": 0,
        }))
    }

    async fn answer(&self, request: Asked) -> Result<Payload, Refusal> {
        let asked: Value = request.payload.parse().unwrap();
        if asked["wish"]["path"] == "/silent" {
            self.count.silence.acquire().await.unwrap().forget();
        }
        match request.kind.as_str() {
            browse::LS => self.list(asked["wish"]["path"].as_str().unwrap()),
            browse::STAT => stat(asked["wish"]["path"].as_str().unwrap()),
            browse::FIND => Ok(found()),
            browse::DIFF => Ok(difference()),
            browse::READ => self.read(asked["wish"]["offset_bytes"].as_u64().unwrap()),
            kind => Err(Refusal::unknown(kind)),
        }
    }
}

impl Machine {
    fn list(&self, path: &str) -> Result<Payload, Refusal> {
        self.count.listings.fetch_add(1, Ordering::Relaxed);
        match path {
            "/" | "/silent" => Ok(Payload::of(&json!({"entries": [entry("large")], "more": true}))),
            "/strange" => Ok(Payload::of(&json!({"entries": 7}))),
            "/closed" => Err(refusal("refused_by_policy")),
            _ => Err(refusal("path_not_found")),
        }
    }

    fn read(&self, offset: u64) -> Result<Payload, Refusal> {
        let before = self.count.pieces.fetch_add(1, Ordering::Relaxed);
        let fails_after = self.count.fails_after.load(Ordering::Relaxed);
        if fails_after > 0 && before >= fails_after {
            return Err(refusal("restic_failed"));
        }
        let start = usize::try_from(offset).unwrap();
        let end = SIZE.min(start + PIECE_SIZE_MAX);
        let data = STANDARD.encode(&content()[start..end]);
        Ok(Payload::of(&Piece { data, last: end == SIZE }))
    }
}

fn entry(name: &str) -> Value {
    json!({"name": name, "kind": "file", "size_bytes": SIZE, "mode": 0o644, "uid": 0, "gid": 0})
}

fn stat(path: &str) -> Result<Payload, Refusal> {
    let mut found = entry(path.trim_start_matches('/'));
    match path {
        "/large" => {}
        "/link" => found["kind"] = "symlink".into(),
        "/directory" => found["kind"] = "directory".into(),
        _ => return Err(refusal("path_not_found")),
    }
    Ok(Payload::of(&found))
}

fn found() -> Payload {
    let mut found = entry("<b>large</b>");
    found["path"] = "/deep/<b>large</b>".into();
    Payload::of(&json!({"entries": [found], "more": false}))
}

fn difference() -> Payload {
    let none = json!({"files": 0, "directories": 0, "others": 0, "size_bytes": 0});
    Payload::of(&json!({"changes": [{"path": "/a", "kind": "added"}], "omitted": 3,
        "changed_files": 2, "added": none, "removed": none}))
}

fn refusal(code: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        message: "/x cannot be shown".to_owned(),
        action: "Ask for something else.".to_owned(),
    }
}

/// The content of `/large`.
fn content() -> Vec<u8> {
    (0..SIZE).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}

/// A server at an address, and a host `web-1` that has an agent.
struct House {
    server: Server,
    url: String,
    incarnation: Incarnation,
    machine: Machine,
}

/// An agent that is connected.
struct Connected {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl House {
    async fn new() -> Self {
        let server = Server::with_group().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = server.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let renewed = server.post("/hosts/web-1/enrolment-token", &json!({})).await.expect(201);
        let incarnation = Incarnation::from_uuid(Uuid::now_v7());
        let enrol = json!({"token": renewed["enrolment_token"], "incarnation": incarnation});
        let agent = server.ask(Method::POST, "/agent/enrol", None, Some(&enrol)).await.expect(201);
        let token = Secret::new(agent["agent_token"].as_str().unwrap());
        let machine = Machine { token, count: Arc::default() };
        Self { server, url, incarnation, machine }
    }

    /// Connects an agent, in its `boot`th start.
    async fn connect(&self, boot: u64) -> Connected {
        let config = ClientConfig::new(self.url.parse().unwrap());
        let identity = Identity { incarnation: self.incarnation, boot };
        let (token, host) = (self.machine.clone(), self.machine.clone());
        let store = Arc::new(MemoryStore::default());
        let client = Client::new(config, identity, store, token, host).unwrap();
        let stop = CancellationToken::new();
        let mut status = client.status();
        let (until, link) = (stop.clone(), client.clone());
        let running = tokio::spawn(async move { link.run(until).await.unwrap() });
        let up = status.wait_for(LinkStatus::is_connected);
        timeout(PATIENCE, up).await.unwrap().unwrap();
        Connected { stop, running }
    }

    /// As [`connect`](Self::connect), with a server that knows the snapshot.
    async fn connect_and_list(&self) -> Connected {
        let agent = self.connect(1).await;
        self.eventually(|host| host["state"] == "online").await;
        agent
    }

    async fn eventually(&self, done: impl Fn(&Value) -> bool) {
        let waiting = async {
            while !done(&self.server.get("/hosts/web-1").await.expect(200)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap();
    }

    async fn get(&self, path: &str) -> Answer {
        let path = format!("/hosts/web-1{path}");
        self.server.ask(Method::GET, &path, Some(&self.server.operator), None).await
    }

    async fn list(&self, path: &str) -> Answer {
        self.get(&format!("/snapshots/{ID}/entries?path={path}")).await
    }

    /// The answer of a download, without its body.
    async fn download(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let url = format!("/api/v1/hosts/web-1/snapshots/{ID}/download?path={path}");
        let mut request = Request::get(url)
            .header("authorization", format!("Bearer {}", self.server.operator))
            .header("accept-encoding", "gzip");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.server.router.clone().oneshot(request).await.unwrap()
    }

    fn pieces(&self) -> usize {
        self.machine.count.pieces.load(Ordering::Relaxed)
    }
}

impl Connected {
    async fn cut(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn whole(response: Response) -> Result<Bytes, axum::Error> {
    timeout(PATIENCE, axum::body::to_bytes(response.into_body(), usize::MAX)).await.unwrap()
}

#[tokio::test]
async fn a_directory_is_asked_for_once_and_then_remembered() {
    let house = House::new().await;
    house.list("/").await.expect_problem(409, "host_offline");
    let agent = house.connect_and_list().await;
    let first = house.list("/").await.expect(200);
    assert_eq!(first["entries"][0]["name"], "large");
    assert_eq!((&first["entries"][0]["size_bytes"], &first["more"]), (&json!(SIZE), &json!(true)));
    agent.cut().await;
    house.eventually(|host| host["state"] == "offline").await;
    assert_eq!(house.list("/").await.expect(200), first, "a snapshot never changes");
    house.list("/elsewhere").await.expect_problem(409, "host_offline");
    assert_eq!(house.machine.count.listings.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_the_agent_refuses_or_cannot_say_is_told_in_words() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    house.list("/missing").await.expect_problem(404, "path_not_found");
    house.list("/closed").await.expect_problem(403, "refused_by_policy");
    house.list("/strange").await.expect_problem(502, "host_failed");
}

/// The agent is connected, takes the question, and says nothing for longer than anybody waits.
#[tokio::test]
async fn a_silent_host_is_told_from_one_that_is_away_and_its_late_answer_is_kept() {
    let house = House::new().await;
    let agent = house.connect_and_list().await;
    let (listed, download) = tokio::join!(house.list("/silent"), house.download("/silent", &[]));
    let told = listed.expect_problem(504, "host_silent");
    assert_eq!(told, "The host has not answered yet.");
    assert_eq!(download.status(), 504);
    house.machine.count.silence.add_permits(2);
    house.list("/silent").await.expect(200);
    let listings = house.machine.count.listings.load(Ordering::Relaxed);
    assert_eq!(listings, 1, "what came late was there for the next try");
    agent.cut().await;
}

#[tokio::test]
async fn what_no_snapshot_can_hold_never_reaches_the_agent() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    for path in ["relative", "/a/../b", "/a%00b", "/./a", "--help"] {
        house.list(path).await.expect_problem(400, "invalid_parameters");
        let download = house.get(&format!("/snapshots/{ID}/download?path={path}")).await;
        download.expect_problem(400, "invalid_parameters");
    }
    for id in ["latest", "0123", "--help00", "..%2F..%2Fx"] {
        let answer = house.get(&format!("/snapshots/{id}/entries")).await;
        answer.expect_problem(400, "invalid_parameters");
    }
    let search =
        async |pattern: &str| house.get(&format!("/snapshots/{ID}/search?pattern={pattern}")).await;
    search("").await.expect_problem(400, "invalid_pattern");
    search(&"x".repeat(256)).await.expect_problem(400, "invalid_pattern");
    house
        .get(&format!("/snapshots/{ID}/entries?limit=5001"))
        .await
        .expect_problem(400, "invalid_limit");
    assert_eq!(house.machine.count.listings.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn names_are_found_and_snapshots_compared() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    let found = house.get(&format!("/snapshots/{ID}/search?pattern=large")).await.expect(200);
    assert_eq!(found["entries"][0]["path"], "/deep/<b>large</b>");
    assert_eq!(found["entries"][0]["kind"], "file");
    let other = ID.replace('0', "1");
    let changed = house.get(&format!("/diff?from={ID}&to={other}&limit=5")).await.expect(200);
    assert_eq!((&changed["omitted"], &changed["changes"][0]["kind"]), (&json!(3), &json!("added")));
}

#[tokio::test]
async fn a_file_comes_byte_for_byte_with_its_length_and_name() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    let answer = house.download("/large", &[]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-length"), SIZE.to_string());
    assert_eq!(header(&answer, "content-type"), "application/octet-stream");
    assert!(header(&answer, "content-disposition").starts_with("attachment; filename=\"large\""));
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    assert_eq!(header(&answer, "content-encoding"), "", "its length would be hidden");
    assert!(whole(answer).await.unwrap() == content());
    house.download("/link", &[]).await;
    house
        .get(&format!("/snapshots/{ID}/download?path=/link"))
        .await
        .expect_problem(409, "not_a_file");
    house
        .get(&format!("/snapshots/{ID}/download?path=/none"))
        .await
        .expect_problem(404, "path_not_found");
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_broken_off() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    let tag = header(&house.download("/large", &[]).await, "etag").to_owned();
    let range = format!("bytes={}-", SIZE - 100);
    let rest = house.download("/large", &[("range", &range), ("if-range", &tag)]).await;
    assert_eq!(rest.status(), 206);
    let wanted = format!("bytes {}-{}/{SIZE}", SIZE - 100, SIZE - 1);
    assert_eq!(header(&rest, "content-range"), wanted);
    assert!(whole(rest).await.unwrap() == content()[SIZE - 100..]);
    let other = house.download("/large", &[("range", &range), ("if-range", "\"other\"")]).await;
    assert_eq!(other.status(), 200);
    let beyond = format!("bytes={SIZE}-");
    assert_eq!(house.download("/large", &[("range", &beyond)]).await.status(), 416);
    // An archive has no known length.
    let archive = house.download("/directory", &[("range", "bytes=5-")]).await;
    assert_eq!((archive.status().as_u16(), header(&archive, "content-length")), (200, ""));
    assert!(header(&archive, "content-disposition").contains("filename=\"directory.tar\""));
}

#[tokio::test]
async fn the_agent_is_never_asked_far_ahead_of_a_slow_reader() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    let mut body = house.download("/large", &[]).await.into_body().into_data_stream();
    let mut taken = 0;
    let mut length = 0;
    while let Some(bytes) = timeout(PATIENCE, body.next()).await.unwrap() {
        // One waits, one could not be handed over yet.
        assert!(house.pieces() <= taken + 3, "{} for {taken}", house.pieces());
        length += bytes.unwrap().len();
        taken += 1;
    }
    assert_eq!(length, SIZE);
    // Somebody who goes away is asked for no longer.
    let asked = house.pieces();
    drop(house.download("/large", &[]).await);
    house.list("/").await.expect(200);
    assert!(house.pieces() <= asked + 3);
}

#[tokio::test]
async fn a_link_that_is_cut_in_the_middle_does_not_end_a_download() {
    let house = House::new().await;
    let agent = house.connect_and_list().await;
    let mut body = house.download("/large", &[]).await.into_body().into_data_stream();
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.extend(timeout(PATIENCE, body.next()).await.unwrap().unwrap().unwrap());
    }
    agent.cut().await;
    let agent = house.connect(2).await;
    while let Some(bytes) = timeout(PATIENCE, body.next()).await.unwrap() {
        taken.extend(bytes.unwrap());
    }
    assert!(taken == content());
    agent.cut().await;
}

#[tokio::test]
async fn a_download_that_cannot_be_finished_breaks_off_and_is_never_short() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    for path in ["/large", "/directory"] {
        house.machine.count.fails_after.store(house.pieces() + 5, Ordering::Relaxed);
        let mut body = house.download(path, &[]).await.into_body().into_data_stream();
        let mut broken = false;
        while let Some(bytes) = timeout(PATIENCE, body.next()).await.unwrap() {
            broken |= bytes.is_err();
        }
        assert!(broken, "{path}");
    }
}

#[tokio::test]
async fn a_download_is_for_operators_and_is_in_the_audit() {
    let house = House::new().await;
    let _agent = house.connect_and_list().await;
    let path = format!("/hosts/web-1/snapshots/{ID}/download?path=/large");
    let viewer = house.server.viewer.clone();
    let refused = house.server.ask(Method::GET, &path, Some(&viewer), None).await;
    refused.expect_problem(403, "role_too_small");
    assert_eq!(house.download("/large", &[]).await.status(), 200);
    let audit = house.server.get("/audit?action=snapshot.download").await.expect(200);
    let entries = audit["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{audit}");
    assert_eq!(entries[0]["subject"], "web-1 01234567:/large");
    assert_eq!(entries[0]["actor"], "operator-token");
}
