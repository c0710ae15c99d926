//! What each rule refuses.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use holdfast_protocol::message::parameters::Overwrite;
use tempfile::TempDir;

use super::*;

/// A host with this policy.
fn host(text: &str) -> (TempDir, Result<Policy, JobError>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let policy = Policy::load(dir.path());
    (dir, policy)
}

fn restore(target: Target) -> Restore {
    Restore {
        snapshot_id: "0123abcd".to_owned(),
        paths: Vec::new(),
        target,
        overwrite: Overwrite::Always,
        dry_run: false,
        verify: false,
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(verdict: Result<T, JobError>, edit: &str) {
    let error = verdict.unwrap_err();
    assert_eq!(error.code, "refused_by_policy");
    assert!(error.action.contains(edit) && error.action.contains(FILE_NAME), "{}", error.action);
}

#[test]
fn without_a_file_everything_is_allowed_but_to_write_where_files_lie() {
    let dir = tempfile::tempdir().unwrap();
    let policy = Policy::load(dir.path()).unwrap();
    for operation in Operation::ALL {
        policy.check_operation(operation).unwrap();
    }
    policy.check_sources(&texts(&["/etc", "/"])).unwrap();
    policy.check_repository("main", "s3:https://example.org/bucket").unwrap();
    let (placed, allowed) = policy.place(&restore(Target::RestoreRoot), "job").unwrap();
    let root = dir.path().join("restore");
    assert_eq!(placed.target, Target::Directory(root.join("job").to_str().unwrap().to_owned()));
    assert_eq!(allowed, RestorePolicy { roots: vec![root], original: false });
    assert_refused(policy.place(&restore(Target::Original), "job"), "original = true");
    for place in ["/etc", "/", "relative", ""] {
        assert_refused(policy.place(&restore(Target::Directory(place.into())), "job"), "`roots`");
    }
}

#[test]
fn what_the_file_does_not_allow_is_refused_and_says_what_to_write() {
    let (_dir, policy) = host(
        "[operations]\nallowed = ['backup', 'restore']\n[backup]\npaths = ['/home', '/srv/a']\n\
         [repositories]\nlocations = ['/srv/backup', 'rest:https://b.example:8000/']\n\
         [restore]\nroots = ['/srv/restored']\noriginal = true\n",
    );
    let policy = policy.unwrap();
    policy.check_operation(Operation::Restore).unwrap();
    assert_refused(policy.check_operation(Operation::Prune), "\"prune\" to `allowed`");
    policy.check_sources(&texts(&["/home", "/srv/a/b"])).unwrap();
    for path in ["/", "/srv", "/srv/ab", "/home/../etc", "home", "", "--all", "/home\0"] {
        assert_refused(policy.check_sources(&texts(&["/home", path])), "`paths` under [backup]");
    }
    let allowed = ["/srv/backup", "/srv/backup/x", "rest:https://u:canary@b.example:8000/x"];
    for location in allowed {
        policy.check_repository("main", location).unwrap();
    }
    let others = [
        "/srv/backups",
        "/srv/backup/../x",
        "rest:https://b.example:8000@evil.example/",
        "rest:https://evil.example/b.example:8000/",
        "sftp:x:/srv/backup",
    ];
    for location in others {
        assert_refused(policy.check_repository("main", location), "`locations`");
    }
    policy.place(&restore(Target::Original), "job").unwrap();
    let inside = Target::Directory("/srv/restored/x".to_owned());
    assert_eq!(policy.place(&restore(inside.clone()), "job").unwrap().0.target, inside);
    for place in ["/srv/restored/../x", "/srv/restore", "/etc", "/srv/restored/\0"] {
        assert_refused(policy.place(&restore(Target::Directory(place.into())), "job"), "`roots`");
    }
}

#[test]
fn a_link_does_not_widen_what_may_be_read() {
    let world = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(world.path()).unwrap();
    fs::create_dir_all(base.join("home/user")).unwrap();
    fs::create_dir_all(base.join("secret/deep")).unwrap();
    symlink(base.join("secret"), base.join("home/user/leak")).unwrap();
    let (_dir, policy) = host(&format!("[backup]\npaths = ['{}/home']\n", base.display()));
    let policy = policy.unwrap();
    let path = |name: &str| vec![base.join(name).to_str().unwrap().to_owned()];
    policy.check_sources(&path("home/user")).unwrap();
    policy.check_sources(&path("home/user/leak")).unwrap();
    assert_refused(policy.check_sources(&path("home/user/leak/deep")), "`paths`");
}

#[test]
fn a_file_that_cannot_be_trusted_or_understood_refuses_everything() {
    for text in ["[restore", "[restore]\nrots = []\n", "[operations]\nallowed = ['bakup']\n", "x=1"]
    {
        let error = host(text).1.unwrap_err();
        assert_eq!(error.code, "policy_unusable", "{text}");
        assert!(error.message.contains(FILE_NAME), "{}", error.message);
    }
    let (dir, _) = host("");
    let file = dir.path().join(FILE_NAME);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(Policy::load(dir.path()).unwrap_err().code, "policy_unusable");
    fs::remove_file(&file).unwrap();
    symlink(dir.path().join("nowhere"), &file).unwrap();
    assert_eq!(Policy::load(dir.path()).unwrap_err().code, "policy_unusable");
}

#[test]
fn a_policy_without_any_root_allows_no_restore() {
    let (_dir, policy) = host("[restore]\nroots = []\n");
    assert_refused(policy.unwrap().place(&restore(Target::RestoreRoot), "job"), "`roots`");
}
