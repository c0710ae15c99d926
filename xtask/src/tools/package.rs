//! The system's package manager: install when we may, else say what to type.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// How each package manager is told to install, in the order they are looked for.
const MANAGERS: [(&str, &[&str]); 6] = [
    ("apt-get", &["install", "--yes", "--no-install-recommends"]),
    ("dnf", &["install", "--assumeyes"]),
    ("zypper", &["--non-interactive", "install"]),
    ("pacman", &["--sync", "--noconfirm"]),
    ("apk", &["add"]),
    ("brew", &["install"]),
];

/// Installs `package`.
///
/// # Errors
/// When we are not root, or no package manager is known here: the text says what to type.
pub(crate) fn install(package: &str) -> Result<()> {
    let manager = MANAGERS.into_iter().find(|(program, _)| command::on_path(program).is_some());
    let Some((program, arguments)) = manager else {
        bail!("{package} is missing; install it and run this again");
    };
    if !nix::unistd::geteuid().is_root() {
        bail!("{package} is missing; type: {}", command_to_type(program, arguments, package));
    }
    println!("installing {package} with {program}");
    if program == "apt-get" {
        command::capture(apt_get().args(["-qq", "update"]))
            .context("the package lists could not be brought up to date")?;
    }
    command::capture(apt_environment(Command::new(program).args(arguments).arg(package)))
        .with_context(|| format!("{package} could not be installed"))?;
    Ok(())
}

/// `apt-get` that never asks a question and waits for another one that holds the lock.
pub(super) fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]);
    apt_environment(&mut command);
    command
}

fn apt_environment(command: &mut Command) -> &mut Command {
    command.env("DEBIAN_FRONTEND", "noninteractive")
}

fn command_to_type(program: &str, arguments: &[&str], package: &str) -> String {
    let sudo = if program == "brew" { "" } else { "sudo " };
    format!("{sudo}{program} {} {package}", arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_type_is_complete() {
        assert_eq!(
            command_to_type("apt-get", MANAGERS[0].1, "restic"),
            "sudo apt-get install --yes --no-install-recommends restic"
        );
        assert_eq!(command_to_type("brew", &["install"], "restic"), "brew install restic");
    }
}
