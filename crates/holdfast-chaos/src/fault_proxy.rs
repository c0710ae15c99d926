//! A TCP proxy that misbehaves on command.
//!
//! It stands between an agent and its server and knows nothing of what they say: it sees bytes.
//! What it does to them is set by a [`Faults`] value that can be changed at any time, from any
//! thread; connections that are open follow at once.

mod connection;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One of the two ways through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the agent to the server.
    ToServer,
    /// From the server to the agent.
    ToAgent,
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In good order, as far as TCP knows.
    Fin,
    /// With a reset.
    Rst,
}

/// What happens to a new connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Welcome {
    /// It is carried to the server.
    #[default]
    Carry,
    /// It is accepted and closed at once.
    Drop,
    /// Nobody listens.
    Refuse,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Nothing gets through, not even the end of the connection.
    pub blackhole: bool,
    /// How long every byte is on its way.
    pub delay: Duration,
    /// One piece in so many is held up for so long, and what follows with it.
    pub stall: Option<(u64, Duration)>,
    /// At most so many bytes a second; the sender is held up.
    pub bytes_per_second: Option<u64>,
    /// The connection is cut after so many bytes.
    pub cut_after: Option<(u64, Cut)>,
    /// What is done to the byte at a position.
    pub tamper: Option<(u64, Tamper)>,
}

/// A change to the bytes that no network should make, and some middle boxes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    /// The byte is another one.
    Corrupt,
    /// The byte comes twice.
    Duplicate,
}

/// Everything that is wrong at the moment. The default is an honest proxy.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// For new connections.
    pub welcome: Welcome,
    /// Bytes for the server.
    pub to_server: Flow,
    /// Bytes for the agent.
    pub to_agent: Flow,
    /// A connection on which nothing moves for so long is closed, as by many real proxies.
    pub idle_max: Option<Duration>,
    /// The wish for a WebSocket is taken out of requests.
    pub strips_upgrade: bool,
    /// The proxy takes little at a time from either side, so that a slow way is felt at its start.
    pub small_buffers: bool,
}

impl Faults {
    /// The flow of one direction.
    #[must_use]
    pub fn flow(&self, direction: Direction) -> &Flow {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToAgent => &self.to_agent,
        }
    }

    /// The flow of one direction, to be changed.
    pub fn flow_mut(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToAgent => &mut self.to_agent,
        }
    }
}

/// A running proxy on a loopback port of its own. Dropped, it is gone with its connections.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    faults: watch::Sender<Faults>,
    /// Raised to cut everything that is open.
    cuts: watch::Sender<Option<Cut>>,
    stop: watch::Sender<bool>,
    listening: AtomicBool,
    open: AtomicU64,
    dials: Mutex<Vec<Instant>>,
    /// When an agent closed its end, whatever the server was told.
    left: Mutex<Vec<Instant>>,
    carried: [AtomicU64; 2],
}

impl FaultProxy {
    /// Starts an honest proxy before `server`.
    ///
    /// # Errors
    /// When there is no port or thread for it.
    pub fn start(server: SocketAddr) -> Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), server)
    }

    /// The same at an address of the caller's choice.
    ///
    /// # Errors
    /// When the address cannot be had, or there is no thread for it.
    pub fn start_on(address: SocketAddr, server: SocketAddr) -> Result<Self> {
        let socket = std::net::TcpListener::bind(address).context("no port for the proxy")?;
        socket.set_nonblocking(true).context("cannot prepare the proxy's socket")?;
        let address = socket.local_addr().context("the proxy has no address")?;
        let shared = Arc::new(Shared::new(server));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime for the proxy")?;
        let inside = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || runtime.block_on(run(inside, socket, address)))
            .context("no thread for the proxy")?;
        Ok(Self { shared, address, thread: Some(thread) })
    }

    /// Where agents find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what is wrong; open connections follow.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.faults.send_modify(change);
    }

    /// Nothing is wrong any more. What a blackhole has held up goes on its way.
    pub fn heal(&self) {
        self.change(|faults| *faults = Faults::default());
    }

    /// Lets nothing through, either way.
    pub fn blackhole(&self) {
        self.change(|faults| {
            faults.to_server.blackhole = true;
            faults.to_agent.blackhole = true;
        });
    }

    /// Cuts every open connection.
    pub fn cut(&self, how: Cut) {
        self.shared.cuts.send_replace(Some(how));
    }

    /// Sets what happens to new connections, and waits until it does.
    ///
    /// # Errors
    /// When the port could not be had back.
    pub fn welcome(&self, welcome: Welcome) -> Result<()> {
        self.change(|faults| faults.welcome = welcome);
        let wanted = welcome != Welcome::Refuse;
        holdfast_e2e::wait::until("the proxy's door", Duration::from_secs(5), || {
            Ok((self.shared.listening.load(Ordering::Acquire) == wanted).then_some(()))
        })
    }

    /// When connections were accepted.
    #[must_use]
    pub fn dials(&self) -> Vec<Instant> {
        lock(&self.shared.dials).clone()
    }

    /// When agents closed their end.
    #[must_use]
    pub fn left(&self) -> Vec<Instant> {
        lock(&self.shared.left).clone()
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Bytes that were handed over in `direction`, over all connections.
    #[must_use]
    pub fn carried(&self, direction: Direction) -> u64 {
        self.shared.carried[direction as usize].load(Ordering::Acquire)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A proxy that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(server: SocketAddr) -> Self {
        Self {
            server,
            faults: watch::Sender::new(Faults::default()),
            cuts: watch::Sender::new(None),
            stop: watch::Sender::new(false),
            listening: AtomicBool::new(true),
            open: AtomicU64::new(0),
            dials: Mutex::default(),
            left: Mutex::default(),
            carried: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    fn note_dial(&self) {
        lock(&self.dials).push(Instant::now());
    }

    fn note_left(&self) {
        lock(&self.left).push(Instant::now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(shared: Arc<Shared>, socket: std::net::TcpListener, address: SocketAddr) {
    let mut listener = TcpListener::from_std(socket).ok();
    let (mut faults, mut stop) = (shared.faults.subscribe(), shared.stop.subscribe());
    loop {
        let refuses = faults.borrow_and_update().welcome == Welcome::Refuse;
        if refuses {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        shared.listening.store(listener.is_some(), Ordering::Release);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            _ = faults.changed() => {}
            stream = accept(listener.as_ref()) => welcome(&shared, stream),
        }
    }
}

/// Waits for ever when nobody listens.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    while let Some(listener) = listener {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
    std::future::pending().await
}

fn welcome(shared: &Arc<Shared>, stream: TcpStream) {
    shared.note_dial();
    if shared.faults.borrow().welcome == Welcome::Carry {
        tokio::spawn(connection::carry(Arc::clone(shared), stream));
    }
}

#[cfg(test)]
mod tests;
