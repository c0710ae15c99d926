//! What snapshots hold, seen through the server with every restic there is: listed, searched,
//! compared, and downloaded byte for byte.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::{
    data, programs,
    stage::{BACKUP_LIMIT, GROUP, HOST, Stage},
    tree::Tree,
};
use serde_json::Value;

/// The largest file here.
const LARGE: u64 = 30 * 1024 * 1024;

#[test]
fn what_a_snapshot_holds_is_shown_with_every_restic() -> Result<()> {
    for restic in programs::restics()? {
        shows(&restic).with_context(|| format!("with {}", restic.display()))?;
    }
    Ok(())
}

fn shows(restic: &Path) -> Result<()> {
    let mut stage = Stage::with_restic(restic)?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    fs::create_dir_all(source.join("-deep/deeper"))?;
    fs::write(source.join("-deep/deeper/Invoice-7.PDF"), "seven")?;
    fs::write(source.join("new\nline"), "text")?;
    fs::write(source.join("<img src=x>"), "text")?;
    fs::write(source.join(std::ffi::OsStr::from_bytes(b"bad\xff")), "")?;
    std::os::unix::fs::symlink("nowhere", source.join("link"))?;
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let first = stage.back_up()?;
    fs::remove_file(source.join("new\nline"))?;
    fs::write(source.join("later"), "text")?;
    let second = stage.back_up()?;

    lists(&stage, &first, &source)?;
    finds(&stage, &first, &source)?;
    compares(&stage, &first, &second, &source)?;
    archives(&stage, &first, &source)?;
    refuses(&stage, &first, &source)?;
    ensure!(stage.fleet.repository().locks()?.is_empty(), "somebody who looked left a lock");

    stage.fleet.agents[0].stop()?;
    stage.fleet.operator.await_host(HOST, "offline", BACKUP_LIMIT)?;
    // What was told once is told again; what was not, only the host can tell.
    lists(&stage, &first, &source)?;
    let said = failure(&stage, &["ls", HOST, &second, "/"])?;
    ensure!(said.contains("not connected") && said.contains("what to do"), "{said}");
    stage.fleet.stop()
}

fn lists(stage: &Stage, snapshot: &str, source: &Path) -> Result<()> {
    let told = look(stage, &["ls", HOST, snapshot, text(source)?])?;
    let entries = told["entries"].as_array().context("no entries")?;
    let kind = |entry: &Value| {
        (entry["name"].as_str().map(str::to_owned), entry["kind"].as_str().map(str::to_owned))
    };
    let found: BTreeMap<_, _> = entries.iter().map(kind).collect();
    let expected = [
        ("-deep", "directory"),
        ("<img src=x>", "file"),
        ("bad\u{fffd}", "file"),
        ("link", "symlink"),
        ("new\nline", "file"),
    ];
    let expected = expected.map(|(name, kind)| (Some(name.to_owned()), Some(kind.to_owned())));
    ensure!(found == BTreeMap::from(expected), "{told}");
    let line = stage.fleet.operator.command(&["snapshots", "ls", HOST, snapshot, text(source)?])?;
    let line = String::from_utf8(line.stdout)?;
    ensure!(line.contains("new\\nline") && line.contains("-deep/"), "{line}");
    Ok(())
}

