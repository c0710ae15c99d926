//! One connection through the proxy: two pumps, and whatever ends them.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Cut, Direction, Faults, Flow, Shared, Tamper};

/// Bytes that travel together.
const PIECE_BYTES: usize = 4096;
/// Pieces under way in one direction.
const PIECES_MAX: usize = 16;
/// The buffers of a proxy that takes little at a time.
const SMALL_BUFFER_BYTES: u32 = 4096;
/// How often a slow way lets something through.
const DRIP: Duration = Duration::from_millis(100);

/// Carries `agent` to the server until either side ends it, or the proxy does.
pub(super) async fn carry(shared: Arc<Shared>, mut agent: TcpStream) {
    let small = shared.faults.borrow().small_buffers;
    let Ok(mut server) = connect(shared.server, small).await else { return };
    if small && narrow(&agent).is_err() {
        return;
    }
    // A proxy must not hold up small frames on its own account.
    let _ = agent.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    shared.open.fetch_add(1, Ordering::AcqRel);
    let how = until_ended(&shared, &agent, &server).await;
    shared.open.fetch_sub(1, Ordering::AcqRel);
    for stream in [&mut agent, &mut server] {
        let ended = match how {
            Cut::Rst => stream.set_zero_linger(),
            // Said before the socket goes: unread input would make it a reset.
            Cut::Fin => stream.shutdown().await,
        };
        // The peer may have gone first.
        drop(ended);
    }
}

/// What the agent has sent and nobody has read stays with the agent.
fn narrow(agent: &TcpStream) -> io::Result<()> {
    let socket = socket2::SockRef::from(agent);
    socket.set_recv_buffer_size(SMALL_BUFFER_BYTES as usize)?;
    socket.set_send_buffer_size(SMALL_BUFFER_BYTES as usize)
}

async fn connect(server: SocketAddr, small: bool) -> io::Result<TcpStream> {
    let socket = if server.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if small {
        socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SMALL_BUFFER_BYTES)?;
    }
    socket.connect(server).await
}

async fn until_ended(shared: &Shared, agent: &TcpStream, server: &TcpStream) -> Cut {
    let (mut cuts, mut stop) = (shared.cuts.subscribe(), shared.stop.subscribe());
    let moved = watch::Sender::new(Instant::now());
    let up = Pump { shared, direction: Direction::ToServer, moved: &moved };
    let down = Pump { shared, direction: Direction::ToAgent, moved: &moved };
    cuts.mark_unchanged();
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Cut::Fin,
        _ = cuts.changed() => cuts.borrow_and_update().unwrap_or(Cut::Fin),
        () = idle(shared, &moved) => Cut::Fin,
        how = up.run(agent, server) => how,
        how = down.run(server, agent) => how,
    }
}

/// Ends when nothing has moved for as long as the proxy is patient.
async fn idle(shared: &Shared, moved: &watch::Sender<Instant>) {
    let mut faults = shared.faults.subscribe();
    loop {
        let patience = faults.borrow_and_update().idle_max;
        let Some(patience) = patience else {
            if faults.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        };
        let due = *moved.borrow() + patience;
        if due <= Instant::now() {
            return;
        }
        sleep_until(due).await;
    }
}

/// One direction.
struct Pump<'a> {
    shared: &'a Shared,
    direction: Direction,
    moved: &'a watch::Sender<Instant>,
}

struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

