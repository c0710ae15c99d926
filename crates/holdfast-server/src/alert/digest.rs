//! The digest: how the time since the last one went, for who wants to know without being rung.
//!
//! It says first what somebody would have to do, and is short when all is well.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, message::job::Status};
use jiff::{Timestamp, tz::TimeZone};

use super::{Alert, State, find::OwnBackup};
use crate::{
    verdict::Standing,
    view::{HostView, RepositoryView},
};

/// When a channel gets its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DigestSetting {
    pub(crate) enabled: bool,
    pub(crate) cron: String,
    pub(crate) time_zone: String,
}

/// When a digest comes if nobody has said otherwise: on Monday morning.
const CRON: &str = "0 8 * * 1";

impl DigestSetting {
    /// How it is set for a channel of `kind`, while nobody has set it. What a program reads is not
    /// sent what it does not expect.
    pub(crate) fn of_kind(kind: &str) -> Self {
        Self {
            enabled: !matches!(kind, "ping" | "webhook"),
            cron: CRON.to_owned(),
            time_zone: "UTC".to_owned(),
        }
    }
}

/// What a digest is made from.
pub(crate) struct DigestFacts<'a> {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) zone: TimeZone,
    /// Only of this host.
    pub(crate) host: Option<HostId>,
    pub(crate) hosts: &'a [HostView],
    /// How many backups ended how.
    pub(crate) backups: &'a BTreeMap<&'static str, u64>,
    /// Those that last, and those that were over within the time.
    pub(crate) alerts: &'a [Alert],
    pub(crate) repositories: &'a [RepositoryView],
    pub(crate) own_backup: &'a OwnBackup,
}

/// A digest in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) title: String,
    pub(crate) text: String,
}

/// How many hosts, alerts and repositories are named at most.
const NAMED_MAX: usize = 15;

/// Writes the digest. Pure.
pub(crate) fn write(facts: &DigestFacts<'_>) -> Digest {
    let hosts: Vec<&HostView> = facts.hosts.iter().filter(|host| facts.is_about(host.id)).collect();
    let well = |host: &&&HostView| host.verdict.standing == Standing::Protected;
    let (count, protected) = (hosts.len(), hosts.iter().filter(well).count());
    let title = if count > 0 && count == protected {
        format!("Backups are well: {protected} of {count} hosts are protected.")
    } else {
        format!("Backups: {protected} of {count} hosts are protected.")
    };
    let mut parts =
        vec![format!("From {} to {}.", facts.moment(facts.from), facts.moment(facts.until))];
    parts.extend(unprotected(&hosts));
    parts.push(backups(facts.backups));
    parts.push(alerts(facts));
    // What lies beyond one host is not for who asked about one.
    if facts.host.is_none() {
        parts.extend(repositories(facts.repositories));
        parts.push(own(facts));
    }
    Digest { title, text: parts.join("\n\n") }
}

impl DigestFacts<'_> {
    fn is_about(&self, host: HostId) -> bool {
        self.host.is_none_or(|only| only == host)
    }

    fn moment(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
    }
}

fn unprotected(hosts: &[&HostView]) -> Option<String> {
    let mut wanting: Vec<&&HostView> =
        hosts.iter().filter(|host| host.verdict.standing != Standing::Protected).collect();
    wanting.sort_by_key(|host| (std::cmp::Reverse(host.verdict.standing), host.name.clone()));
    let line = |host: &&&HostView| {
        let why = host.verdict.reasons.first().map(|reason| reason.message.as_str());
        format!("{}: {}", host.name, why.unwrap_or("Nothing is known of it."))
    };
    let lines: Vec<String> = wanting.iter().map(line).collect();
    listed("Not protected:", &lines)
}

fn backups(ended: &BTreeMap<&'static str, u64>) -> String {
    let count = |status: Status| ended.get(status.as_str()).copied().unwrap_or(0);
    let told = [
        (count(Status::Succeeded), "good"),
        (count(Status::Partial), "with files left out"),
        (count(Status::Failed) + count(Status::Interrupted), "failed"),
        (count(Status::Missed), "missed"),
        (count(Status::Cancelled), "cancelled"),
    ];
    let told = told.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, how)| format!("{count} {how}")).collect();
    if told.is_empty() {
        return "No backup ended in this time.".to_owned();
    }
    format!("Backups: {}.", told.join(", "))
}

fn alerts(facts: &DigestFacts<'_>) -> String {
    let ours = |alert: &&Alert| {
        facts.host.is_none() || alert.subjects.iter().any(|it| facts.is_about(it.host_id))
    };
    let alerts: Vec<&Alert> = facts.alerts.iter().filter(ours).collect();
    let opened = alerts.iter().filter(|alert| alert.first_seen_at >= facts.from).count();
    let over = |alert: &&&Alert| alert.state == State::Resolved;
    let resolved = alerts.iter().filter(over).count();
    let counts = format!("Alerts: {opened} opened, {resolved} resolved");
    let lasting: Vec<String> = alerts
        .iter()
        .filter(|alert| alert.state != State::Resolved)
        .map(|alert| format!("{} Since {}.", alert.title, facts.moment(alert.since)))
        .collect();
    let head = format!("{counts}, {} still open:", lasting.len());
    listed(&head, &lasting).unwrap_or_else(|| format!("{counts}, none open."))
}

fn repositories(repositories: &[RepositoryView]) -> Option<String> {
    let line = |repository: &RepositoryView| {
        let size = repository.total_size_bytes.map(|bytes| format!(", {}", size(bytes)));
        let count = repository.snapshot_count.map(|count| format!(", {count} snapshots"));
        let (size, count) = (size.unwrap_or_default(), count.unwrap_or_default());
        let (hosts, s) = (repository.host_count, if repository.host_count == 1 { "" } else { "s" });
        format!("{}: {hosts} host{s}{size}{count}", repository.name)
    };
    listed("Repositories:", &repositories.iter().map(line).collect::<Vec<_>>())
}

fn own(facts: &DigestFacts<'_>) -> String {
    match (facts.own_backup.made_at, facts.own_backup.failed_at) {
        (_, Some(failed)) => {
            format!("The control plane's own backup failed at {}.", facts.moment(failed))
        }
        (Some(made), None) => {
            format!("The control plane's own backup is of {}.", facts.moment(made))
        }
        (None, None) => "The control plane itself is not backed up.".to_owned(),
    }
}

/// A heading and what is below it, not all of it when it is long; `None` when there is nothing.
fn listed(head: &str, lines: &[String]) -> Option<String> {
    let more = lines.len().saturating_sub(NAMED_MAX);
    let named = lines.iter().take(NAMED_MAX).map(|line| format!("- {line}"));
    let rest = (more > 0).then(|| format!("- and {more} more"));
    let whole: Vec<String> = std::iter::once(head.to_owned()).chain(named).chain(rest).collect();
    (whole.len() > 1).then(|| whole.join("\n"))
}

/// Three digits are enough to see that something grows.
#[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}
