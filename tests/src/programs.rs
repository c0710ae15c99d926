//! The programs under test, and the restics to test with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The two programs of Holdfast.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `holdfast`: the server and the operator's commands.
    pub holdfast: PathBuf,
    /// `holdfast-agent`.
    pub agent: PathBuf,
}

impl Programs {
    /// The programs in `folder`.
    ///
    /// # Errors
    /// When one is missing.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let find = |name: &str| {
            let program = folder.join(name);
            if !program.is_file() {
                bail!("{} is missing; build it first: cargo build --workspace", program.display());
            }
            Ok(program)
        };
        Ok(Self { holdfast: find("holdfast")?, agent: find("holdfast-agent")? })
    }

    /// The programs that cargo built beside the running test.
    ///
    /// # Errors
    /// When one is missing.
    pub fn beside_this_test() -> Result<Self> {
        let test = std::env::current_exe().context("cannot tell where this test runs")?;
        let profile = test.parent().and_then(Path::parent);
        Self::in_folder(profile.context("this test runs in no target folder")?)
    }
}

/// The restics to test with, the machine's own first: the list in `HOLDFAST_TEST_RESTIC`
/// (`cargo xtask test` sets it), else the one `PATH` leads to.
///
/// # Errors
/// When there is none. A test that needs restic must fail then, not pass.
pub fn restics() -> Result<Vec<PathBuf>> {
    if let Some(list) = std::env::var_os("HOLDFAST_TEST_RESTIC") {
        let programs: Vec<PathBuf> = std::env::split_paths(&list).collect();
        if let Some(missing) = programs.iter().find(|program| !program.is_file()) {
            bail!("HOLDFAST_TEST_RESTIC names {}, which is not there", missing.display());
        }
        return Ok(programs);
    }
    Ok(vec![on_path("restic").context("restic is missing; type: cargo xtask tools")?])
}

/// The machine's own restic.
///
/// # Errors
/// When there is none.
pub fn restic() -> Result<PathBuf> {
    restics()?.into_iter().next().context("HOLDFAST_TEST_RESTIC is empty")
}

/// A rest-server: the one that `HOLDFAST_TEST_REST_SERVER` names (`cargo xtask test` sets it), else
/// the one `PATH` leads to. `None`, said loudly, when there is none: the test goes without it.
#[must_use]
pub fn rest_server() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_TEST_REST_SERVER").map(PathBuf::from);
    let found = named.or_else(|| on_path("rest-server")).or_else(|| on_path("restic-rest-server"));
    if found.is_none() {
        eprintln!("SKIPPED: there is no rest-server here; type: cargo xtask tools");
    }
    found
}

/// The folder of PostgreSQL's programs: the one that `HOLDFAST_TEST_POSTGRESQL` names, else the one
/// of the `initdb` that `PATH` leads to. `None`, said loudly, when there is none.
#[must_use]
pub fn postgresql() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_TEST_POSTGRESQL").map(PathBuf::from);
    let found = named.or_else(|| on_path("initdb")?.parent().map(Path::to_path_buf));
    if found.is_none() {
        eprintln!("SKIPPED: there is no PostgreSQL here; type: cargo xtask tools");
    }
    found
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