fn finds(stage: &Stage, snapshot: &str, source: &Path) -> Result<()> {
    let paths = |told: &Value| -> Vec<String> {
        let entries = told["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|it| it["path"].as_str().map(str::to_owned)).collect()
    };
    let pdf = text(&source.join("-deep/deeper/Invoice-7.PDF"))?.to_owned();
    for pattern in ["invoice", "*.pdf", "-7"] {
        let told = look(stage, &["find", HOST, snapshot, pattern])?;
        ensure!(paths(&told) == [pdf.as_str()], "{pattern}: {told}");
    }
    let few = look(stage, &["find", HOST, snapshot, "e", "--limit", "1"])?;
    ensure!(paths(&few).len() == 1 && few["more"] == true, "{few}");
    Ok(())
}

fn compares(stage: &Stage, first: &str, second: &str, source: &Path) -> Result<()> {
    let told = look(stage, &["diff", HOST, first, second])?;
    let changes = told["changes"].as_array().context("no changes")?;
    let kind = |name: &str| {
        let path = source.join(name);
        let found = changes.iter().find(|it| it["path"].as_str() == path.to_str());
        found.and_then(|it| it["kind"].as_str()).unwrap_or("unchanged").to_owned()
    };
    ensure!(kind("later") == "added" && kind("new\nline") == "removed", "{told}");
    ensure!(kind("<img src=x>") == "unchanged", "{told}");
    Ok(())
}

/// A directory comes as an archive, from which all of it comes back.
fn archives(stage: &Stage, snapshot: &str, source: &Path) -> Result<()> {
    let deep = source.join("-deep");
    let archive = stage.path().join("deep.tar");
    let download = ["download", HOST, snapshot, text(&deep)?, "--output", text(&archive)?];
    look(stage, &download)?;
    let unpacked = stage.path().join("unpacked");
    fs::create_dir_all(&unpacked)?;
    let tar = Command::new("tar").arg("-xpf").arg(&archive).arg("-C").arg(&unpacked).status()?;
    ensure!(tar.success(), "tar cannot read the archive");
    let found = unpacked.join(deep.strip_prefix("/")?);
    let (wanted, got) = (Tree::of(&deep)?, Tree::of(&found)?);
    ensure!(wanted.count() == 2 && got.count() == 2, "{got:?}");
    let file = fs::read(found.join("deeper/Invoice-7.PDF"))?;
    ensure!(file == b"seven", "the file in the archive is another");
    let said = failure(stage, &download)?;
    ensure!(said.contains("already a file"), "{said}");
    fs::remove_dir_all(&unpacked)?;
    fs::remove_file(&archive).map_err(Into::into)
}

fn refuses(stage: &Stage, snapshot: &str, source: &Path) -> Result<()> {
    let missing = text(&source.join("missing"))?.to_owned();
    let file = text(&source.join("<img src=x>"))?.to_owned();
    let link = text(&source.join("link"))?.to_owned();
    for (arguments, words) in [
        (["ls", HOST, "0123456789abcdef", "/"], "holds no such snapshot"),
        (["ls", HOST, snapshot, &missing], "is not in the snapshot"),
        (["ls", HOST, snapshot, &file], "is no directory"),
        (["ls", HOST, snapshot, "/a/../etc"], "not an absolute path"),
        (["ls", HOST, snapshot, "relative"], "not an absolute path"),
        (["ls", HOST, "--help00", "/"], "unexpected argument"),
        (["download", HOST, snapshot, &link], "neither a file nor a directory"),
        (["download", HOST, snapshot, &missing], "is not in the snapshot"),
    ] {
        let said = failure(stage, &arguments)?;
        ensure!(said.contains(words), "{arguments:?}: {said}");
    }
    let here = fs::read_dir(".")?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let parts = here.filter(|path| path.extension().is_some_and(|end| end == "part"));
    ensure!(parts.count() == 0, "a refused download left a file behind");
    Ok(())
}

#[test]
fn a_directory_of_twenty_thousand_comes_whole_and_once() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let source = stage.source()?;
    for number in 0..20_000 {
        fs::write(source.join(format!("file-{number:05}")), "")?;
    }
    stage.fleet.add_group(HOST, GROUP, &[&source], &[])?;
    let snapshot = stage.back_up()?;
    let told = look(&stage, &["ls", HOST, &snapshot, text(&source)?])?;
    let names: Vec<&str> =
        told["entries"].as_array().context("no entries")?.iter().filter_map(name).collect();
    let expected: Vec<String> = (0..20_000).map(|number| format!("file-{number:05}")).collect();
    ensure!(names == expected, "{} names came", names.len());
    stage.fleet.stop()
}

fn name(entry: &Value) -> Option<&str> {
    entry["name"].as_str()
}

