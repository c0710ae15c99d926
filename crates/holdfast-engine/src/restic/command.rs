//! How restic is called: arguments without secrets, an environment of known names, and the secrets
//! in files that live as long as the call.

use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use holdfast_protocol::message::job::JobError;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::{
    error::{Code, job_error},
    restic::access::Access,
};

/// The location and the password as files that only their owner can read. Dropped, they are gone.
#[derive(Debug)]
pub(crate) struct SecretFiles {
    repository: NamedTempFile,
    password: NamedTempFile,
    certificates: Option<NamedTempFile>,
}

impl SecretFiles {
    pub(crate) fn write(access: &Access) -> Result<Self, JobError> {
        Self::try_write(access).map_err(|error| {
            let code = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
                _ => Code::ScratchUnusable,
            };
            let place = access.scratch_dir.display();
            job_error(code, format!("The job's private directory {place} cannot be used: {error}."))
        })
    }

    fn try_write(access: &Access) -> io::Result<Self> {
        make_private(&access.scratch_dir)?;
        let certificates = access.ca_certificate.as_deref();
        let certificates =
            certificates.map(|pem| secret_file(&access.scratch_dir, "certificates-", pem));
        Ok(Self {
            certificates: certificates.transpose()?,
            repository: secret_file(&access.scratch_dir, "repository-", access.url.expose())?,
            password: secret_file(&access.scratch_dir, "password-", access.password.expose())?,
        })
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    const OWNER_ONLY: u32 = 0o700;
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(dir)?;
    std::fs::set_permissions(dir, Permissions::from_mode(OWNER_ONLY))
}

fn secret_file(dir: &Path, prefix: &str, text: &str) -> io::Result<NamedTempFile> {
    // Mode 0600 is the crate's promise for named files on Unix.
    let mut file = tempfile::Builder::new().prefix(prefix).tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// The call of `program` with `arguments` for the repository of `access`.
pub(crate) fn command(
    program: &Path,
    arguments: &[OsString],
    access: &Access,
    secrets: &SecretFiles,
) -> Command {
    let mut command = bare(program);
    if let Some(certificates) = &secrets.certificates {
        command.arg("--cacert").arg(certificates.path());
    }
    command.args(arguments);
    command.envs(access.environment.iter().map(|(name, value)| (name, value.expose())));
    command.env("RESTIC_REPOSITORY_FILE", secrets.repository.path());
    command.env("RESTIC_PASSWORD_FILE", secrets.password.path());
    command.env("RESTIC_CACHE_DIR", &access.cache_dir);
    command.env("RESTIC_PROGRESS_FPS", "2");
    command
}

/// A call of `program` without a repository, in a process group of its own.
pub(crate) fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command
}

/// What restic may see of the agent's own environment. rclone's configuration is named by whoever
/// runs the host, never by the server.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "RCLONE_CONFIG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use holdfast_protocol::message::config::Secret;

    use super::*;

    #[test]
    fn secret_files_are_private_and_vanish_with_their_guard() {
        let home = tempfile::tempdir().unwrap();
        let access = Access {
            url: Secret::new("/repo"),
            password: Secret::new("canary"),
            environment: BTreeMap::new(),
            ca_certificate: None,
            cache_dir: home.path().join("cache"),
            scratch_dir: home.path().join("run/job"),
        };
        let files = SecretFiles::write(&access).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&access.scratch_dir), 0o700);
        assert_eq!(mode(files.password.path()), 0o600);
        assert_eq!(std::fs::read_to_string(files.password.path()).unwrap(), "canary");
        drop(files);
        assert_eq!(std::fs::read_dir(&access.scratch_dir).unwrap().count(), 0);
    }
}
