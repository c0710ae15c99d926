//! Whether a path or a location lies within what a rule allows. Pure but for looking at links.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Whether `path` is one of `roots` or lies below one by its name alone, without detours.
pub(super) fn is_below(path: &Path, roots: &[PathBuf]) -> bool {
    is_straight(path) && roots.iter().any(|root| path.starts_with(root))
}

/// As [`is_below`], and also with all links above it resolved: a link that a user of the host has
/// made must not widen what may be read. The last part may be a link; restic stores it as such.
pub(super) fn may_be_read(path: &Path, roots: &[PathBuf]) -> bool {
    if !is_below(path, roots) {
        return false;
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return true };
    // What does not exist is not read.
    let Ok(above) = fs::canonicalize(above) else { return true };
    let real = above.join(name);
    let resolved = |root: &PathBuf| fs::canonicalize(root).unwrap_or_else(|_| root.clone());
    roots.iter().any(|root| real.starts_with(resolved(root)) || real.starts_with(root))
}

/// Whether a repository at `url` lies at the allowed `location` or below it. Credentials in `url`
/// do not count.
pub(super) fn lies_at(url: &str, location: &str) -> bool {
    let url = without_credentials(url);
    let detours = url.split('/').any(|part| part == "..") || url.contains(['\0', '\n']);
    let location = location.trim_end_matches('/');
    let rest = url.strip_prefix(location);
    !detours
        && !location.is_empty()
        && rest.is_some_and(|rest| matches!(rest.chars().next(), None | Some('/')))
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn is_straight(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    path.is_absolute()
        && !text.contains(&0)
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// A piece of the server's text that is safe to repeat.
pub(super) fn shown(text: &str) -> String {
    let safe = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    text.chars().take(200).map(safe).collect()
}
