//! The operator's commands, `--json`.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::api::Api;
use crate::wait;

/// Somebody with an API token at a terminal.
#[derive(Debug, Clone)]
pub struct Operator {
    program: PathBuf,
    url: String,
    token: String,
}

impl Operator {
    /// Commands go to the server at `url`, with `token`.
    #[must_use]
    pub fn new(program: PathBuf, url: &str, token: &str) -> Self {
        Self { program, url: url.to_owned(), token: token.to_owned() }
    }

    /// The API token, which also signs in to the dashboard.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The REST API with this token.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.url, Some(&self.token))
    }

    /// Runs `holdfast ARGUMENTS`; the token travels in the environment, never in the arguments.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        self.prepared(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// `holdfast ARGUMENTS`, for whoever wants to start it another way.
    #[must_use]
    pub fn prepared(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("HOLDFAST_URL", &self.url).env("HOLDFAST_TOKEN", &self.token);
        command
    }

    /// Runs `holdfast ARGUMENTS --json` and returns the document it prints.
    ///
    /// # Errors
    /// When the command fails; with what it said.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let output = self.command(&arguments)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("holdfast {} failed: {}", arguments.join(" "), said.trim());
        }
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("holdfast {} printed no JSON", arguments.join(" ")))
    }

    /// One text field of a command's answer.
    ///
    /// # Errors
    /// When the command fails or the field is not there.
    pub fn text(&self, arguments: &[&str], field: &str) -> Result<String> {
        let answer = self.json(arguments)?;
        let text = answer[field].as_str().map(str::to_owned);
        text.with_context(|| format!("holdfast {} answered no {field}", arguments.join(" ")))
    }

    /// Orders a backup and returns its job.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn run(&self, host: &str, group: &str) -> Result<String> {
        self.text(&["run", host, "--group", group], "job_id")
    }

    /// Orders `order` (see `docs/jobs.md`) on `host` over the REST API and returns its job.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn order(&self, host: &str, order: &Value) -> Result<String> {
        let answer = self.api().post(&format!("/hosts/{host}/jobs"), order)?;
        answer["job_id"].as_str().map(str::to_owned).context("the server named no job")
    }

    /// Orders it and waits for its end, however that is.
    ///
    /// # Errors
    /// When the server refuses, or the job has not ended after `limit`.
    pub fn ordered(&self, host: &str, order: &Value, limit: Duration) -> Result<Value> {
        let job = self.order(host, order)?;
        self.await_end(&job, limit)
    }

    /// What the server knows about `job`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn job(&self, job: &str) -> Result<Value> {
        self.json(&["job", job])
    }

    /// What the server knows about the host called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> Result<Value> {
        let answer = self.json(&["hosts"])?;
        let hosts = answer["hosts"].as_array().context("no list of hosts")?;
        let host = hosts.iter().find(|host| host["name"] == name);
        host.cloned().with_context(|| format!("the server knows no host {name}"))
    }

    /// Waits until `host` is in `state` (`online`, `offline` or `pending`).
    ///
    /// # Errors
    /// When it is not, after `limit`.
    pub fn await_host(&self, host: &str, state: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("host {host} to be {state}"), limit, || {
            Ok((self.host(host)?["state"] == state).then_some(()))
        })
    }

    /// Waits until `job` has ended, and returns it.
    ///
    /// # Errors
    /// When it has not, after `limit`.
    pub fn await_end(&self, job: &str, limit: Duration) -> Result<Value> {
        wait::until(&format!("the end of job {job}"), limit, || {
            let seen = self.job(job)?;
            Ok(has_ended(&seen).then_some(seen))
        })
    }

    /// Waits until `job` is in its midst: running, and some bytes done.
    ///
    /// # Errors
    /// When it ends before, or nothing moves until `limit`.
    pub fn await_progress(&self, job: &str, limit: Duration) -> Result<Value> {
        wait::until(&format!("job {job} to move"), limit, || {
            let seen = self.job(job)?;
            if has_ended(&seen) {
                bail!("the job ended before it was seen to move: {seen}");
            }
            Ok((seen["progress"]["bytes_done"].as_u64() > Some(0)).then_some(seen))
        })
    }
}

/// Whether `job` will never change again.
#[must_use]
pub fn has_ended(job: &Value) -> bool {
    !["queued", "running", "paused"].iter().any(|open| job["status"] == *open)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_paused_job_has_not_ended() {
        assert!(!has_ended(&json!({ "status": "paused" })));
        assert!(has_ended(&json!({ "status": "interrupted" })));
    }
}
