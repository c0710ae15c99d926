//! restic's version numbers.

use std::{fmt, str::FromStr};

/// The oldest restic that is supported: Debian 12's.
pub const MINIMUM: Version = Version::new(0, 14, 0);

/// A version of restic, such as 0.18.0. A suffix such as `-dev` is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// The version `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The version in the output of `restic version`: `restic 0.14.0 compiled with go1.19.8 …`.
    pub(crate) fn from_announcement(text: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            line.trim().strip_prefix("restic ")?.split_ascii_whitespace().next()?.parse().ok()
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is not a version such as 0.18.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a version: expected three numbers such as 0.18.0")]
pub struct ParseVersionError;

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let numbers = text.split(['-', '+', ' ']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(str::parse);
        let mut next = || parts.next().and_then(Result::ok).ok_or(ParseVersionError);
        let version = Self::new(next()?, next()?, next()?);
        parts.next().is_none().then_some(version).ok_or(ParseVersionError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_of_real_and_development_builds_are_read() {
        for (text, version) in [
            ("restic 0.14.0 compiled with go1.19.8 on linux/amd64\n", (0, 14, 0)),
            ("restic 0.18.0-dev (compiled manually) compiled with go1.24.4\n", (0, 18, 0)),
            ("warning: something\nrestic 1.2.30 compiled with go2\n", (1, 2, 30)),
        ] {
            let (major, minor, patch) = version;
            let expected = Version::new(major, minor, patch);
            assert_eq!(Version::from_announcement(text), Some(expected), "{text}");
        }
        for text in ["", "restic", "restic x.y.z", "rustic 0.14.0", "restic 0.14", "restic 1.2.3.4"]
        {
            assert_eq!(Version::from_announcement(text), None, "{text}");
        }
    }

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        assert!(Version::new(0, 9, 6) < MINIMUM);
        assert!("0.100.0".parse::<Version>().unwrap() > "0.19.1".parse().unwrap());
    }
}
