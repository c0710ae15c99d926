//! The REST API, asked with nothing between us and the bytes, as a script of somebody else's does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How long one answer may take, on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Somebody who asks the server at an address.
#[derive(Debug, Clone)]
pub struct Api {
    address: String,
    token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Every header, as it came.
    pub head: String,
    /// The body as it came, without the pieces it may have come in.
    pub body: Vec<u8>,
}

impl Api {
    /// Asks the server at `url` (`http://…`) with `token`.
    #[must_use]
    pub fn new(url: &str, token: Option<&str>) -> Self {
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { address, token: token.map(str::to_owned) }
    }

    /// Asks for `path`, which begins with `/`.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.ask_with(method, path, body, &[])
    }

    /// The same with more headers.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut stream = TcpStream::connect(&self.address)
            .with_context(|| format!("cannot reach {}", self.address))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let more: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        stream.write_all(self.head(method, path, body.len(), &more).as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).with_context(|| format!("{method} {path}: cut off"))?;
        read(&said).with_context(|| format!("{method} {path}: no HTTP answer"))
    }

    /// A `GET` below `/api/v1` that must be answered with 200.
    ///
    /// # Errors
    /// When it is not.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", &format!("/api/v1{path}"), None)?.good(path)
    }

    /// A `POST` below `/api/v1` that must be taken.
    ///
    /// # Errors
    /// When it is not.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask("POST", &format!("/api/v1{path}"), Some(body))?.good(path)
    }

    /// A `PUT` below `/api/v1` that must be taken.
    ///
    /// # Errors
    /// When it is not.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask("PUT", &format!("/api/v1{path}"), Some(body))?.good(path)
    }

    /// A `DELETE` below `/api/v1` that must be taken.
    ///
    /// # Errors
    /// When it is not.
    pub fn delete(&self, path: &str) -> Result<Value> {
        self.ask("DELETE", &format!("/api/v1{path}"), None)?.good(path)
    }

    fn head(&self, method: &str, path: &str, length: usize, more: &str) -> String {
        let token = self.token.as_ref();
        let token =
            token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{token}{more}content-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n",
            self.address
        )
    }
}

impl Answer {
    /// The value of the header `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }

    /// The body as JSON; null when there is none.
    ///
    /// # Errors
    /// When it is something else.
    pub fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).context("the answer is no JSON")
    }

    fn good(&self, path: &str) -> Result<Value> {
        let said = String::from_utf8_lossy(&self.body);
        ensure!((200..300).contains(&self.status), "{path}: {}: {said}", self.status);
        self.json().with_context(|| format!("{path}: {said}"))
    }
}

fn read(said: &[u8]) -> Result<Answer> {
    const END: &[u8] = b"\r\n\r\n";
    let end = said.windows(END.len()).position(|part| part == END).context("no end of the head")?;
    let head = String::from_utf8_lossy(&said[..end]).into_owned();
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let body = &said[end + END.len()..];
    let chunked = head.to_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked {
        joined(body).context("a piece of the body is missing")?
    } else {
        body.to_vec()
    };
    Ok(Answer { status: status.context("no status")?, head, body })
}

/// The pieces of a chunked body, together; `None` when the last one is not there.
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = rest.windows(2).position(|part| part == b"\r\n")?;
        let length = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if length == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_pieces_is_put_together() {
        let said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        let answer = read(said).unwrap();
        assert_eq!((answer.status, answer.json().unwrap()["a"].as_u64()), (200, Some(1)));
        assert!(read(&said[..said.len() - 7]).is_err(), "a body that was cut off is not whole");
    }

    #[test]
    fn a_refusal_is_an_error_that_says_what_was_said() {
        let said = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        let error = read(said).unwrap().good("/x").unwrap_err().to_string();
        assert!(error.contains("404") && error.contains("no"), "{error}");
    }
}
