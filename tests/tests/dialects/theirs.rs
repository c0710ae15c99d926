//! Our agent with the servers of other systems, backing real files up with real restic.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::{
    data,
    peer::Peer,
    process::Process,
    programs::{self, Programs},
    slow_restic::{BYTES_PER_SECOND, SlowRestic},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOKEN: &str = "their-agent-token";
const PASSWORD: &str = "their repository's password";

/// A peer that listens as a server, and our agent, which has joined it.
pub(crate) struct Theirs {
    agent: Process,
    /// Their server.
    pub(crate) peer: Peer,
    base: String,
    folder: TempDir,
    /// More folders that go when the test ends.
    more: Option<TempDir>,
    slow: SlowRestic,
}

impl Theirs {
    fn new(dialect: &str, path: &str, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut peer = Peer::start(dialect)?;
        peer.tell(&json!({"do": "listen", "path": path, "token": TOKEN}))?;
        let base = format!("http://127.0.0.1:{}", peer.event("listening")?["port"]);
        let slow = SlowRestic::new(&programs::restic()?, folder.path())?;
        let source = folder.path().join("source");
        std::fs::create_dir_all(&source)?;
        data::random_file(&source.join("big.dat"), 12 * BYTES_PER_SECOND, 1)?;
        let theirs = Self {
            agent: Process::spawn(
                "nothing",
                &mut Command::new("true"),
                &folder.path().join("nothing.log"),
            )?,
            peer,
            base,
            folder,
            more: None,
            slow,
        };
        // Theirs needs folders that are only known now.
        if dialect != "backupy" {
            theirs.join(dialect, arguments)?;
        }
        Ok(theirs)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn join(&self, dialect: &str, arguments: &[&str]) -> Result<()> {
        let mut child = Command::new(Programs::beside_this_test()?.agent)
            .args(["join", "--dialect", dialect, "--server", &self.base, "--token-file", "-"])
            .args(["--data", &self.path("agent")])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()?;
        writeln!(child.stdin.take().context("a pipe")?, "{TOKEN}")?;
        ensure!(child.wait()?.success(), "the agent did not join");
        Ok(())
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let mut run = Command::new(Programs::beside_this_test()?.agent);
        run.args(["run", "--data", &self.path("agent"), "--restic"]).arg(self.slow.program());
        let log = self.folder.path().join("agent.log");
        self.agent = Process::spawn("our agent", &mut run, &log)?;
        Ok(())
    }

    /// Cuts the connection, and waits for the next one.
    fn cut(&mut self) -> Result<()> {
        self.peer.tell(&json!({"do": "drop"}))?;
        self.peer.event("close")?;
        self.peer.event("open").map(drop)
    }

    /// Whether the agent still runs; what it says of itself.
    pub(crate) fn status(&mut self) -> Result<Value> {
        self.agent.check_running()?;
        let output = Command::new(Programs::beside_this_test()?.agent)
            .args(["status", "--json", "--data", &self.path("agent")])
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What restic itself finds in the repository.
    fn snapshots(&self) -> Result<Vec<Value>> {
        let password = self.folder.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        let output = Command::new(programs::restic()?)
            .args([
                "snapshots",
                "--json",
                "--no-lock",
                "--no-cache",
                "-r",
                &self.path("repository"),
            ])
            .arg("--password-file")
            .arg(password)
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn is(kind: &'static str, job: &'static str) -> impl Fn(&Value) -> bool {
    move |frame| frame["type"] == kind && frame["data"]["job_id"] == job
}

pub(crate) fn nerdbackup() -> Result<Theirs> {
    let mut theirs = Theirs::new("nerdbackup", "/ws/agent", &["--agent-id", "agent-7"])?;
    let repo = json!({"id": "home", "storage_backend_id": "s", "policy_id": "p",
        "restic_repo_path": theirs.path("repository"), "restic_password": PASSWORD,
        "paths": [theirs.path("source")], "exclude_patterns": null, "exclude_presets": [],
        "tags": [], "check_every_n_backups": 0, "storage_config": {"provider": "local",
        "endpoint": "", "bucket": "", "region": "", "access_key_id": "", "secret_access_key": ""}});
    for (method, what, data) in [
        ("GET", "repos", json!([repo])),
        ("POST", "heartbeat", json!({"config_changed": false, "config_hash": "1"})),
        ("POST", "report", json!({})),
        ("POST", "progress", json!({})),
        ("GET", "pending-backups", json!([])),
    ] {
        theirs.peer.tell(&json!({"do": "route", "method": method,
            "path": format!("/api/v1/agents/agent-7/{what}"),
            "body": {"data": data, "meta": {"request_id": "r"}}}))?;
        theirs.peer.event("routed")?;
    }
    Ok(theirs)
}

#[test]
fn our_agent_does_a_whole_job_for_a_nerdbackup_server() -> Result<()> {
    let mut theirs = nerdbackup()?;
    theirs.start()?;
    let opened = theirs.peer.event("open")?;
    ensure!(opened["authorization"] == format!("Bearer {TOKEN}"), "{opened}");
    let beat = theirs.peer.frame("a heartbeat", |frame| frame["type"] == "heartbeat")?;
    ensure!(beat["ends_in_newline"] == true && beat["data"]["platform"] == "linux", "{beat}");
    ensure!(beat["data"]["memory_total_bytes"].as_i64() > Some(0), "{beat}");

    theirs.peer.say(&json!({"type": "command", "action": "start_backup",
        "data": {"repo_id": "home", "job_id": "job-0"}}))?;
    theirs.peer.frame("progress", |frame| {
        is("progress", "job-0")(frame) && frame["data"]["percent_done"].as_f64() > Some(0.0)
    })?;
    theirs.peer.say(&json!({"type": "command", "action": "cancel", "job_id": "job-0"}))?;
    let cancelled = theirs.peer.frame("its end", |frame| frame["type"] == "job_report")?;
    let data = &cancelled["data"];
    ensure!(data["dashboard_job_id"] == "job-0" && data["status"] == "failed", "{cancelled}");
    ensure!(data["error_message"] == "cancelled on request", "{cancelled}");

    let start = json!({"type": "command", "action": "start_backup", "job_id": "job-1",
        "data": {"repo_id": "home", "job_id": "job-1"}});
    theirs.peer.say(&start)?;
    // The same command twice runs once.
    theirs.peer.say(&start)?;
    let began = theirs.peer.frame("the start", is("job_started", "job-1"))?;
    ensure!(began["data"]["status"] == "running" && began["data"]["repo_id"] == "home", "{began}");
    let moved = theirs.peer.frame("progress", |frame| {
        is("progress", "job-1")(frame) && frame["data"]["percent_done"].as_f64() > Some(0.0)
    })?;
    ensure!(moved["data"]["percent_done"].as_f64() <= Some(1.0), "{moved}");
    // A wrong id is nobody's job, and a frame of the future is passed over.
    theirs.peer.say(&json!({"type": "command", "action": "cancel", "job_id": "job-unknown"}))?;
    theirs.peer.say(&json!({"type": "ack", "action": ""}))?;
    theirs.peer.say(&json!({"type": "command", "action": "fs_list", "data":
        {"request_id": "q1", "path": "/"}}))?;
    let refused = theirs.peer.frame("the refusal", |frame| frame["type"] == "fs_list_response")?;
    ensure!(refused["data"]["request_id"] == "q1" && refused["data"]["error"].is_string());

    theirs.peer.say(&json!({"type": "command", "action": "pause", "job_id": "job-1"}))?;
    theirs.peer.frame("the pause", |frame| {
        is("job_started", "job-1")(frame) && frame["data"]["status"] == "paused"
    })?;
    // The line is cut while it stands still; the job and its name outlive it.
    theirs.cut()?;
    theirs.peer.say(&json!({"type": "command", "action": "resume", "job_id": "job-1"}))?;
    theirs.slow.release_brake()?;
    let report = theirs.peer.frame("the report", |frame| frame["type"] == "job_report")?;
    let data = &report["data"];
    ensure!(data["dashboard_job_id"] == "job-1" && data["status"] == "completed", "{report}");
    ensure!(data["stats"]["files_new"] == 1 && data["operation"] == "backup", "{report}");
    let snapshots = theirs.snapshots()?;
    ensure!(snapshots.len() == 1, "{snapshots:?}");
    ensure!(data["restic_snapshot_id"] == snapshots[0]["id"], "{report} {snapshots:?}");
    Ok(())
}

#[test]
fn our_agent_polls_a_nerdbackup_server_that_takes_no_socket() -> Result<()> {
    let mut theirs = nerdbackup()?;
    theirs.slow.release_brake()?;
    theirs.peer.tell(&json!({"do": "sockets", "taken": false}))?;
    theirs.peer.event("sockets")?;
    theirs.peer.tell(&json!({"do": "route", "method": "GET",
        "path": "/api/v1/agents/agent-7/pending-backups", "body": {"data":
        [{"jobId": "job-9", "repoId": "home", "createdAt": "2026-11-21T10:00:00Z"}],
        "meta": {"request_id": "r"}}}))?;
    theirs.peer.event("routed")?;
    theirs.start()?;
    let report = theirs.peer.wait("the report over HTTP", |event| {
        event["event"] == "request" && event["path"] == "/api/v1/agents/agent-7/report"
    })?;
    let body: Value = serde_json::from_str(report["body"].as_str().unwrap_or_default())?;
    ensure!(body["dashboard_job_id"] == "job-9" && body["status"] == "completed", "{body}");
    ensure!(theirs.snapshots()?.len() == 1, "the pending backup ran more than once");
    // A socket that is taken again is found.
    theirs.peer.tell(&json!({"do": "sockets", "taken": true}))?;
    theirs.peer.event("open")?;
    Ok(())
}

pub(crate) fn backupy() -> Result<Theirs> {
    let folder = tempfile::tempdir()?;
    let (small, password) = (folder.path().join("data"), folder.path().join("password"));
    data::small_files(&small, 20, 3)?;
    std::fs::write(&password, PASSWORD)?;
    let mut theirs = Theirs::new("backupy", "/v1/agents/connect", &[])?;
    let (repository, source) = (theirs.path("repository"), theirs.path("source"));
    let (shop, big) = (format!("shop={}", small.display()), format!("big={source}"));
    let password = password.display().to_string();
    let arguments = ["--repository", &repository, "--password-file", &password];
    theirs.join("backupy", &[&arguments[..], &["--group", &shop, "--group", &big]].concat())?;
    theirs.more = Some(folder);
    Ok(theirs)
}

/// Takes the registration of the agent on a connection that is open.
pub(crate) fn take_backupy(theirs: &mut Theirs) -> Result<Value> {
    let register = theirs.peer.frame("the registration", |frame| frame["body"] == "register")?;
    let jobs = ["shop", "big", "other"].map(|id| json!({"id": id, "target_id": "t"}));
    let config = json!({"version": 5, "targets": [{"id": "t", "type": 1}], "jobs": jobs});
    theirs.peer.say(&json!({"body": "register_ack", "fields": {"session_id": "s",
        "config": config, "heartbeat_interval_sec": 30}}))?;
    Ok(register)
}

#[test]
fn our_agent_does_a_whole_job_for_a_backupy_server() -> Result<()> {
    let mut theirs = backupy()?;
    theirs.start()?;
    theirs.peer.event("open")?;
    let register = take_backupy(&mut theirs)?;
    ensure!(register["fields"]["os"] == "linux", "{register}");
    let beat = theirs.peer.frame("a heartbeat", |frame| frame["body"] == "heartbeat")?;
    ensure!(beat["fields"]["config_version"] == 5, "{beat}");
    theirs.peer.say(&json!({"seq": 7, "correlation_id": "ping-1", "body": "ping",
        "fields": {"ts_ms": 123}}))?;
    let ack = theirs.peer.frame("the ack", |frame| frame["body"] == "ack")?;
    ensure!(ack["correlation_id"] == "ping-1" && ack["fields"]["accepted"] == true, "{ack}");

    let run = |job: &str, run: &str| {
        json!({"body": "run_backup", "fields":
        {"job_id": job, "run_id": run, "manual_trigger": true}})
    };
    let end = |run: &'static str| {
        move |frame: &Value| {
            let ended = frame["body"] == "backup_completed"
                || (frame["body"] == "job_update" && frame["fields"]["status"].as_i64() > Some(2));
            ended && frame["fields"]["run_id"] == run
        }
    };
    theirs.peer.say(&run("big", "run-0"))?;
    theirs.peer.frame("progress", |frame| {
        let fields = &frame["fields"];
        let moves = fields["status"] == 2 && fields["progress_percent"].as_i64() > Some(0);
        moves && fields["run_id"] == "run-0"
    })?;
    theirs.peer.say(&json!({"body": "cancel_job", "fields": {"job_id": "big"}}))?;
    let cancelled = theirs.peer.frame("its end", end("run-0"))?;
    ensure!(cancelled["fields"]["status"] == 5, "{cancelled}");

    theirs.slow.release_brake()?;
    theirs.peer.say(&run("shop", "run-1"))?;
    theirs.peer.say(&run("shop", "run-1"))?;
    let done = theirs.peer.frame("the end", end("run-1"))?;
    ensure!(done["body"] == "backup_completed" && done["fields"]["job_id"] == "shop", "{done}");
    let snapshots = theirs.snapshots()?;
    ensure!(snapshots.len() == 1 && snapshots[0]["id"] == done["fields"]["s3_key"], "{done}");
    theirs.peer.say(&run("other", "run-2"))?;
    let failed = theirs.peer.frame("the refusal", end("run-2"))?;
    ensure!(failed["fields"]["status"] == 4, "{failed}");
    ensure!(failed["fields"]["error_message"].as_str().is_some_and(|text| !text.is_empty()));

    // What the server has not shown to have read is said again, on a connection that registers
    // first and whose numbers go on.
    theirs.peer.tell(&json!({"do": "pings", "answered": false}))?;
    theirs.peer.event("pings")?;
    theirs.peer.say(&run("shop", "run-3"))?;
    let is_begun = |frame: &Value| {
        let fields = &frame["fields"];
        fields["run_id"] == "run-3" && fields["status"] == 2 && fields["current_step"].is_null()
    };
    let unread = theirs.peer.frame("the start", is_begun)?;
    theirs.peer.tell(&json!({"do": "pings", "answered": true}))?;
    theirs.cut()?;
    let again = take_backupy(&mut theirs)?;
    ensure!(again["seq"].as_u64() > unread["seq"].as_u64(), "{again} after {unread}");
    let replay = theirs.peer.frame("the replay", is_begun)?;
    ensure!(replay["fields"] == unread["fields"], "{replay} is not {unread}");
    let done = theirs.peer.frame("the end", end("run-3"))?;
    ensure!(done["body"] == "backup_completed", "{done}");
    Ok(())
}

pub(crate) fn envelope() -> Result<Theirs> {
    Theirs::new("envelope", "/connect", &["--name", "nas-1"])
}

/// Takes the registration of the agent on a connection that is open.
pub(crate) fn take_envelope(theirs: &mut Theirs) -> Result<Value> {
    let register = theirs.peer.frame("the registration", |frame| frame["kind"] == "register")?;
    theirs.peer.say(&json!({"kind": "register.ack", "in_reply_to": register["id"],
        "payload": {"heartbeat_interval_s": 10, "stale_after_s": 30}}))?;
    Ok(register)
}

#[test]
fn our_agent_does_a_whole_job_for_an_envelope_server() -> Result<()> {
    let mut theirs = envelope()?;
    theirs.start()?;
    theirs.peer.event("open")?;
    let register = take_envelope(&mut theirs)?;
    for field in ["name", "session_id", "context_mode", "provider"] {
        ensure!(register["payload"][field].as_str().is_some_and(|text| !text.is_empty()));
    }
    ensure!(register["payload"]["name"] == "nas-1", "{register}");
    theirs.peer.frame("a status", |frame| frame["kind"] == "worker.status")?;
    theirs.peer.say(&json!({"kind": "turn", "id": "turn-1", "payload": {"prompt": "hello"}}))?;
    let declined = theirs.peer.frame("the answer", |frame| frame["in_reply_to"] == "turn-1")?;
    ensure!(declined["kind"] == "turn.error", "{declined}");

    let (repository, group) = ("0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b", "home");
    theirs.peer.say(&json!({"kind": "config.update", "payload": {"version": 1,
        "host_name": "nas-1", "repositories": [{"id": repository, "name": "main",
        "url": theirs.path("repository"), "password": PASSWORD}], "groups": [{"name": group,
        "repository_id": repository, "includes": [theirs.path("source")]}]}}))?;
    let job = "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e50";
    let source = theirs.path("source");
    let run = json!({"kind": "command.run", "id": "req-1", "payload": {"job_id": job,
        "kind": "backup", "repository_id": repository, "config_version": 1, "tag": group,
        "includes": [source]}});
    theirs.peer.say(&run)?;
    let taken = theirs.peer.frame("the answer", |frame| frame["in_reply_to"] == "req-1")?;
    ensure!(taken["kind"] == "command.result" && taken["payload"]["accepted"] == true, "{taken}");
    theirs.peer.frame("progress", |frame| frame["kind"] == "job.progress")?;
    for (verb, id) in [("pause", "req-p"), ("resume", "req-r")] {
        let kind = format!("command.{verb}");
        theirs.peer.say(&json!({"kind": kind, "id": id, "payload": {"job_id": job}}))?;
        let taken = theirs.peer.frame("the answer", |frame| frame["in_reply_to"] == id)?;
        ensure!(taken["payload"]["command"] == verb, "{taken}");
    }
    theirs
        .peer
        .say(&json!({"kind": "command.cancel", "id": "req-2", "payload": {"job_id": job}}))?;
    let end = theirs.peer.frame("the end", |frame| frame["kind"] == "job.finished")?;
    ensure!(end["payload"]["status"] == "cancelled", "{end}");
    theirs.peer.say(&json!({"kind": "command.cancel", "id": "req-3", "payload":
        {"job_id": "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e51"}}))?;
    let unknown = theirs.peer.frame("the refusal", |frame| frame["in_reply_to"] == "req-3")?;
    ensure!(unknown["kind"] == "command.cancel.error", "{unknown}");

    // What the server has not shown to have read is said again on a connection that registers
    // first, and the job goes on meanwhile.
    theirs.slow.release_brake()?;
    theirs.peer.tell(&json!({"do": "pings", "answered": false}))?;
    theirs.peer.event("pings")?;
    let job = "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e52";
    let mut run = run;
    run["id"] = json!("req-4");
    run["payload"]["job_id"] = json!(job);
    theirs.peer.say(&run)?;
    let is_of_job =
        |kind| move |frame: &Value| frame["kind"] == kind && frame["payload"]["job_id"] == job;
    // The answer is the first that it has to tell of the job, and it waits for no later word.
    let unread = theirs.peer.frame("the answer", is_of_job("command.result"))?;
    theirs.peer.tell(&json!({"do": "pings", "answered": true}))?;
    theirs.cut()?;
    let again = take_envelope(&mut theirs)?;
    ensure!(again["payload"]["session_id"] == register["payload"]["session_id"], "{again}");
    let replay = theirs.peer.frame("the replay", is_of_job("command.result"))?;
    ensure!(replay["payload"] == unread["payload"], "{replay} is not {unread}");
    theirs.peer.frame("the start", is_of_job("job.started"))?;
    // A server that asks again, because it heard no answer, gets one, and no second run.
    run["id"] = json!("req-5");
    theirs.peer.say(&run)?;
    theirs.peer.frame("the answer", |frame| frame["in_reply_to"] == "req-5")?;
    let end = theirs.peer.frame("the end", is_of_job("job.finished"))?;
    ensure!(end["payload"]["status"] == "succeeded", "{end}");
    let snapshots = theirs.snapshots()?;
    ensure!(snapshots.len() == 1, "{snapshots:?}");
    Ok(())
}
