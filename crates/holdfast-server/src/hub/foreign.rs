//! What the hub does for hosts whose agents speak another system's words.

use holdfast_link::CloseReason;
use holdfast_protocol::{
    HostId, JobId,
    dialect::{Ability, Unsayable},
};

use super::Hub;
use crate::store::{DialledHost, Error};

impl Hub {
    /// Refuses what the host's agent has no words for, before anything is stored.
    ///
    /// # Errors
    /// [`Error::HostCannot`], [`Error::HostNotFound`] and [`Error::Database`].
    pub(crate) async fn require(&self, host: HostId, ability: Ability) -> Result<(), Error> {
        match self.store().dialect_of(host).await? {
            Some(dialect) => {
                dialect.require(ability).map_err(|refusal: Unsayable| Error::HostCannot(refusal))
            }
            None => Ok(()),
        }
    }

    /// As [`require`](Self::require), for the host that a job runs on. A host that was removed is
    /// not asked: its jobs have ended.
    pub(crate) async fn require_of_job(&self, job: JobId, ability: Ability) -> Result<(), Error> {
        let host = self.store().host_of(job).await?;
        match self.require(host, ability).await {
            Err(Error::HostNotFound { .. }) => Ok(()),
            decided => decided,
        }
    }

    /// Refuses a schedule for a host whose agent takes none, neither with its configuration nor by
    /// itself: it would never fire.
    pub(super) async fn require_schedules(&self, host: HostId) -> Result<(), Error> {
        match self.require(host, Ability::Configure).await {
            Ok(()) => Ok(()),
            Err(_) => self.require(host, Ability::Schedule).await,
        }
    }

    /// Takes a host's agent token back and closes its connection. The host stays.
    pub(crate) async fn revoke_agent(&self, host: HostId) -> Result<(), Error> {
        self.store().revoke_agent(host).await?;
        self.inner.registry.close(host, CloseReason::Revoked);
        Ok(())
    }

    /// The hosts that are dialled.
    pub(crate) async fn dialled_hosts(&self) -> Result<Vec<DialledHost>, Error> {
        self.store().dialled_hosts().await
    }

    /// The name of a host.
    pub(crate) async fn host_name(&self, host: HostId) -> Result<String, Error> {
        self.store().host_name(host).await
    }
}
