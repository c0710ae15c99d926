//! What is worth waking somebody for. Pure: the fleet as it is shown goes in, findings come out.
//!
//! The rules ask nothing that the verdict has not answered already, so that an alert and the page
//! never contradict each other.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, RepositoryId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grouping::Subject;
use crate::{
    verdict::{Cause, Reason},
    view::{GroupView, HostState, HostView, RepositoryView},
    watch,
};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertRule)]
pub enum Rule {
    /// An agent is of an older version than the server.
    AgentOutdated,
    /// Another machine uses a host's identity.
    ClonedIdentity,
    /// A host's clock is off.
    ClockOff,
    /// A backup does not end.
    Endless,
    /// A backup failed or was cut off.
    Failed,
    /// A backup was due and never ran.
    Missed,
    /// A host has been away for long.
    Offline,
    /// Too much waits between the server and an agent.
    OutboxFull,
    /// A backup could not read all files.
    Partial,
    /// A host's own policy refused a job.
    PolicyRefused,
    /// The newest snapshot is older than the objective.
    Stale,
    /// A backup's snapshot is not in the repository.
    Unverified,
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something endangers the next backup.
    Warning,
    /// Data may be lost if nobody acts.
    Critical,
}

/// How a rule is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleSetting {
    pub(crate) rule: Rule,
    pub(crate) enabled: bool,
    /// How long the trouble must last before anybody hears of it.
    pub(crate) grace: SignedDuration,
}

/// A repository, as far as grouping needs it.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) location: String,
}

impl Repository {
    pub(super) fn of(view: RepositoryView) -> Self {
        Self { name: view.name, kind: view.kind, location: view.location }
    }
}

/// An agent that was turned away for not being the one that enrolled.
#[derive(Debug, Clone)]
pub(crate) struct RefusedAgent {
    pub(crate) host_id: HostId,
    pub(crate) at: Timestamp,
}

/// A host for which many commands wait.
#[derive(Debug, Clone)]
pub(crate) struct Crowded {
    pub(crate) host_id: HostId,
    pub(crate) waiting: u64,
}

/// The fleet as the rules see it.
pub(super) struct FleetFacts<'a> {
    pub(super) now: Timestamp,
    pub(super) server_since: Timestamp,
    /// The server's own version.
    pub(super) version: &'a str,
    pub(super) hosts: &'a [HostView],
    pub(super) refused: &'a [RefusedAgent],
    pub(super) crowded: &'a [Crowded],
    /// Since when what tells no time of its own has been wrong.
    pub(super) noticed: &'a Noticed,
}

/// Since when a host has been found wanting by a rule, for what tells no time of its own.
pub(super) type Noticed = BTreeMap<(Rule, HostId), Timestamp>;

/// One thing that is wrong with one host or source group.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) rule: Rule,
    /// Whether it has lasted beyond its grace. What has not is no alarm yet, and yet no reason to
    /// call one over.
    pub(super) ripe: bool,
    pub(super) severity: Severity,
    pub(super) subject: Subject,
    /// Since when it is wrong.
    pub(super) since: Timestamp,
    /// What happened once, such as a job; the same again is not counted again.
    pub(super) occurrence: String,
    pub(super) title: String,
    pub(super) cause: String,
    pub(super) action: String,
    /// The job's error code and its repository, when a job failed.
    pub(super) failure: Option<(String, RepositoryId)>,
    /// Whether it is only because the host is away.
    pub(super) away: bool,
}

/// Records that an agent holds back beyond this are a trouble of their own.
const BACKLOG_MAX: u64 = 10_000;
/// A copy of an agent tries again every minute or two; when it has been quiet for this long, it is
/// gone.
const COPY_QUIET: SignedDuration = SignedDuration::from_mins(30);

/// How long a machine that was off is given to make up for a run, once it is back.
const MAKE_UP: SignedDuration = SignedDuration::from_hours(1);

