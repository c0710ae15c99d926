//! Every kind of job: ordered at the server, done by the agent, and the result seen with restic's
//! own eyes. Each call of restic costs it half a second for the password alone, so nothing is asked
//! twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::tree::Tree;
use holdfast_e2e::{data, programs, tree, wait};
use serde_json::{Value, json};

#[test]
fn every_kind_of_job_does_what_restic_says_it_does_with_the_oldest_restic() -> Result<()> {
    every_kind(&programs::restic()?)
}

#[test]
fn every_kind_of_job_does_what_restic_says_it_does_with_the_newest_restic() -> Result<()> {
    every_kind(programs::restics()?.last().context("there is no restic")?)
}

fn every_kind(restic: &Path) -> Result<()> {
    let mut stage = Stage::with_restic(restic)?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    data::small_files(&source, 120, 7)?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;

    init(&stage)?;
    let snapshots = three_backups(&stage, &source)?;
    stats(&stage)?;
    diff(&stage, &snapshots)?;
    let snapshots = tag(&stage, &snapshots)?;
    check(&stage)?;
    restore(&stage, &snapshots[2], &source)?;
    unlock(&stage)?;
    forget(&stage, &snapshots)?;
    prune(&stage)?;
    check_finds_damage(&stage)?;
    stage.fleet.stop()
}

/// Orders what must succeed, and gives the job's end.
fn done(stage: &Stage, order: &Value) -> Result<Value> {
    let end = stage.fleet.operator.ordered(HOST, order, BACKUP_LIMIT)?;
    ensure!(end["status"] == "succeeded", "{order}: {end}");
    let log = stage.fleet.operator.json(&["logs", end["id"].as_str().context("no id")?])?;
    let lines = log["lines"].as_array().context("no log")?;
    let said = |line: Option<&Value>| line.map(|line| line["payload"].to_string());
    let (first, last) = (said(lines.first()), said(lines.last()));
    ensure!(first.is_some_and(|line| line.contains("begins, with restic")), "{order}: {log}");
    ensure!(last.is_some_and(|line| line.contains("succeeded")), "{order}: {log}");
    Ok(end)
}

fn init(stage: &Stage) -> Result<()> {
    let made = done(stage, &json!({"operation": "init", "repository": "vault"}))?;
    ensure!(made["result"]["created"] == true, "{made}");
    let config: Value = serde_json::from_str(&stage.fleet.repository().ask(&["cat", "config"])?)?;
    ensure!(made["result"]["restic_id"] == config["id"], "{made} is not {config}");
    ensure!(made["result"]["format_version"] == config["version"], "{made} is not {config}");
    // Once more changes nothing, and says so.
    let again = done(stage, &json!({"operation": "init", "repository": "vault"}))?;
    ensure!(again["result"]["created"] == false, "{again}");
    ensure!(again["result"]["restic_id"] == config["id"], "{again}");
    Ok(())
}

/// A file comes, then it goes and another changes.
fn three_backups(stage: &Stage, source: &Path) -> Result<[String; 3]> {
    let one = stage.back_up()?;
    fs::write(source.join("came"), "a new file")?;
    let two = stage.back_up()?;
    fs::remove_file(source.join("came"))?;
    fs::write(source.join("000/note-00000.dat"), "changed")?;
    data::random_file(&source.join("large"), 2 << 20, 5)?;
    let three = stage.back_up()?;
    Ok([one, two, three])
}

fn stats(stage: &Stage) -> Result<()> {
    for (mode, word) in [("restore_size", "restore-size"), ("raw_data", "raw-data")] {
        let order = json!({"operation": "stats", "parameters": {"mode": mode}});
        let told = done(stage, &order)?;
        let mode = format!("--mode={word}");
        let answer = stage.fleet.repository().ask(&["stats", "--json", &mode])?;
        let judge: Value = serde_json::from_str(&answer)?;
        ensure!(told["result"]["total_size_bytes"] == judge["total_size"], "{told}: {judge}");
    }
    Ok(())
}

fn diff(stage: &Stage, [_, from, to]: &[String; 3]) -> Result<()> {
    let parameters = json!({"from_snapshot_id": from, "to_snapshot_id": to});
    let told = done(stage, &json!({"operation": "diff", "parameters": parameters}))?;
    let judge = stage.fleet.repository().ask(&["diff", from, to])?;
    let changes = told["result"]["changes"].as_array().context("no changes")?;
    for change in changes {
        let path = change["path"].as_str().context("no path")?;
        let line = judge.lines().find(|line| line.ends_with(path)).unwrap_or_default();
        let sign = match change["kind"].as_str() {
            Some("added") => "+",
            Some("removed") => "-",
            _ => "M",
        };
        ensure!(line.starts_with(sign), "{change}: restic says {line:?}");
    }
    let signs = ["+    ", "-    ", "M    "];
    let lines = judge.lines().filter(|line| signs.iter().any(|sign| line.starts_with(sign)));
    ensure!(lines.count() == changes.len() && changes.len() >= 3, "{told}: {judge}");
    Ok(())
}

