//! The paths of a backup: which are acceptable, and which exist.

use std::io;
use std::path::Path;

use holdfast_protocol::message::job::JobError;

use crate::{Code, error::job_error};

/// The paths to back up, parted by whether they exist. There is at least one that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources<'a> {
    pub(crate) present: Vec<&'a str>,
    pub(crate) missing: Vec<&'a str>,
}

impl<'a> Sources<'a> {
    /// Looks at every path. restic's own answer to a missing one depends on its version: some end
    /// with 0 as if nothing were missing.
    ///
    /// # Errors
    /// `invalid_configuration` for a path that is not absolute, `source_missing` when none exists.
    pub(crate) fn look(includes: &'a [String]) -> Result<Self, JobError> {
        if includes.is_empty() {
            return Err(job_error(Code::InvalidConfiguration, "The source group has no paths."));
        }
        includes.iter().try_for_each(|path| check(path))?;
        let (missing, present) =
            includes.iter().map(String::as_str).partition(|path| is_missing(path));
        let sources = Self { present, missing };
        if sources.present.is_empty() {
            return Err(missing_error(&sources.missing));
        }
        Ok(sources)
    }
}

/// The error that names missing paths.
pub(crate) fn missing_error(missing: &[&str]) -> JobError {
    const NAMED_MAX: usize = 5;
    let named = &missing[..missing.len().min(NAMED_MAX)];
    let more = missing.len() - named.len();
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    let verb = if missing.len() == 1 { "does" } else { "do" };
    let message = format!("{}{tail} {verb} not exist on this host.", named.join(", "));
    job_error(Code::SourceMissing, message)
}

fn check(path: &str) -> Result<(), JobError> {
    if path.contains('\0') || !Path::new(path).is_absolute() {
        let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
        let message = format!("`{path}` is not an absolute path.");
        return Err(job_error(Code::InvalidConfiguration, message));
    }
    Ok(())
}

/// Only a clear "no" counts: a path that may not be looked at is restic's to report.
fn is_missing(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(includes: &[&str]) -> Result<(usize, usize), String> {
        let includes: Vec<_> = includes.iter().map(|&path| path.to_owned()).collect();
        Sources::look(&includes)
            .map(|sources| (sources.present.len(), sources.missing.len()))
            .map_err(|error| error.code)
    }

    #[test]
    fn paths_are_parted_by_whether_they_exist() {
        assert_eq!(look(&["/", "/no/such/path"]), Ok((1, 1)));
        assert_eq!(look(&["/no/such/path"]), Err("source_missing".to_owned()));
    }

    #[test]
    fn paths_that_restic_could_misread_are_refused() {
        for path in ["", "relative", "-x", "--password-command=x", "~/x", "/a\0b"] {
            assert_eq!(look(&["/", path]), Err("invalid_configuration".to_owned()), "{path}");
        }
        assert_eq!(look(&[]), Err("invalid_configuration".to_owned()));
    }

    #[test]
    fn a_long_list_of_missing_paths_is_cut() {
        let includes: Vec<_> = (0..8).map(|n| format!("/no/{n}")).collect();
        let message = Sources::look(&includes).unwrap_err().message;
        assert_eq!(
            message,
            "/no/0, /no/1, /no/2, /no/3, /no/4 and 3 more do not exist on this host."
        );
    }
}
