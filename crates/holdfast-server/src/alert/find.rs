//! What is worth waking somebody for. Pure: the fleet as it is shown goes in, findings come out.
//!
//! The rules ask nothing that the verdict has not answered already, so that an alert and the page
//! never contradict each other.

mod own;

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, JobId, RepositoryId, message::job::Operation};
use jiff::{SignedDuration, Timestamp};

use super::{
    grouping::Subject,
    rule::{Rule, RuleSetting, Severity},
};
use crate::{
    verdict::{Cause, Reason},
    view::{GroupView, HostState, HostView, RepositoryView},
    watch,
};

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

/// An agent that lost what it had not delivered.
#[derive(Debug, Clone)]
pub(crate) struct ResetOutbox {
    pub(crate) host_id: HostId,
    pub(crate) at: Timestamp,
}

/// A job other than a backup that its host's own policy refused.
#[derive(Debug, Clone)]
pub(crate) struct RefusedJob {
    pub(crate) host_id: HostId,
    pub(crate) job_id: JobId,
    pub(crate) operation: Operation,
    pub(crate) at: Timestamp,
    pub(crate) message: String,
}

/// How the control plane's own backups went.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnBackup {
    /// When the newest good one was made.
    pub(crate) made_at: Option<Timestamp>,
    /// When the newest one failed, if it did.
    pub(crate) failed_at: Option<Timestamp>,
    /// Why.
    pub(crate) error: Option<String>,
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
    pub(super) reset: &'a [ResetOutbox],
    /// The newest first.
    pub(super) refused_jobs: &'a [RefusedJob],
    pub(super) own_backup: &'a OwnBackup,
    /// Who first showed, within a day, that the database is older than one it has met, and when.
    pub(super) ahead: Option<&'a (String, Timestamp)>,
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
    /// What it is about; absent when that is the server itself.
    pub(super) subject: Option<Subject>,
    /// Since when it is wrong.
    pub(super) since: Timestamp,
    /// What happened once, such as a job; the same again is not counted again.
    pub(super) occurrence: String,
    pub(super) title: String,
    pub(super) cause: String,
    pub(super) action: String,
    /// The job's error code and its repository, when a job failed.
    pub(super) failure: Option<(String, RepositoryId)>,
    /// The repository, when it is about that and not about one of its source groups.
    pub(super) repository: Option<RepositoryId>,
    /// Whether it is only because the host is away.
    pub(super) away: bool,
}

impl Finding {
    /// A finding about nobody in particular that says nothing yet.
    fn of(rule: Rule, since: Timestamp) -> Self {
        Self {
            rule,
            ripe: false,
            severity: rule.severity(),
            subject: None,
            since,
            occurrence: format!("{}/{}", rule.as_str(), since.as_millisecond()),
            title: String::new(),
            cause: String::new(),
            action: String::new(),
            failure: None,
            repository: None,
            away: false,
        }
    }
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
    let mut findings = Vec::from_iter(own::backup(facts));
    findings.extend(own::set_back(facts));
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
    found.extend(reset(facts, host));
    found.extend(refused_job(facts, host));
    found
}

fn host_finding(rule: Rule, host: &HostView, since: Timestamp) -> Finding {
    let subject = Subject { host_id: host.id, host_name: host.name.clone(), group: None };
    Finding { subject: Some(subject), ..Finding::of(rule, since) }
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

fn reset(facts: &FleetFacts<'_>, host: &HostView) -> Option<Finding> {
    let reset = facts.reset.iter().find(|reset| reset.host_id == host.id)?;
    Some(Finding {
        title: format!("What {} told may have a gap.", host.name),
        cause: "The memory of its agent was damaged and begun anew; ends of jobs that it had not \
                told by then are lost."
            .to_owned(),
        action: "Check the host's disk. Its snapshots are listed anew at the next backup; the \
                 damaged file lies beside the agent's new one."
            .to_owned(),
        ..host_finding(Rule::OutboxReset, host, reset.at)
    })
}

/// Whoever asks for what a host forbids, by mistake or with the server in their hands, is heard of.
/// A refused backup is told by the verdict of its source group.
fn refused_job(facts: &FleetFacts<'_>, host: &HostView) -> Option<Finding> {
    let refused = facts.refused_jobs.iter().find(|job| job.host_id == host.id)?;
    let operation = refused.operation.as_str();
    Some(Finding {
        title: format!("{} refused a job: `{operation}`.", host.name),
        cause: refused.message.clone(),
        action:
            "Find out in the audit log who ordered it. If it is wanted, allow it in the policy \
                 of the host."
                .to_owned(),
        occurrence: refused.job_id.to_string(),
        ..host_finding(Rule::PolicyRefused, host, refused.at)
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
        subject: Some(Subject {
            host_id: host.id,
            host_name: host.name.clone(),
            group: Some(group.name.clone()),
        }),
        title: title(rule, &group.name, &host.name),
        cause: reason.message.clone(),
        action: reason.action.clone(),
        occurrence,
        failure: reason.error_code.clone().map(|code| (code, group.repository_id)),
        repository: rule.is_about_repository().then_some(group.repository_id),
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
            let was_off = [watch::Reason::HostOffline, watch::Reason::MachineOff];
            let code = reason.error_code.as_deref();
            let was_off = was_off.iter().any(|reason| Some(reason.as_str()) == code);
            let back = host.connected_since.map(|at| facts.now.duration_since(at));
            was_off && back.is_none_or(|back| back < MAKE_UP)
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
        Cause::Failed if reason.error_code.as_deref() == Some("repository_locked") => {
            Some(Rule::LockStuck)
        }
        Cause::CheckFailed => Some(Rule::CheckFailed),
        Cause::PruneOverdue => Some(Rule::PruneOverdue),
        Cause::StorageLow => Some(Rule::StorageLow),
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
        // About a repository: its place gives the title.
        Rule::CheckFailed | Rule::PruneOverdue | Rule::StorageLow => String::new(),
        Rule::AgentOutdated
        | Rule::ClonedIdentity
        | Rule::ClockOff
        | Rule::Failed
        | Rule::LockStuck
        | Rule::Offline
        | Rule::OutboxFull
        | Rule::OutboxReset
        | Rule::ServerBackup
        | Rule::ServerSetBack => format!("The backup of `{group}` on {host} failed."),
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
        let key = (it.rule, it.subject.as_ref()?.host_id);
        Some((key, before.get(&key).copied().unwrap_or(it.since)))
    };
    found.filter_map(since).collect()
}
