//! A peer of another system as a process: see `tests/peers/peer.mjs`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// How long the peer may take to see anything, on a busy machine.
const EVENT_LIMIT: Duration = Duration::from_secs(60);

/// A peer that does what it is told and says what happens to it. Dropped, it is killed.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    events: Receiver<Value>,
    /// What has happened and was not asked for yet.
    seen: Vec<Value>,
}

impl Peer {
    /// Starts a peer that speaks `dialect`.
    ///
    /// # Errors
    /// When Node or its WebSocket library is missing.
    pub fn start(dialect: &str) -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let library = checkout.join("web/node_modules/ws");
        ensure!(library.exists(), "{} is missing; type: cargo xtask web", library.display());
        let mut child = Command::new("node")
            .arg(checkout.join("tests/peers/peer.mjs"))
            .arg(dialect)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start Node; type: cargo xtask tools")?;
        let orders = child.stdin.take().context("the peer has no standard input")?;
        let output = child.stdout.take().context("the peer has no standard output")?;
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line)
                    && sender.send(event).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { child, orders, events, seen: Vec::new() })
    }

    /// Gives an order, such as `{"do": "connect", …}`.
    ///
    /// # Errors
    /// When the peer has ended.
    pub fn tell(&mut self, order: &Value) -> Result<()> {
        writeln!(self.orders, "{order}").context("the peer has ended")
    }

    /// Sends a frame in the dialect's words.
    ///
    /// # Errors
    /// As [`Peer::tell`].
    pub fn say(&mut self, words: &Value) -> Result<()> {
        self.tell(&json!({"do": "say", "words": words}))
    }

    /// Connects, with a token, and waits until the connection is open.
    ///
    /// # Errors
    /// When it is not.
    pub fn connect(&mut self, url: &str, token: &str) -> Result<()> {
        self.tell(&json!({"do": "connect", "url": url, "token": token}))?;
        self.event("open").map(drop)
    }

    /// Waits for the event `name`. What else happens meanwhile is kept for later.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn event(&mut self, name: &str) -> Result<Value> {
        self.wait(name, |event| event["event"] == name)
    }

    /// Waits for a frame that fits.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn frame(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let event = self.wait(what, |event| event["event"] == "frame" && fits(&event["frame"]))?;
        Ok(event["frame"].clone())
    }

    /// Asks over HTTP; gives the `answer` event.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn http(&mut self, order: &Value) -> Result<Value> {
        let mut order = order.clone();
        order["do"] = "http".into();
        self.tell(&order)?;
        self.event("answer")
    }

    /// Whether something that fits has happened and was not asked for yet.
    pub fn has_seen(&mut self, fits: impl Fn(&Value) -> bool) -> bool {
        self.seen.extend(self.events.try_iter());
        self.seen.iter().any(fits)
    }

    /// What has happened and was not asked for is of no interest any more.
    pub fn forget(&mut self) {
        while self.events.try_recv().is_ok() {}
        self.seen.clear();
    }

    /// Waits for an event that fits, and takes it.
    ///
    /// # Errors
    /// When none comes in time; with what came instead.
    pub fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + EVENT_LIMIT;
        loop {
            if let Some(place) = self.seen.iter().position(&fits) {
                return Ok(self.seen.remove(place));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the peer waited in vain for {what}; it saw {:?}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the peer has ended without {what}; it saw {:?}", self.seen)
                }
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
