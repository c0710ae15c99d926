//! One trouble, one alert: findings that have one cause become one.
//!
//! A dead repository server makes forty backups fail, and a dead host misses its runs, grows stale
//! and stays away. Each of these is one thing that somebody has to go and mend.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_protocol::{HostId, RepositoryId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    find::{Finding, Repository},
    rule::{Rule, Severity},
};

/// A host or source group that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertSubject)]
pub struct Subject {
    /// The host.
    #[schema(value_type = Uuid)]
    pub host_id: HostId,
    /// Its name.
    pub host_name: String,
    /// The source group; absent when the whole host is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Something that somebody has to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) key: String,
    pub(crate) rule: Rule,
    /// Whether it has lasted long enough to be told of.
    pub(crate) ripe: bool,
    pub(crate) severity: Severity,
    pub(crate) since: Timestamp,
    pub(crate) title: String,
    pub(crate) cause: String,
    pub(crate) action: String,
    pub(crate) subjects: BTreeSet<Subject>,
    pub(crate) occurrences: BTreeSet<String>,
}

type Repositories = BTreeMap<RepositoryId, Repository>;

/// Gathers findings into troubles, by key.
pub(super) fn gather(findings: Vec<Finding>, repositories: &Repositories) -> Vec<Trouble> {
    let mut findings = without_consequences(findings);
    // What is ripe gives the words.
    findings.sort_by_key(|finding| !finding.ripe);
    let mut troubles: BTreeMap<String, Trouble> = BTreeMap::new();
    for finding in findings {
        let place = place(&finding, repositories);
        match troubles.get_mut(&place.key) {
            Some(trouble) if trouble.ripe != finding.ripe => {}
            Some(trouble) => trouble.add(finding),
            None => drop(troubles.insert(place.key.clone(), place.trouble(finding))),
        }
    }
    troubles.into_values().map(Trouble::told).collect()
}

/// Drops what only follows from something else that was found: a group grows stale whose backups
/// fail.
fn without_consequences(findings: Vec<Finding>) -> Vec<Finding> {
    let troubled: BTreeSet<Subject> = findings
        .iter()
        .filter(|finding| finding.rule.makes_stale())
        .filter_map(|finding| finding.subject.clone())
        .collect();
    let follows = |finding: &Finding| {
        let explained = finding.subject.as_ref().is_some_and(|subject| troubled.contains(subject));
        finding.rule == Rule::Stale && explained
    };
    findings.into_iter().filter(|finding| !follows(finding)).collect()
}

/// The alert that a finding belongs to.
struct Place {
    key: String,
    /// Its title, when it is not about the finding's own host.
    title: Option<String>,
}

impl Place {
    fn trouble(self, finding: Finding) -> Trouble {
        Trouble {
            key: self.key,
            rule: finding.rule,
            ripe: finding.ripe,
            severity: finding.severity,
            since: finding.since,
            title: self.title.unwrap_or(finding.title),
            cause: finding.cause,
            action: finding.action,
            subjects: finding.subject.into_iter().collect(),
            occurrences: BTreeSet::from([finding.occurrence]),
        }
    }
}

fn place(finding: &Finding, repositories: &Repositories) -> Place {
    let rule = finding.rule;
    let Some(subject) = &finding.subject else {
        return Place { key: rule.as_str().to_owned(), title: None };
    };
    if finding.away {
        let title = Some(format!("{} is away, and so are its backups.", subject.host_name));
        return Place { key: format!("away:{}", subject.host_id), title };
    }
    if let Some(id) = finding.repository {
        return neglected(rule, id, subject, repositories);
    }
    let shared = matches!(rule, Rule::Failed | Rule::LockStuck).then_some(finding.failure.as_ref());
    let of_shared = |(code, id): &(String, _)| of_repository(code, *id, repositories);
    if let Some(place) = shared.flatten().and_then(of_shared) {
        return place;
    }
    let Subject { host_id, group, .. } = subject;
    let group = group.as_deref().unwrap_or_default();
    Place { key: format!("{}:{host_id}/{group}", finding.rule.as_str()), title: None }
}

