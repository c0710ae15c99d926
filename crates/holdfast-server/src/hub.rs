//! The hub: every live link, and everything that has to reach an agent.
//!
//! ```text
//! API ──► Hub ──► Store      the change and its command, one transaction
//!           │
//!           └──► Registry ──► the host's session: wake up, something waits; or: your config
//! ```
//!
//! Nothing is lost when a host is not connected: commands wait in its outbox, and configuration is
//! sent at the start of every session.

mod ask;
pub(crate) mod desk;
mod entrance;
mod foreign;
mod gate;
mod reconcile;
mod registry;

use std::{pin::Pin, sync::Arc, time::Duration};

use holdfast_link::{
    Accepted, CloseReason, Ended, ExchangeError, Exchanges, ServeConfig, Unsequenced,
    transport::{TransportKind, held::Held},
};
use holdfast_protocol::{
    HostId, JobId, Message, RepositoryId,
    dialect::Ability,
    message::{config::Slot, job::Operation},
};
use jiff::Timestamp;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    live::Live,
    store::{
        Cancelled, Enrolled, Enrolment, Error, GroupChange, LOG_LIFE, LOG_SETTLES, NewCredentials,
        NewGroup, NewHost, NewSchedule, Order, Ordered, Store,
    },
};
pub(crate) use ask::AskError;
use entrance::Entrance;
use gate::HostGate;
use registry::Registry;

/// The hub. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    live: Live,
    registry: Registry,
    memory: ask::Memory,
    entrance: Entrance,
    exchanges: Exchanges,
    config: ServeConfig,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How often it is written down when connected hosts were last heard. A server that dies forgets at
/// most this much.
const SEEN_INTERVAL: Duration = Duration::from_secs(60);
/// How often logs that have outlived their use are looked for.
const PRUNING_INTERVAL: Duration = Duration::from_secs(3600);

/// How often it is looked whether a repository that others wait for has become free.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);

