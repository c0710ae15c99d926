//! What people may call things, and what they may ask to have backed up.
//!
//! Everything that enters the fleet passes here once, so that agents and pages may rely on it.

use std::{collections::BTreeMap, ops::RangeInclusive};

use holdfast_protocol::{
    dialect::backupy,
    message::config::{Secret, is_backend_variable},
};
use uuid::Uuid;

use super::problem::Problem;
use crate::auth::scope;

/// The longest name, in bytes. It is also a host name and a snapshot tag.
const NAME_LENGTH_MAX: usize = 63;

/// The longest path or pattern, in bytes; Linux's own limit.
const PATH_LENGTH_MAX: usize = 4096;

/// How many includes or excludes a source group may have.
const PATHS_MAX: usize = 1000;

/// How old a group's newest snapshot may be allowed to be, in seconds.
const OBJECTIVE_SECONDS: RangeInclusive<u64> = 900..=366 * 86_400;

/// The longest password or credential, in bytes.
const SECRET_LENGTH_MAX: usize = 8192;

/// The length of a person's password, in bytes.
const PASSWORD_LENGTH: RangeInclusive<usize> = 10..=1024;

/// How many labels a host may have.
const LABELS_MAX: usize = 50;

/// How many host groups one user or API token may have.
const HOST_GROUPS_MAX: usize = 100;

/// How many backend credentials a repository may have.
const VARIABLES_MAX: usize = 64;

/// Checks the name of a `noun`.
pub(super) fn name(noun: &str, name: &str) -> Result<(), Problem> {
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    let goes_on = letters.all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    if !starts || !goes_on || name.len() > NAME_LENGTH_MAX {
        return Err(Problem::invalid(
            "invalid_name",
            format!("`{}` cannot be the name of a {noun}.", shown(name)),
            "Use 1 to 63 letters, digits, `.`, `_` and `-`, the first a letter or digit.",
        ));
    }
    // Paths take a name or an id; a name that looks like an id would be ambiguous.
    if Uuid::try_parse(name).is_ok() {
        return Err(Problem::invalid(
            "invalid_name",
            format!("The name of a {noun} must not look like an id."),
            "Choose a name that is not a UUID.",
        ));
    }
    Ok(())
}

/// Checks the name of a user, and gives it in the form that is kept.
pub(super) fn user_name(text: &str) -> Result<String, Problem> {
    name("user", text)?;
    Ok(text.to_ascii_lowercase())
}

/// Checks a password that somebody chose.
pub(super) fn new_password(name: &str, password: &Secret) -> Result<(), Problem> {
    let text = password.expose();
    if PASSWORD_LENGTH.contains(&text.len()) && !text.eq_ignore_ascii_case(name) {
        return Ok(());
    }
    Err(Problem::invalid(
        "weak_password",
        "The password is too easy to guess, or too long.",
        "Use 10 to 1024 bytes that are not the name; a few words in a row are good.",
    ))
}

/// Checks a list of host groups.
pub(super) fn host_groups(groups: &[String]) -> Result<(), Problem> {
    let unfit = |group: &&String| *group != scope::ALL && name("host group", group).is_err();
    if groups.len() > HOST_GROUPS_MAX || groups.is_empty() {
        return Err(Problem::invalid(
            "invalid_host_groups",
            format!("The list of host groups is empty or longer than {HOST_GROUPS_MAX}."),
            "Name the groups, or `*` for all.",
        ));
    }
    match groups.iter().find(unfit) {
        None => Ok(()),
        Some(group) => Err(Problem::invalid(
            "invalid_host_groups",
            format!("`{}` cannot be the name of a host group.", shown(group)),
            "Use 1 to 63 letters, digits, `.`, `_` and `-`, or `*` for all.",
        )),
    }
}

/// Checks what people note about a host.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> Result<(), Problem> {
    let fits = |value: &str| value.len() <= 200 && !value.contains(char::is_control);
    let good = labels.iter().all(|(key, value)| name("label", key).is_ok() && fits(value));
    if labels.len() <= LABELS_MAX && good {
        return Ok(());
    }
    Err(Problem::invalid(
        "invalid_labels",
        "There are too many labels, or one of them has an unfit name or value.",
        "Give at most 50, with names like those of hosts and values of at most 200 bytes.",
    ))
}

