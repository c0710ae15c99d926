//! What restic needs to reach a repository, and what of it is acceptable.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_protocol::message::{
    config::{Secret, is_backend_variable},
    job::JobError,
};

use crate::error::{Code, job_error};

/// A repository, its credentials, and the directories a job may use.
#[derive(Debug, Clone)]
pub struct Access {
    /// restic's repository location. It may carry credentials, so it is a secret too.
    pub url: Secret,
    /// The repository password.
    pub password: Secret,
    /// Backend credentials by environment variable name; only known names are accepted.
    pub environment: BTreeMap<String, Secret>,
    /// Certificates in PEM that the backend's own must be signed by; `None` for those that the host
    /// trusts.
    pub ca_certificate: Option<String>,
    /// restic's cache; jobs share it.
    pub cache_dir: PathBuf,
    /// Private to the job, mode 0700; made when missing. Secrets lie here while a child runs.
    pub scratch_dir: PathBuf,
}

impl Access {
    /// Refuses what would not work or would let the configuration run programs on the host.
    pub(crate) fn check(&self) -> Result<(), JobError> {
        check_url(self.url.expose())?;
        check_password(self.password.expose())?;
        self.environment.iter().try_for_each(|(name, value)| check_variable(name, value))
    }

    /// Texts that must not appear in anything the engine says.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let url = self.url.expose();
        let mut secrets = vec![self.password.expose().to_owned()];
        secrets.extend(self.environment.values().map(|value| value.expose().to_owned()));
        if let Some(password) = url_password(url) {
            secrets.push(url.to_owned());
            secrets.push(password.to_owned());
            secrets.push(percent_decoded(password));
        }
        secrets
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, JobError> {
    Err(job_error(Code::InvalidConfiguration, message))
}

fn check_url(url: &str) -> Result<(), JobError> {
    if url.trim().is_empty() || url.trim() != url || url.contains(['\n', '\r', '\0']) {
        return refuse("The repository's location is empty or holds stray white space.");
    }
    // ssh would read such a host name as one of its options, and some of those run programs.
    let ssh_host = url.strip_prefix("sftp:").map(|rest| rest.trim_start_matches('/'));
    if ssh_host.is_some_and(|host| host.starts_with('-')) {
        return refuse("The repository's location has a host name that starts with `-`.");
    }
    Ok(())
}

/// restic trims a password file, so a password that trimming changes could never open anything.
fn check_password(password: &str) -> Result<(), JobError> {
    if password.is_empty() {
        return refuse("The repository has no password.");
    }
    if password.trim() != password || password.contains(['\n', '\r', '\0']) {
        return refuse(
            "The repository password starts or ends with white space or holds a line break, which restic cannot read.",
        );
    }
    Ok(())
}

fn check_variable(name: &str, value: &Secret) -> Result<(), JobError> {
    if !is_backend_variable(name) {
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        return refuse(format!("The environment variable `{name}` may not be set for restic."));
    }
    if value.expose().contains('\0') {
        return refuse(format!("The value of the environment variable `{name}` holds a NUL byte."));
    }
    Ok(())
}

/// The password in `scheme://user:password@host`, if there is one.
fn url_password(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let (user, _host) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = (first == b'%').then(|| after.get(..2)).flatten();
        let decoded = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str, password: &str, variable: &str) -> Access {
        Access {
            url: Secret::new(url),
            password: Secret::new(password),
            environment: BTreeMap::from([(variable.to_owned(), Secret::new("value"))]),
            ca_certificate: None,
            cache_dir: PathBuf::new(),
            scratch_dir: PathBuf::new(),
        }
    }

    #[test]
    fn variables_that_could_run_programs_are_refused() {
        for name in [
            "LD_PRELOAD",
            "RESTIC_PASSWORD_COMMAND",
            "RESTIC_REPOSITORY",
            "PATH",
            "RCLONE_PASSWORD_COMMAND",
            "AWS_CONFIG_FILE",
            "aws_access_key_id",
            "OS_",
            "OS_A=B",
            "",
        ] {
            let error = access("/repo", "pw", name).check().unwrap_err();
            assert_eq!(error.code, "invalid_configuration", "{name}");
        }
        for name in ["AWS_ACCESS_KEY_ID", "OS_AUTH_URL", "RESTIC_REST_PASSWORD"] {
            assert_eq!(access("/repo", "pw", name).check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn locations_and_passwords_that_restic_would_misread_are_refused() {
        for (url, password) in [
            ("", "pw"),
            (" /repo", "pw"),
            ("/repo\n/other", "pw"),
            ("sftp:-oProxyCommand=x:/repo", "pw"),
            ("sftp://-oProxyCommand=x/repo", "pw"),
            ("/repo", ""),
            ("/repo", " pw"),
            ("/repo", "p\nw"),
        ] {
            let error = access(url, password, "OS_X").check().unwrap_err();
            assert_eq!(error.code, "invalid_configuration", "{url} {password}");
        }
    }

    #[test]
    fn a_password_within_the_location_is_known_in_both_its_forms() {
        let secrets = access("rest:https://joe:p%40ss%zz@host/x", "pw", "OS_X").secrets();
        assert!(secrets.contains(&"p%40ss%zz".to_owned()));
        assert!(secrets.contains(&"p@ss%zz".to_owned()));
    }
}
