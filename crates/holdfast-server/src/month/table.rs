//! What goes wrong, when and where; what must be told of it, and how everybody stands meanwhile.
//! Written by hand.

use jiff::{SignedDuration, Timestamp};

use super::world::{day, evening, host_number};
use crate::{alert::Rule, verdict::Standing};

/// Something that goes wrong.
pub(super) struct Misfortune {
    pub(super) what: &'static str,
    /// The first and the last of the hosts it befalls.
    pub(super) hosts: (usize, usize),
    /// From the evening of the first to the evening of the second day.
    pub(super) evenings: (i64, i64),
    pub(super) kind: Kind,
    /// The one alert that tells of it.
    pub(super) alert: Option<Wanted>,
    /// How the hosts stand on the afternoons after its nights.
    pub(super) standing: Standing,
}

/// The alert that must tell of a misfortune.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) rule: Rule,
    pub(super) title: &'static str,
    /// How long after it shows for the first time at the latest.
    pub(super) within: SignedDuration,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The machine is off.
    Off,
    /// The machine sleeps from evening to morning.
    Nights,
    /// Backups end like this, with this error.
    Ends(&'static str),
    /// Some files cannot be read.
    Partial,
    /// restic says that it made a snapshot, and made none.
    Lies,
    /// The agent is killed in the middle of a backup.
    Killed,
    /// The backup does not end until somebody cancels it.
    Hangs,
    /// Each backup takes five hours.
    Slow,
    /// The agent is connected and starts nothing.
    Idle,
    /// The machine's clock is ten minutes ahead.
    Ahead,
    /// The agent is of a release long ago.
    Old,
    /// A copy of the machine tries to connect.
    Copied,
    /// Records for the server pile up.
    Crowded,
    /// The link drops every two hours.
    Flaps,
    /// The check of the repository, which is made every morning, finds it damaged.
    Damaged,
    /// The disk that the repository lies on fills.
    Filling,
    /// The server's own backup of the night fails.
    Uncopied,
    /// Somebody switches the schedule off.
    SwitchedOff,
}

const fn told(rule: Rule, title: &'static str, within_mins: i64) -> Option<Wanted> {
    Some(Wanted { rule, title, within: SignedDuration::from_mins(within_mins) })
}

/// The end of the month, for what does not end.
const NEVER: i64 = 99;
const HOUR: i64 = 60;

