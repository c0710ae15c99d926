//! The dashboard in a real browser, driven by `web/e2e/dashboard.mjs` and `fleet.mjs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::fleet::Fleet;
use crate::process::Process;
use crate::wait;

/// How long one visit may take; each single wait in it has its own, shorter limit.
const VISIT_LIMIT: Duration = Duration::from_secs(240);

/// A browser at work on a fleet's dashboard.
#[derive(Debug)]
pub struct Visit {
    process: Process,
    name: String,
}

impl Visit {
    /// Opens the dashboard of `fleet`, signs in, and does what `arguments` (see `web/README.md`)
    /// ask for. The screenshots' names begin with `name`.
    ///
    /// # Errors
    /// When the page was not built, or Node is missing.
    pub fn start(fleet: &Fleet, name: &str, arguments: &[&str]) -> Result<Self> {
        let arguments: Vec<&str> =
            ["--name", name].into_iter().chain(arguments.iter().copied()).collect();
        Self::run(fleet, "e2e/dashboard.mjs", name, &arguments)
    }

    /// Opens the dashboard of `fleet`, signs in, and does `steps` (see `web/README.md`) one after
    /// the other. The screenshots' names begin with `name`.
    ///
    /// # Errors
    /// When the page was not built, or Node is missing.
    pub fn steps(fleet: &Fleet, name: &str, steps: &[&str]) -> Result<Self> {
        let arguments: Vec<&str> = [name].into_iter().chain(steps.iter().copied()).collect();
        Self::run(fleet, "e2e/fleet.mjs", name, &arguments)
    }

    fn run(fleet: &Fleet, script: &str, name: &str, arguments: &[&str]) -> Result<Self> {
        let web = checkout().join("web");
        for needed in ["dist/index.html", "node_modules"] {
            let needed = web.join(needed);
            ensure!(needed.exists(), "{} is missing; type: cargo xtask web", needed.display());
        }
        let mut node = Command::new("node");
        node.arg(script)
            .args([fleet.server.url(), fleet.operator.token()])
            .arg(screenshots())
            .args(arguments)
            .current_dir(web)
            // The browser's profile goes there, so the fleet's end sweeps a stray browser away.
            .env("TMPDIR", fleet.folder());
        let log = fleet.folder().join(format!("{name}.log"));
        Ok(Self { process: Process::spawn("the browser", &mut node, &log)?, name: name.to_owned() })
    }

    /// Waits until the script says a line that begins with `beginning`; the rest of that line.
    ///
    /// # Errors
    /// When it ends without having said so.
    pub fn await_rest(&mut self, beginning: &str) -> Result<String> {
        wait::until(&format!("the browser to say {beginning:?}"), VISIT_LIMIT, || {
            let log = self.process.log();
            let said = log.lines().find_map(|line| line.strip_prefix(beginning));
            if said.is_none() {
                self.process.check_running()?;
            }
            Ok(said.map(str::to_owned))
        })
    }

    /// Waits until the script says `text`.
    ///
    /// # Errors
    /// When it ends without having said so.
    pub fn await_line(&mut self, text: &str) -> Result<()> {
        wait::until(&format!("the browser to say {text:?}"), VISIT_LIMIT, || {
            let said = self.process.log().lines().any(|line| line == text);
            if !said {
                self.process.check_running()?;
            }
            Ok(said.then_some(()))
        })
    }

    /// Removes what an earlier run left of this visit's screenshot `what`, so that
    /// [`Visit::await_screenshot`] sees only a new one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_screenshot(&self, what: &str) -> Result<()> {
        let file = self.screenshot(what);
        if file.exists() {
            std::fs::remove_file(file)?;
        }
        Ok(())
    }

    /// Waits until the script has taken the screenshot `what`.
    ///
    /// # Errors
    /// When it ends without.
    pub fn await_screenshot(&mut self, what: &str) -> Result<()> {
        let file = self.screenshot(what);
        wait::until(&format!("the screenshot {what}"), VISIT_LIMIT, || {
            self.process.check_running()?;
            Ok(file.exists().then_some(()))
        })
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When something was not shown as it should; with the script's own sentence.
    pub fn finish(mut self) -> Result<()> {
        let status = self.process.wait(VISIT_LIMIT)?;
        ensure!(status.success(), "{}", self.process.last_words());
        Ok(())
    }

    fn screenshot(&self, what: &str) -> PathBuf {
        screenshots().join(format!("{}-{what}.png", self.name))
    }
}

/// Where the screenshots go, for people to look at after a run. Git ignores it.
fn screenshots() -> PathBuf {
    checkout().join("tests/screenshots/out")
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