/// Checks the paths of a source group.
pub(super) fn includes(includes: &[String]) -> Result<(), Problem> {
    if includes.is_empty() {
        return Err(Problem::invalid(
            "invalid_includes",
            "The source group includes nothing.",
            "Give at least one absolute path to back up.",
        ));
    }
    few("invalid_includes", includes)?;
    for path in includes {
        text("invalid_includes", path)?;
        if !is_absolute(path) {
            return Err(Problem::invalid(
                "invalid_includes",
                format!("`{}` is not an absolute path.", shown(path)),
                "Give each path from the root, such as /etc or C:\\Users.",
            ));
        }
    }
    Ok(())
}

/// Checks the one database of a source group, on a host whose agent backs databases up.
pub(super) fn databases(includes: &[String]) -> Result<(), Problem> {
    includes.iter().try_for_each(|address| text("invalid_includes", address))?;
    if matches!(includes, [address] if backupy::is_database(address)) {
        return Ok(());
    }
    Err(Problem::invalid(
        "invalid_includes",
        "This host's agent backs up databases, one for each source group.",
        "Give its address, such as postgresql://USER@HOST:5432/DATABASE?secret=NAME.",
    ))
}

/// Checks the exclude patterns of a source group.
pub(super) fn excludes(excludes: &[String]) -> Result<(), Problem> {
    few("invalid_excludes", excludes)?;
    excludes.iter().try_for_each(|pattern| text("invalid_excludes", pattern))
}

/// Checks how old, in seconds, a group's newest snapshot may be.
pub(super) fn objective(seconds: u64) -> Result<(), Problem> {
    if OBJECTIVE_SECONDS.contains(&seconds) {
        return Ok(());
    }
    Err(Problem::invalid(
        "invalid_objective",
        format!("{seconds} seconds cannot be the greatest age of a snapshot."),
        "Give 15 minutes (900) to 366 days (31622400), in seconds.",
    ))
}

/// Checks a repository's password.
pub(super) fn password(password: &Secret) -> Result<(), Problem> {
    let text = password.expose();
    if text.is_empty() || text.len() > SECRET_LENGTH_MAX || text.contains(['\0', '\n', '\r']) {
        return Err(Problem::invalid(
            "invalid_password",
            "The repository password is empty, too long or more than one line.",
            "Give the password on one line.",
        ));
    }
    Ok(())
}

/// Checks a repository's backend credentials.
pub(super) fn environment(environment: &BTreeMap<String, Secret>) -> Result<(), Problem> {
    if environment.len() > VARIABLES_MAX {
        return Err(refused("There are too many variables.".to_owned()));
    }
    for (name, value) in environment {
        if !is_backend_variable(name) {
            return Err(refused(format!("The variable `{}` is not allowed.", shown(name))));
        }
        if value.expose().len() > SECRET_LENGTH_MAX || value.expose().contains('\0') {
            return Err(refused(format!("The value of `{name}` is too long or not text.")));
        }
    }
    Ok(())
}

/// Checks that backend credentials are for a backend of this kind: those of another would do
/// nothing but lie on every host.
pub(super) fn environment_of(
    kind: &str,
    environment: &BTreeMap<String, Secret>,
) -> Result<(), Problem> {
    let own: &[&str] = match kind {
        "rest" => &["RESTIC_REST_"],
        "s3" => &["AWS_"],
        "b2" => &["B2_"],
        "azure" => &["AZURE_"],
        "gs" => &["GOOGLE_"],
        "swift" => &["OS_", "ST_"],
        _ => &[],
    };
    let fits = |name: &String| own.iter().any(|start| name.starts_with(start));
    match environment.keys().find(|name| !fits(name)) {
        None => Ok(()),
        Some(name) => Err(refused(format!(
            "The variable `{}` is not for a repository of the kind `{kind}`.",
            shown(name)
        ))),
    }
}