impl Hub {
    /// A hub without links yet.
    #[must_use]
    pub fn new(store: Store, live: Live) -> Self {
        let inner = Inner {
            store,
            live,
            registry: Registry::default(),
            memory: ask::Memory::default(),
            entrance: Entrance::default(),
            exchanges: Exchanges::default(),
            config: ServeConfig::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Compares notes with the agents until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut reconciler = reconcile::Reconciler::default();
        let mut seen = tokio::time::interval(SEEN_INTERVAL);
        let mut pruning = tokio::time::interval(PRUNING_INTERVAL);
        let mut releasing = tokio::time::interval(RELEASE_INTERVAL);
        releasing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let bus = self.store().bus().clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = bus.heard() => self.compare_notes(&mut reconciler).await,
                _ = seen.tick() => self.note_seen().await,
                _ = releasing.tick() => {
                    self.release_held().await;
                    // Credentials that were lent for a job are withdrawn when it has ended.
                    self.push_configs(bus.take_owed_configs().into_iter().collect()).await;
                }
                _ = pruning.tick() => {
                    self.prune_logs().await;
                    self.pack_logs().await;
                }
            }
        }
        self.note_seen().await;
    }

    /// Serves the link of `host` on a connection whose agent token has been checked, until it ends.
    pub async fn serve(&self, host: HostId, socket: Accepted) {
        let gate = HostGate::new(self.clone(), host);
        let stop = self.inner.stop.child_token();
        let serve = holdfast_link::accept(socket, &gate, &self.inner.config, stop);
        self.until_ended(host, TransportKind::WebSocket, Box::pin(serve)).await;
    }

    /// Answers one exchange of `host`, whose agent token has been checked: its link where no
    /// WebSocket passes.
    ///
    /// # Errors
    /// As [`Exchanges::answer`].
    pub async fn exchange(&self, host: HostId, body: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let open = |transport| {
            let hub = self.clone();
            tokio::spawn(async move { hub.serve_held(host, transport).await });
        };
        self.inner.exchanges.answer(host.as_uuid(), body, open).await
    }

    async fn serve_held(&self, host: HostId, transport: Held) {
        let gate = HostGate::new(self.clone(), host);
        let stop = self.inner.stop.child_token();
        let serve =
            holdfast_link::server::serve(Box::new(transport), &gate, &self.inner.config, stop);
        self.until_ended(host, TransportKind::LongPoll, Box::pin(serve)).await;
    }

    /// A session is large, so it is not carried by value through everything that waits for it.
    async fn until_ended(
        &self,
        host: HostId,
        road: TransportKind,
        serve: Pin<Box<dyn Future<Output = Ended> + Send + '_>>,
    ) {
        let ended = self.inner.tasks.track_future(serve).await;
        tracing::info!(%host, ?road, reason = %ended, "link ended");
    }

    /// Adds a host and mints its enrolment token.
    ///
    /// # Errors
    /// As [`Store::add_host`].
    pub async fn add_host(&self, actor: &str, name: &str) -> Result<NewHost, Error> {
        self.store().add_host(actor, name).await
    }

    /// Mints another enrolment token for a host.
    ///
    /// # Errors
    /// As [`Store::renew_enrolment`].
    pub async fn renew_enrolment(&self, actor: &str, host: HostId) -> Result<NewHost, Error> {
        self.store().renew_enrolment(actor, host).await
    }

    /// Takes a host out of the fleet and closes its link.
    ///
    /// # Errors
    /// As [`Store::remove_host`].
    pub async fn remove_host(&self, actor: &str, host: HostId) -> Result<(), Error> {
        self.store().remove_host(actor, host).await?;
        self.inner.registry.close(host, CloseReason::Revoked);
        Ok(())
    }

    /// Trades an enrolment token for an agent token. A link that the host's former agent still has
    /// is closed.
    ///
    /// # Errors
    /// As [`Store::enrol`].
    pub async fn enrol(&self, enrolment: &Enrolment) -> Result<Enrolled, Error> {
        let enrolled = self.store().enrol(enrolment).await?;
        self.inner.registry.close(enrolled.host_id, CloseReason::Revoked);
        Ok(enrolled)
    }

    /// Adds a source group and tells the agent.
    ///
    /// # Errors
    /// As [`Store::add_group`].
    pub async fn add_group(
        &self,
        actor: &str,
        host: HostId,
        group: &NewGroup,
    ) -> Result<(), Error> {
        self.store().add_group(actor, host, group).await?;
        self.push_config(host).await;
        Ok(())
    }

    /// Changes a source group and tells the agent.
    ///
    /// # Errors
    /// As [`Store::change_group`].
    pub async fn change_group(
        &self,
        actor: &str,
        host: HostId,
        name: &str,
        change: &GroupChange,
    ) -> Result<(), Error> {
        self.store().change_group(actor, host, name, change).await?;
        self.push_config(host).await;
        Ok(())
    }

    /// Changes the credentials of a repository's slot and tells the agents.
    ///
    /// # Errors
    /// As [`Store::set_credentials`].
    pub async fn set_credentials(
        &self,
        actor: &str,
        repository: RepositoryId,
        slot: Slot,
        new: &NewCredentials,
    ) -> Result<(), Error> {
        let hosts = self.store().set_credentials(actor, repository, slot, new).await?;
        self.push_configs(hosts).await;
        Ok(())
    }

    /// Clears a repository's slot and tells the agents.
    ///
    /// # Errors
    /// As [`Store::clear_credentials`].
    pub async fn clear_credentials(
        &self,
        actor: &str,
        repository: RepositoryId,
        slot: Slot,
    ) -> Result<(), Error> {
        let hosts = self.store().clear_credentials(actor, repository, slot).await?;
        self.push_configs(hosts).await;
        Ok(())
    }

    /// Names the host that keeps a repository in order and tells the agents.
    ///
    /// # Errors
    /// As [`Store::set_runner`].
    pub async fn set_runner(
        &self,
        actor: &str,
        repository: RepositoryId,
        runner: Option<HostId>,
    ) -> Result<(), Error> {
        let hosts = self.store().set_runner(actor, repository, runner).await?;
        self.push_configs(hosts).await;
        Ok(())
    }

    /// Removes a source group and tells the agent.
    ///
    /// # Errors
    /// As [`Store::remove_group`].
    pub async fn remove_group(&self, actor: &str, host: HostId, name: &str) -> Result<(), Error> {
        let hosts = self.store().remove_group(actor, host, name).await?;
        self.push_config(host).await;
        self.push_configs(hosts).await;
        Ok(())
    }

    /// Sets the schedule of a source group and tells the agent.
    ///
    /// # Errors
    /// As [`Store::set_schedule`].
    pub async fn set_schedule(
        &self,
        actor: &str,
        host: HostId,
        group: &str,
        schedule: &NewSchedule,
    ) -> Result<(), Error> {
        self.require_schedules(host).await?;
        self.store().set_schedule(actor, host, group, schedule).await?;
        self.push_config(host).await;
        Ok(())
    }

    /// Removes the schedule of a source group and tells the agent.
    ///
    /// # Errors
    /// As [`Store::remove_schedule`].
    pub async fn remove_schedule(
        &self,
        actor: &str,
        host: HostId,
        group: &str,
    ) -> Result<(), Error> {
        self.store().remove_schedule(actor, host, group).await?;
        self.push_config(host).await;
        Ok(())
    }

    /// Orders a job. The agent may be away: the command waits for it.
    ///
    /// # Errors
    /// As [`Store::create_job`].
    pub async fn run_job(&self, actor: &str, host: HostId, order: &Order) -> Result<JobId, Error> {
        self.require(host, Ability::of_operation(order.operation)).await?;
        let ordered = self.store().create_job(actor, host, order).await?;
        self.deliver(host, &[ordered]).await;
        Ok(ordered.job_id)
    }

    /// Lets a host's agent have jobs that are stored for it.
    pub(crate) async fn deliver(&self, host: HostId, ordered: &[Ordered]) {
        if ordered.iter().any(|ordered| ordered.config_behind) {
            // The job waits for the configuration that has its repository.
            self.push_config(host).await;
        }
        self.inner.registry.wake(host);
    }

    /// Orders a backup of a source group.
    ///
    /// # Errors
    /// As [`Store::create_job`].
    pub async fn run_backup(&self, actor: &str, host: HostId, group: &str) -> Result<JobId, Error> {
        let order = Order { group: Some(group.to_owned()), ..Order::new(Operation::Backup) };
        self.run_job(actor, host, &order).await
    }

    /// Asks for a job's end.
    ///
    /// # Errors
    /// As [`Store::cancel_job`].
    pub async fn cancel(&self, actor: &str, job: JobId) -> Result<(), Error> {
        self.require_of_job(job, Ability::Cancel).await?;
        if let Cancelled::Asked { host } = self.store().cancel_job(actor, job).await? {
            self.inner.registry.wake(host);
        }
        Ok(())
    }

    /// Asks for a job to be paused.
    ///
    /// # Errors
    /// As [`Store::pause_job`].
    pub async fn pause(&self, actor: &str, job: JobId) -> Result<(), Error> {
        self.require_of_job(job, Ability::Pause).await?;
        let host = self.store().pause_job(actor, job).await?;
        self.inner.registry.wake(host);
        Ok(())
    }

    /// Asks for a paused job to go on.
    ///
    /// # Errors
    /// As [`Store::resume_job`].
    pub async fn resume(&self, actor: &str, job: JobId) -> Result<(), Error> {
        self.require_of_job(job, Ability::Resume).await?;
        let host = self.store().resume_job(actor, job).await?;
        self.inner.registry.wake(host);
        Ok(())
    }

    /// Sends all agents away, each to come back at a moment of its own, and waits until their links
    /// are closed.
    pub async fn drain(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    async fn compare_notes(&self, reconciler: &mut reconcile::Reconciler) {
        let untold = reconciler.take(self.store(), self.live(), &self.inner.registry).await;
        for host in untold {
            tracing::info!(%host, "the agent lacks its configuration; it is sent again");
            self.push_config(host).await;
        }
    }

    async fn push_configs(&self, hosts: Vec<HostId>) {
        for host in hosts {
            self.push_config(host).await;
        }
    }

    /// Sends a host that has just connected its configuration, unless `told` is the newest.
    async fn push_changed_config(&self, host: HostId, told: i64) {
        match self.store().config_version(host).await {
            Ok(version) if version == told => self.inner.registry.owe_first_config(host, told),
            Ok(_) | Err(_) => self.push_config_after(host, told).await,
        }
    }

    /// Sends a connected host its configuration as it is now. A host that is away gets it with its
    /// next session; one whose message was lost on the way is found out by its heartbeats.
    async fn push_config(&self, host: HostId) {
        self.push_config_after(host, i64::MIN).await;
    }

    /// As [`Hub::push_config`], for a host that has been told the version `told` already.
    async fn push_config_after(&self, host: HostId, told: i64) {
        if !self.inner.registry.is_connected(host) {
            return;
        }
        match self.store().config_messages(host).await {
            Ok((version, messages)) => {
                self.inner.registry.owe_config(host, version);
                for message in messages.iter().filter(|_| version > told) {
                    self.inner.registry.send(host, &state(message));
                }
            }
            Err(error) => {
                self.inner.registry.owe_config(host, i64::MAX);
                tracing::error!(%host, %error, "the agent misses a configuration for now");
            }
        }
    }

    /// Sends what waited for a repository and may begin now.
    async fn release_held(&self) {
        match self.store().release_held().await {
            Ok(hosts) => hosts.into_iter().for_each(|host| self.inner.registry.wake(host)),
            Err(error) => tracing::error!(%error, "jobs that wait for a repository wait on"),
        }
    }

    async fn note_seen(&self) {
        let seen = self.live().last_heard();
        if seen.is_empty() {
            return;
        }
        if let Err(error) = self.store().note_seen(&seen).await {
            tracing::warn!(%error, "it was not noted when hosts were last heard");
        }
    }

    async fn prune_logs(&self) {
        let Ok(before) = self.store().now().checked_sub(LOG_LIFE) else { return };
        loop {
            match self.store().prune_logs(before).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "old logs were not dropped");
                    break;
                }
            }
        }
    }

    async fn pack_logs(&self) {
        let Ok(before) = self.store().now().checked_sub(LOG_SETTLES) else { return };
        loop {
            match self.store().pack_logs(before).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "logs were not compressed");
                    break;
                }
            }
        }
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn live(&self) -> &Live {
        &self.inner.live
    }
}

/// A state as the link carries it: of each kind only the newest counts.
fn state(message: &Message) -> Unsequenced {
    Unsequenced {
        class: message.class(),
        key: String::new(),
        ts: Timestamp::now(),
        kind: message.kind().to_owned(),
        payload: message.encode(),
    }
}
