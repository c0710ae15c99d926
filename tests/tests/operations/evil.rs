//! A server in the wrong hands: a real agent is sent hundreds of commands that its host does not
//! allow. None runs, each refusal says why, and nothing outside is touched or asked.

mod commands;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::fleet::Agent;
use holdfast_e2e::peer::Peer;
use holdfast_e2e::programs::{self, Programs};
use holdfast_e2e::slow_restic::write_program;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::tree::Tree;
use holdfast_e2e::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

use commands::{Command, repositories};

/// How many commands are under way at once. An agent takes them as they come.
const PIECE: usize = 25;

#[test]
fn what_the_host_does_not_allow_never_runs_whoever_asks() -> Result<()> {
    let mut evil = Evil::new()?;
    let before = Tree::of(&evil.outside())?;
    let commands = commands::all(&evil.world);
    ensure!(commands.len() >= 200, "only {} commands", commands.len());
    evil.configure()?;
    let mut codes = BTreeMap::new();
    for piece in commands.chunks(PIECE) {
        for command in piece {
            evil.order(command)?;
        }
        for command in piece {
            let code = evil.refusal(command)?;
            ensure!(command.codes.contains(&code.as_str()), "{command:?}: {code}");
            *codes.entry(code).or_insert(0) += 1;
        }
    }
    ensure!(codes.len() >= 5, "all was refused for the same reason: {codes:?}");
    evil.say_nonsense()?;

    // The agent lives, and does what its host allows.
    let honest = commands::honest(&evil.world);
    evil.order(&honest)?;
    let end = evil.end(&honest)?;
    ensure!(end["status"] == "succeeded", "{end}");

    Tree::of(&evil.outside())?.must_equal(&before)?;
    evil.nothing_was_asked_elsewhere()?;
    evil.only_the_honest_one_ran()?;
    evil.agent.stop()
}

/// What the evil server and its victim share.
pub(crate) struct World {
    /// The folder of everything.
    pub(crate) base: PathBuf,
    /// The agent's own directory.
    pub(crate) agent: PathBuf,
    /// Somebody listens here, who should never hear from the agent.
    pub(crate) elsewhere: String,
}

struct Evil {
    peer: Peer,
    agent: Agent,
    world: World,
    elsewhere: TcpListener,
    sent: u64,
    /// The last record of the agent that it was told has arrived.
    heard: u64,
    _folder: TempDir,
}

