//! What is wrong with the server itself.

use jiff::SignedDuration;

use super::{Finding, FleetFacts};
use crate::{
    alert::rule::{Rule, Severity},
    verdict::moment,
};

/// How old the control plane's own copy may be: it is made every night.
const OVERDUE: SignedDuration = SignedDuration::from_hours(48);
/// How long a fleet may go without one before anybody is reminded.
const UNMADE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is wrong with the control plane's own backup.
pub(super) fn backup(facts: &FleetFacts<'_>) -> Option<Finding> {
    let own = facts.own_backup;
    if let Some(failed_at) = own.failed_at {
        return Some(Finding {
            title: "The backup of the control plane failed.".to_owned(),
            cause: own.error.clone().unwrap_or_default(),
            action: "Run `holdfast server backup` by hand and mend what it tells.".to_owned(),
            ..Finding::of(Rule::ServerBackup, failed_at)
        });
    }
    let Some(made_at) = own.made_at else { return never_made(facts) };
    let since = made_at.checked_add(OVERDUE).ok().filter(|due| facts.now >= *due)?;
    Some(Finding {
        title: "The backup of the control plane is overdue.".to_owned(),
        cause: format!("The newest copy is of {}.", moment(made_at)),
        action: "Check the timer that runs `holdfast server backup`.".to_owned(),
        ..Finding::of(Rule::ServerBackup, since)
    })
}

/// Nobody has set it up: worth knowing, and no alarm.
fn never_made(facts: &FleetFacts<'_>) -> Option<Finding> {
    let first = facts.hosts.iter().map(|host| host.created_at).min()?;
    let since = first.checked_add(UNMADE).ok().filter(|due| facts.now >= *due)?;
    Some(Finding {
        title: "The control plane itself is not backed up.".to_owned(),
        cause: "When its disk dies, so do all stored credentials, schedules and people.".to_owned(),
        action:
            "Have `holdfast server backup` run every night; see SECURITY.md for the passphrase."
                .to_owned(),
        severity: Severity::Info,
        ..Finding::of(Rule::ServerBackup, since)
    })
}

/// The fleet remembers more than the database.
pub(super) fn set_back(facts: &FleetFacts<'_>) -> Option<Finding> {
    let (host, at) = facts.ahead?;
    Some(Finding {
        title: "The server's database is older than its agents remember.".to_owned(),
        cause: format!("{host} has met a later state of it."),
        action: "That is so after `holdfast server restore`. If nobody restored it, somebody has \
                 put an older copy in its place: compare `holdfast audit verify --anchor` with an \
                 anchor kept elsewhere."
            .to_owned(),
        ..Finding::of(Rule::ServerSetBack, *at)
    })
}
