//! What restic says when the repository's place does not delete.
//!
//! An append-only server, a bucket with a lock on its objects, credentials that may only add:
//! restic up to 0.18 says so line by line and may end with 0 all the same.

/// Gathers why things that were to be deleted are still there.
#[derive(Debug, Default)]
pub(crate) struct Deletion {
    /// restic gave up on something.
    given_up: Option<String>,
    /// A try failed; the next one may have done it.
    tried: Option<String>,
}

impl Deletion {
    pub(crate) fn hear(&mut self, line: &str) {
        if let Some((try_failed, reason)) = removal(line) {
            let place = if try_failed { &mut self.tried } else { &mut self.given_up };
            place.get_or_insert_with(|| reason.to_owned());
        } else if gives_up(line) {
            self.given_up.get_or_insert_with(|| line.to_owned());
        }
    }

    /// The first reason, if something is left. Where restic `ended_well`, a try that failed was
    /// followed by one that did not.
    pub(crate) fn refused(&self, ended_well: bool) -> Option<&str> {
        let given_up = self.given_up.as_ref();
        let given_up = given_up.map(|line| self.tried.as_ref().unwrap_or(line).as_str());
        given_up.or_else(|| self.tried.as_deref().filter(|_| !ended_well))
    }
}

/// `Remove(<snapshot/1918e0fe34>) failed: …` and, in restic before 0.17, `… returned error,
/// retrying after 552ms: …`: whether it will be tried again, and why it was not done. Locks do not
/// count: one that stays is stale at the next look.
fn removal(line: &str) -> Option<(bool, &str)> {
    let (what, rest) = line.strip_prefix("Remove(<")?.split_once(">) ")?;
    if what.starts_with("lock/") {
        return None;
    }
    match rest.strip_prefix("failed: ") {
        Some(reason) => Some((false, reason)),
        None => {
            Some((true, rest.strip_prefix("returned error, retrying after ")?.split_once(": ")?.1))
        }
    }
}

fn gives_up(line: &str) -> bool {
    let removal = line.starts_with("unable to remove ") && line.ends_with(" from the repository");
    (removal && !line.contains("lock/"))
        || line.starts_with("unable to modify the tags for snapshot ID")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Deletion {
        let mut deletion = Deletion::default();
        lines.iter().for_each(|line| deletion.hear(line));
        deletion
    }

    #[test]
    fn what_stays_is_told_in_every_versions_words() {
        let new =
            "Remove(<snapshot/482b90beb3>) failed: unexpected HTTP response (403): 403 Forbidden";
        let old = "Remove(<index/1f1b68c39f>) returned error, retrying after 703.28564ms: blob not \
                   removed, server response: 403 Forbidden (403)";
        let gone = "unable to remove <index/e48b449bb7> from the repository";
        let tags = "unable to modify the tags for snapshot ID \"ab\", ignoring: blob not removed";
        let reason = |lines: &[&str], well| heard(lines).refused(well).map(str::to_owned);
        let refused = "unexpected HTTP response (403): 403 Forbidden";
        assert_eq!(reason(&[new], true).as_deref(), Some(refused));
        let refused = "blob not removed, server response: 403 Forbidden (403)";
        assert_eq!(reason(&[old, old], false).as_deref(), Some(refused));
        assert_eq!(reason(&[old, gone], true).as_deref(), Some(refused));
        assert_eq!(reason(&[gone], true).as_deref(), Some(gone));
        assert_eq!(reason(&[tags], true).as_deref(), Some(tags));
    }

    #[test]
    fn what_was_deleted_at_last_is_deleted() {
        let tried = "Remove(<data/00ff>) returned error, retrying after 1s: connection reset";
        assert_eq!(heard(&[tried]).refused(true), None);
        let lock = "Remove(<lock/00ff>) failed: unexpected HTTP response (403): 403 Forbidden";
        assert_eq!(
            heard(&[lock, "unable to remove lock/00ff from the repository"]).refused(false),
            None
        );
    }
}