#[test]
fn a_download_outlives_a_cut_link_and_goes_on_from_a_part() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.fleet.add_host(HOST)?;
    let file = stage.source()?.join("large.dat");
    data::random_file(&file, LARGE, 7)?;
    stage.fleet.add_group(HOST, GROUP, &[&stage.source()?], &[])?;
    let snapshot = stage.back_up()?;
    let original = fs::read(&file)?;

    // Whoever reads sets the pace, so the agent dies in the middle of it.
    let mut download = program(&stage, &["download", HOST, &snapshot, text(&file)?, "-o", "-"]);
    let mut download = download.stdout(Stdio::piped()).spawn()?;
    let mut pipe = download.stdout.take().context("no pipe")?;
    let mut got = vec![0; 1024 * 1024];
    pipe.read_exact(&mut got)?;
    stage.fleet.agents[0].kill()?;
    stage.fleet.agents[0].start()?;
    pipe.read_to_end(&mut got)?;
    ensure!(download.wait()?.success(), "the download failed");
    ensure!(got == original, "{} bytes came, and not those of the file", got.len());

    // One that was broken off for good goes on when it is asked for again.
    let output = stage.path().join("copy.dat");
    let line = ["download", HOST, &snapshot, text(&file)?, "-o", text(&output)?];
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 20480; trap '' XFSZ; exec \"$@\"", "sh"]);
    let broken = like(&mut limited, &program(&stage, &line)).output()?;
    ensure!(!broken.status.success() && !output.exists(), "half a file looks like a whole one");
    let part = part_of(&output)?;
    let length = fs::metadata(&part)?.len();
    ensure!(length > 0 && length < LARGE, "the part has {length} bytes");
    let told = look(&stage, &line)?;
    ensure!(told["size_bytes"] == LARGE, "{told}");
    ensure!(fs::read(&output)? == original, "the pieces do not make the file");
    ensure!(!part.exists(), "the part is left over");

    // Who took what is written down.
    let audit = stage.fleet.operator.json(&["audit", "list"])?.to_string();
    ensure!(audit.contains("snapshot.download") && audit.contains("large.dat"), "{audit}");
    stage.fleet.stop()
}

#[test]
fn nobody_who_looks_waits_for_a_running_backup_and_the_host_may_refuse() -> Result<()> {
    let (mut stage, slow) = Stage::with_slow_host(120)?;
    let small = stage.path().join("small");
    fs::create_dir_all(&small)?;
    fs::write(small.join("file"), "text")?;
    stage.fleet.add_group(HOST, "small", &[&small], &[])?;
    let job = stage.fleet.operator.run(HOST, "small")?;
    let end = stage.fleet.operator.await_end(&job, BACKUP_LIMIT)?;
    let snapshot = end["snapshot_id"].as_str().context("no snapshot")?.to_owned();
    let job = stage.fleet.operator.run(HOST, GROUP)?;
    stage.fleet.operator.await_progress(&job, BACKUP_LIMIT)?;
    let told = look(&stage, &["ls", HOST, &snapshot, text(&small)?])?;
    ensure!(told["entries"][0]["name"] == "file", "{told}");
    let seen = stage.fleet.operator.job(&job)?;
    ensure!(seen["status"] == "running", "the backup did not run beside it: {seen}");

    let policy = stage.fleet.agents[0].data().join("policy.toml");
    fs::write(policy, "[operations]\nallowed = [\"backup\", \"ls\"]\n")?;
    let said = failure(&stage, &["download", HOST, &snapshot, text(&small.join("file"))?])?;
    ensure!(said.contains("does not allow `dump`") && said.contains("policy.toml"), "{said}");
    slow.release_brake()?;
    stage.fleet.stop()
}

fn look(stage: &Stage, arguments: &[&str]) -> Result<Value> {
    stage.fleet.operator.json(&[&["snapshots"], arguments].concat())
}

/// What a command says that must fail.
fn failure(stage: &Stage, arguments: &[&str]) -> Result<String> {
    let output = stage.fleet.operator.command(&[&["snapshots"], arguments].concat())?;
    ensure!(!output.status.success(), "{arguments:?} should have failed");
    Ok(String::from_utf8(output.stderr)?)
}

/// `holdfast snapshots ARGUMENTS`, to be started.
fn program(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = stage.fleet.operator.prepared(&[&["snapshots"], arguments].concat());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// `shell`, which is to start `command` with its words and its environment.
fn like<'a>(shell: &'a mut Command, command: &Command) -> &'a mut Command {
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.arg(command.get_program()).args(command.get_args()).envs(variables)
}

/// The file in which a broken download to `output` waits.
fn part_of(output: &Path) -> Result<PathBuf> {
    let folder = output.parent().context("no folder")?;
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut parts = names.filter(|path| path.extension().is_some_and(|end| end == "part"));
    parts.next().context("nothing is left of the broken download")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is not text")
}
