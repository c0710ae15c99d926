//! Where a restore may write.
//!
//! Where an unselected directory of the snapshot meets a symbolic link on the host, every version
//! of restic up to 0.19 at least follows the link. So a target must not lead out of its root by any
//! link that lies in it, not only by the names of its path.

use std::fs::{self, DirBuilder, FileType};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use holdfast_protocol::message::{
    job::JobError,
    parameters::{Restore, Target},
};

use crate::{Code, error::job_error, operation::values::host_path};

/// Where this host lets restores write. It is the host's own, never the server's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestorePolicy {
    /// Directories below which a restore may write.
    pub roots: Vec<PathBuf>,
    /// Whether files may go back to where they were, over what is there now.
    pub original: bool,
}

/// A place that the policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// As it is on the disk, with links resolved.
    path: String,
    original: bool,
}

impl Place {
    /// # Errors
    /// `restore_target_refused`, or `invalid_configuration` for what is no path.
    pub(super) async fn find(restore: &Restore, policy: &RestorePolicy) -> Result<Self, JobError> {
        let (target, policy) = (restore.target.clone(), policy.clone());
        in_background(move || Self::find_now(&target, &policy)).await
    }

    /// Makes the directory and makes sure that it is still the one that was allowed.
    ///
    /// # Errors
    /// `restore_target_refused`.
    pub(super) async fn prepare(&self) -> Result<(), JobError> {
        let place = self.clone();
        in_background(move || place.prepare_now()).await
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn find_now(target: &Target, policy: &RestorePolicy) -> Result<Self, JobError> {
        let directory = match target {
            Target::Original if policy.original => {
                return Ok(Self { path: "/".to_owned(), original: true });
            }
            Target::Original => {
                return refuse("This host does not allow to restore files to where they were.");
            }
            // The agent gives the directory a name of its own before it asks.
            Target::RestoreRoot => {
                return refuse("No directory below the restore root was chosen.");
            }
            Target::Directory(directory) => host_path(directory)?,
        };
        let found = resolve(directory).or_else(|error| unusable(directory, &error))?;
        let allowed =
            |root: &PathBuf| fs::canonicalize(root).is_ok_and(|root| found.starts_with(root));
        if !policy.roots.iter().any(allowed) {
            let shown = directory.display();
            return refuse(format!("{shown} is not below any restore root of this host."));
        }
        let Some(path) = found.to_str() else {
            return refuse("The place to restore to has a name that is not UTF-8.");
        };
        Ok(Self { path: path.to_owned(), original: false })
    }

    fn prepare_now(&self) -> Result<(), JobError> {
        /// What is restored may be secret, whatever the modes of its files were.
        const OWNER_ONLY: u32 = 0o700;
        if self.original {
            return Ok(());
        }
        let path = Path::new(&self.path);
        let made = DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path);
        made.and_then(|()| fs::canonicalize(path)).map_or_else(
            |error| unusable(path, &error),
            |found| {
                if found == path {
                    return Ok(());
                }
                refuse(format!("{} was replaced while the job began.", path.display()))
            },
        )?;
        match outward_link(path) {
            Ok(None) => Ok(()),
            Ok(Some(link)) => refuse(format!(
                "{} is a link that leads out of the place to restore to.",
                link.display()
            )),
            Err(error) => unusable(path, &error),
        }
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        refuse(format!("The place to restore to could not be looked at: {error}."))
    })
}

fn refuse<T>(message: impl Into<String>) -> Result<T, JobError> {
    Err(job_error(Code::RestoreTargetRefused, message))
}

fn unusable<T>(path: &Path, error: &io::Error) -> Result<T, JobError> {
    refuse(format!("{} cannot be used: {error}.", path.display()))
}

