//! Databases to back up for real: a PostgreSQL of the tests' own, and the sqlite3 program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::package;
use crate::command;

/// Where distributions put the programs that only an administrator of databases calls.
const HOMES: [&str; 3] = ["/usr/lib/postgresql", "/usr/pgsql", "/usr/libexec/postgresql"];

/// The folder of PostgreSQL's own programs; installs the distribution's package when there is none
/// and we may. Where there is none, that is said loudly, and the tests that need it say the same.
pub(crate) fn postgresql() -> Option<PathBuf> {
    let found = find_postgresql().map_or_else(
        || {
            package::install("postgresql")?;
            find_postgresql().context("postgresql was installed, but no initdb can be found")
        },
        Ok,
    );
    said_loudly(found, "PostgreSQL")
}

/// The program sqlite3, likewise.
pub(crate) fn sqlite() -> Option<PathBuf> {
    let found = command::on_path("sqlite3").map_or_else(
        || {
            package::install("sqlite3")?;
            command::on_path("sqlite3").context("sqlite3 was installed, but PATH leads to none")
        },
        Ok,
    );
    said_loudly(found, "sqlite3")
}

fn said_loudly(found: Result<PathBuf>, what: &str) -> Option<PathBuf> {
    found
        .inspect_err(|error| {
            eprintln!("WARNING: no {what} here: {error:#}");
            eprintln!("WARNING: nothing is proven about backups of such databases.");
        })
        .ok()
}

fn find_postgresql() -> Option<PathBuf> {
    let homes = HOMES.into_iter().flat_map(|home| versions(Path::new(home)));
    homes.chain(on_path()).find(|folder| is_whole(folder))
}

/// `15/bin`, `16/bin`, … below `home`, the newest first.
fn versions(home: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

fn on_path() -> Option<PathBuf> {
    command::on_path("initdb")?.parent().map(Path::to_path_buf)
}

fn is_whole(folder: &Path) -> bool {
    ["initdb", "pg_ctl", "pg_dump", "psql"]
        .iter()
        .all(|program| command::is_program(&folder.join(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let home = tempfile::tempdir().unwrap();
        for name in ["9", "15", "16", "common"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        let expected = ["16/bin", "15/bin", "9/bin"].map(|name| home.path().join(name));
        assert_eq!(versions(home.path()), expected);
    }
}