#[rustfmt::skip]
pub(super) const MISFORTUNES: &[Misfortune] = &[
    Misfortune { what: "a dead host", hosts: (3, 3), evenings: (4, NEVER), kind: Kind::Off,
        // The snapshot of the night before may grow 26 hours old, and an hour is given on top.
        alert: told(Rule::Stale, "h-03 is away, and so are its backups.", 27 * HOUR),
        standing: Standing::Stale },
    Misfortune { what: "a laptop that sleeps at night", hosts: (4, 4), evenings: (0, NEVER),
        kind: Kind::Nights, alert: None, standing: Standing::Protected },
    Misfortune { what: "another one", hosts: (36, 36), evenings: (0, NEVER), kind: Kind::Nights,
        alert: None, standing: Standing::Protected },
    Misfortune { what: "a laptop in its bag", hosts: (5, 5), evenings: (11, 14), kind: Kind::Off,
        alert: told(Rule::Stale, "h-05 is away, and so are its backups.", 27 * HOUR),
        standing: Standing::Stale },
    Misfortune { what: "a failing disk", hosts: (7, 7), evenings: (7, 13), kind: Kind::Partial,
        alert: told(Rule::Partial, "The backup of `home` on h-07 could not read everything.", 0),
        standing: Standing::AtRisk },
    Misfortune { what: "a disk that is gone", hosts: (8, 8), evenings: (9, 12),
        kind: Kind::Ends("source_missing"),
        alert: told(Rule::Failed, "The backup of `home` on h-08 failed.", 0),
        standing: Standing::Stale },
    Misfortune { what: "a wrong password", hosts: (9, 11), evenings: (6, 8),
        kind: Kind::Ends("wrong_password"),
        alert: told(Rule::Failed, "The password of the repository `shared` is wrong.", 0),
        standing: Standing::Stale },
    Misfortune { what: "full storage", hosts: (31, 40), evenings: (12, 13),
        kind: Kind::Ends("storage_full"),
        alert: told(Rule::Failed, "The storage of vault-b.example:8000 is full.", 0),
        standing: Standing::Stale },
    Misfortune { what: "a lock that sticks", hosts: (12, 12), evenings: (15, 17),
        kind: Kind::Ends("repository_locked"),
        alert: told(Rule::LockStuck, "The repository `vault-12` stays locked.", 0),
        standing: Standing::Stale },
    Misfortune { what: "a lying restic", hosts: (14, 14), evenings: (10, 12), kind: Kind::Lies,
        alert: told(Rule::Unverified, "The snapshot of `home` on h-14 was not seen.", 15),
        standing: Standing::Stale },
    Misfortune { what: "a clock that is ahead", hosts: (16, 16), evenings: (5, 7),
        kind: Kind::Ahead,
        alert: told(Rule::ClockOff, "The clock of h-16 is off.", 15),
        standing: Standing::AtRisk },
    Misfortune { what: "an old agent", hosts: (17, 17), evenings: (0, 20), kind: Kind::Old,
        alert: told(Rule::AgentOutdated, "The agent of h-17 is outdated.", 24 * HOUR),
        standing: Standing::Protected },
    Misfortune { what: "a dead repository server", hosts: (1, 30), evenings: (20, 22),
        kind: Kind::Ends("repository_unreachable"),
        alert: told(Rule::Failed, "The repository server vault-a.example:8000 is down.", 0),
        standing: Standing::Stale },
    Misfortune { what: "a backup that hangs", hosts: (18, 18), evenings: (24, 27),
        kind: Kind::Hangs,
        alert: told(Rule::Endless, "The backup of `home` on h-18 does not end.", 24 * HOUR),
        standing: Standing::Stale },
    Misfortune { what: "a scheduler that sleeps", hosts: (20, 20), evenings: (7, 9),
        kind: Kind::Idle,
        alert: told(Rule::Missed, "The backup of `home` on h-20 did not run.", 15),
        standing: Standing::Stale },
    Misfortune { what: "a policy that forbids it", hosts: (21, 21), evenings: (17, 18),
        kind: Kind::Ends("refused_by_policy"),
        alert: told(Rule::PolicyRefused, "h-21 refused the backup of `home`.", 0),
        standing: Standing::Stale },
    Misfortune { what: "a copy of a machine", hosts: (22, 22), evenings: (15, 16),
        kind: Kind::Copied,
        alert: told(Rule::ClonedIdentity, "Another machine uses the identity of h-22.", 0),
        standing: Standing::Protected },
    Misfortune { what: "a bad network", hosts: (23, 23), evenings: (1, 28), kind: Kind::Flaps,
        alert: None, standing: Standing::Protected },
    Misfortune { what: "records that pile up", hosts: (24, 24), evenings: (18, 19),
        kind: Kind::Crowded,
        alert: told(Rule::OutboxFull, "Too much waits between the server and h-24.", 0),
        standing: Standing::Protected },
    Misfortune { what: "backups that take long", hosts: (25, 25), evenings: (0, NEVER),
        kind: Kind::Slow, alert: None, standing: Standing::Protected },
    Misfortune { what: "an agent that is killed", hosts: (27, 27), evenings: (25, 26),
        kind: Kind::Killed,
        alert: told(Rule::Failed, "The backup of `home` on h-27 failed.", 0),
        standing: Standing::Stale },
    Misfortune { what: "a damaged repository", hosts: (13, 13), evenings: (3, 6),
        kind: Kind::Damaged,
        alert: told(Rule::CheckFailed, "The check of the repository `vault-13` failed.", 0),
        standing: Standing::AtRisk },
    Misfortune { what: "a disk that fills", hosts: (15, 15), evenings: (8, 11),
        kind: Kind::Filling,
        alert: told(Rule::StorageLow,
            "The disk of the repository `vault-15` on h-15 is nearly full.", 13 * HOUR),
        standing: Standing::AtRisk },
    Misfortune { what: "no copy of the server", hosts: (1, 40), evenings: (22, 24),
        kind: Kind::Uncopied,
        alert: told(Rule::ServerBackup, "The backup of the control plane failed.", 11 * HOUR),
        standing: Standing::Protected },
    Misfortune { what: "a schedule that is switched off", hosts: (30, 30), evenings: (9, NEVER),
        kind: Kind::SwitchedOff, alert: None, standing: Standing::Paused },
];

impl Misfortune {
    pub(super) fn from(&self) -> Timestamp {
        evening(self.evenings.0)
    }

    pub(super) fn until(&self) -> Timestamp {
        // Who takes a laptop out of its bag does so in the morning.
        let morning = SignedDuration::from_hours(if self.kind == Kind::Off { 15 } else { 0 });
        evening(self.evenings.1.min(super::DAYS + 1)) + morning
    }

    pub(super) fn befalls(&self, host: &str) -> bool {
        let number = host_number(host);
        let spared =
            matches!(self.kind, Kind::Ends("repository_unreachable")) && (9..=11).contains(&number);
        (self.hosts.0..=self.hosts.1).contains(&number) && !spared
    }

    /// Whether it is going on at `now`.
    pub(super) fn lasts(&self, now: Timestamp) -> bool {
        (self.from()..self.until()).contains(&now)
    }
}

/// How a host stands on the afternoon of a day, by the table.
pub(super) fn standing(host: &str, on: i64) -> Standing {
    let afternoon = day(on, 16);
    // The weekly one, which is due on Sundays, was not concerned when the server was dead.
    if host_number(host) == 28 {
        return Standing::Protected;
    }
    let of_host = MISFORTUNES.iter().filter(|it| it.befalls(host) && it.from() < afternoon);
    let of_night = of_host.filter(|it| {
        let last_night = evening(on - 1);
        it.lasts(last_night) && (it.kind != Kind::Off || it.lasts(afternoon))
    });
    let standings: Vec<Standing> = of_night.map(|it| it.standing).collect();
    // What is switched off stays so whatever else is wrong.
    if standings.contains(&Standing::Paused) {
        return Standing::Paused;
    }
    standings.into_iter().max().unwrap_or(Standing::Protected)
}