/// The path with all links resolved, also when its end does not exist yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut existing = path;
    let mut rest = Vec::new();
    loop {
        match fs::canonicalize(existing) {
            Ok(mut found) => {
                found.extend(rest.iter().rev());
                return Ok(found);
            }
            // A link to nowhere is not found either, and must not count as a name that is free.
            Err(error) if fs::symlink_metadata(existing).is_ok() => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(above), Some(Component::Normal(name))) =
                    (existing.parent(), existing.components().next_back())
                else {
                    return Err(error);
                };
                rest.push(name.to_owned());
                existing = above;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The first link below `directory` that leads out of it, or to nowhere.
fn outward_link(directory: &Path) -> io::Result<Option<PathBuf>> {
    const ENTRIES_MAX: usize = 2_000_000;
    let mut waiting = vec![directory.to_owned()];
    let mut seen = 0;
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            seen += 1;
            if seen > ENTRIES_MAX {
                return Err(io::Error::other("it holds too much already"));
            }
            let (path, kind) = (entry.path(), entry.file_type()?);
            if leads_out(&path, kind, directory) {
                return Ok(Some(path));
            }
            if kind.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(None)
}

fn leads_out(path: &Path, kind: FileType, directory: &Path) -> bool {
    kind.is_symlink() && !fs::canonicalize(path).is_ok_and(|end| end.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A root, something outside of it, and links between them.
    fn world() -> (TempDir, PathBuf, RestorePolicy) {
        let home = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(home.path()).unwrap();
        fs::create_dir_all(base.join("root/inside")).unwrap();
        fs::create_dir(base.join("outside")).unwrap();
        symlink(base.join("outside"), base.join("root/leak")).unwrap();
        symlink(base.join("nowhere"), base.join("root/dangling")).unwrap();
        symlink(base.join("root"), base.join("alias")).unwrap();
        let policy = RestorePolicy { roots: vec![base.join("root")], original: false };
        (home, base, policy)
    }

    fn find(policy: &RestorePolicy, path: impl AsRef<Path>) -> Result<String, String> {
        let target = Target::Directory(path.as_ref().to_str().unwrap().to_owned());
        let found = Place::find_now(&target, policy);
        found.map(|place| place.path).map_err(|error| error.code)
    }

    #[test]
    fn only_what_lies_below_a_root_is_allowed() {
        let (_home, base, policy) = world();
        let shown = |path: &str| base.join(path).to_str().unwrap().to_owned();
        assert_eq!(find(&policy, base.join("root")), Ok(shown("root")));
        assert_eq!(find(&policy, base.join("root/new/deep")), Ok(shown("root/new/deep")));
        assert_eq!(find(&policy, base.join("alias/new/")), Ok(shown("root/new")));
        let refused = Err("restore_target_refused".to_owned());
        for path in ["outside", "rooted", "root/leak", "root/leak/new", "root/dangling/new", ""] {
            assert_eq!(find(&policy, base.join(path)), refused, "{path}");
        }
        for path in ["root/../outside", "root/inside/../../outside"] {
            let detour = Err("invalid_configuration".to_owned());
            assert_eq!(find(&policy, base.join(path)), detour, "{path}");
        }
        assert_eq!(find(&policy, "root"), Err("invalid_configuration".to_owned()));
        assert_eq!(find(&RestorePolicy::default(), base.join("root")), refused);
    }

    #[test]
    fn the_original_place_needs_to_be_allowed_by_name() {
        let everywhere = RestorePolicy { roots: vec!["/".into()], original: false };
        let error = Place::find_now(&Target::Original, &everywhere).unwrap_err();
        assert_eq!(error.code, "restore_target_refused");
        let original = RestorePolicy { roots: Vec::new(), original: true };
        assert_eq!(Place::find_now(&Target::Original, &original).unwrap().path(), "/");
        assert_eq!(find(&original, "/"), Err("restore_target_refused".to_owned()));
    }

    #[test]
    fn a_target_with_a_link_to_somewhere_else_is_refused() {
        let (_home, base, policy) = world();
        let prepare = |path: &str| {
            let target = Target::Directory(base.join(path).to_str().unwrap().to_owned());
            Place::find_now(&target, &policy).unwrap().prepare_now()
        };
        assert_eq!(prepare("root/new/deep"), Ok(()));
        let mode = fs::metadata(base.join("root/new/deep")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(prepare("root").unwrap_err().code, "restore_target_refused");

        fs::create_dir(base.join("root/new/deep/a")).unwrap();
        symlink("a", base.join("root/new/deep/near")).unwrap();
        assert_eq!(prepare("root/new/deep"), Ok(()));
        symlink("../../inside", base.join("root/new/deep/a/far")).unwrap();
        let error = prepare("root/new/deep").unwrap_err();
        assert!(error.message.contains("/deep/a/far is a link"), "{}", error.message);
    }

    #[test]
    fn a_target_that_changed_in_between_is_refused() {
        let (_home, base, policy) = world();
        let target = Target::Directory(base.join("root/new").to_str().unwrap().to_owned());
        let place = Place::find_now(&target, &policy).unwrap();
        symlink(base.join("outside"), base.join("root/new")).unwrap();
        assert_eq!(place.prepare_now().unwrap_err().code, "restore_target_refused");
    }
}