/// The place of what is wrong with a repository, for whoever uses it.
fn neglected(rule: Rule, id: RepositoryId, user: &Subject, repositories: &Repositories) -> Place {
    let name = repositories.get(&id).map_or("?", |repository| repository.name.as_str());
    let (about, title) = match rule {
        Rule::CheckFailed => {
            (id.to_string(), format!("The check of the repository `{name}` failed."))
        }
        Rule::PruneOverdue => {
            (id.to_string(), format!("The prune of the repository `{name}` is overdue."))
        }
        // A path is another disk on every host.
        _ => {
            let host = &user.host_name;
            let title = format!("The disk of the repository `{name}` on {host} is nearly full.");
            (format!("{id}/{}", user.host_id), title)
        }
    };
    Place { key: format!("{}:{about}", rule.as_str()), title: Some(title) }
}

/// The place of a failure whose cause is the repository or the server it lies on.
fn of_repository(code: &str, id: RepositoryId, repositories: &Repositories) -> Option<Place> {
    let repository = repositories.get(&id)?;
    let name = &repository.name;
    let server = server(repository);
    let (about, title) = match code {
        "repository_unreachable" => match &server {
            Some(server) => (server.clone(), format!("The repository server {server} is down.")),
            None => (id.to_string(), format!("The repository `{name}` cannot be reached.")),
        },
        "storage_full" => match &server {
            Some(server) => (server.clone(), format!("The storage of {server} is full.")),
            None => (id.to_string(), format!("The storage of the repository `{name}` is full.")),
        },
        "repository_locked" => (id.to_string(), format!("The repository `{name}` stays locked.")),
        "wrong_password" => {
            (id.to_string(), format!("The password of the repository `{name}` is wrong."))
        }
        "repository_not_found" => {
            (id.to_string(), format!("The repository `{name}` does not exist."))
        }
        _ => return None,
    };
    // A path is another disk on every host.
    if repository.kind == "local" && matches!(code, "repository_unreachable" | "storage_full") {
        return None;
    }
    Some(Place { key: format!("{code}:{about}"), title: Some(title) })
}

/// The server that a repository lies on: forty repositories on one server die together.
fn server(repository: &Repository) -> Option<String> {
    let location = &repository.location;
    let address = match repository.kind.as_str() {
        "rest" | "s3" => location.split_once(':')?.1,
        "sftp" => {
            let rest = location.strip_prefix("sftp:")?;
            let rest = rest.trim_start_matches('/');
            let end = rest.find([':', '/']).unwrap_or(rest.len());
            let host = rest[..end].rsplit('@').next()?;
            return (!host.is_empty()).then(|| host.to_owned());
        }
        _ => return None,
    };
    let address =
        if address.contains("://") { address.to_owned() } else { format!("x://{address}") };
    let url = url::Url::parse(&address).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

impl Trouble {
    /// Takes one more finding of the same cause in. The gravest gives the words.
    fn add(&mut self, finding: Finding) {
        if finding.severity > self.severity {
            self.severity = finding.severity;
            (self.cause, self.action) = (finding.cause, finding.action);
            self.rule = finding.rule;
        }
        self.since = self.since.min(finding.since);
        self.subjects.extend(finding.subject);
        self.occurrences.insert(finding.occurrence);
    }

    /// Says how many are affected.
    fn told(mut self) -> Self {
        let groups = self.subjects.iter().filter(|subject| subject.group.is_some()).count();
        let hosts: BTreeSet<HostId> = self.subjects.iter().map(|subject| subject.host_id).collect();
        if groups > 1 && hosts.len() > 1 {
            let told = format!("{groups} source groups on {} hosts are affected.", hosts.len());
            self.cause = format!("{} {told}", self.cause);
        }
        self
    }
}
