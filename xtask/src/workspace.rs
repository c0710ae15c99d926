//! Where things are in this checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command;

/// The checkout's top folder.
///
/// Cargo says at run time where this package is, so a checkout that was moved after the build
/// still finds itself.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// What belongs to the project, relative to [`root`]: tracked files, and new ones that git does
/// not ignore, so that a mistake is found before it is committed.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let listed = command::capture(command::in_root("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .context("could not ask git which files belong to the project")?;
    let root = root();
    let mut files: Vec<PathBuf> =
        listed.lines().map(PathBuf::from).filter(|file| root.join(file).is_file()).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// What cargo knows about the workspace's own packages.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let text = command::capture(command::cargo().args([
        "metadata",
        "--no-deps",
        "--format-version=1",
        "--offline",
    ]))?;
    serde_json::from_str(&text).context("could not read the answer of cargo metadata")
}

/// What cargo knows about every package that is built on this machine.
pub(crate) fn metadata_of_all() -> Result<serde_json::Value> {
    let about = command::capture(command::in_root("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not tell which machine this is")?;
    let text = command::capture(command::cargo().args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        host,
    ]))?;
    serde_json::from_str(&text).context("could not read the answer of cargo metadata")
}

/// Builds all programs, as a person who develops them has them.
///
/// Always the whole workspace: for a part of it cargo would build the dependencies once more.
pub(crate) fn build_programs() -> Result<()> {
    command::run(command::cargo().args(["build", "--workspace", "--bins", "--quiet"]))
}

/// One of the programs that [`build_programs`] builds.
pub(crate) fn program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
