//! Somebody on the line between an agent and its server, who writes down what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

/// A listener on the line. What passes it arrives unchanged.
#[derive(Debug, Clone)]
pub struct Wiretap {
    url: String,
    heard: Arc<Mutex<Vec<Conversation>>>,
}

/// What was said on one connection.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// By the agent.
    pub up: Vec<u8>,
    /// By the server.
    pub down: Vec<u8>,
}

impl Wiretap {
    /// Listens in front of the server at `url` (`http://…`).
    ///
    /// # Errors
    /// When there is no port left.
    pub fn start(url: &str) -> Result<Self> {
        let server = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let tap = Self { url: format!("http://{}", listener.local_addr()?), heard: Arc::default() };
        let heard = Arc::clone(&tap.heard);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever cannot be passed on sees the connection end.
                let _ = pass_on(client, &server, &heard);
            }
        });
        Ok(tap)
    }

    /// Where to connect to instead of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All that was said so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Conversation> {
        self.heard.lock().map(|heard| heard.clone()).unwrap_or_default()
    }
}

fn pass_on(client: TcpStream, server: &str, heard: &Arc<Mutex<Vec<Conversation>>>) -> Result<()> {
    let server = TcpStream::connect(server)?;
    let number = heard.lock().map_or(0, |mut heard| {
        heard.push(Conversation::default());
        heard.len() - 1
    });
    for (from, to, is_up) in
        [(client.try_clone()?, server.try_clone()?, true), (server, client, false)]
    {
        let heard = Arc::clone(heard);
        let note = move |bytes: &[u8]| {
            if let Ok(mut heard) = heard.lock() {
                let conversation = &mut heard[number];
                let side = if is_up { &mut conversation.up } else { &mut conversation.down };
                side.extend_from_slice(bytes);
            }
        };
        thread::spawn(move || copy(from, to, note));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut piece = [0; 16 << 10];
    while let Ok(count) = from.read(&mut piece) {
        if count == 0 || to.write_all(&piece[..count]).is_err() {
            break;
        }
        note(&piece[..count]);
    }
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

/// The messages of a WebSocket in what one side said, after the HTTP head; unmasked.
#[must_use]
pub fn messages(said: &[u8]) -> Vec<Vec<u8>> {
    let head = said.windows(4).position(|part| part == b"\r\n\r\n");
    let mut rest = head.map_or(&[][..], |head| &said[head + 4..]);
    let mut messages: Vec<Vec<u8>> = Vec::new();
    while let Some((first, payload, after)) = frame(rest) {
        // A frame that goes on with a message has no opcode of its own.
        match messages.last_mut() {
            Some(message) if first & 0x0f == 0 => message.extend(payload),
            _ => messages.push(payload),
        }
        rest = after;
    }
    messages
}

/// The first byte of the frame at the beginning of `bytes`, its payload, and what follows it.
fn frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, &[u8])> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let masked = second & 0x80 != 0;
    let mask: &[u8] = if masked { bytes.get(at..at + 4)? } else { &[0] };
    let at = if masked { at + 4 } else { at };
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let payload = bytes.get(at..end)?.iter().zip(mask.iter().cycle());
    Some((first, payload.map(|(byte, mask)| byte ^ mask).collect(), &bytes[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_unmasked_and_put_together() {
        let mut said = b"HTTP/1.1 101 x\r\n\r\n".to_vec();
        said.extend([0x01, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2]);
        said.extend([0x80, 0x01, b'y', 0x81, 0x01, b'!']);
        assert_eq!(messages(&said), [b"hey".to_vec(), b"!".to_vec()]);
        assert_eq!(messages(&said[..said.len() - 1]).len(), 1, "half a frame is none");
    }
}
