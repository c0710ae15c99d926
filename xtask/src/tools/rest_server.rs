//! The REST server of restic's makers, for the tests with a real one.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::debian;
use crate::{command, workspace};

/// What the program is called, at its makers' and in Debian.
const NAMES: [&str; 2] = ["rest-server", "restic-rest-server"];

/// The Debian suite that has it.
const SUITE: &str = "trixie";

/// The machine's own, or one that is unpacked under target/tools.
///
/// Where none can be had, that is said loudly, and the tests that need it say the same.
pub(crate) fn find_or_fetch() -> Option<PathBuf> {
    match NAMES.into_iter().find_map(command::on_path).map_or_else(fetch, Ok) {
        Ok(program) => Some(program),
        Err(error) => {
            eprintln!("WARNING: no rest-server here: {error:#}");
            eprintln!("WARNING: nothing is proven about repositories behind one.");
            None
        }
    }
}

fn fetch() -> Result<PathBuf> {
    let folder = workspace::target().join("tools/rest-server");
    let program = folder.join("usr/bin/restic-rest-server");
    if !command::is_program(&program) {
        println!("fetching rest-server of Debian {SUITE} (unpacked under target/tools)");
        debian::unpack("restic-rest-server", SUITE, &folder)?;
    }
    if !command::is_program(&program) {
        bail!("the package of Debian {SUITE} holds no {}", program.display());
    }
    Ok(program)
}