/// restic stores a snapshot anew when its tags change, so the ids change; gives those of now, in
/// the order of time.
fn tag(stage: &Stage, snapshots: &[String; 3]) -> Result<[String; 3]> {
    let edit = |ids: &[&String], edit: Value| {
        let parameters = json!({"snapshot_ids": ids, "edit": edit});
        done(stage, &json!({"operation": "tag", "parameters": parameters}))
    };
    let told = edit(&[&snapshots[0], &snapshots[1]], json!({"add": ["keep", "odd name"]}))?;
    ensure!(told["result"]["snapshot_count"] == 2, "{told}");
    let now = by_time(stage)?;
    ensure!(tags(&now[0]) == [GROUP, "keep", "odd name"], "{}", now[0]);
    ensure!(tags(&now[2]) == [GROUP], "{}", now[2]);
    for renamed in told["result"]["renamed"].as_array().into_iter().flatten() {
        let known = now.iter().any(|snapshot| snapshot["id"] == renamed["to"]);
        ensure!(known, "restic knows no {renamed}");
    }

    edit(&[&id(&now[1])?], json!({"remove": ["keep", "odd name"]}))?;
    edit(&[&id(&now[0])?], json!({"set": [GROUP, "first"]}))?;
    let now = by_time(stage)?;
    ensure!(tags(&now[0]) == [GROUP, "first"], "{}", now[0]);
    ensure!(tags(&now[1]) == [GROUP], "{}", now[1]);
    Ok([id(&now[0])?, id(&now[1])?, id(&now[2])?])
}

fn check(stage: &Stage) -> Result<()> {
    for read_data in [json!({"percent": 50.0}), json!({"part": {"number": 1, "of": 2}})] {
        let order = json!({"operation": "check", "parameters": {"read_data": read_data}});
        let told = done(stage, &order)?;
        ensure!(told["result"]["error_count"] == 0, "{told}");
    }
    Ok(())
}

fn restore(stage: &Stage, snapshot: &str, source: &Path) -> Result<()> {
    let whole = Tree::of(source)?;
    let order = |more: Value| {
        let mut parameters = json!({"snapshot_id": snapshot, "target": "restore_root"});
        let fields = parameters.as_object_mut().context("no object")?;
        fields.extend(more.as_object().context("no object")?.clone());
        Ok::<_, anyhow::Error>(json!({"operation": "restore", "parameters": parameters}))
    };
    let told = done(stage, &order(json!({"verify": true}))?)?;
    let target = PathBuf::from(told["result"]["target"].as_str().context("no target")?);
    whole.must_equal(&Tree::of(&tree::restored(&target, source))?)?;

    // What an old restic cannot do is refused, not done in another way.
    let wish = order(json!({"dry_run": true}))?;
    let dry = stage.fleet.operator.ordered(HOST, &wish, BACKUP_LIMIT)?;
    let target = stage.fleet.agents[0].data().join("restore");
    ensure!(fs::read_dir(&target)?.count() == 1, "a dry run made something: {dry}");
    let unsuited = dry["error"]["code"] == "restic_unsuited";
    ensure!(unsuited || dry["status"] == "succeeded", "{dry}");
    Ok(())
}

/// A restic that was killed leaves its lock. `unlock` removes it, and not that of one who lives.
fn unlock(stage: &Stage) -> Result<()> {
    let folder = stage.fleet.repository_folder().join("locks");
    let locks = || Ok::<_, anyhow::Error>(fs::read_dir(&folder)?.count());
    let holding = |count: usize| {
        let mut restic = stage.fleet.repository().command(&["backup", "--stdin"]);
        let child = restic.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child.spawn().context("cannot start restic")?;
        wait::until("restic's lock", BACKUP_LIMIT, || Ok((locks()? == count).then_some(())))?;
        Ok::<_, anyhow::Error>(child)
    };
    let mut dead = holding(1)?;
    dead.kill()?;
    dead.wait()?;
    let mut alive = holding(2)?;
    let told = done(stage, &json!({"operation": "unlock"}))?;
    ensure!(told["result"] == json!({"locks_left": 1, "locks_removed": 1}), "{told}");
    ensure!(locks()? == 1);
    let all = json!({"operation": "unlock", "parameters": {"remove_all": true}});
    let told = done(stage, &all)?;
    ensure!(told["result"] == json!({"locks_left": 0, "locks_removed": 1}), "{told}");
    ensure!(locks()? == 0);
    alive.kill()?;
    alive.wait()?;
    Ok(())
}