impl Pump<'_> {
    /// Ends when the connection is to be cut; both halves work at once, so that a long way is as
    /// wide as a short one.
    async fn run(&self, from: &TcpStream, to: &TcpStream) -> Cut {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let read = async {
            self.read(from, sender).await;
            // The end of the input has to follow the input; the writer says when.
            std::future::pending::<Cut>().await
        };
        tokio::select! {
            biased;
            how = read => how,
            how = self.write(to, receiver) => how,
        }
    }

    async fn read(&self, from: &TcpStream, pieces: mpsc::Sender<Piece>) {
        let (mut count, mut due) = (0u64, Instant::now());
        loop {
            let Ok(bytes) = receive(from).await else { break };
            if bytes.is_empty() {
                break;
            }
            self.moved.send_replace(Instant::now());
            count += 1;
            due = due.max(Instant::now() + self.held_up(count));
            let bytes = self.strip(bytes, count);
            if pieces.send(Piece { due, bytes }).await.is_err() {
                return;
            }
        }
        if self.direction == Direction::ToServer {
            self.shared.note_left();
        }
    }

    fn held_up(&self, count: u64) -> Duration {
        let faults = self.shared.faults.borrow();
        let flow = faults.flow(self.direction);
        let stall = flow.stall.filter(|(one_in, _)| count.is_multiple_of((*one_in).max(1)));
        flow.delay + stall.map_or(Duration::ZERO, |(_, stall)| stall)
    }

    /// Requests come whole in the first piece: they are small.
    fn strip(&self, bytes: Vec<u8>, count: u64) -> Vec<u8> {
        let strips = self.shared.faults.borrow().strips_upgrade;
        if !strips || count != 1 || self.direction != Direction::ToServer {
            return bytes;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let kept = text.split("\r\n").filter(|line| !is_upgrade(line));
        kept.collect::<Vec<_>>().join("\r\n").into_bytes()
    }

    async fn write(&self, to: &TcpStream, mut pieces: mpsc::Receiver<Piece>) -> Cut {
        let mut faults = self.shared.faults.subscribe();
        let mut written = 0;
        while let Some(piece) = pieces.recv().await {
            sleep_until(piece.due).await;
            let cut = self.put(to, &piece.bytes, &mut written, &mut faults).await;
            if let Some(how) = cut {
                return how;
            }
        }
        // The end of a connection gets through a blackhole as little as its bytes do.
        self.wait_open(&mut faults).await;
        Cut::Fin
    }

    async fn put(
        &self,
        to: &TcpStream,
        bytes: &[u8],
        written: &mut u64,
        faults: &mut watch::Receiver<Faults>,
    ) -> Option<Cut> {
        let mut left = bytes;
        while !left.is_empty() {
            self.wait_open(faults).await;
            let flow = faults.borrow().flow(self.direction).clone();
            let step = Step::of(&flow, left.len(), *written);
            if let Some(how) = step.cut.filter(|_| step.length == 0) {
                return Some(how);
            }
            let (piece, rest) = left.split_at(step.length);
            let sent = send(to, &tampered(piece, *written, flow.tamper)).await;
            if sent.is_err() {
                return Some(Cut::Fin);
            }
            *written += piece.len() as u64;
            left = rest;
            self.moved.send_replace(Instant::now());
            let carried = &self.shared.carried[self.direction as usize];
            carried.fetch_add(piece.len() as u64, Ordering::AcqRel);
            if let Some(how) = step.cut {
                return Some(how);
            }
            sleep(step.pause).await;
        }
        None
    }

    async fn wait_open(&self, faults: &mut watch::Receiver<Faults>) {
        let open = |faults: &Faults| !faults.flow(self.direction).blackhole;
        if faults.wait_for(open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// How much goes at once, and what comes after it.
struct Step {
    length: usize,
    pause: Duration,
    cut: Option<Cut>,
}

impl Step {
    fn of(flow: &Flow, length: usize, written: u64) -> Self {
        let mut step = Self { length, pause: Duration::ZERO, cut: None };
        if let Some(rate) = flow.bytes_per_second {
            let drip = rate / 10;
            step.pause = if drip == 0 { Duration::from_secs(1) } else { DRIP };
            step.length = length.min(usize::try_from(drip.max(1)).unwrap_or(length));
        }
        if let Some((after, how)) = flow.cut_after {
            let room = usize::try_from(after.saturating_sub(written)).unwrap_or(usize::MAX);
            if room <= step.length {
                step.length = room;
                step.cut = Some(how);
            }
        }
        step
    }
}

fn tampered(piece: &[u8], start: u64, tamper: Option<(u64, Tamper)>) -> Vec<u8> {
    let mut bytes = piece.to_vec();
    let place = tamper.and_then(|(at, what)| {
        let place = usize::try_from(at.checked_sub(start)?).ok()?;
        (place < bytes.len()).then_some((place, what))
    });
    match place {
        Some((place, Tamper::Corrupt)) => bytes[place] ^= 0x20,
        Some((place, Tamper::Duplicate)) => bytes.insert(place, bytes[place]),
        None => {}
    }
    bytes
}

fn is_upgrade(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with("upgrade:") || line.starts_with("connection:")
}

async fn receive(from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PIECE_BYTES];
    loop {
        from.readable().await?;
        match from.try_read(&mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn send(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
