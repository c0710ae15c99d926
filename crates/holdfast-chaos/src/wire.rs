//! An agent made by hand: HTTP and WebSocket frames as bytes, right or wrong as the caller likes.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
/// The last frame of a message.
const FIN: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An open WebSocket.
pub(crate) struct Wire {
    stream: TcpStream,
    /// The answer to the upgrade.
    pub(crate) head: String,
}

/// What came from the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Said(Value),
    Closed(u16),
    /// The connection ended without a word.
    Cut,
}

impl Wire {
    /// Dials as an agent with `token`; `extra` are more header lines, each with its line break.
    pub(crate) fn dial(server: SocketAddr, token: &str, extra: &str) -> Result<Self> {
        let (status, head, stream) = upgrade(server, token, extra)?;
        ensure!(status == 101, "the upgrade was answered {status}");
        Ok(Self { stream, head })
    }

    /// Dials and greets; gives the welcome with it.
    pub(crate) fn greet(server: SocketAddr, token: &str, hello: &Value) -> Result<(Self, Value)> {
        let mut wire = Self::dial(server, token, "")?;
        wire.say(hello)?;
        match wire.await_kind(&["welcome", "reject"], Duration::from_secs(10))? {
            Heard::Said(answer) if answer["kind"] == "welcome" => {
                Ok((wire, answer["payload"].clone()))
            }
            other => bail!("the hello was answered with {other:?}"),
        }
    }

    /// Says a whole text message.
    pub(crate) fn say(&mut self, document: &Value) -> Result<()> {
        self.say_text(document.to_string().as_bytes())
    }

    pub(crate) fn say_text(&mut self, text: &[u8]) -> Result<()> {
        self.put(&frame(true, TEXT, text)).context("the server no longer listens")
    }

    /// Puts bytes on the wire as they are.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The next thing the server says or does; `None` when it is quiet until `limit`. The pings of
    /// WebSocket itself are passed over.
    pub(crate) fn listen(&mut self, limit: Duration) -> Result<Option<Heard>> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.read_frame() {
                Ok((TEXT, body)) => return Ok(Some(Heard::Said(serde_json::from_slice(&body)?))),
                Ok((CLOSE, body)) => return Ok(Some(Heard::Closed(close_code(&body)))),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(_) => return Ok(Some(Heard::Cut)),
            }
        }
    }

    /// Waits for a message of one of these kinds, or for the end; passes over what else is said.
    pub(crate) fn await_kind(&mut self, kinds: &[&str], limit: Duration) -> Result<Heard> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.listen(left)? {
                None => bail!("the server did not say any of {kinds:?} in {} s", limit.as_secs()),
                Some(Heard::Said(said)) => {
                    if kinds.iter().any(|kind| said["kind"] == *kind) {
                        return Ok(Heard::Said(said));
                    }
                }
                Some(end) => return Ok(end),
            }
        }
    }

    /// Waits until the server acknowledges `seq`, in whatever it says.
    pub(crate) fn await_ack(&mut self, seq: u64, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.listen(left)? {
                Some(Heard::Said(said)) if said["ack"].as_u64() >= Some(seq) => return Ok(()),
                Some(Heard::Said(_)) => {}
                other => bail!("no ack of {seq}: {other:?}"),
            }
        }
    }

    /// Waits for the end of the connection.
    pub(crate) fn await_end(&mut self, limit: Duration) -> Result<Heard> {
        self.await_kind(&[], limit)
    }

    fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut bytes = [0; 2];
                self.stream.read_exact(&mut bytes)?;
                u64::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                self.stream.read_exact(&mut bytes)?;
                u64::from_be_bytes(bytes)
            }
            short => u64::from(short),
        };
        let mut body = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.stream.read_exact(&mut body)?;
        Ok((head[0] & 0x0f, body))
    }
}

/// Asks for a WebSocket; the status, the whole head and the connection.
pub(crate) fn upgrade(
    server: SocketAddr,
    token: &str,
    extra: &str,
) -> Result<(u16, String, TcpStream)> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(10))
        .context("the server does not listen")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "GET /api/v1/agent/connect HTTP/1.1\r\nhost: {server}\r\nconnection: Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer {token}\r\n\
         {extra}\r\n",
    )?;
    let head = read_head(&mut stream)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("no status in {head:?}"))?, head, stream))
}

/// Byte by byte, so that nothing of what follows is taken.
fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read(&mut byte).context("no answer to the upgrade")? == 1, "cut off");
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A frame as a client has to send it: masked.
pub(crate) fn frame(fin: bool, opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = frame_head(fin, opcode, body.len() as u64);
    bytes.extend(body.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Only the head of a frame that claims to be `length` bytes long.
pub(crate) fn frame_head(fin: bool, opcode: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![if fin { FIN | opcode } else { opcode }];
    match length {
        0..126 => bytes.push(0x80 | u8::try_from(length).unwrap_or_default()),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A message of the native protocol.
pub(crate) fn message(kind: &str, payload: &Value) -> Value {
    json!({"kind": kind, "ts": jiff::Timestamp::now().to_string(), "payload": payload})
}

/// The same as a record.
pub(crate) fn record(seq: u64, kind: &str, payload: &Value) -> Value {
    let mut record = message(kind, payload);
    record["seq"] = json!(seq);
    record
}

/// A hello of an agent at its `boot`, which has nothing in its outbox before `oldest`.
pub(crate) fn hello(incarnation: &str, boot: u64, oldest: u64) -> Value {
    message(
        "hello",
        &json!({
            "protocol_version": 1, "incarnation": incarnation, "boot": boot, "epoch": 0,
            "received": 0, "oldest": oldest, "capabilities": [],
        }),
    )
}

fn close_code(body: &[u8]) -> u16 {
    body.first_chunk().map_or(1005, |bytes: &[u8; 2]| u16::from_be_bytes(*bytes))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Takes the messages out of what a client wrote: whole masked frames. What is no frame is passed
/// over.
pub(crate) fn unmask(mut bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((body, rest)) = unmask_one(bytes) {
        text.extend(body);
        text.push(b'\n');
        bytes = rest;
    }
    text
}

fn unmask_one(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let short = *bytes.get(1)?;
    if short & 0x80 == 0 {
        return None;
    }
    let (length, start) = match short & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let mask: &[u8; 4] = bytes.get(start..)?.first_chunk()?;
    let length = usize::try_from(length).ok()?;
    let body = bytes.get(start + 4..)?.get(..length)?;
    let body = body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((body, &bytes[start + 4 + length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_can_be_unmasked() {
        for length in [0, 5, 125, 126, 70_000] {
            let body = vec![b'x'; length];
            let two = [frame(true, TEXT, &body), frame(true, TEXT, b"next")].concat();
            let expected = [&body[..], b"\nnext\n"].concat();
            assert_eq!(unmask(&two), expected, "{length}");
        }
        assert_eq!(unmask(b"GET / HTTP/1.1\r\n"), b"");
    }

    #[test]
    fn a_close_without_a_code_is_no_code() {
        assert_eq!(close_code(&[]), 1005);
        assert_eq!(close_code(&[0x11, 0x30]), 4400);
    }
}