/// All findings of the rules that are switched on.
pub(super) fn find(facts: &FleetFacts<'_>, settings: &[RuleSetting]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in facts.hosts.iter().filter(|host| host.state != HostState::Pending) {
        findings.extend(of_host(facts, host));
        for group in &host.groups {
            let reasons = group.verdict.reasons.iter();
            findings.extend(reasons.filter_map(|reason| of_group(facts, host, group, reason)));
        }
    }
    let setting = |rule| settings.iter().find(|setting| setting.rule == rule && setting.enabled);
    findings.retain_mut(|finding| {
        let Some(setting) = setting(finding.rule) else { return false };
        finding.ripe = facts.now.duration_since(finding.since) >= setting.grace;
        true
    });
    findings
}

fn of_host(facts: &FleetFacts<'_>, host: &HostView) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(offline(facts, host));
    found.extend(clock_off(facts, host));
    found.extend(outdated(facts, host));
    found.extend(copied(facts, host));
    found.extend(crowded(facts, host));
    found
}

fn host_finding(rule: Rule, host: &HostView, since: Timestamp) -> Finding {
    Finding {
        rule,
        ripe: false,
        severity: rule.severity(),
        subject: Subject { host_id: host.id, host_name: host.name.clone(), group: None },
        since,
        occurrence: format!("{}/{}", rule.as_str(), since.as_millisecond()),
        title: String::new(),
        cause: String::new(),
        action: String::new(),
        failure: None,
        away: false,
    }
}

fn offline(facts: &FleetFacts<'_>, host: &HostView) -> Option<Finding> {
    if host.state != HostState::Offline {
        return None;
    }
    let seen = host.last_seen_at.unwrap_or(host.created_at);
    // Nobody could be heard while the server itself was away.
    let since = seen.max(facts.server_since);
    Some(Finding {
        title: format!("{} is away.", host.name),
        cause: format!("It has not been heard since {}.", crate::verdict::moment(seen)),
        action: "Start the machine or its agent, or remove the host if it is gone for good."
            .to_owned(),
        occurrence: format!("away/{}", seen.as_millisecond()),
        away: true,
        ..host_finding(Rule::Offline, host, since)
    })
}

fn clock_off(facts: &FleetFacts<'_>, host: &HostView) -> Option<Finding> {
    let reasons = host.groups.iter().flat_map(|group| &group.verdict.reasons);
    let reason = reasons.clone().find(|reason| reason.code == Cause::ClockOff)?;
    Some(Finding {
        title: format!("The clock of {} is off.", host.name),
        cause: reason.message.clone(),
        action: reason.action.clone(),
        occurrence: "clock".to_owned(),
        ..host_finding(Rule::ClockOff, host, facts.noticed(Rule::ClockOff, host))
    })
}

fn outdated(facts: &FleetFacts<'_>, host: &HostView) -> Option<Finding> {
    if release(&host.agent_version)? >= release(facts.version)? {
        return None;
    }
    let (agent, server) = (&host.agent_version, facts.version);
    Some(Finding {
        title: format!("The agent of {} is outdated.", host.name),
        cause: format!("It is of version {agent}, and the server of version {server}."),
        action: "Upgrade the agent on the host.".to_owned(),
        occurrence: agent.clone(),
        ..host_finding(Rule::AgentOutdated, host, facts.noticed(Rule::AgentOutdated, host))
    })
}