impl Evil {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let base = fs::canonicalize(folder.path())?;
        let elsewhere = TcpListener::bind("127.0.0.1:0")?;
        elsewhere.set_nonblocking(true)?;
        let address = elsewhere.local_addr()?.to_string();
        lay_out(&base)?;
        let restic = watched_restic(&base)?;
        let mut peer = Peer::start("native")?;
        let url = listen(&mut peer)?;
        let programs = Programs::beside_this_test()?;
        let mut agent = Agent::new(&programs.agent, &restic, &base, HOST)?;
        agent.enrol(&url, "hf_enr_anything")?;
        fs::write(agent.data().join("policy.toml"), policy(&base))?;
        let world =
            World { agent: agent.data().to_path_buf(), base: base.clone(), elsewhere: address };
        agent.start()?;
        let mut evil = Self { peer, agent, world, elsewhere, sent: 0, heard: 0, _folder: folder };
        evil.welcome()?;
        Ok(evil)
    }

    /// What the commands reach for, and what they would leave behind.
    fn outside(&self) -> PathBuf {
        self.world.base.join("outside")
    }

    fn welcome(&mut self) -> Result<()> {
        self.peer.frame("the hello", |frame| frame["kind"] == "hello")?;
        self.peer.say(&json!({"kind": "welcome", "payload": {
            "session_id": "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4c", "epoch": 1, "received": 0,
            "oldest": 1, "heartbeat_interval_ms": 20_000, "silence_max_ms": 48_000,
            "redial_spread_ms": 0, "server_time": "2026-11-21T10:00:00Z", "capabilities": [],
        }}))
    }

    /// The configuration of an evil server, with repositories that the host does not allow, and a
    /// policy that it would like.
    fn configure(&mut self) -> Result<()> {
        self.peer.say(&json!({"kind": "config.update", "payload": {
            "version": 1, "host_name": HOST, "groups": [],
            "repositories": repositories(&self.world),
            "policy": {"operations": {"allowed": ["prune"]}, "restore": {"roots": ["/"]}},
        }}))?;
        let applied = |frame: &Value| frame["kind"] == "config.applied";
        self.peer.frame("the configuration to be applied", applied).map(drop)
    }

    fn order(&mut self, command: &Command) -> Result<()> {
        self.record("command.run", &command.payload)
    }

    fn record(&mut self, kind: &str, payload: &Value) -> Result<()> {
        self.sent += 1;
        self.peer.say(&json!({"kind": kind, "seq": self.sent, "payload": payload}))
    }

    /// The code with which the agent refused `command`, at once or as the job's end.
    fn refusal(&mut self, command: &Command) -> Result<String> {
        let answer = self.about(command, "command.result")?;
        let verdict = &answer["payload"];
        let error = if verdict["accepted"] == true {
            let end = self.end(command)?;
            ensure!(end["status"] == "failed", "{command:?} ran: {end}");
            end["error"].clone()
        } else {
            verdict["error"].clone()
        };
        let told = ["message", "action"].map(|field| error[field].as_str().unwrap_or_default());
        ensure!(told.iter().all(|text| !text.is_empty()), "{command:?}: {error}");
        error["code"].as_str().map(str::to_owned).with_context(|| format!("{command:?}: {error}"))
    }

    fn end(&mut self, command: &Command) -> Result<Value> {
        Ok(self.about(command, "job.finished")?["payload"].clone())
    }

    fn about(&mut self, command: &Command, kind: &str) -> Result<Value> {
        let what = format!("{kind} about {command:?}");
        let fits = |frame: &Value| {
            frame["kind"] == kind && frame["payload"]["job_id"] == command.job.as_str()
        };
        let frame = self.peer.frame(&what, fits)?;
        self.heard = self.heard.max(frame["seq"].as_u64().unwrap_or_default());
        self.peer.say(&json!({"kind": "ack", "ack": self.heard}))?;
        Ok(frame)
    }

    /// Records that are no commands at all. The stream goes on after them.
    fn say_nonsense(&mut self) -> Result<()> {
        let deep = (0..40).fold(json!({}), |inner, _| json!({"x": inner}));
        for payload in [json!(null), json!([]), json!("all"), json!({"job_id": "*"}), deep] {
            for kind in ["command.run", "command.cancel", "command.pause", "command.resume"] {
                self.record(kind, &payload)?;
            }
        }
        for kind in ["policy.update", "policy.set", "agent.update.available", "exec", "../x", ""] {
            self.record(kind, &json!({"command": ["/bin/sh"], "url": self.world.elsewhere}))?;
        }
        let unknown = commands::nobodys_job();
        self.record("command.cancel", &json!({"job_id": unknown.job}))?;
        let answer = self.about(&unknown, "command.result")?;
        ensure!(answer["payload"]["error"]["code"] == "unknown_job", "{answer}");
        Ok(())
    }

    fn nothing_was_asked_elsewhere(&self) -> Result<()> {
        ensure!(self.elsewhere.accept().is_err(), "the agent asked somebody else");
        let made = self.world.base.join("evil-repository");
        ensure!(!made.exists(), "the agent made a repository that is not allowed");
        Ok(())
    }

    fn only_the_honest_one_ran(&self) -> Result<()> {
        let calls = fs::read_to_string(self.world.base.join("calls")).unwrap_or_default();
        let harmless = ["version", "snapshots", "cat", "init", "backup", "unlock", "list"];
        for call in calls.lines() {
            let operation = call.split_whitespace().find(|word| !word.starts_with('-'));
            let known = operation.is_some_and(|operation| harmless.contains(&operation));
            ensure!(known, "restic was called: {call}");
        }
        let backups: Vec<&str> = calls.lines().filter(|call| call.starts_with("backup")).collect();
        let honest = |call: &&str| call.contains("--tag=honest") || call.contains("--tag honest");
        ensure!(!backups.is_empty() && backups.iter().all(honest), "{backups:?}");
        Ok(())
    }
}

