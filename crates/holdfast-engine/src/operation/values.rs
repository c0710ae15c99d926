//! Which values of a job's parameters are acceptable.

use std::path::{Component, Path};

use holdfast_protocol::message::job::JobError;

use crate::{Code, error::job_error};

pub(crate) fn refuse<T>(message: impl Into<String>) -> Result<T, JobError> {
    Err(job_error(Code::InvalidConfiguration, message))
}

/// An id is some digits of it, at least eight; words that mean a snapshot to restic (`latest`)
/// would mean another one tomorrow.
pub(crate) fn check_snapshot_id(id: &str) -> Result<(), JobError> {
    if (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    refuse(format!("`{}` is not the id of a snapshot.", shown(id)))
}

/// At least one id, and not more than fit into one call.
pub(crate) fn check_snapshot_ids(ids: &[String]) -> Result<(), JobError> {
    const IDS_MAX: usize = 1000;
    if ids.is_empty() || ids.len() > IDS_MAX {
        return refuse(format!("There must be one to {IDS_MAX} snapshots."));
    }
    ids.iter().try_for_each(|id| check_snapshot_id(id))
}

/// The path of something in a snapshot, without a `/` at its end.
pub(crate) fn path_within(path: &str) -> Result<&str, JobError> {
    let clean = path.trim_end_matches('/');
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let well_formed =
        path.starts_with('/') && !path.contains('\0') && clean.split('/').skip(1).all(plain);
    if !well_formed {
        return refuse(format!("`{}` is not an absolute path without detours.", shown(path)));
    }
    Ok(if clean.is_empty() { "/" } else { clean })
}

/// An absolute path of this host that says where it leads: no `..` in it.
pub(crate) fn host_path(path: &str) -> Result<&Path, JobError> {
    let found = Path::new(path);
    let detours = found.components().any(|part| part == Component::ParentDir);
    if !found.is_absolute() || detours || path.contains('\0') {
        return refuse(format!("`{}` is not an absolute path without detours.", shown(path)));
    }
    Ok(found)
}

/// restic would take the parts of a tag with a comma for several tags.
pub(crate) fn check_tag(tag: &str) -> Result<(), JobError> {
    if tag.trim().is_empty() || tag.contains([',', '\0']) {
        return refuse(format!("`{}` is not a tag: it is empty or holds a comma.", shown(tag)));
    }
    Ok(())
}

/// What can be shown of a value that was refused.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_and_nothing_else() {
        for id in ["01234567", "b626d485ea5bb3c6", &"a".repeat(64)] {
            assert_eq!(check_snapshot_id(id), Ok(()), "{id}");
        }
        for id in ["", "latest", "-rf", "0123456", "0123456g", &"a".repeat(65), "aaaaaaaa:/x"] {
            assert!(check_snapshot_id(id).is_err(), "{id}");
        }
        assert!(check_snapshot_ids(&[]).is_err());
    }

    #[test]
    fn paths_within_a_snapshot_make_no_detours() {
        assert_eq!(path_within("/"), Ok("/"));
        assert_eq!(path_within("/a/b/"), Ok("/a/b"));
        assert_eq!(path_within("/-a/new\nline"), Ok("/-a/new\nline"));
        for path in ["", "a", "/a/../b", "/./a", "/a//b", "/a\0", "--target=/"] {
            assert!(path_within(path).is_err(), "{path}");
        }
    }

    #[test]
    fn tags_that_restic_would_split_are_refused() {
        assert_eq!(check_tag("-x y"), Ok(()));
        for tag in ["", " ", "a,b", "a\0"] {
            assert!(check_tag(tag).is_err(), "{tag}");
        }
    }
}
