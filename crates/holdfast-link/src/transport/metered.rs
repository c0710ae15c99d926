//! A stream below a WebSocket that counts what passes.
//!
//! What comes: a message may arrive in as many pieces as its sender likes, and pieces may be empty.
//! A session sees, and meters, whole messages; taking the pieces apart costs processor time all the
//! same. So the pieces are metered here, where their heads can be counted, and too many are read
//! more slowly.
//!
//! What goes: how many bytes the network has taken, so that a slow connection can be told from one
//! that stands still.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::{
    clock::Clock,
    session::{Meter, Rate},
};

/// A stream that counts.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    head: Head,
    pieces: Pieces,
    meter: Meter,
    clock: Clock,
    /// Reading goes on after this.
    pause: Option<Pin<Box<Sleep>>>,
    written: u64,
}

impl<S> Metered<S> {
    /// Counts on `stream` and reads at most as many pieces a second as `rate` allows frames. The
    /// opening handshake may already be over or still to come: its end is where the counting of
    /// pieces begins, see [`Metered::limit`].
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            head: Head { ended: true, line_is_empty: true },
            pieces: Pieces::default(),
            meter: Meter::new(None),
            clock: Clock::start(),
            pause: None,
            written: 0,
        }
    }

    /// From here on every byte that comes belongs to a piece, and they are metered.
    #[must_use]
    pub fn limit(self, rate: Option<Rate>) -> Self {
        Self { meter: Meter::new(rate), ..self }
    }

    /// The same for a stream whose opening handshake is still to come: what follows the head of the
    /// peer's answer belongs to pieces.
    #[must_use]
    pub fn limit_after_head(self, rate: Option<Rate>) -> Self {
        Self { meter: Meter::new(rate), head: Head { ended: false, line_is_empty: false }, ..self }
    }

    /// Bytes the network has taken.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    fn meter(&mut self, bytes: &[u8]) {
        if self.meter.is_open_to_all() {
            return;
        }
        let now = self.clock.now();
        let bytes = self.head.pass(bytes);
        for _ in 0..self.pieces.count(bytes) {
            self.meter.take(0, now);
        }
        let opens_at = self.meter.opens_at();
        if opens_at > now {
            self.pause = Some(Box::pin(tokio::time::sleep(opens_at - now)));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.meter(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The head of an answer over HTTP, which ends with an empty line.
#[derive(Debug)]
struct Head {
    ended: bool,
    line_is_empty: bool,
}

impl Head {
    /// What of `bytes`, the next bytes of the stream, comes after the head.
    fn pass<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.ended {
            return bytes;
        }
        for (place, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.line_is_empty => {
                    self.ended = true;
                    return &bytes[place + 1..];
                }
                b'\n' => self.line_is_empty = true,
                // Some end their lines without it, and both forms are read.
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
        &[]
    }
}

/// Finds the heads of the pieces in a stream of them (RFC 6455, 5.2), wherever it is cut.
#[derive(Debug, Default)]
struct Pieces {
    /// What has come of the present head.
    head: [u8; HEAD_BYTES_MAX],
    filled: usize,
    /// What is still to come of the present body.
    body: u64,
}

/// Flags, length byte, length of eight bytes, mask.
const HEAD_BYTES_MAX: usize = 14;
/// Flags and length byte.
const HEAD_BYTES_MIN: usize = 2;

impl Pieces {
    /// How many heads end in `bytes`, the next bytes of the stream.
    fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut count = 0;
        while !bytes.is_empty() {
            let passed = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
            self.body -= passed as u64;
            bytes = &bytes[passed..];
            let wanted = (self.head_bytes() - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + wanted].copy_from_slice(&bytes[..wanted]);
            self.filled += wanted;
            bytes = &bytes[wanted..];
            if self.filled >= HEAD_BYTES_MIN && self.filled == self.head_bytes() {
                count += 1;
                self.body = self.length();
                self.filled = 0;
            }
        }
        count
    }

    /// How long the present head is, as far as can be said.
    fn head_bytes(&self) -> usize {
        if self.filled < HEAD_BYTES_MIN {
            return HEAD_BYTES_MIN;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        HEAD_BYTES_MIN + self.length_bytes() + mask
    }

    fn length_bytes(&self) -> usize {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn length(&self) -> u64 {
        let bytes = &self.head[HEAD_BYTES_MIN..HEAD_BYTES_MIN + self.length_bytes()];
        match bytes {
            [] => u64::from(self.head[1] & 0x7f),
            _ => bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::*;

    /// A piece as a client sends it.
    fn piece(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x00];
        match length {
            0..126 => bytes.push(mask | u8::try_from(length).unwrap()),
            126..0x1_0000 => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0xff; if masked { 4 } else { 0 } + length]);
        bytes
    }

    proptest! {
        #[test]
        fn pieces_are_counted_wherever_the_stream_is_cut(
            lengths in prop::collection::vec((prop_oneof![
                4 => 0usize..130, 1 => 65_530usize..65_540,
            ], any::<bool>()), 1..20),
            cut in 1usize..9000,
        ) {
            let stream: Vec<u8> =
                lengths.iter().flat_map(|(length, masked)| piece(*length, *masked)).collect();
            let mut pieces = Pieces::default();
            let counted: usize = stream.chunks(cut).map(|bytes| pieces.count(bytes)).sum();
            prop_assert_eq!(counted, lengths.len());
            prop_assert_eq!((pieces.filled, pieces.body), (0, 0));
        }
    }

    #[test]
    fn the_head_of_an_answer_ends_with_an_empty_line_wherever_it_is_cut() {
        for head in ["HTTP/1.1 101 X\r\na: b\r\n\r\n", "HTTP/1.1 101 X\na: b\n\n"] {
            let stream = [head.as_bytes(), &piece(3, true), b"\n\n"].concat();
            for cut in 1..stream.len() {
                let mut passing = Head { ended: false, line_is_empty: false };
                let after = stream.chunks(cut).flat_map(|bytes| passing.pass(bytes).to_vec());
                assert_eq!(after.collect::<Vec<_>>(), &stream[head.len()..], "{head:?} by {cut}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_behind_the_head_of_an_answer_are_metered() {
        let rate = Rate { frames: 1000, burst: Duration::from_secs(2), ..Rate::default() };
        let (mut server, agent) = tokio::io::duplex(1024 * 1024);
        let mut agent = Metered::new(agent).limit_after_head(Some(rate));
        let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        server.write_all(&[&head[..], &piece(0, false).repeat(12_000)].concat()).await.unwrap();
        server.shutdown().await.unwrap();
        let started = Instant::now();
        agent.read_to_end(&mut Vec::new()).await.unwrap();
        let took = started.elapsed().as_secs();
        assert!((9..=11).contains(&took), "read in {took} s");
    }

    #[test]
    fn a_piece_that_claims_to_be_endless_is_one_piece() {
        let mut pieces = Pieces::default();
        let head = [&[0x81, 0xff][..], &[0xff; 8], &[0; 4]].concat();
        assert_eq!(pieces.count(&head), 1);
        assert_eq!(pieces.count(&[0; 4096]), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn empty_pieces_without_end_are_read_at_the_rate() {
        const PIECES: usize = 30_000;
        let rate = Rate { frames: 1000, burst: Duration::from_secs(2), ..Rate::default() };
        let (mut attacker, server) = tokio::io::duplex(64 * 1024);
        let mut server = Metered::new(server).limit(Some(rate));
        let attack = async {
            attacker.write_all(&piece(0, true).repeat(PIECES)).await.unwrap();
            attacker.shutdown().await.unwrap();
        };
        let started = Instant::now();
        let mut read = Vec::new();
        let (_, count) = tokio::join!(attack, server.read_to_end(&mut read));
        assert_eq!(count.unwrap(), PIECES * 6);
        let took = started.elapsed().as_secs();
        assert!((27..=29).contains(&took), "{PIECES} pieces were read in {took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let (mut peer, server) = tokio::io::duplex(64 * 1024);
        let mut server = Metered::new(server);
        let sending = async {
            peer.write_all(&piece(0, true).repeat(100_000)).await.unwrap();
            peer.shutdown().await.unwrap();
        };
        let started = Instant::now();
        let mut read = Vec::new();
        let (_, count) = tokio::join!(sending, server.read_to_end(&mut read));
        assert_eq!((count.unwrap(), started.elapsed()), (600_000, Duration::ZERO));
        server.write_all(b"seven b").await.unwrap();
        assert_eq!(server.written(), 7);
    }
}