fn listen(peer: &mut Peer) -> Result<String> {
    let path = "/api/v1/agent/connect";
    let enrolled = json!({
        "host_id": "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b", "host_name": HOST,
        "agent_token": "hf_agt_anything", "connect_path": path,
    });
    peer.tell(&json!({"do": "listen", "path": path}))?;
    let port = peer.event("listening")?["port"].as_u64().context("no port")?;
    let route = json!({"do": "route", "method": "POST", "path": "/api/v1/agent/enrol",
        "status": 201, "body": enrolled});
    peer.tell(&route)?;
    peer.event("routed")?;
    Ok(format!("http://127.0.0.1:{port}"))
}

/// What may be read, what may not, and links from here to there.
fn lay_out(base: &Path) -> Result<()> {
    use std::os::unix::fs::symlink;
    for folder in ["allowed/deep", "outside/deep", "restored", "agents"] {
        fs::create_dir_all(base.join(folder))?;
    }
    fs::write(base.join("allowed/file"), "may be read")?;
    fs::write(base.join("outside/secret"), "may not be read")?;
    symlink(base.join("outside"), base.join("allowed/leak"))?;
    symlink(base.join("outside"), base.join("restored/leak"))?;
    symlink(base.join("outside/nothing"), base.join("restored/dangling"))?;
    Ok(())
}

fn policy(base: &Path) -> String {
    let base = base.display();
    format!(
        "[operations]\nallowed = ['backup', 'restore', 'check']\n\
         [backup]\npaths = ['{base}/allowed']\n\
         [repositories]\nlocations = ['{base}/repository', 'rest:https://backup.invalid:8000']\n\
         [restore]\nroots = ['{base}/restored']\n\
         [hooks.note]\ncommand = ['/bin/true']\n\
         [sources.sqlite.notes]\npath = '{base}/notes.db'\n"
    )
}

/// restic, and a note of every call of it.
fn watched_restic(base: &Path) -> Result<PathBuf> {
    let (program, calls) = (base.join("watched-restic"), base.join("calls"));
    let restic = programs::restic()?;
    let script = format!(
        "#!/bin/sh\nprintf '%s ' \"$@\" | tr '\\n' ' ' >>'{}'\necho >>'{}'\nexec '{}' \"$@\"\n",
        calls.display(),
        calls.display(),
        restic.display()
    );
    write_program(&program, &script)?;
    Ok(program)
}

/// The same seen by an honest server: whatever a host refuses, somebody hears of it.
#[test]
fn a_refusal_is_reported_and_alerted_whatever_was_asked() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    fs::write(source.join("file"), "content")?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let snapshot = stage.back_up()?;

    let to = json!({"snapshot_id": snapshot, "target": {"directory": "/etc"}});
    let order = json!({"operation": "restore", "repository": "vault", "parameters": to});
    let end = stage.fleet.operator.ordered(HOST, &order, BACKUP_LIMIT)?;
    ensure!(end["error"]["code"] == "refused_by_policy", "{end}");
    let api = stage.fleet.operator.api();
    let alert = wait::until("an alert about the refusal", BACKUP_LIMIT, || {
        let alerts = api.get("/alerts?state=open")?;
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        Ok(alerts.into_iter().find(|alert| alert["rule"] == "policy_refused"))
    })?;
    let text = alert.to_string();
    ensure!(text.contains(HOST) && text.contains("restore"), "{alert}");
    stage.fleet.stop()
}
