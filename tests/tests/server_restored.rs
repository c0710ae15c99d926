//! A server that is destroyed, and brought back from its own backup.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::slow_restic::BYTES_PER_SECOND;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::{data, programs, wait};
use serde_json::Value;

/// Another host, whose agent is as quick as they come.
const OTHER: &str = "web-1";
/// The longest an agent waits before it dials again, and then some.
const RETURN_LIMIT: Duration = Duration::from_secs(120);

/// Where the control plane's own copies go.
struct Vault {
    arguments: Vec<String>,
}

impl Vault {
    fn new(stage: &Stage) -> Result<Self> {
        let restic = programs::restic()?;
        let restic = restic.to_str().context("restic's path is not text")?.to_owned();
        let server = path(&stage.path().join("server"))?;
        let mut arguments = vec!["--data".to_owned(), server, "--restic".to_owned(), restic];
        let repository = path(&stage.path().join("own-copies"))?;
        for (option, name, text) in [
            ("--repo-file", "own-repository", repository.as_str()),
            ("--password-file", "own-password", "a password of its own"),
            ("--passphrase-file", "own-passphrase", "five random words beside it"),
        ] {
            let file = stage.path().join(name);
            fs::write(&file, text)?;
            arguments.extend([option.to_owned(), path(&file)?]);
        }
        Ok(Self { arguments })
    }

    fn command<'a>(&'a self, verb: &'a str) -> Vec<&'a str> {
        let arguments = self.arguments.iter().map(String::as_str);
        ["server", verb].into_iter().chain(arguments).collect()
    }
}

fn path(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path is not text")?.to_owned())
}

/// What the agents did after the copy was made: one job that ended, and was acknowledged, on each
/// of two hosts; and one that was under way when the server was lost.
#[test]
fn a_restored_server_learns_again_all_that_its_agents_had_told_it_since() -> Result<()> {
    let (mut stage, _slow) = Stage::with_slow_host(2)?;
    stage.fleet.add_host(OTHER)?;
    let other = stage.path().join("other");
    data::small_files(&other, 20, 2)?;
    stage.fleet.add_group(OTHER, GROUP, &[&other], &[])?;
    let operator = stage.fleet.operator.clone();
    let vault = Vault::new(&stage)?;
    let before = stage.back_up()?;
    let made = operator.json(&vault.command("backup"))?;
    ensure!(made["audit_anchor"].is_string(), "{made}");

    let ended = [HOST, OTHER].map(|host| operator.run(host, GROUP));
    let [first, second] = ended;
    let told = [first?, second?];
    for job in &told {
        let end = operator.await_end(job, BACKUP_LIMIT)?;
        ensure!(end["status"] == "succeeded", "{end}");
    }
    let big = stage.source()?.join("bigger.dat");
    data::random_file(&big, 10 * BYTES_PER_SECOND, 3)?;
    let under_way = operator.run(HOST, GROUP)?;
    operator.await_progress(&under_way, BACKUP_LIMIT)?;

    stage.fleet.server.kill()?;
    fs::remove_dir_all(stage.path().join("server"))?;
    let repository = stage.fleet.repository();
    wait::until("the backup to end without a server", BACKUP_LIMIT, || {
        Ok((repository.snapshots()?.len() == 4).then_some(()))
    })?;
    operator.json(&vault.command("restore"))?;
    stage.fleet.server.restart()?;

    for host in [HOST, OTHER] {
        operator.await_host(host, "online", RETURN_LIMIT)?;
    }
    let mut snapshots = vec![before];
    for job in told.iter().chain([&under_way]) {
        let end = await_known_end(&stage, job)?;
        ensure!(end["status"] == "succeeded" && end["operation"] == "backup", "{end}");
        let claimed = end["snapshot_id"].as_str().context("the job names no snapshot")?;
        snapshots.push(claimed.to_owned());
    }
    await_snapshots(&stage, &snapshots)?;
    // The people, their rights and the stored credentials are back too.
    let again = stage.back_up()?;
    ensure!(!snapshots.contains(&again), "a new backup has a new snapshot");
    let anchor = made["audit_anchor"].as_str().unwrap_or_default();
    let verdict = operator.json(&["audit", "verify", "--anchor", anchor])?;
    ensure!(verdict["ok"] == true, "{verdict}");
    ensure!(operator.json(&["hosts"])?["hosts"].as_array().map(Vec::len) == Some(2));
    stage.fleet.stop()
}

/// The end of a job that the restored server has never ordered, once its agent has told it again.
fn await_known_end(stage: &Stage, job: &str) -> Result<Value> {
    let operator = &stage.fleet.operator;
    wait::until("the server to learn of a job again", RETURN_LIMIT, || {
        // Until then it knows no such job.
        let Ok(view) = operator.job(job) else { return Ok(None) };
        Ok(view["finished_at"].is_string().then_some(view))
    })
}

/// Waits until the hosts' lists of snapshots hold all of these.
fn await_snapshots(stage: &Stage, wanted: &[String]) -> Result<()> {
    let operator = &stage.fleet.operator;
    wait::until("the server to list the snapshots again", RETURN_LIMIT, || {
        let mut listed = Vec::new();
        for host in [HOST, OTHER] {
            let answer = operator.json(&["snapshots", host])?;
            listed.extend(answer["snapshots"].as_array().cloned().unwrap_or_default());
        }
        let has = |id: &String| listed.iter().any(|snapshot| snapshot["id"] == id.as_str());
        Ok(wanted.iter().all(has).then_some(()))
    })
}
