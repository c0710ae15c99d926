//! A person's script: the REST API over one kept connection.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    client: Client,
    base: String,
    token: String,
}

impl Operator {
    pub(crate) fn new(base: &str, token: &str) -> Result<Self> {
        let client = Client::builder().timeout(ANSWER_MAX).no_proxy().build().context("no HTTP")?;
        Ok(Self { client, base: base.to_owned(), token: token.to_owned() })
    }

    /// The answer to `GET path`, and how many milliseconds it took.
    pub(crate) async fn fetch(&self, path: &str) -> Result<(Value, f64)> {
        let started = Instant::now();
        let body = self.send(self.client.get(self.url(path))).await?;
        let millis = started.elapsed().as_secs_f64() * 1e3;
        Ok((serde_json::from_str(&body).unwrap_or(Value::Null), millis))
    }

    /// The size of the answer to `GET path` as it travels when compression is allowed.
    ///
    /// With it, the text itself.
    pub(crate) async fn compressed(&self, path: &str) -> Result<(usize, String)> {
        let packed = self.client.get(self.url(path)).header("accept-encoding", "gzip, br");
        let response = packed.send().await.context("the server does not answer")?;
        let response = response.error_for_status().context("the server refuses")?;
        let bytes = response.bytes().await.context("half an answer")?.len();
        let plain = self.client.get(self.url(path)).send().await.context("no answer")?;
        Ok((bytes, plain.text().await.context("half an answer")?))
    }

    /// Orders a backup; the job's id.
    pub(crate) async fn run(&self, host: &str, group: &str) -> Result<String> {
        let order = json!({ "operation": "backup", "group": group });
        let answer = self.post(&format!("/api/v1/hosts/{host}/jobs"), &order).await?;
        answer["job_id"].as_str().map(str::to_owned).context("no job in the answer")
    }

    /// The answer to `POST path`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.client.post(self.url(path));
        let request = request.header("content-type", "application/json").body(body.to_string());
        serde_json::from_str(&self.send(request).await?).context("an answer without JSON")
    }

    async fn send(&self, request: RequestBuilder) -> Result<String> {
        let response = request.bearer_auth(&self.token).send().await.context("no answer")?;
        let status = response.status();
        let body = response.text().await.context("half an answer")?;
        ensure!(status.is_success(), "the server said {status}: {body}");
        Ok(body)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}