/// The longest list of certificates, in bytes.
const CERTIFICATES_LENGTH_MAX: usize = 64 * 1024;

/// Checks certificates in PEM.
pub(super) fn certificates(pem: &str) -> Result<(), Problem> {
    let begins = pem.matches("-----BEGIN CERTIFICATE-----").count();
    let ends = pem.matches("-----END CERTIFICATE-----").count();
    if pem.contains("PRIVATE KEY") {
        return Err(certificate_refused("The text holds a private key."));
    }
    if begins == 0 || begins != ends || pem.len() > CERTIFICATES_LENGTH_MAX || !pem.is_ascii() {
        return Err(certificate_refused("The text is not a list of certificates in PEM."));
    }
    Ok(())
}

pub(super) fn certificate_refused(title: &str) -> Problem {
    Problem::invalid(
        "invalid_certificate",
        title,
        "Give the certificates of your own authority for the slot `repo`, in PEM and without keys.",
    )
}

fn refused(title: String) -> Problem {
    Problem::invalid(
        "invalid_environment",
        title,
        "Give only the variables in which restic's backends take credentials, such as \
         AWS_ACCESS_KEY_ID.",
    )
}

fn few(code: &'static str, list: &[String]) -> Result<(), Problem> {
    if list.len() <= PATHS_MAX {
        return Ok(());
    }
    Err(Problem::invalid(
        code,
        format!("There are more than {PATHS_MAX} of them."),
        "Name directories instead of single files, or use several source groups.",
    ))
}

fn text(code: &'static str, text: &str) -> Result<(), Problem> {
    if !text.is_empty() && text.len() <= PATH_LENGTH_MAX && !text.contains(['\0', '\n', '\r']) {
        return Ok(());
    }
    Err(Problem::invalid(
        code,
        format!("`{}` is empty, too long or more than one line.", shown(text)),
        "Give each path or pattern on one line of at most 4096 bytes.",
    ))
}

fn is_absolute(path: &str) -> bool {
    let windows = matches!(path.as_bytes(), [drive, b':', b'\\' | b'/', ..]
        if drive.is_ascii_alphabetic());
    path.starts_with('/') || windows
}

/// A piece of somebody's text that is safe to repeat: bounded, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let safe = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    text.chars().take(80).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_hurt_are_refused() {
        for good in ["web-1", "DB_2", "a", "host.example.com", &"x".repeat(63)] {
            assert!(name("host", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-rf",
            ".hidden",
            "a b",
            "a/b",
            "..",
            "<script>alert(1)</script>",
            "\u{202e}evil",
            "ümlaut",
            "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b",
            &"x".repeat(64),
        ] {
            assert!(name("host", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_text_is_repeated_only_in_a_safe_form() {
        assert_eq!(shown("a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(shown(&"x".repeat(5000)).len(), 80);
    }

    #[test]
    fn includes_are_absolute_paths() {
        let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert!(includes(&list(&["/etc", "C:\\Users", "/with space"])).is_ok());
        for bad in [&[][..], &[""], &["etc"], &["-x"], &["/a\n/b"], &["/a\0"], &["~/x"]] {
            assert!(includes(&list(bad)).is_err(), "{bad:?}");
        }
        assert!(includes(&vec!["/a".to_owned(); 1001]).is_err());
    }

    #[test]
    fn only_backend_credentials_may_enter_the_environment() {
        for good in ["AWS_ACCESS_KEY_ID", "B2_ACCOUNT_KEY", "RESTIC_REST_PASSWORD"] {
            assert!(is_backend_variable(good), "{good}");
        }
        for bad in [
            "LD_PRELOAD",
            "PATH",
            "RESTIC_PASSWORD_COMMAND",
            "RCLONE_PASSWORD_COMMAND",
            "AWS_",
            "aws_key",
            "AWS_A=B",
        ] {
            assert!(!is_backend_variable(bad), "{bad}");
        }
    }

    #[test]
    fn a_password_is_one_line() {
        assert!(password(&Secret::new("correct horse")).is_ok());
        for bad in ["", "a\nb", "a\0"] {
            assert!(password(&Secret::new(bad)).is_err());
        }
    }
}
