//! The whole server: starting, refusing to start, and stopping.

use std::{net::SocketAddr, path::Path, time::Duration};

use holdfast_server::{
    ServerConfig,
    server::{Ready, ServerError, run},
    store::Store,
};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

fn config(dir: &Path, listen: &str) -> ServerConfig {
    ServerConfig {
        data_dir: dir.to_owned(),
        listen: listen.to_owned(),
        notify_allow: vec![],
        trusted_proxies: vec![],
        host_names: Vec::new(),
        metrics_public: false,
    }
}

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
}

async fn start(dir: &Path) -> Running {
    start_with(config(dir, "127.0.0.1:0")).await
}

async fn start_with(config: ServerConfig) -> Running {
    let stop = CancellationToken::new();
    let (ready, address) = oneshot::channel();
    let on_ready = move |started: Ready| ready.send(started.address).unwrap();
    let task = tokio::spawn(run(config, stop.clone(), on_ready));
    Running { address: address.await.unwrap(), stop, task }
}

#[tokio::test]
async fn a_server_answers_when_it_is_ready_and_stops_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let health = reqwest::get(format!("http://{}/healthz", server.address)).await.unwrap();
    assert_eq!(health.status(), 200);
    assert!(health.text().await.unwrap().contains("ready"));
    let idle = tokio::net::TcpStream::connect(server.address).await.unwrap();
    server.stop.cancel();
    // Whoever waited for the idle one to close would wait for ever.
    let stopped = tokio::time::timeout(Duration::from_secs(30), server.task).await;
    stopped.expect("it stops by itself").unwrap().unwrap();
    drop(idle);
    let again = start(dir.path()).await;
    again.stop.cancel();
    again.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_setup_code_is_told_while_nobody_can_sign_in() {
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let mut codes = Vec::new();
    for _ in 0..2 {
        let note = |started: Ready| codes.push(started.setup_code);
        run(config(dir.path(), "127.0.0.1:0"), stop.clone(), note).await.unwrap();
    }
    assert!(codes.iter().all(Option::is_some), "{codes:?}");
    assert_ne!(codes[0], codes[1], "each start has its own");
    let store = Store::open(dir.path()).await.unwrap();
    store.create_api_token("first", "admin").await.unwrap();
    store.close().await;
    let note = |started: Ready| assert_eq!(started.setup_code, None);
    run(config(dir.path(), "127.0.0.1:0"), stop, note).await.unwrap();
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path()).await;
    let second =
        run(config(dir.path(), "127.0.0.1:0"), CancellationToken::new(), |_| panic!("ready"));
    let error = second.await.unwrap_err();
    assert!(error.to_string().contains("already uses the data directory"), "{error}");
    first.stop.cancel();
    first.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let starting = run(config(dir.path(), &address), CancellationToken::new(), |_| panic!("ready"));
    let error = starting.await.unwrap_err();
    assert_eq!(error.to_string(), format!("the address {address} is already in use"));
    assert!(error.action().contains("--listen"));
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let starting = run(config(&file.join("data"), "127.0.0.1:0"), CancellationToken::new(), |_| {});
    let error = starting.await.unwrap_err();
    assert!(error.to_string().starts_with("cannot use the data directory"), "{error}");
    assert!(!error.action().is_empty());
}

/// The doors that a browser can be led to.
const DOORS: [(&str, &str); 7] = [
    ("GET", "/"),
    ("GET", "/hosts"),
    ("GET", "/api/v1/me"),
    ("POST", "/api/v1/sign-in"),
    ("GET", "/api/v1/live"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/healthz"),
];

impl Running {
    /// What the door answers to who asks by `name`, as a page would whose name was turned round.
    async fn asked_as(&self, (method, path): (&str, &str), name: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let request = reqwest::Client::new()
            .request(method.parse().unwrap(), url)
            .header("host", name)
            .header("content-type", "application/json")
            .body("{}");
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_page_that_had_its_name_lead_here_is_told_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let port = server.address.port();
    for door in DOORS {
        for name in ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil"]
        {
            let (status, text) = server.asked_as(door, name).await;
            assert_eq!(status, 421, "{door:?} as {name}: {text}");
            assert!(text.contains("unknown_host_name"), "{door:?} as {name}: {text}");
        }
        for name in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
            assert_ne!(server.asked_as(door, &name).await.0, 421, "{door:?} as {name}");
        }
    }
    // Agents dial by whatever name they were told, and are no browsers.
    for door in [("GET", "/api/v1/agent/connect"), ("POST", "/api/v1/agent/exchange")] {
        assert_eq!(server.asked_as(door, "backup.lan").await.0, 401, "{door:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_answers_to_the_names_it_was_given_and_to_its_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let named = ServerConfig {
        host_names: vec!["Backup.Example".to_owned()],
        ..config(dir.path(), "127.0.0.1:0")
    };
    let server = start_with(named).await;
    for (name, answered) in [("backup.example", true), ("backup.example:8443", true), ("x", false)]
    {
        let (status, text) = server.asked_as(("GET", "/api/v1/openapi.json"), name).await;
        assert_eq!(status, if answered { 200 } else { 421 }, "{name}: {text}");
    }
    server.stop().await;
    let proxied = ServerConfig {
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..config(dir.path(), "127.0.0.1:0")
    };
    let server = start_with(proxied).await;
    let (status, text) = server.asked_as(("GET", "/api/v1/openapi.json"), "whatever").await;
    assert_eq!(status, 200, "the proxy has looked at the name: {text}");
    server.stop().await;
}
