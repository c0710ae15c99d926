//! A fleet by hand.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, JobId, RepositoryId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    alert::find::{OwnBackup, Repository},
    verdict::{Cause, Reason, Standing, Verdict},
    view::{GroupView, HostState, HostView, ObjectiveSource},
    watch,
};

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Hosts with a source group `etc` each, and a repository each on one server.
pub(super) struct House {
    pub(super) now: Timestamp,
    pub(super) hosts: Vec<HostView>,
    pub(super) repositories: BTreeMap<RepositoryId, Repository>,
    pub(super) own_backup: OwnBackup,
    runs: u128,
}

impl House {
    /// All is well.
    pub(super) fn well(hosts: usize, now: &str) -> Self {
        let repository = |index: usize| {
            let name = format!("vault-{index}");
            let location = format!("rest:https://backup.example:8000/{name}");
            (repository_id(index), Repository { name, kind: "rest".to_owned(), location })
        };
        Self {
            now: at(now),
            hosts: (0..hosts).map(|index| host(index, now)).collect(),
            repositories: (0..hosts).map(repository).collect(),
            own_backup: OwnBackup { made_at: Some(at(now)), ..OwnBackup::default() },
            runs: 0,
        }
    }

    /// Has the backup of a host fail, once more.
    pub(super) fn fail(&mut self, index: usize, code: &str) {
        self.runs += 1;
        let failed = Reason {
            job_id: Some(JobId::from_uuid(Uuid::from_u128(self.runs))),
            error_code: Some(code.to_owned()),
            ..reason(Cause::Failed, "2026-11-21T03:00:00Z")
        };
        self.hosts[index].groups[0].verdict.reasons = vec![failed];
    }

    /// Has a host missed its run while it was away.
    pub(super) fn miss(&mut self, index: usize, since: &str) {
        let missed = Reason {
            error_code: Some(watch::Reason::HostOffline.as_str().to_owned()),
            ..reason(Cause::Missed, since)
        };
        self.hosts[index].groups[0].verdict.reasons = vec![missed];
    }

    pub(super) fn away(&mut self, index: usize, seen: &str) {
        let host = &mut self.hosts[index];
        (host.state, host.connected_since) = (HostState::Offline, None);
        host.last_seen_at = Some(at(seen));
    }

    /// Lets the host's newest snapshot, of the day before, grow stale when it is time.
    pub(super) fn age(&mut self, index: usize) {
        let stale_at = at("2026-11-22T05:00:00Z");
        let reasons = &mut self.hosts[index].groups[0].verdict.reasons;
        reasons.retain(|reason| reason.code != Cause::Stale);
        if self.now > stale_at + SignedDuration::from_hours(1) {
            reasons.insert(0, reason(Cause::Stale, "2026-11-22T05:00:00Z"));
        }
    }

    /// Has all hosts use one repository.
    pub(super) fn share_repository(&mut self) {
        for host in &mut self.hosts {
            host.groups[0].repository_id = repository_id(0);
        }
    }

    pub(super) fn local_repositories(&mut self) {
        for repository in self.repositories.values_mut() {
            repository.kind = "local".to_owned();
            repository.location = "/srv/backup".to_owned();
        }
    }
}

fn repository_id(index: usize) -> RepositoryId {
    RepositoryId::from_uuid(Uuid::from_u128(1000 + index as u128))
}

pub(super) fn reason(code: Cause, since: &str) -> Reason {
    Reason {
        code,
        group: None,
        since: Some(at(since)),
        job_id: None,
        error_code: None,
        message: "It went wrong.".to_owned(),
        action: "Mend it.".to_owned(),
    }
}

/// A host that is connected and protected.
pub(super) fn host(index: usize, now: &str) -> HostView {
    let now = at(now);
    let verdict = Verdict {
        standing: Standing::Protected,
        reasons: vec![],
        restorable_at: Some(now),
        until: None,
        under_way: false,
    };
    let group = GroupView {
        name: "etc".to_owned(),
        repository_id: repository_id(index),
        repository_name: format!("vault-{index}"),
        includes: vec!["/etc".to_owned()],
        excludes: vec![],
        options: Default::default(),
        retention: None,
        objective_seconds: 93_600,
        objective_source: ObjectiveSource::Schedule,
        verdict: verdict.clone(),
        last_backup: None,
        schedule: None,
    };
    HostView {
        host_group: String::new(),
        labels: BTreeMap::new(),
        id: HostId::from_uuid(Uuid::from_u128(index as u128)),
        name: format!("web-{index}"),
        dialect: None,
        capabilities: Vec::new(),
        state: HostState::Online,
        verdict,
        last_seen_at: Some(now),
        connected_since: Some(now - SignedDuration::from_hours(100)),
        agent_version: "1.4.2".to_owned(),
        restic_version: "0.18.0".to_owned(),
        hostname: String::new(),
        os: String::new(),
        arch: String::new(),
        time_zone: String::new(),
        created_at: now - SignedDuration::from_hours(1000),
        groups: vec![group],
        last_backup: None,
        next_backup_at: None,
        running_jobs: vec![],
        reconnects: 0,
        queue_depth: 0,
        clock_offset_ms: None,
    }
}
