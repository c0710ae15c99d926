//! The server's REST API, asked fast and from many threads.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A server's API with somebody's token.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    token: String,
}

impl Api {
    pub(crate) fn new(url: &str, token: &str) -> Result<Self> {
        let address = url.trim_start_matches("http://").parse();
        let address = address.with_context(|| format!("{url} is no loopback address"))?;
        Ok(Self { address, token: token.to_owned() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request; the status and the document of the answer, whatever they are.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER_LIMIT)
            .context("the server does not listen")?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} /api/v1{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            self.token,
            body.len(),
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("the server did not answer")?;
        parse(&answer)
    }

    /// One request that has to succeed.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.ask(method, path, body)?;
        ensure!((200..300).contains(&status), "{method} {path} was answered {status}: {answer}");
        Ok(answer)
    }

    /// Orders a backup and returns its job.
    pub(crate) fn order(&self, host: &str, group: &str) -> Result<String> {
        let body = json!({"operation": "backup", "group": group});
        let answer = self.call("POST", &format!("/hosts/{host}/jobs"), Some(&body))?;
        Ok(answer["job_id"].as_str().context("the answer names no job")?.to_owned())
    }

    pub(crate) fn job(&self, job: &str) -> Result<Value> {
        self.call("GET", &format!("/jobs/{job}"), None)
    }

    pub(crate) fn host(&self, host: &str) -> Result<Value> {
        self.call("GET", &format!("/hosts/{host}"), None)
    }

    /// Adds a host and redeems its token by hand, as an agent with this incarnation would.
    pub(crate) fn enrol_by_hand(&self, host: &str, incarnation: &str) -> Result<String> {
        let added = self.call("POST", "/hosts", Some(&json!({ "name": host })))?;
        let token = added["enrolment_token"].as_str().context("no enrolment token")?;
        let (status, answer) = self.redeem(token, incarnation)?;
        ensure!(status == 201, "the enrolment was answered {status}: {answer}");
        Ok(answer["agent_token"].as_str().context("no agent token")?.to_owned())
    }

    pub(crate) fn redeem(&self, token: &str, incarnation: &str) -> Result<(u16, Value)> {
        let body = json!({
            "token": token, "incarnation": incarnation, "hostname": "by-hand", "os": "linux",
            "arch": "amd64", "agent_version": "0",
        });
        self.ask("POST", "/agent/enrol", Some(&body))
    }
}

fn parse(answer: &[u8]) -> Result<(u16, Value)> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        bail!("half an answer: {text:?}");
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {head:?}"))?;
    let document = serde_json::from_str(body).unwrap_or(Value::Null);
    Ok((status, document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_document() {
        let (status, document) = parse(b"HTTP/1.1 202 Accepted\r\nx: y\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!((status, &document["a"]), (202, &json!(1)));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, Value::Null));
        assert!(parse(b"HTTP/1.1 200").is_err());
    }
}
