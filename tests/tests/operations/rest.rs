//! Repositories behind a real rest-server: an everyday user who can only add, and an administrator.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::rest_server::{RestServer, User};
use holdfast_e2e::restic::Repository;
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::{data, programs};
use serde_json::{Value, json};

/// What the repository is called on the server, and its password.
const NAME: &str = "remote";
const PASSWORD: &str = "only for remote";

const EVERYDAY: User =
    User { name: "everyday", password: "adds-only", sha1: "Yh2yRpyWBlL2Jw+FGSJN0XTWyqY=" };
const ADMIN: User =
    User { name: "keeper", password: "may-delete", sha1: "M71xxGReU1a3l6naCMXtbMZAAME=" };

#[test]
fn behind_an_append_only_server_only_the_admin_slot_deletes() -> Result<()> {
    // restic 0.14 repeats a refused deletion for three quarters of a minute.
    let newer = programs::restics()?.into_iter().skip(1);
    for restic in newer {
        append_only(&restic).with_context(|| format!("with {}", restic.display()))?;
    }
    Ok(())
}

#[test]
fn a_rest_server_serves_the_oldest_restic_too() -> Result<()> {
    let Some(house) = House::new(&programs::restic()?)? else { return Ok(()) };
    house.back_up_twice()?;
    house.give_admin_slot()?;
    house.delete_what_is_old()
}

fn append_only(restic: &Path) -> Result<()> {
    let Some(house) = House::new(restic)? else { return Ok(()) };
    let snapshots = house.back_up_twice()?;

    let refused = |operation: &str, end: &Value| {
        ensure!(end["status"] == "failed", "{operation} is told to have worked: {end}");
        ensure!(end["error"]["code"] == "delete_refused", "{operation}: {end}");
        let action = end["error"]["action"].as_str().unwrap_or_default();
        ensure!(action.contains("admin"), "{operation} does not say what to do: {end}");
        Ok(())
    };
    refused("forget", &house.forget()?)?;
    let left = house.judge().snapshots()?;
    ensure!(snapshots.iter().all(|id| left.iter().any(|left| left["id"] == id.as_str())));

    // What is unused cannot be deleted either.
    house.judge().ask(&["forget", &snapshots[0]])?;
    refused("prune", &house.order("prune", &json!({"max_unused": {"bytes": 0}}))?)?;
    // restic stores a snapshot with other tags anew before it finds that the old one stays.
    let edit = json!({"snapshot_ids": [snapshots[1]], "edit": {"add": ["x"]}});
    refused("tag", &house.order("tag", &edit)?)?;
    // Locks are the one thing that such a server deletes.
    let end = house.order("unlock", &json!({}))?;
    ensure!(end["status"] == "succeeded", "{end}");

    house.give_admin_slot()?;
    house.delete_what_is_old()
}

/// A host whose repository lies behind two rest-servers: one only adds, the other deletes too.
struct House {
    stage: Stage,
    servers: [RestServer; 2],
    restic: PathBuf,
}

impl House {
    fn new(restic: &Path) -> Result<Option<Self>> {
        let mut stage = Stage::with_restic(restic)?;
        let folder = stage.path().join("served");
        let Some(everyday) = RestServer::start(&folder, EVERYDAY, true)? else { return Ok(None) };
        let Some(full) = RestServer::start(&folder, ADMIN, false)? else { return Ok(None) };
        stage.fleet.add_host(HOST)?;
        stage.fleet.add_repository_at(NAME, &everyday.location(NAME), PASSWORD)?;
        let source = stage.source()?;
        data::small_files(&source, 20, 3)?;
        stage.fleet.add_group_in(NAME, HOST, GROUP, &[&source], &[])?;
        let servers = [everyday, full];
        Ok(Some(Self { stage, servers, restic: restic.to_path_buf() }))
    }

    /// The first backup makes the repository, which an append-only server allows.
    fn back_up_twice(&self) -> Result<Vec<String>> {
        let mut snapshots = Vec::new();
        for round in 0..2 {
            data::random_file(&self.stage.source()?.join("large"), 1 << 20, round)?;
            let job = self.stage.fleet.operator.run(HOST, GROUP)?;
            let end = self.stage.fleet.operator.await_end(&job, BACKUP_LIMIT)?;
            ensure!(end["status"] == "succeeded", "{end}");
            snapshots.push(end["snapshot_id"].as_str().context("no snapshot")?.to_owned());
        }
        let known = self.judge().snapshots()?;
        ensure!(snapshots.iter().all(|id| known.iter().any(|known| known["id"] == id.as_str())));
        Ok(snapshots)
    }

    fn forget(&self) -> Result<Value> {
        let which = json!({"policy": {"tag": GROUP, "keep": {"keep_last": 1}}});
        self.order("forget", &json!({"which": which}))
    }

    fn order(&self, operation: &str, parameters: &Value) -> Result<Value> {
        let order = json!({"operation": operation, "parameters": parameters});
        self.stage.fleet.operator.ordered(HOST, &order, BACKUP_LIMIT)
    }

    /// Gives the host the credentials that delete.
    fn give_admin_slot(&self) -> Result<()> {
        let api = self.stage.fleet.operator.api();
        let url = json!({"url": self.servers[1].location(NAME)});
        api.put(&format!("/repositories/{NAME}/credentials/admin"), &url)?;
        api.put(&format!("/repositories/{NAME}/runner"), &json!({"host": HOST})).map(drop)
    }

    fn delete_what_is_old(&self) -> Result<()> {
        let end = self.forget()?;
        ensure!(end["status"] == "succeeded", "{end}");
        let end = self.order("prune", &json!({"max_unused": {"bytes": 0}}))?;
        ensure!(end["status"] == "succeeded", "{end}");
        let tagged = |it: &&Value| it["tags"] == json!([GROUP]);
        ensure!(self.judge().snapshots()?.iter().filter(tagged).count() == 1);
        let left = self.judge().ask(&["prune", "--dry-run", "--max-unused=0"])?;
        let nothing = |line: &str| line.starts_with("to delete:") && line.contains("0 B");
        ensure!(left.lines().any(nothing), "restic would still delete something: {left}");
        // Everyday work goes on with what can only add.
        let end = self.stage.fleet.operator.run(HOST, GROUP)?;
        let end = self.stage.fleet.operator.await_end(&end, BACKUP_LIMIT)?;
        ensure!(end["status"] == "succeeded", "{end}");
        self.judge().check()
    }

    /// restic with the administrator's access.
    fn judge(&self) -> Repository {
        let password = self.stage.path().join("password-judge");
        // A judge without a password says so.
        let _ = fs::write(&password, PASSWORD);
        let location = PathBuf::from(self.servers[1].location(NAME));
        Repository::new(&self.restic, &location, &password, self.stage.path())
    }
}
