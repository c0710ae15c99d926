//! Plain WebSocket clients: those of the floors, and browsers on the live socket.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use tokio::{net::TcpStream, sync::Notify, task::JoinSet};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};
use url::Url;

use super::{Order, Standing, Word, floor};

/// How long a peer may take to be let in.
const CONNECT_MAX: Duration = Duration::from_secs(60);
/// How long an echo may take before it counts as lost.
const ECHO_MAX: Duration = Duration::from_secs(30);
/// How often messages that are due are sent.
const TICK: Duration = Duration::from_millis(10);

/// Which peers to be.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Where to connect, as `http://HOST:PORT/PATH`
    #[arg(long)]
    url: Url,
    /// How many
    #[arg(long)]
    count: usize,
    /// What lets a browser in
    #[arg(long, env = crate::child::TOKEN, hide_env_values = true)]
    token: Option<String>,
    /// Wait for the other side's first message instead of greeting it
    #[arg(long)]
    listen: bool,
}

type Socket = WebSocketStream<TcpStream>;

struct Peer {
    sink: tokio::sync::Mutex<SplitSink<Socket, Message>>,
    heard: Notify,
}

struct Peers {
    options: Options,
    all: tokio::sync::RwLock<Vec<Arc<Peer>>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connected: AtomicU64,
    received: AtomicU64,
    bytes: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

/// Runs the peers until the driver is gone.
pub(crate) async fn run(options: Options) -> Result<()> {
    super::serve(Word::Ready { port: 0 }, move |_| {
        let all = tokio::sync::RwLock::default();
        let peers = Arc::new(Peers { options, all, counts: Arc::default() });
        move |order| Arc::clone(&peers).carry_out(order)
    })
    .await
}

impl Peers {
    async fn carry_out(self: Arc<Self>, order: Order) -> Result<Word> {
        match order {
            Order::Connect => self.connect().await,
            Order::Status => Ok(Word::Status(self.counts.standing())),
            Order::Pace { per_second, seconds } => self.pace(per_second, seconds).await,
            Order::Echo { rounds } => self.echo(rounds).await,
            Order::Progress { .. } | Order::Records { .. } => bail!("not an order for peers"),
        }
    }

    /// Connects all at once; done when each is in or has failed.
    async fn connect(&self) -> Result<Word> {
        let started = Instant::now();
        let mut joining = JoinSet::new();
        for _ in 0..self.options.count {
            joining.spawn(join(self.options.clone(), Arc::clone(&self.counts)));
        }
        let mut all = self.all.write().await;
        while let Some(joined) = joining.join_next().await {
            match joined.context("a peer panicked")? {
                Ok(peer) => all.push(peer),
                Err(error) => self.counts.failed(&error.root_cause().to_string()),
            }
        }
        Ok(Word::Done { count: all.len() as u64, seconds: started.elapsed().as_secs_f64() })
    }

    /// Sends evenly, then waits until the other side has worked all of it off.
    async fn pace(&self, per_second: f64, seconds: f64) -> Result<Word> {
        let all = self.all.read().await;
        ensure!(!all.is_empty(), "no peer is connected");
        let started = Instant::now();
        let mut sent = 0;
        let mut tick = tokio::time::interval(TICK);
        while started.elapsed().as_secs_f64() < seconds {
            tick.tick().await;
            while (sent as f64) < started.elapsed().as_secs_f64() * per_second {
                all[sent % all.len()].send(message(sent)).await?;
                sent += 1;
            }
        }
        for peer in all.iter() {
            peer.echo().await?;
        }
        Ok(Word::Done { count: sent as u64, seconds: started.elapsed().as_secs_f64() })
    }

    async fn echo(&self, rounds: usize) -> Result<Word> {
        let all = self.all.read().await;
        ensure!(!all.is_empty(), "no peer is connected");
        let mut micros = Vec::with_capacity(rounds);
        for round in 0..rounds {
            // A large stride, so that no peer's memory is still warm.
            let peer = &all[round.wrapping_mul(7919) % all.len()];
            let started = Instant::now();
            peer.echo().await?;
            micros.push(started.elapsed().as_secs_f64() * 1e6);
        }
        Ok(Word::Echoes { micros })
    }
}

impl Peer {
    async fn send(&self, text: String) -> Result<()> {
        self.sink.lock().await.send(Message::text(text)).await.context("a peer was cut off")
    }

    async fn echo(&self) -> Result<()> {
        self.send("echo".to_owned()).await?;
        let heard = tokio::time::timeout(ECHO_MAX, self.heard.notified()).await;
        heard.context("an echo was lost")
    }
}

impl Counts {
    fn standing(&self) -> Standing {
        Standing {
            connected: self.connected.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            received_bytes: self.bytes.load(Ordering::Relaxed),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn failed(&self, reason: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(reason.to_owned()).or_default() += 1;
    }
}

/// How a part of the live snapshot begins.
const PART: &str = r#"{"kind":"snapshot.part""#;

/// Connects one peer and greets, or waits to be greeted.
async fn join(options: Options, counts: Arc<Counts>) -> Result<Arc<Peer>> {
    let opened = tokio::time::timeout(CONNECT_MAX, open(&options)).await;
    let socket = opened.context("not let in in time")??;
    let (sink, mut stream) = socket.split();
    let peer = Arc::new(Peer { sink: tokio::sync::Mutex::new(sink), heard: Notify::new() });
    let reader = Arc::clone(&peer);
    counts.connected.fetch_add(1, Ordering::Relaxed);
    let counting = Arc::clone(&counts);
    tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            if message.is_text() {
                counting.received.fetch_add(1, Ordering::Relaxed);
                counting.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
                // A browser is greeted when it has the whole fleet.
                if !message.to_text().is_ok_and(|text| text.starts_with(PART)) {
                    reader.heard.notify_one();
                }
            }
        }
        counting.connected.fetch_sub(1, Ordering::Relaxed);
        counting.failed("cut off");
    });
    if options.listen {
        let greeted = tokio::time::timeout(CONNECT_MAX, peer.heard.notified()).await;
        greeted.context("not greeted in time")?;
    } else {
        peer.echo().await?;
    }
    Ok(peer)
}

async fn open(options: &Options) -> Result<Socket> {
    let mut request = options.url.as_str().replacen("http", "ws", 1).into_client_request()?;
    if let Some(token) = &options.token {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
        request.headers_mut().insert("authorization", bearer);
    }
    let host = options.url.host_str().context("no host")?;
    let port = options.url.port_or_known_default().context("no port")?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    // A browser takes a message of any size, and a large fleet's first one is large.
    let limits = floor::buffers().max_frame_size(None).max_message_size(None);
    let (socket, _) = client_async_with_config(request, stream, Some(limits)).await?;
    Ok(socket)
}

/// About what a progress message of a light agent weighs on the wire.
pub(super) fn message(number: usize) -> String {
    let job_id = format!("00000003-0000-7000-8000-{number:012x}");
    let file = "/srv/data/some/folder/with/a/file.dat";
    let payload = serde_json::json!({
        "job_id": job_id, "percent_done": 0.5, "files_done": number, "total_files": 1_000_000,
        "bytes_done": 409_600, "total_bytes": 1_u64 << 40, "eta_seconds": 3600,
        "throughput_bps": 104_857_600, "current_files": [file], "error_count": 0,
    });
    format!(r#"{{"kind":"job.progress","ts":"2026-01-01T00:00:00Z","payload":{payload}}}"#)
}
