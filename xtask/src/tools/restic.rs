//! restic: the machine's own, and newer ones beside it that touch nothing on the system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{debian, package};
use crate::{command, workspace};

/// Later Debian suites whose restic the tests run against too.
const NEWER_SUITES: [&str; 2] = ["trixie", "forky"];

/// One restic that can be run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restic {
    pub(crate) program: PathBuf,
    /// Such as `0.18.0`.
    pub(crate) version: String,
}

/// The machine's restic; installs the distribution's when there is none and we may.
pub(crate) fn installed() -> Result<Restic> {
    if let Some(program) = command::on_path("restic") {
        return probe(&program);
    }
    package::install("restic")?;
    let program = command::on_path("restic")
        .context("restic was installed, but PATH leads to none; check the installation")?;
    probe(&program)
}

/// The machine's restic first, then each newer one of another version that can be had.
///
/// A newer one that cannot be had is said loudly, and the rest goes on without it: the tests then
/// prove less.
pub(crate) fn all() -> Result<Vec<Restic>> {
    let mut found = vec![installed()?];
    for suite in NEWER_SUITES {
        match newer(suite) {
            Ok(restic) if found.iter().any(|known| known.version == restic.version) => {}
            Ok(restic) => found.push(restic),
            Err(error) => warn_loudly(suite, &error),
        }
    }
    Ok(found)
}

/// The colon-separated list that tests read from `HOLDFAST_TEST_RESTIC`.
pub(crate) fn test_list(restics: &[Restic]) -> Result<OsString> {
    std::env::join_paths(restics.iter().map(|restic| &restic.program))
        .context("a restic is in a folder with a colon in its name")
}

fn newer(suite: &str) -> Result<Restic> {
    let folder = workspace::target().join("tools").join(format!("restic-{suite}"));
    let program = folder.join("usr/bin/restic");
    if !command::is_program(&program) {
        println!("fetching restic of Debian {suite} (unpacked under target/tools, not installed)");
        debian::unpack("restic", suite, &folder)?;
    }
    probe(&program)
}

fn probe(program: &Path) -> Result<Restic> {
    let said = command::capture(Command::new(program).arg("version"))?;
    let version = parse_version(&said)
        .with_context(|| format!("{} calls itself {said:?}", program.display()))?;
    Ok(Restic { program: program.to_path_buf(), version })
}

fn parse_version(said: &str) -> Option<String> {
    let mut words = said.split_whitespace();
    (words.next()? == "restic").then(|| words.next().map(str::to_owned))?
}

fn warn_loudly(suite: &str, error: &anyhow::Error) {
    eprintln!("WARNING: no restic of Debian {suite} here: {error:#}");
    eprintln!("WARNING: the tests go on with the others and prove nothing about that version.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_second_word() {
        let said = "restic 0.14.0 compiled with go1.19.8 on linux/amd64\n";
        assert_eq!(parse_version(said).as_deref(), Some("0.14.0"));
        assert_eq!(parse_version("bash: restic: not found"), None);
        assert_eq!(parse_version(""), None);
    }
}
