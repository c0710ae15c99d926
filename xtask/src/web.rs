//! The dashboard: its checks and its build, with Node's own tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, tools, workspace};

/// Installs what the page needs and builds it into `web/dist`.
pub(crate) fn build() -> Result<()> {
    tools::node::require()?;
    install()?;
    command::run(npm().args(["run", "build"])).context("the dashboard does not build")
}

/// Everything that can be checked without a browser, then the build that the server embeds.
pub(crate) fn check_and_build() -> Result<()> {
    tools::node::require()?;
    install()?;
    command::run(npm().args(["run", "check"])).context("the dashboard's types do not hold")?;
    command::run(npm().args(["test"])).context("the dashboard's tests fail")?;
    command::run(npm().args(["run", "build"])).context("the dashboard does not build")
}

/// The built page in `chromium`, against an invented fleet: every screen, every kind of trouble.
pub(crate) fn browser_test(chromium: &Path) -> Result<()> {
    tools::node::require()?;
    let mut npm = npm();
    npm.args(["run", "e2e"]).env("HOLDFAST_CHROMIUM", chromium);
    command::run(&mut npm).context("the dashboard fails in the browser")
}

/// What to take pictures of, and where to put them.
#[derive(Debug, clap::Args)]
pub(crate) struct Screenshots {
    /// Only screens with this in their name
    #[arg(default_value = "")]
    part: String,
    /// Where the pictures go
    #[arg(long, default_value = "docs/images")]
    out: PathBuf,
}

/// Every screen, light and dark, on a desktop and on a phone, of an invented fleet.
pub(crate) fn screenshots(options: &Screenshots) -> Result<()> {
    build()?;
    let chromium = tools::chromium::find_or_install()?;
    let mut node = command::in_root("node");
    node.arg("web/e2e/screenshots.mjs").arg(&options.out).arg(&options.part);
    node.env("HOLDFAST_CHROMIUM", chromium);
    command::run(&mut node).context("the screenshots were not taken")
}

/// `npm ci` takes seconds and starts from nothing, so it runs only when the lock file says
/// something else than what is installed.
fn install() -> Result<()> {
    let web = workspace::root().join("web");
    let wanted = std::fs::read(web.join("package-lock.json"))
        .context("web/package-lock.json cannot be read")?;
    let mark = web.join("node_modules/.installed-lock");
    if std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    command::run(npm().args(["ci", "--no-audit", "--no-fund"]))?;
    std::fs::write(&mark, wanted).with_context(|| format!("could not write {}", mark.display()))
}

fn npm() -> Command {
    let mut npm = command::in_root("npm");
    npm.current_dir(workspace::root().join("web"));
    npm
}