/// Major and minor number: patches need not be everywhere at once.
fn release(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn copied(facts: &FleetFacts<'_>, host: &HostView) -> Option<Finding> {
    let refused = facts.refused.iter().find(|refused| refused.host_id == host.id)?;
    if facts.now.duration_since(refused.at) > COPY_QUIET {
        return None;
    }
    Some(Finding {
        title: format!("Another machine uses the identity of {}.", host.name),
        cause: "An agent with this host's token but another data directory was turned away: a \
                copied disk, or a restored machine."
            .to_owned(),
        action: "Enrol the copy as a host of its own, or stop it. If the old machine is gone, \
                 enrol this host anew with `holdfast host renew`."
            .to_owned(),
        occurrence: "copy".to_owned(),
        ..host_finding(Rule::ClonedIdentity, host, refused.at)
    })
}

fn crowded(facts: &FleetFacts<'_>, host: &HostView) -> Option<Finding> {
    let commands = facts.crowded.iter().find(|crowded| crowded.host_id == host.id);
    let (cause, action) = if let Some(crowded) = commands {
        (
            format!("{} commands wait for its agent; it takes no more soon.", crowded.waiting),
            "Connect the host's agent, or cancel jobs that wait for it.",
        )
    } else if host.queue_depth >= BACKLOG_MAX {
        (
            format!("Its agent holds {} records that it could not deliver.", host.queue_depth),
            "Look at the agent's and the server's log for why they do not get through.",
        )
    } else {
        return None;
    };
    Some(Finding {
        title: format!("Too much waits between the server and {}.", host.name),
        cause,
        action: action.to_owned(),
        occurrence: "crowded".to_owned(),
        ..host_finding(Rule::OutboxFull, host, facts.noticed(Rule::OutboxFull, host))
    })
}

fn of_group(
    facts: &FleetFacts<'_>,
    host: &HostView,
    group: &GroupView,
    reason: &Reason,
) -> Option<Finding> {
    let rule = rule_of(reason)?;
    if is_about_to_mend(facts, host, group, reason) {
        return None;
    }
    let mut since = reason.since.unwrap_or(facts.now);
    if rule == Rule::Stale {
        // Who has just come back is about to make up for it.
        since = host.connected_since.map_or(since, |connected| connected.max(since));
    }
    let away = host.state != HostState::Online && rule == Rule::Stale;
    let occurrence = reason.job_id.map_or_else(
        || format!("{}/{}/{}", rule.as_str(), group.name, since.as_millisecond()),
        |job| job.to_string(),
    );
    Some(Finding {
        subject: Subject {
            host_id: host.id,
            host_name: host.name.clone(),
            group: Some(group.name.clone()),
        },
        title: title(rule, &group.name, &host.name),
        cause: reason.message.clone(),
        action: reason.action.clone(),
        occurrence,
        failure: reason.error_code.clone().map(|code| (code, group.repository_id)),
        away,
        ..host_finding(rule, host, since)
    })
}

/// Whether it is likely over before anybody could do anything about it.
fn is_about_to_mend(
    facts: &FleetFacts<'_>,
    host: &HostView,
    group: &GroupView,
    reason: &Reason,
) -> bool {
    match reason.code {
        // A backup that takes long grows old before it ends.
        Cause::Stale => group.verdict.under_way,
        // A machine that was off makes up for it when it is back. While it is not, it matters only
        // once the newest snapshot is too old or the host is away for long, which other rules see.
        Cause::Missed => {
            let was_off = Some(watch::Reason::HostOffline.as_str());
            let back = host.connected_since.map(|at| facts.now.duration_since(at));
            reason.error_code.as_deref() == was_off && back.is_none_or(|back| back < MAKE_UP)
        }
        _ => false,
    }
}

/// The rule that a reason falls under. Some reasons are no alarm: nobody has set the host up yet,
/// somebody wants it so, or another rule watches it.
fn rule_of(reason: &Reason) -> Option<Rule> {
    match reason.code {
        Cause::Failed if reason.error_code.as_deref().is_some_and(is_policy) => {
            Some(Rule::PolicyRefused)
        }
        Cause::Failed | Cause::Interrupted => Some(Rule::Failed),
        Cause::Missed => Some(Rule::Missed),
        Cause::Partial => Some(Rule::Partial),
        Cause::Endless => Some(Rule::Endless),
        Cause::Stale => Some(Rule::Stale),
        Cause::SnapshotMissing | Cause::SnapshotUnseen => Some(Rule::Unverified),
        Cause::ClockOff
        | Cause::NoBackup
        | Cause::NoGroups
        | Cause::NotEnrolled
        | Cause::Offline
        | Cause::Overdue
        | Cause::Paused => None,
    }
}

/// Whether the host's own policy said no, or could not be used.
fn is_policy(code: &str) -> bool {
    code == "refused_by_policy" || code.starts_with("policy_")
}

fn title(rule: Rule, group: &str, host: &str) -> String {
    match rule {
        Rule::Endless => format!("The backup of `{group}` on {host} does not end."),
        Rule::Missed => format!("The backup of `{group}` on {host} did not run."),
        Rule::Partial => format!("The backup of `{group}` on {host} could not read everything."),
        Rule::PolicyRefused => format!("{host} refused the backup of `{group}`."),
        Rule::Stale => format!("The newest snapshot of `{group}` on {host} is too old."),
        Rule::Unverified => format!("The snapshot of `{group}` on {host} was not seen."),
        Rule::AgentOutdated
        | Rule::ClonedIdentity
        | Rule::ClockOff
        | Rule::Failed
        | Rule::Offline
        | Rule::OutboxFull => format!("The backup of `{group}` on {host} failed."),
    }
}

impl FleetFacts<'_> {
    fn noticed(&self, rule: Rule, host: &HostView) -> Timestamp {
        self.noticed.get(&(rule, host.id)).copied().unwrap_or(self.now)
    }
}

