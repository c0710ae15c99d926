//! The least that a server on the same stack does: no store, no sessions, no meaning.
//!
//! A message that begins with `e` is echoed; any other is parsed as JSON and counted. On the fan
//! nobody is heard; what is published goes to all.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::{
        State,
        ws::{Message as AxumMessage, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::broadcast,
    time::Instant,
};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{Order, Standing, Word};

/// tungstenite's own 128 KiB would measure page faults.
pub(super) const BUFFER_BYTES: usize = 4 * 1024;
/// A storm must not wait for dropped SYNs to be sent again.
const BACKLOG: u32 = 4096;
/// How many updates a slow reader may be behind.
const FAN_WAITING: usize = 1024;
/// The size of what `GET /page` answers, as a page of the API has it.
const PAGE_BYTES: usize = 20 * 1024;

/// Which floor.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// tokio-tungstenite on a bare listener
    Tungstenite,
    /// axum's WebSocket; also answers `GET /page`
    Axum,
    /// axum's WebSocket, one publisher to all
    Fan,
}

/// What a progress message is parsed into, so that the floor pays for JSON too.
#[derive(Debug, Deserialize)]
struct Parsed {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "payload", default)]
    _payload: serde_json::Value,
}

/// Serves the floor until the driver is gone.
pub(crate) async fn run(options: Options) -> Result<()> {
    let socket = TcpSocket::new_v4().context("no socket")?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("no port")?;
    let listener = socket.listen(BACKLOG).context("cannot listen")?;
    let port = listener.local_addr().context("no address")?.port();
    let (fan, _) = broadcast::channel(FAN_WAITING);
    tokio::spawn(listen(options.kind, listener, fan.clone()));
    let fan = Arc::new(fan);
    super::serve(Word::Ready { port }, move |_| {
        move |order| {
            let fan = Arc::clone(&fan);
            async move {
                match order {
                    Order::Pace { per_second, seconds } => publish(&fan, per_second, seconds).await,
                    Order::Status => Ok(Word::Status(Standing::default())),
                    other => anyhow::bail!("not an order for a floor: {other:?}"),
                }
            }
        }
    })
    .await
}

async fn listen(kind: Kind, listener: TcpListener, fan: broadcast::Sender<Utf8Bytes>) {
    let served = match kind {
        Kind::Tungstenite => return bare(listener).await,
        Kind::Axum => axum::serve(listener, axum_floor()).await,
        Kind::Fan => axum::serve(listener, axum_fan(fan)).await,
    };
    if let Err(error) = served {
        eprintln!("the floor ended: {error}");
    }
}

async fn bare(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(bare_connection(stream));
    }
}

async fn bare_connection(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut socket = accept_async_with_config(stream, Some(buffers())).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        if is_echo(&text) {
            socket.send(Message::Text(text)).await.ok()?;
        }
    }
    None
}

/// The buffers of both ends of a floor.
pub(super) fn buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(BUFFER_BYTES)
}

/// Whether to send it back; anything else is parsed and dropped.
fn is_echo(text: &str) -> bool {
    if text.starts_with('e') {
        return true;
    }
    let parsed: Option<Parsed> = serde_json::from_str(text).ok();
    std::hint::black_box(parsed);
    false
}

fn axum_floor() -> Router {
    let page: &'static str = Box::leak("x".repeat(PAGE_BYTES).into_boxed_str());
    let open = async |upgrade: WebSocketUpgrade| -> Response {
        upgrade
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .on_upgrade(axum_connection)
    };
    Router::new().route("/", get(open)).route("/page", get(async move || page))
}

async fn axum_connection(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let AxumMessage::Text(text) = message else { continue };
        if is_echo(&text) && socket.send(AxumMessage::Text(text)).await.is_err() {
            break;
        }
    }
}

fn axum_fan(fan: broadcast::Sender<Utf8Bytes>) -> Router {
    let open = async |State(fan): State<broadcast::Sender<Utf8Bytes>>,
                      upgrade: WebSocketUpgrade|
           -> Response {
        upgrade
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .on_upgrade(move |socket| fan_connection(socket, fan.subscribe()))
    };
    Router::new().route("/", get(open)).with_state(fan)
}

async fn fan_connection(mut socket: WebSocket, mut updates: broadcast::Receiver<Utf8Bytes>) {
    // The first message tells the reader that it is in.
    let mut next = Utf8Bytes::from_static("{}");
    while socket.send(AxumMessage::Text(next)).await.is_ok() {
        let Ok(update) = updates.recv().await else { break };
        next = update;
    }
}

async fn publish(
    fan: &broadcast::Sender<Utf8Bytes>,
    per_second: f64,
    seconds: f64,
) -> Result<Word> {
    let update = Utf8Bytes::from(super::peers::message(0));
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(4));
    let mut sent = 0_u64;
    while started.elapsed().as_secs_f64() < seconds {
        tick.tick().await;
        while (sent as f64) < started.elapsed().as_secs_f64() * per_second {
            // Nobody listening is fine.
            let _ = fan.send(update.clone());
            sent += 1;
        }
    }
    Ok(Word::Done { count: sent, seconds: started.elapsed().as_secs_f64() })
}
