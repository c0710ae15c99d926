//! promtool, the judge of what we ship for Prometheus. It comes out of Debian's package without
//! installing that: nobody wants a Prometheus to run for it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::debian;
use crate::{command, workspace};

/// The machine's promtool, or else the one of its own Debian release, unpacked.
pub(crate) fn find_or_fetch() -> Result<PathBuf> {
    if let Some(program) = command::on_path("promtool") {
        return Ok(program);
    }
    let folder = workspace::target().join("tools").join("prometheus");
    let program = folder.join("usr/bin/promtool");
    if !command::is_program(&program) {
        let suite = debian::own_suite().context("promtool is not on the PATH")?;
        println!("fetching promtool (unpacked under target/tools, not installed)");
        debian::unpack("prometheus", &suite, &folder)?;
    }
    Ok(program)
}