/// What has been noticed by now, for the next look.
pub(super) fn notice(before: &Noticed, findings: &[Finding]) -> Noticed {
    let found = findings.iter().filter(|it| it.rule.tells_no_time());
    let since = |it: &Finding| {
        let key = (it.rule, it.subject.host_id);
        (key, before.get(&key).copied().unwrap_or(it.since))
    };
    found.map(since).collect()
}

impl Rule {
    /// All rules, by name.
    pub const ALL: [Self; 12] = [
        Self::AgentOutdated,
        Self::ClonedIdentity,
        Self::ClockOff,
        Self::Endless,
        Self::Failed,
        Self::Missed,
        Self::Offline,
        Self::OutboxFull,
        Self::Partial,
        Self::PolicyRefused,
        Self::Stale,
        Self::Unverified,
    ];

    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentOutdated => "agent_outdated",
            Self::ClonedIdentity => "cloned_identity",
            Self::ClockOff => "clock_off",
            Self::Endless => "endless",
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Offline => "offline",
            Self::OutboxFull => "outbox_full",
            Self::Partial => "partial",
            Self::PolicyRefused => "policy_refused",
            Self::Stale => "stale",
            Self::Unverified => "unverified",
        }
    }

    /// The rule named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }

    /// Whether what it finds does not say since when it is so.
    fn tells_no_time(self) -> bool {
        matches!(self, Self::AgentOutdated | Self::ClockOff | Self::OutboxFull)
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::AgentOutdated => Severity::Info,
            Self::ClockOff | Self::Endless | Self::Offline | Self::OutboxFull | Self::Partial => {
                Severity::Warning
            }
            Self::ClonedIdentity
            | Self::Failed
            | Self::Missed
            | Self::PolicyRefused
            | Self::Stale
            | Self::Unverified => Severity::Critical,
        }
    }

    /// How it is set when nobody has changed it.
    pub(crate) fn default_setting(self) -> RuleSetting {
        let grace = match self {
            Self::Offline => SignedDuration::from_hours(24),
            Self::Stale => SignedDuration::from_hours(1),
            Self::AgentOutdated => SignedDuration::from_hours(24),
            Self::ClockOff | Self::Unverified => SignedDuration::from_mins(15),
            Self::ClonedIdentity
            | Self::Endless
            | Self::Failed
            | Self::Missed
            | Self::OutboxFull
            | Self::Partial
            | Self::PolicyRefused => SignedDuration::ZERO,
        };
        RuleSetting { rule: self, enabled: true, grace }
    }
}

impl Severity {
    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|it| it.as_str() == word)
    }
}
