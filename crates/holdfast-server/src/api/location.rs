//! restic's repository locations: which are accepted, and how they are shown.

use super::problem::Problem;

/// A location that may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// `local`, `sftp`, `rest`, `s3`, `b2`, `azure`, `gs`, `swift` or `rclone`.
    pub(super) kind: &'static str,
    /// Where it is, without credentials.
    pub(super) shown: String,
}

/// The longest location, in bytes.
const LENGTH_MAX: usize = 2048;

/// Kinds that restic names by a scheme.
const SCHEMES: &[&str] = &["sftp", "rest", "s3", "b2", "azure", "gs", "swift", "rclone"];

/// Reads a location as restic would.
///
/// # Errors
/// Says which forms are accepted. The text of the location is not repeated: it may carry
/// credentials.
pub(super) fn read(url: &str) -> Result<Location, Problem> {
    if url.is_empty() || url.len() > LENGTH_MAX || url.chars().any(char::is_control) {
        return Err(refused("The repository location is empty, too long or not one line."));
    }
    // An agent hands the location to restic; it must never be taken for an option there.
    if url.starts_with('-') {
        return Err(refused("The repository location starts with `-`."));
    }
    if url.starts_with('/') {
        return Ok(Location { kind: "local", shown: url.to_owned() });
    }
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    let kind = SCHEMES.iter().copied().find(|known| *known == scheme);
    let Some(kind) = kind else {
        return Err(refused(if scheme.is_empty() {
            "The repository location is not an absolute path."
        } else {
            "The repository location is of no known kind."
        }));
    };
    check(kind, rest)?;
    Ok(Location { kind, shown: format!("{kind}:{}", without_credentials(rest)) })
}

fn check(kind: &str, rest: &str) -> Result<(), Problem> {
    let web = rest.starts_with("http://") || rest.starts_with("https://");
    if kind == "rest" && !web {
        return Err(refused("A `rest:` location must go on with http:// or https://."));
    }
    // `sftp:-oProxyCommand=…` would be read as an option by ssh.
    let target = rest.trim_start_matches('/');
    if target.is_empty() || target.starts_with('-') || target.contains("@-") {
        return Err(refused("The repository location names no place after its kind."));
    }
    // A remote written out in place can carry passwords and even a command to run.
    let remote = rest.split(':').next().unwrap_or_default();
    let named = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if kind == "rclone" && (remote.is_empty() || !remote.chars().all(named)) {
        return Err(refused("An `rclone:` location must name a remote of the host's rclone.conf."));
    }
    Ok(())
}

/// `rest` without user, password, query and fragment.
fn without_credentials(rest: &str) -> String {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, after)) = rest.split_once("//") else { return rest.to_owned() };
    let end = after.find('/').unwrap_or(after.len());
    let (authority, path) = after.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}//{host}{path}")
}

fn refused(title: &str) -> Problem {
    Problem::invalid(
        "invalid_repository_url",
        title,
        "Give an absolute path, or a location that starts with sftp:, rest:http(s)://, s3:, b2:, \
         azure:, gs:, swift: or rclone:.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_apart() {
        for (url, kind, place) in [
            ("/srv/backup", "local", "/srv/backup"),
            ("sftp:user@host:/srv/backup", "sftp", "sftp:user@host:/srv/backup"),
            ("rest:https://h:8000/r", "rest", "rest:https://h:8000/r"),
            ("s3:https://s3.example.com/bucket", "s3", "s3:https://s3.example.com/bucket"),
            ("s3:s3.amazonaws.com/bucket", "s3", "s3:s3.amazonaws.com/bucket"),
            ("b2:bucket:path", "b2", "b2:bucket:path"),
            ("azure:container:/", "azure", "azure:container:/"),
            ("gs:bucket:/", "gs", "gs:bucket:/"),
            ("swift:container:/path", "swift", "swift:container:/path"),
            ("rclone:remote:path", "rclone", "rclone:remote:path"),
        ] {
            let location = read(url).unwrap();
            assert_eq!((location.kind, location.shown.as_str()), (kind, place), "{url}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        for url in [
            "rest:https://user:canary@backup.example:8000/r",
            "rest:https://user:can@canary@backup.example:8000/r",
            "rest:https://backup.example:8000/r?token=canary",
            "sftp://user:canary@backup.example:8000//srv",
        ] {
            let shown = read(url).unwrap().shown;
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains("backup.example:8000/"), "{shown}");
        }
    }

    #[test]
    fn what_restic_or_ssh_could_take_for_an_option_is_refused() {
        for url in [
            "",
            "--repo=/x",
            "-r",
            "backup",
            "./backup",
            "ftp:host",
            "rest:backup.example",
            "rest:file:///etc",
            "sftp:",
            "sftp:-oProxyCommand=touch /tmp/x:/r",
            "sftp://-oProxyCommand=x/r",
            "sftp:user@-oProxyCommand=x:/r",
            "rclone::sftp,ssh=\"touch /tmp/x\":/r",
            "/srv\n/x",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
