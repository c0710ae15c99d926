//! A directory for one agent, a server that answers what it is told to, and the program.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Json, Router, http::StatusCode, routing::post};
use serde_json::{Value, json};
use tempfile::TempDir;

/// More than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a program of shell `lines`.
    pub(crate) fn program(&self, name: &str, lines: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Makes the directory that of an enrolled agent, without a server.
    pub(crate) fn pretend_enrolled(&self, server: &str) {
        fs::create_dir_all(self.data()).unwrap();
        let enrolment = json!({
            "server": server,
            "connect_path": "/api/v1/agent/connect",
            "host_id": "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b",
            "host_name": "alpha",
        });
        fs::write(self.data().join("agent.json"), enrolment.to_string()).unwrap();
        fs::write(self.data().join("token"), "hf_agt_canary").unwrap();
    }

    /// `holdfast-agent VERB --data DIR REST`.
    pub(crate) fn agent(&self, verb: &str, rest: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
        command.arg(verb).arg("--data").arg(self.data()).args(rest);
        command.env_remove("HOLDFAST_LOG");
        command
    }

    /// `holdfast-agent enroll` with the token on standard input.
    pub(crate) fn enroll(&self, server: &str, rest: &[&str]) -> Output {
        let mut child = self
            .agent("enroll", &["--server", server, "--token-file", "-"])
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // An agent that refuses before it reads closes the pipe.
        let _ = writeln!(child.stdin.take().unwrap(), "hf_enr_canary");
        child.wait_with_output().unwrap()
    }
}

/// A running agent, killed when it goes out of scope.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it, with everything it says added to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let said = log.try_clone().unwrap();
        Self(command.env("HOLDFAST_LOG", "trace").stdout(said).stderr(log).spawn().unwrap())
    }

    /// Asks it to end.
    pub(crate) fn signal(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal();
        wait_for("the agent's end", || self.0.try_wait().unwrap())
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that answers every enrolment alike and keeps what it was asked.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn answering(status: u16, body: Value) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let status = StatusCode::from_u16(status).unwrap();
        let answer = move |Json(request): Json<Value>| async move {
            seen.lock().unwrap().push(request);
            (status, Json(body))
        };
        let router = Router::new().route("/api/v1/agent/enrol", post(answer));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, asked, _runtime: runtime }
    }

    /// One that takes any token.
    pub(crate) fn willing() -> Self {
        Self::answering(
            201,
            json!({
                "host_id": "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b",
                "host_name": "alpha",
                "agent_token": "hf_agt_canary",
                "connect_path": "/api/v1/agent/connect",
            }),
        )
    }

    /// One that refuses with this code.
    pub(crate) fn refusing(status: u16, code: &str) -> Self {
        let body = json!({"status": status, "code": code, "title": "No.", "action": "Do it."});
        Self::answering(status, body)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

/// What a command said that had to refuse: exit code 1, one sentence and what to do, no trace and
/// no token.
pub(crate) fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert_eq!(said.matches("what to do: ").count(), 1, "{said}");
    for trace in ["panicked", "backtrace", "canary"] {
        assert!(!said.contains(trace), "{said}");
    }
    said
}

/// Waits until `probe` has something.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = probe() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("waited in vain for {what}");
}

pub(crate) fn contents(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}
