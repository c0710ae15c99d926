//! Over real sockets: axum at one end, tokio-tungstenite at the other.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, post},
    serve::ListenerExt,
};
use futures_util::{SinkExt, StreamExt};
use holdfast_link::{
    Client, ClientConfig, ExchangeError, Exchanges, Fatal, LinkEvent, NotAnUpgrade, ServeConfig,
    Upgrade, accept, server::serve, store::memory::MemoryStore,
};
use holdfast_protocol::{CONNECT_PATH, EXCHANGE_PATH, FRAME_SIZE_MAX};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        protocol::{
            CloseFrame,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{
    House, Keys, Machine, TOKEN, append, connected, identity, numbers, quick, soon, status,
};

/// A server on a free port.
pub(crate) struct Site {
    pub(crate) house: Arc<House>,
    pub(crate) url: String,
    stop: CancellationToken,
    /// What every dial is answered with, when not with an upgrade.
    answer: Arc<Mutex<Option<Response>>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Desk {
    house: Arc<House>,
    stop: CancellationToken,
    answer: Arc<Mutex<Option<Response>>>,
    exchanges: Arc<Exchanges>,
}

fn is_known(headers: &HeaderMap) -> bool {
    let expected = format!("Bearer {TOKEN}");
    headers.get("authorization").is_some_and(|value| value == expected.as_str())
}

async fn connect(
    State(desk): State<Desk>,
    headers: HeaderMap,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    if let Some(answer) = desk.answer.lock().unwrap().take() {
        return answer;
    }
    if !is_known(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    // What servers of other makes say to a wish that was lost on the way.
    let Ok(upgrade) = upgrade else { return StatusCode::BAD_REQUEST.into_response() };
    upgrade.open(|socket| async move {
        accept(socket, &*desk.house, &ServeConfig::default(), desk.stop).await;
    })
}

async fn exchange(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_known(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Desk { house, stop, exchanges, .. } = desk;
    let open = |transport| {
        tokio::spawn(async move {
            serve(Box::new(transport), &*house, &ServeConfig::default(), stop).await
        });
    };
    match exchanges.answer(Uuid::nil(), &body, open).await {
        Ok(answer) => answer.into_response(),
        Err(ExchangeError::Gone) => StatusCode::GONE.into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

impl Site {
    pub(crate) async fn open() -> Self {
        Self::open_at("127.0.0.1:0", Arc::default()).await
    }

    async fn open_at(address: &str, house: Arc<House>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let answer = Arc::default();
        let desk = Desk {
            house: Arc::clone(&house),
            stop: stop.clone(),
            answer: Arc::clone(&answer),
            exchanges: Arc::default(),
        };
        let app = Router::new()
            .route(CONNECT_PATH, any(connect))
            .route(EXCHANGE_PATH, post(exchange))
            .route("/blocked", any(async || StatusCode::UPGRADE_REQUIRED))
            .with_state(desk);
        // As the server does: an ack that waits for the agent's delayed TCP ack costs 40 ms.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { house, url, stop, answer, task }
    }

    fn client(&self) -> (Client<MemoryStore>, Arc<MemoryStore>, Keys) {
        let store = Arc::new(MemoryStore::default());
        let keys = Keys::new(TOKEN);
        let config = quick(&self.url);
        let client =
            Client::new(config, identity(), Arc::clone(&store), keys.clone(), Machine).unwrap();
        (client, store, keys)
    }

    /// Ends the listener and every connection without a word.
    async fn kill(self) -> Arc<House> {
        self.task.abort();
        let _ = self.task.await;
        self.house
    }
}

pub(crate) fn start(client: &Client<MemoryStore>) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let (client, token) = (client.clone(), stop.clone());
    (stop, tokio::spawn(async move { client.run(token).await.unwrap() }))
}

#[tokio::test]
async fn records_cross_both_ways_and_are_forgotten_once_acknowledged() {
    let site = Site::open().await;
    let (client, store, _) = site.client();
    append(&store, 0..1000);
    append(&site.house.store, 0..10);
    let (stop, task) = start(&client);
    soon(site.house.store.wait_until(|store| store.applied().len() == 1000)).await;
    soon(store.wait_until(|store| numbers(store) == (0..10).collect::<Vec<_>>())).await;
    append(&store, 1000..1001);
    client.wake();
    soon(site.house.store.wait_until(|store| store.applied().len() == 1001)).await;
    soon(store.wait_until(|store| store.outbox_len() == 0)).await;
    assert_eq!(numbers(&site.house.store), (0..1001).collect::<Vec<_>>());
    stop.cancel();
    soon(task).await.unwrap();
    site.house.has_ended("bye").await;
}

#[tokio::test]
async fn an_agent_comes_back_after_the_server_went_away_and_goes_on_where_it_was() {
    let site = Site::open().await;
    let address = site.url.trim_start_matches("http://").to_owned();
    let (client, store, _) = site.client();
    append(&store, 0..10);
    let (stop, task) = start(&client);
    soon(site.house.store.wait_until(|store| store.applied().len() == 10)).await;
    site.house
        .mailbox()
        .close(holdfast_link::CloseReason::Draining { after: std::time::Duration::from_millis(1) });
    site.house.has_ended("draining").await;
    let house = site.kill().await;
    append(&store, 10..20);
    client.wake();
    let site = Site::open_at(&address, house).await;
    soon(site.house.store.wait_until(|store| store.applied().len() == 20)).await;
    assert_eq!(numbers(&site.house.store), (0..20).collect::<Vec<_>>());
    assert!(connected(&client).await.reconnect_count >= 1);
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn a_newer_session_shuts_out_the_older_one() {
    let site = Site::open().await;
    let (first, _, _) = site.client();
    let mut events = first.events();
    let (_stop_first, first_task) = start(&first);
    connected(&first).await;
    let (second, _, _) = site.client();
    let (stop, task) = start(&second);
    connected(&second).await;
    soon(async { while events.recv().await.unwrap() != LinkEvent::Fenced {} }).await;
    site.house.has_ended("fenced").await;
    first_task.abort();
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn an_unknown_token_is_reported_and_a_new_one_is_taken_up() {
    let site = Site::open().await;
    let (client, _, keys) = site.client();
    *keys.0.lock().unwrap() = Some(holdfast_protocol::message::config::Secret::new("wrong"));
    let (stop, task) = start(&client);
    let refused = status(&client, |status| status.last_error.is_some()).await;
    assert_eq!(refused.last_error_code.as_deref(), Some("unauthorised"));
    let text = refused.last_error.unwrap();
    assert!(text.contains("HTTP 401") && !text.contains("wrong"), "{text}");
    *keys.0.lock().unwrap() = Some(holdfast_protocol::message::config::Secret::new(TOKEN));
    let status = connected(&client).await;
    assert_eq!((status.last_error, status.reconnect_count), (None, 0));
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn the_last_good_token_is_used_when_the_source_fails() {
    let site = Site::open().await;
    let (client, _, keys) = site.client();
    let (stop, task) = start(&client);
    connected(&client).await;
    keys.0.lock().unwrap().take();
    site.house.mailbox().close(holdfast_link::CloseReason::Revoked);
    status(&client, |status| status.is_connected() && status.reconnect_count == 1).await;
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn each_refusal_is_told_in_words_for_people() {
    let site = Site::open().await;
    for (status_code, code, words) in [
        (StatusCode::NOT_FOUND, "server_not_found", "check the server's URL"),
        (StatusCode::SERVICE_UNAVAILABLE, "server_busy", "the server is busy (HTTP 503)"),
        (StatusCode::UPGRADE_REQUIRED, "upgrade_refused", "a proxy in between"),
        (StatusCode::BAD_GATEWAY, "unexpected_status", "HTTP 502"),
    ] {
        let config = ClientConfig { exchange_path: None, ..quick(&site.url) };
        let store = Arc::new(MemoryStore::default());
        let client = Client::new(config, identity(), store, Keys::new(TOKEN), Machine).unwrap();
        *site.answer.lock().unwrap() = Some(status_code.into_response());
        let (stop, task) = start(&client);
        let status = status(&client, |status| status.last_error.is_some()).await;
        assert_eq!(status.last_error_code.as_deref(), Some(code));
        let text = status.last_error.unwrap();
        assert!(text.contains(words), "{text}");
        stop.cancel();
        soon(task).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_wants_to_know_at_once_is_told_why_the_first_attempt_failed() {
    let site = Site::open().await;
    let config = ClientConfig { fail_first_connect: true, ..quick(&site.url) };
    let store = Arc::new(MemoryStore::default());
    let wrong = Keys::new("wrong");
    let outbox = Arc::clone(&store);
    let client = Client::new(config.clone(), identity(), outbox, wrong, Machine).unwrap();
    let fatal = soon(client.run(CancellationToken::new())).await.unwrap_err();
    let Fatal::FirstConnect { code, reason } = fatal else { panic!("{fatal}") };
    assert_eq!(code, "unauthorised");
    assert!(reason.contains("HTTP 401"), "{reason}");
    assert!(!client.connected() && client.session_id().is_none());
    // Once it was connected, it goes on for ever.
    let client = Client::new(config, identity(), store, Keys::new(TOKEN), Machine).unwrap();
    let (stop, task) = start(&client);
    let first = connected(&client).await;
    assert!(client.connected() && client.session_id() == first.session_id);
    site.house.mailbox().close(holdfast_link::CloseReason::Revoked);
    status(&client, |status| status.is_connected() && status.reconnect_count == 1).await;
    assert_eq!(client.reconnect_count(), 1);
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn a_frame_larger_than_this_side_reads_ends_the_session() {
    let site = Site::open().await;
    let mut config = quick(&site.url);
    config.session.frame_max = 10_000;
    let (store, keys) = (Arc::new(MemoryStore::default()), Keys::new(TOKEN));
    let client = Client::new(config, identity(), Arc::clone(&store), keys, Machine).unwrap();
    let (stop, task) = start(&client);
    connected(&client).await;
    let body = holdfast_protocol::Payload::of(&"x".repeat(9_000));
    site.house.store.append("command.run", body);
    site.house.mailbox().wake();
    soon(store.wait_until(|store| store.applied().len() == 1)).await;
    let body = holdfast_protocol::Payload::of(&"x".repeat(11_000));
    site.house.store.append("command.run", body);
    site.house.mailbox().wake();
    let status = status(&client, |status| status.last_error.is_some()).await;
    assert_eq!(status.last_error_code.as_deref(), Some("violation"));
    assert!(status.last_error.unwrap().contains("larger than this side reads"));
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_is_told_in_words_for_people() {
    let site = Site::open().await;
    let (client, _, _) = site.client();
    let url = site.url.clone();
    site.kill().await;
    let (stop, task) = start(&client);
    let status = status(&client, |status| status.last_error.is_some()).await;
    assert_eq!(status.last_error.unwrap(), format!("cannot reach {url}: connection refused"));
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_from_one_that_is_away() {
    let site = Site::open().await;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let config =
        ClientConfig { tls: Some(Arc::new(tls)), ..quick(&site.url.replace("http", "https")) };
    let store = Arc::new(MemoryStore::default());
    let client = Client::new(config, identity(), store, Keys::new(TOKEN), Machine).unwrap();
    let (stop, task) = start(&client);
    let status = status(&client, |status| status.last_error.is_some()).await;
    assert_eq!(status.last_error_code.as_deref(), Some("tls_failed"));
    let text = status.last_error.unwrap();
    assert!(text.contains("is it http:// rather than https://?"), "{text}");
    stop.cancel();
    soon(task).await.unwrap();
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Dials by hand.
async fn dial(site: &Site) -> Socket {
    let mut request =
        format!("{}{CONNECT_PATH}", site.url.replace("http", "ws")).into_client_request().unwrap();
    let bearer = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    connect_async(request).await.unwrap().0
}

/// Sends `message` as the first frame and gives the close frame it is answered with.
async fn close_frame_for(site: &Site, message: Message) -> CloseFrame {
    let mut socket = dial(site).await;
    // A server that has seen enough may close before all of it is out.
    let _ = socket.send(message).await;
    close_frame(&mut socket).await
}

async fn close_frame(socket: &mut Socket) -> CloseFrame {
    loop {
        match soon(socket.next()).await.unwrap().unwrap() {
            Message::Close(frame) => return frame.unwrap(),
            other => assert!(!other.is_close()),
        }
    }
}

#[tokio::test]
async fn what_is_not_a_frame_closes_only_its_own_connection() {
    let site = Site::open().await;
    let (client, _, _) = site.client();
    let (stop, task) = start(&client);
    let session_id = connected(&client).await.session_id;
    let deep = "[".repeat(100_000);
    let nested = format!(r#"{{"kind":"hello","ts":"2026-11-21T10:00:00Z","payload":{deep}"#);
    let many: String = (0..100_000).map(|number| format!(r#""k{number}":0,"#)).collect();
    let not_utf8 = Frame::message(vec![b'"', 0xff], OpCode::Data(Data::Text), true);
    for (message, code) in [
        (Message::text("{"), 4400),
        (Message::text(r#"{"kind":"heartbeat","ts":"2026-11-21T10:00:00Z"}"#), 4400),
        (Message::text(r#"{"kind":"hello","ts":"2026-11-21T10:00:00Z","payload":7}"#), 4400),
        (Message::text(r#"{"kind":"hello","ts":"2026-11-21T10:00:00Z","seq":-1}"#), 4400),
        (Message::text(r#"{"kind":"hello","ts":NaN}"#), 4400),
        (Message::text(r#"{"kind":"x","kind":"y","ts":"2026-11-21T10:00:00Z"}"#), 4400),
        (Message::text(format!(r#"{{{many}"kind":"x","ts":"2026-11-21T10:00:00Z"}}"#)), 4400),
        (Message::text(deep), 4400),
        (Message::text(nested), 4400),
        (Message::Frame(not_utf8), 4400),
        (Message::binary(vec![1, 2, 3]), 4400),
        (Message::text("x".repeat(FRAME_SIZE_MAX + 1)), 1009),
    ] {
        let size = message.len();
        let frame = close_frame_for(&site, message).await;
        assert_eq!(u16::from(frame.code), code, "{size} bytes: {}", frame.reason);
    }
    assert_eq!(connected(&client).await.session_id, session_id);
    stop.cancel();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn a_frame_that_only_claims_to_be_huge_is_refused_before_it_comes() {
    let site = Site::open().await;
    for size in [FRAME_SIZE_MAX as u64 + 1, 64 << 20, 1 << 63] {
        let mut socket = dial(&site).await;
        // A final text frame, masked, with its size in eight bytes; nothing of it follows.
        let mut header = vec![0x81, 0xff];
        header.extend(size.to_be_bytes());
        header.extend([0; 4]);
        socket.get_mut().write_all(&header).await.unwrap();
        assert_eq!(u16::from(close_frame(&mut socket).await.code), 1009, "{size} bytes");
    }
}

/// Passes bytes on in both directions, until `bytes` of them have gone to the server; then both
/// sides are dropped. The next connection gets `step` bytes more.
pub(crate) async fn leaky_road(listener: TcpListener, server: String, first: usize, step: usize) {
    for bytes in (first..).step_by(step) {
        let (agent, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(&server).await.unwrap();
        tokio::spawn(leak(agent, server, bytes as u64));
    }
}

async fn leak(mut agent: TcpStream, mut server: TcpStream, bytes: u64) {
    let (mut from_agent, mut to_agent) = agent.split();
    let (mut from_server, mut to_server) = server.split();
    let mut bounded = (&mut from_agent).take(bytes);
    // Whoever is done first ends the connection, in the middle of whatever was under way.
    tokio::select! {
        _ = copy(&mut bounded, &mut to_server) => {}
        _ = copy(&mut from_server, &mut to_agent) => {}
    }
}

#[tokio::test]
async fn a_connection_cut_at_any_byte_loses_and_repeats_nothing() {
    let site = Site::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = site.url.trim_start_matches("http://").to_owned();
    // From within the request for the upgrade to well within the stream.
    let road = tokio::spawn(leaky_road(listener, server, 50, 37));
    let store = Arc::new(MemoryStore::default());
    let config = quick(&url);
    let client =
        Client::new(config, identity(), Arc::clone(&store), Keys::new(TOKEN), Machine).unwrap();
    append(&store, 0..200);
    let (stop, task) = start(&client);
    soon(site.house.store.wait_until(|store| store.applied().len() == 200)).await;
    assert_eq!(numbers(&site.house.store), (0..200).collect::<Vec<_>>());
    assert!(site.house.epoch() > 3, "{} sessions", site.house.epoch());
    stop.cancel();
    soon(task).await.unwrap();
    road.abort();
}

#[tokio::test]
async fn a_stopping_server_asks_its_agents_to_come_back_later() {
    let site = Site::open().await;
    let (client, store, _) = site.client();
    let (stop, task) = start(&client);
    connected(&client).await;
    append(&store, 0..1);
    client.wake();
    soon(site.house.store.wait_until(|store| store.applied().len() == 1)).await;
    site.stop.cancel();
    let status = status(&client, |status| status.last_error.is_some()).await;
    assert_eq!(status.last_error_code.as_deref(), Some("go_away"));
    site.house.has_ended("draining").await;
    stop.cancel();
    soon(task).await.unwrap();
}
