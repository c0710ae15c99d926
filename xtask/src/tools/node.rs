//! Node and npm, which build and test the dashboard.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The oldest Node that the page's build tool runs on.
const MINIMUM: (u32, u32) = (20, 19);

/// How to get Node; the distributions' packages are often too old, so none is installed for you.
const HOW_TO_INSTALL: &str =
    "install Node.js 20.19 or newer, with npm (nodejs.org, or your version manager)";

/// Node's version.
///
/// # Errors
/// When Node or npm is missing or too old, with what to do.
pub(crate) fn require() -> Result<String> {
    for program in ["node", "npm"] {
        if !is_available(program) {
            bail!("{program} is missing; {HOW_TO_INSTALL}");
        }
    }
    let said = command::capture(Command::new("node").arg("--version"))?;
    let version = said.trim().to_owned();
    let number = parse(&version).with_context(|| format!("node calls itself {version:?}"))?;
    if number < MINIMUM {
        bail!("node {version} is too old; {HOW_TO_INSTALL}");
    }
    Ok(version)
}

/// Whether the page can be built here at all.
pub(crate) fn is_here() -> bool {
    require().is_ok()
}

fn is_available(program: &str) -> bool {
    command::on_path(program).is_some()
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse("v20.20.2"), Some((20, 20)));
        assert!(parse("v18.19.0").unwrap() < MINIMUM);
        assert!(parse("v100.0.0").unwrap() > MINIMUM);
        assert_eq!(parse("garbage"), None);
    }
}
