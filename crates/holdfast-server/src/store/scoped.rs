//! What is within somebody's host groups.

use std::collections::BTreeSet;

use holdfast_protocol::{HostId, JobId};
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::{Error, Store, host::only_groups};
use crate::{alert::Subject, auth::Scope};

/// The hosts that somebody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Theirs {
    /// All of them, and what is about none.
    All,
    /// These.
    Hosts(BTreeSet<HostId>),
}

impl Theirs {
    /// Whether everything that something is about is theirs. What is about no host is nobody's.
    pub(crate) fn hold_all(&self, subjects: &[Subject]) -> bool {
        match self {
            Self::All => true,
            Self::Hosts(hosts) => {
                let held = |subject: &Subject| hosts.contains(&subject.host_id);
                !subjects.is_empty() && subjects.iter().all(held)
            }
        }
    }

    /// Whether this host is theirs.
    pub(crate) fn hold(&self, host: HostId) -> bool {
        match self {
            Self::All => true,
            Self::Hosts(hosts) => hosts.contains(&host),
        }
    }
}

impl Store {
    /// The hosts in `scope`.
    pub(crate) async fn hosts_in(&self, scope: &Scope) -> Result<Theirs, Error> {
        const PHASE: &str = "reading the hosts of host groups";
        let Scope::Groups(groups) = scope else { return Ok(Theirs::All) };
        let mut query = QueryBuilder::<Sqlite>::new("SELECT id FROM hosts WHERE 1 = 1");
        only_groups(&mut query, "host_group", groups);
        let ids: Vec<String> = query
            .build_query_scalar()
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        Ok(Theirs::Hosts(ids.iter().filter_map(|id| id.parse().ok()).collect()))
    }

    /// Whether the host with this name or id is in `scope`.
    pub(crate) async fn is_host_in(&self, text: &str, scope: &Scope) -> Result<bool, Error> {
        match self.find_host(text).await {
            Ok(host) => Ok(self.hosts_in(scope).await?.hold(host)),
            Err(Error::HostNotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the job with this id is of a host in `scope`.
    pub(crate) async fn is_job_in(&self, text: &str, scope: &Scope) -> Result<bool, Error> {
        let Ok(job) = text.parse::<JobId>() else { return Ok(false) };
        match self.job(job).await {
            Ok(job) => Ok(self.hosts_in(scope).await?.hold(job.host_id)),
            Err(Error::JobNotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the alert with this id is only about hosts in `scope`.
    pub(crate) async fn is_alert_in(&self, text: &str, scope: &Scope) -> Result<bool, Error> {
        let Ok(alert) = text.parse::<Uuid>() else { return Ok(false) };
        match self.alert(alert, self.now()).await {
            Ok(alert) => Ok(self.hosts_in(scope).await?.hold_all(&alert.subjects)),
            Err(Error::AlertNotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
