//! A Chromium for the browser tests.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::package;
use crate::command;

/// What the program is called, here and there.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The Chromium to test with; installs the distribution's when there is none and we may.
pub(crate) fn find_or_install() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    package::install("chromium")?;
    match find() {
        Some(found) => Ok(found),
        None => bail!("chromium was installed, but PATH leads to none; check the installation"),
    }
}

fn find() -> Option<PathBuf> {
    NAMES.into_iter().find_map(command::on_path)
}
