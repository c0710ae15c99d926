//! The operator's program against a real server, as two people at two terminals would use it.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail like the test itself")]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// A running `holdfast server` with an admin's token.
struct Server {
    process: Child,
    url: String,
    token: String,
    dir: TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Output {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn holdfast(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(line.split(' ')).env_remove("HOLDFAST_URL").env_remove("HOLDFAST_TOKEN");
    command
}

fn finish(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input may be gone before all is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let (process, url) = serve(&data, "127.0.0.1:0");
        let create = format!("token create ops --role admin --json --data {}", data.display());
        let made: Value = finish(holdfast(&create), "").expect_json();
        let token = made["token"].as_str().unwrap().to_owned();
        Self { process, url, token, dir }
    }

    /// Runs a command with the admin's token.
    fn run(&self, line: &str) -> Output {
        self.run_with(line, "")
    }

    fn run_with(&self, line: &str, input: &str) -> Output {
        let mut command = holdfast(line);
        command.env("HOLDFAST_URL", &self.url).env("HOLDFAST_TOKEN", &self.token);
        finish(command, input)
    }

    /// A server with host `web-1`, repository `main` and source group `etc`.
    fn with_group() -> Self {
        let server = Self::start();
        server.run("host add web-1").expect(0);
        let repo = "repo add main --url /srv/backup --password-file -";
        server.run_with(repo, "secret\n").expect(0);
        server.run("group add web-1 etc --repo main --include /etc /srv --exclude *.tmp").expect(0);
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(data: &Path, address: &str) -> (Child, String) {
    let line = format!("server --listen {address} --data {}", data.display());
    let mut process = holdfast(&line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let url = ready.trim().strip_prefix("listening on ").expect("the server did not start");
    (process, url.to_owned())
}

impl Output {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    #[track_caller]
    fn expect_json(self) -> Value {
        let output = self.expect(0);
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
    }

    /// Checks that it failed with one sentence and one advice, and without a stack trace.
    #[track_caller]
    fn expect_error(self, sentence: &str, action: &str) {
        let output = self.expect(1);
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{output:?}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains(sentence), "{output:?}");
        assert!(lines[1].starts_with("  what to do: ") && lines[1].contains(action), "{output:?}");
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn a_fleet_is_set_up_and_a_job_ordered() {
    let server = Server::with_group();
    let hosts = server.run("hosts").expect(0).stdout;
    assert!(hosts.contains("web-1  pending  never       never"), "{hosts}");
    let shown = server.run("host show web-1").expect(0).stdout;
    assert!(shown.contains("etc: No agent has enrolled for this host yet.\n  what"), "{shown}");
    let set = server.run("group set web-1 etc --objective 3d").expect(0).stdout;
    assert_eq!(set, "The newest snapshot of `etc` may be 3 days old.\n");
    server.run("group set web-1 etc --objective soon").expect(2);
    let repos = server.run("repos").expect(0).stdout;
    assert!(repos.contains("main        local  /srv/backup"), "{repos}");

    let set = "schedule set web-1 etc --zone Europe/Berlin --cron";
    let mut command = holdfast(set);
    command.arg("30 2 * * *").env("HOLDFAST_URL", &server.url);
    command.env("HOLDFAST_TOKEN", &server.token);
    let told = finish(command, "").expect(0).stdout;
    assert!(told.contains("At 02:30"), "{told}");

    let why = server.run("why web-1 etc").expect(0).stdout;
    assert!(why.contains("Next backup:") && why.contains("No agent has enrolled"), "{why}");
    assert!(why.ends_with("Nothing has been due so far.\n"), "{why}");
    server.run("why web-1 ect").expect_error("`ect`", "Did you mean `etc`?");

    let run: Value = server.run("run web-1 --group etc --json").expect_json();
    let id = run["job_id"].as_str().unwrap();
    let job: Value = server.run(&format!("job {id} --json")).expect_json();
    assert_eq!(job["status"], "queued");
    let jobs = server.run("jobs --host web-1 --status queued").expect(0).stdout;
    assert!(jobs.contains(id) && jobs.contains("queued, host offline"), "{jobs}");
    assert_eq!(server.run(&format!("logs {id}")).expect(0).stdout, "");

    server.run(&format!("cancel {id}")).expect(0);
    let facts = server.run(&format!("job {id}")).expect(0).stdout;
    assert!(facts.contains("Status:        cancelled"), "{facts}");
    let twice = server.run(&format!("cancel {id}"));
    twice.expect_error("already ended", "new job");
    let snapshots = server.run("snapshots web-1").expect(0).stdout;
    assert!(snapshots.starts_with("No snapshots yet."), "{snapshots}");
}

#[test]
fn alerts_are_listed_silenced_and_their_rules_set() {
    let server = Server::with_group();
    let none = server.run("alerts").expect(0).stdout;
    assert_eq!(none, "No alerts: nothing needs to be done.\n");
    server.run("alert ack 0190").expect_error("no alert `0190`", "holdfast alerts");
    let silence = "alert silence --host web-1 --rule failed --for 8h --reason Replaced";
    let told = server.run(silence).expect(0).stdout;
    assert!(told.starts_with("Nobody is told of it until "), "{told}");
    let silences = server.run("alert silences").expect(0).stdout;
    assert!(silences.contains("web-1, failed") && silences.contains("Replaced"), "{silences}");
    let json: Value = server.run("alert silences --json").expect_json();
    let id = json["silences"][0]["id"].as_str().unwrap();
    server.run(&format!("alert unsilence {}", &id[..12])).expect(0);
    let silences = server.run("alert silences").expect(0).stdout;
    assert_eq!(silences, "No silences.\n");
    server.run("alert rule offline --grace 12h --off").expect(0);
    let rules = server.run("alert rules").expect(0).stdout;
    let line = rules.lines().find(|line| line.starts_with("offline ")).unwrap();
    assert!(line.contains("off") && line.contains("12 h"), "{rules}");
    server.run("alert rule offline --on").expect(0);
    let rules: Value = server.run("alert rules --json").expect_json();
    let rules = rules["rules"].as_array().unwrap();
    let offline = rules.iter().find(|rule| rule["rule"] == "offline").unwrap();
    assert_eq!((&offline["enabled"], &offline["grace_seconds"]), (&true.into(), &43_200.into()));
    server.run("alert rule ofline --off").expect_error("no alert rule", "List the alert rules");
}

#[test]
fn a_channel_is_added_tried_and_removed() {
    let server = Server::with_group();
    let settings = r#"{"kind":"webhook","url":"http://169.254.169.254/canary"}"#;
    let add = "channel add hook --severity critical --settings-file -";
    let added = server.run_with(add, settings).expect(0).stdout;
    assert!(added.contains("holdfast channel test hook"), "{added}");
    let listed = server.run("channels").expect(0).stdout;
    assert!(listed.contains("hook") && !listed.contains("canary"), "{listed}");
    let tested = server.run("channel test hook");
    tested.expect_error("network that notifications may not go to", "--notify-allow");
    let log = server.run("channel log hook").expect(0).stdout;
    assert!(log.contains("test") && log.contains("failed"), "{log}");
    server.run_with("channel add x --settings-file -", "no json").expect(1);
    server.run("channel remove hook").expect(0);
    server.run("channel remove hook").expect_error("no channel `hook`", "List the channels");
}

#[test]
fn a_new_host_gets_a_command_that_enrols_it() {
    let server = Server::start();
    let text = server.run("host add web-1").expect(0).stdout;
    let command = format!("holdfast-agent enroll --server {} --token-file -", server.url);
    assert!(text.contains(&command), "{text}");
    let json: Value = server.run("host add db-1 --json").expect_json();
    assert!(json["host_id"].is_string(), "{json}");
    assert!(json["enrolment_token"].as_str().unwrap().starts_with("hf_enr_"), "{json}");
    server.run("host remove db-1").expect(0);
    let hosts: Value = server.run("hosts --json").expect_json();
    assert_eq!(hosts["hosts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_followed_job_ends_with_its_outcome() {
    let server = Server::with_group();
    let mut follow = holdfast("run web-1 --group etc --wait");
    follow.env("HOLDFAST_URL", &server.url).env("HOLDFAST_TOKEN", &server.token);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert_eq!(first, "queued: the host is offline; waiting for its agent");
    let jobs: Value = server.run("jobs --json").expect_json();
    server.run(&format!("cancel {}", jobs["jobs"][0]["id"].as_str().unwrap())).expect(0);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line == "Status:        cancelled"), "{rest:?}");
    assert_eq!(follow.wait().unwrap().code(), Some(1));
}

#[test]
fn a_followed_job_is_followed_through_a_crash_of_the_server() {
    let mut server = Server::with_group();
    let mut follow = holdfast("run web-1 --group etc --wait");
    follow.env("HOLDFAST_URL", &server.url).env("HOLDFAST_TOKEN", &server.token);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let lost = lines.next().unwrap().unwrap();
    assert!(lost.contains("does not answer") && lost.contains("trying again"), "{lost}");

    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    (server.process, server.url) = serve(&server.dir.path().join("data"), &address);
    let jobs: Value = server.run("jobs --json").expect_json();
    server.run(&format!("cancel {}", jobs["jobs"][0]["id"].as_str().unwrap())).expect(0);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line == "Status:        cancelled"), "{rest:?}");
    assert_eq!(follow.wait().unwrap().code(), Some(1));
}

#[test]
fn control_c_leaves_the_job_running() {
    let server = Server::with_group();
    let mut follow = holdfast("run web-1 --group etc --wait");
    follow.env("HOLDFAST_URL", &server.url).env("HOLDFAST_TOKEN", &server.token);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(follow.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    kill(Pid::from_raw(follow.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = follow.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("The job goes on."), "{stderr}");
    let jobs: Value = server.run("jobs --json").expect_json();
    assert_eq!(jobs["jobs"][0]["status"], "queued");
}

#[test]
fn a_misspelt_name_is_answered_with_the_nearest_one() {
    let server = Server::with_group();
    server.run("host show web1").expect_error("no host `web1`", "Did you mean `web-1`?");
    server.run("run web-1 --group ect").expect_error("`ect`", "Did you mean `etc`?");
    let group = "group add web-1 srv --repo mian --include /srv";
    server.run(group).expect_error("no repository `mian`", "Did you mean `main`?");
    server.run("snapshots mail").expect_error("no host `mail`", "List the hosts");
}

#[test]
fn what_is_wrong_with_the_way_to_the_server_is_said() {
    let server = Server::start();
    let mut wrong = holdfast("hosts");
    wrong.env("HOLDFAST_URL", &server.url).env("HOLDFAST_TOKEN", "hf_api_wrong");
    finish(wrong, "").expect_error("not known to this server", "holdfast token create");
    let mut none = holdfast("hosts");
    none.env("HOLDFAST_URL", &server.url);
    finish(none, "").expect_error("No API token is given", "HOLDFAST_TOKEN");
    let mut away = holdfast("hosts --url http://127.0.0.1:1");
    away.env("HOLDFAST_TOKEN", "hf_api_x");
    finish(away, "").expect_error("http://127.0.0.1:1/ cannot be reached", "holdfast server");
    finish(holdfast("hosts --nonsense"), "").expect(2);
}

#[test]
fn a_token_may_come_from_a_file_or_standard_input() {
    let server = Server::start();
    let line = format!("hosts --token-file - --url {}", server.url);
    finish(holdfast(&line), &format!("{}\n", server.token)).expect(0);
    let file = server.dir.path().join("token");
    std::fs::write(&file, &server.token).unwrap();
    let line = format!("hosts --url {} --token-file {}", server.url, file.display());
    finish(holdfast(&line), "").expect(0);
}

#[test]
fn a_password_never_stands_on_the_command_line() {
    let server = Server::start();
    let add = "repo add main --url rest:https://user:canary@backup.example/ --password-file -";
    let refused = server.run_with(add, "secret");
    assert!(!refused.stderr.contains("canary"), "{refused:?}");
    refused.expect_error("carries a password", "--url-file");
}

#[test]
fn every_kind_of_maintenance_is_one_command() {
    let server = Server::with_group();
    let orders = [
        (
            "repo check main --host web-1 --read-data 5%",
            "check",
            r#"{"read_data":{"percent":5.0}}"#,
        ),
        (
            "repo prune main --host web-1 --max-unused unlimited",
            "prune",
            r#"{"dry_run":false,"max_unused":"unlimited","repack_cacheable_only":false,"repack_uncompressed":false}"#,
        ),
        ("repo stats main --host web-1 --raw", "stats", r#"{"mode":"raw_data"}"#),
        ("repo unlock main --host web-1", "unlock", "null"),
        ("repo init main --host web-1", "init", "null"),
        (
            "forget web-1 --snapshot 0123abcd",
            "forget",
            r#"{"dry_run":false,"which":{"snapshots":["0123abcd"]}}"#,
        ),
        (
            "forget web-1 --group etc --keep daily=7",
            "forget",
            r#"{"dry_run":false,"which":{"policy":{"keep":{"keep_daily":7},"tag":"etc"}}}"#,
        ),
        (
            "tag web-1 0123abcd --set kept",
            "tag",
            r#"{"edit":{"set":["kept"]},"snapshot_ids":["0123abcd"]}"#,
        ),
    ];
    for (line, operation, parameters) in orders {
        let ordered = server.run(&format!("{line} --json")).expect_json();
        let id = ordered["job_id"].as_str().unwrap();
        let job = server.run(&format!("job {id} --json")).expect_json();
        assert_eq!(job["operation"], operation, "{line}");
        assert_eq!(job["parameters"].to_string(), parameters, "{line}");
    }
    let unsaid = server.run("forget web-1 --group etc");
    unsaid.expect_error("not said which snapshots to keep", "--keep");
    server.run("repo check main").expect_error("No host that is online", "--host");
    server.run("repo check nain --host web-1").expect_error("`nain`", "List the repositories");
}

#[test]
fn a_repository_is_kept_in_order_at_a_cadence() {
    let server = Server::with_group();
    let shown = server.run("repo show main").expect(0).stdout;
    assert!(shown.contains("web-1 (has used it longest)"), "{shown}");
    assert!(shown.contains("check        not set; suggested: At "), "{shown}");
    let told = server.run("repo maintain main prune --zone UTC --window 22:00-06:00");
    let told = told.expect(0).stdout;
    assert!(told.starts_with("prune: At 06:"), "{told}");
    assert!(told.ends_with("(UTC), from 22:00 until 06:00\n"), "{told}");
    server.run("repo maintain main prune --off").expect(0);
    let json = server.run("repo show main --json").expect_json();
    let prune = &json["maintenance"]["prune"];
    assert_eq!((&prune["enabled"], &prune["window"]["from"]), (&false.into(), &"22:00".into()));
    server.run("repo maintain main prune --cron often").expect_error("`often`", "minute, hour");
    let wrong = server.run("repo maintain main forget --read-data 5%");
    wrong.expect_error("source groups' rules", "");
    server.run("repo maintain main backup").expect(2);
}

#[test]
fn credentials_are_changed_from_files_and_never_shown() {
    let server = Server::with_group();
    let set = "repo credentials main --slot admin --password-file -";
    let told = server.run_with(set, "canary\n").expect(0).stdout;
    assert_eq!(told, "Slot `admin` of repository `main` is changed.\n");
    assert!(!server.run("repos --json").expect(0).stdout.contains("canary"));
    server.run("repo credentials main --slot admin").expect_error("what to change", "--clear");
    let told = server.run("repo credentials main --slot admin --clear").expect(0).stdout;
    assert_eq!(told, "Slot `admin` of repository `main` is cleared.\n");
    server.run("repo credentials main --slot root --clear").expect(2);
    server.run("repo credentials main --slot repo --password x").expect(2);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let server = Server::start();
    let address = server.url.strip_prefix("http://").unwrap();
    let other = server.dir.path().join("other");
    let line = format!("server --listen {address} --data {}", other.display());
    let taken = finish(holdfast(&line), "");
    assert_eq!(taken.code, Some(1), "{taken:?}");
    let told: Vec<&str> = taken.stderr.lines().rev().take(2).collect();
    assert!(told[1].starts_with("error: ") && told[1].contains(address), "{taken:?}");
    assert!(told[0].starts_with("  what to do: "), "{taken:?}");

    let file = server.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let line = format!("server --listen 127.0.0.1:0 --data {}/data", file.display());
    let refused = finish(holdfast(&line), "");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("error: Cannot use the data directory"), "{refused:?}");
}

#[test]
fn a_token_has_a_readable_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = holdfast("token create --role viewer --data");
    command.arg(dir.path()).arg("two\nlines");
    finish(command, "").expect_error("not one line", "Choose a name");
}

#[test]
fn a_token_needs_a_data_directory_and_a_free_name() {
    let server = Server::start();
    let data = server.dir.path().join("data");
    let twice = format!("token create ops --role viewer --data {}", data.display());
    finish(holdfast(&twice), "").expect_error("already a token named `ops`", "another name");
    let nowhere = server.dir.path().join("nowhere");
    let line = format!("token create ops --role viewer --data {}", nowhere.display());
    finish(holdfast(&line), "").expect_error("no data directory", "start the server once");
    assert!(!nowhere.exists());
}

#[test]
fn a_terminated_server_ends_well_and_comes_back_with_everything() {
    let mut server = Server::with_group();
    kill(Pid::from_raw(server.process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    (server.process, server.url) = serve(&server.dir.path().join("data"), "127.0.0.1:0");
    let host: Value = server.run("host show web-1 --json").expect_json();
    assert_eq!(host["groups"][0]["name"], "etc");
}