fn forget(stage: &Stage, snapshots: &[String; 3]) -> Result<()> {
    // A snapshot of somebody else, with the same tag, is none of this host's business.
    let other = ["backup", "--host=other", "--tag", GROUP, "/etc/hostname"];
    stage.fleet.repository().ask(&other)?;
    let policy = |dry_run: bool| {
        let which = json!({"policy": {"tag": GROUP, "keep": {"keep_last": 1}}});
        json!({"operation": "forget", "parameters": {"which": which, "dry_run": dry_run}})
    };
    let chosen = json!({"which": {"snapshots": [snapshots[1]]}});
    let told = done(stage, &json!({"operation": "forget", "parameters": chosen}))?;
    ensure!(told["result"]["removed_count"] == 1, "{told}");
    let left = by_time(stage)?;
    ensure!(left.len() == 3 && !left.iter().any(|it| it["id"] == snapshots[1].as_str()));

    let dry = done(stage, &policy(true))?;
    ensure!(by_time(stage)?.len() == 3, "a dry run removed something: {dry}");
    // The first one has another tag besides, and the policy is applied to each set of tags apart.
    ensure!(dry["result"]["kept_count"] == 2 && dry["result"]["removed_count"] == 0, "{dry}");
    let one_tag = json!({"snapshot_ids": [snapshots[0]], "edit": {"remove": ["first"]}});
    done(stage, &json!({"operation": "tag", "parameters": one_tag}))?;
    let told = done(stage, &policy(false))?;
    ensure!(told["result"]["removed_count"] == 1, "{told}");
    let left = by_time(stage)?;
    let of = |host: &str| left.iter().filter(|it| it["hostname"] == host).count();
    ensure!((of(HOST), of("other")) == (1, 1), "{left:?}");
    ensure!(left.iter().any(|it| it["id"] == snapshots[2].as_str()), "the newest went: {left:?}");
    Ok(())
}

fn prune(stage: &Stage) -> Result<()> {
    let stored = || {
        let answer = stage.fleet.repository().ask(&["list", "packs"])?;
        Ok::<_, anyhow::Error>(answer.lines().count())
    };
    // What only the forgotten snapshots held is one small file, so no unused byte may stay.
    let order = |dry_run: bool| {
        let parameters = json!({"max_unused": {"bytes": 0}, "dry_run": dry_run});
        json!({"operation": "prune", "parameters": parameters})
    };
    let before = stored()?;
    let dry = done(stage, &order(true))?;
    ensure!(dry["result"]["dry_run"] == true && stored()? == before, "{dry}");
    let told = done(stage, &order(false))?;
    ensure!(told["result"]["freed_bytes"].as_u64() > Some(0), "{told}");
    let judge = stage.fleet.repository().ask(&["prune", "--dry-run", "--max-unused=0"])?;
    let nothing = judge.lines().any(|line| line.starts_with("to delete:") && line.contains("0 B"));
    ensure!(nothing, "restic would still delete something: {judge}");
    stage.fleet.repository().check()
}

fn check_finds_damage(stage: &Stage) -> Result<()> {
    let packs = stage.fleet.repository_folder().join("data");
    let largest = largest_file(&packs)?.context("the repository holds no data")?;
    let mut bytes = fs::read(&largest)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    make_writable(&largest)?;
    fs::write(&largest, bytes)?;
    ensure!(stage.fleet.repository().check().is_err(), "restic does not mind");

    let order = json!({"operation": "check", "parameters": {"read_data": "all"}});
    let told = stage.fleet.operator.ordered(HOST, &order, BACKUP_LIMIT)?;
    ensure!(told["status"] == "failed", "{told}");
    ensure!(told["error"]["code"] == "repository_errors_found", "{told}");
    ensure!(told["result"]["error_count"].as_u64() > Some(0), "{told}");
    let name = largest.file_name().and_then(|name| name.to_str()).context("no name")?;
    let packs = told["result"]["broken_packs"].to_string();
    ensure!(packs.contains(name), "the broken pack {name} is not named: {told}");
    Ok(())
}

fn largest_file(folder: &Path) -> Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for part in fs::read_dir(folder)? {
        for file in fs::read_dir(part?.path())? {
            let file = file?;
            files.push((file.metadata()?.len(), file.path()));
        }
    }
    Ok(files.into_iter().max().map(|(_, path)| path))
}

fn make_writable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
}

/// The snapshots that restic knows, oldest first.
fn by_time(stage: &Stage) -> Result<Vec<Value>> {
    let mut all = stage.fleet.repository().snapshots()?;
    all.sort_by_key(|snapshot| snapshot["time"].to_string());
    Ok(all)
}

fn id(snapshot: &Value) -> Result<String> {
    snapshot["id"].as_str().map(str::to_owned).context("a snapshot without an id")
}

fn tags(snapshot: &Value) -> Vec<&str> {
    snapshot["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
