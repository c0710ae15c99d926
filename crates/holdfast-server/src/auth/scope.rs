//! On which hosts a role counts.

use std::collections::BTreeSet;

/// The host groups of a user or an API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every host, in a group or not, and what belongs to no host.
    All,
    /// Only the hosts of these groups.
    Groups(BTreeSet<String>),
}

/// The word for every host group.
pub(crate) const ALL: &str = "*";

impl Scope {
    /// The scope that a list of host groups stands for.
    pub(crate) fn of(groups: impl IntoIterator<Item = String>) -> Self {
        let groups: BTreeSet<String> = groups.into_iter().collect();
        if groups.contains(ALL) { Self::All } else { Self::Groups(groups) }
    }

    /// Whether a host of `group` is among them.
    pub(crate) fn holds(&self, group: &str) -> bool {
        match self {
            Self::All => true,
            Self::Groups(groups) => groups.contains(group),
        }
    }

    /// The host groups, where it is not all.
    pub(crate) fn only(&self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Groups(groups) => Some(groups.iter().cloned().collect()),
        }
    }

    /// The list as people write it.
    pub(crate) fn to_list(&self) -> Vec<String> {
        match self {
            Self::All => vec![ALL.to_owned()],
            Self::Groups(groups) => groups.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(groups: &[&str]) -> Scope {
        Scope::of(groups.iter().map(|group| (*group).to_owned()))
    }

    #[test]
    fn a_star_is_everything_and_nothing_is_nothing() {
        assert_eq!(scope(&["a", "*"]), Scope::All);
        assert!(Scope::All.holds("") && Scope::All.holds("a"));
        assert!(scope(&["a"]).holds("a") && !scope(&["a"]).holds("b") && !scope(&["a"]).holds(""));
        assert!(!scope(&[]).holds(""));
        assert_eq!(scope(&["b", "a"]).to_list(), ["a", "b"]);
    }
}
