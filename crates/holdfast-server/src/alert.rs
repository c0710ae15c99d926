//! Who must know: troubles found, gathered, opened once and resolved by themselves.
//!
//! ```text
//! fleet ── find::find ──► findings ── grouping::gather ──► troubles
//!                                                             │
//! alerts as stored ──────────── lifecycle::reconcile ◄────────┘──► opened, changed, resolved
//! ```
//!
//! Everything is level-triggered: each look compares what is wrong with what is written down. So
//! nothing is lost in a restart, nothing is told twice, and what has ended is resolved without
//! anybody's doing.

pub mod channel;
mod courier;
pub(crate) mod digest;
mod find;
mod grouping;
pub mod guard;
mod lifecycle;
mod note;
mod rule;
mod silence;
pub mod wire;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use holdfast_protocol::RepositoryId;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    live::Live,
    store::{Error, Store},
};

pub use courier::Courier;
pub(crate) use courier::{Listener, Log, Told, Wanted, digest_for};
pub(crate) use find::{Crowded, OwnBackup, RefusedAgent, RefusedJob, Repository, ResetOutbox};
pub use lifecycle::State;
pub(crate) use lifecycle::{Alert, Change};
pub(crate) use rule::RuleSetting;
pub use rule::{Rule, Severity};
pub(crate) use silence::{Silence, silenced_until};

pub use grouping::Subject;
pub use note::Event;
pub(crate) use note::Note;

/// Finds troubles and keeps the alerts as they should be.
pub struct Alarm {
    store: Store,
    live: Live,
    /// Since when agents could be heard by this server.
    since: Timestamp,
    noticed: Mutex<find::Noticed>,
}

/// How often the alarm looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// How long resolved alerts are kept.
const RESOLVED_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);

impl Alarm {
    /// An alarm for a server that has been reachable since `since`.
    #[must_use]
    pub fn new(store: Store, live: Live, since: Timestamp) -> Self {
        Self { store, live, since, noticed: Mutex::default() }
    }

    /// Looks again and again until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            if let Err(error) = self.look(self.store.now()).await {
                tracing::error!(%error, "the alerts could not be brought up to date");
            }
        }
    }

    /// Brings the alerts up to date with the fleet as the live view has it.
    ///
    /// # Errors
    /// [`Error::Database`]; nothing was changed, and the next look finds the same.
    pub async fn look(&self, now: Timestamp) -> Result<(), Error> {
        let settings = self.store.alert_rules().await?;
        let hosts = self.live.hosts_now();
        let noticed = self.noticed().clone();
        let ahead = self.store.first_ahead(now).await?;
        let facts = find::FleetFacts {
            now,
            server_since: self.since,
            version: env!("CARGO_PKG_VERSION"),
            hosts: &hosts,
            refused: &self.store.refused_agents().await?,
            crowded: &self.store.crowded_outboxes().await?,
            reset: &self.store.reset_outboxes(now).await?,
            refused_jobs: &self.store.refused_jobs(now).await?,
            own_backup: &self.store.own_backup().await?,
            ahead: ahead.as_ref(),
            noticed: &noticed,
        };
        let findings = find::find(&facts, &settings);
        *self.noticed() = find::notice(&noticed, &findings);
        let troubles = grouping::gather(findings, &self.repositories().await?);
        let resolved_since = now.saturating_sub(lifecycle::REOPENED_WITHIN);
        let known = self.store.alerts_to_compare(resolved_since.unwrap_or(now)).await?;
        let changes = lifecycle::reconcile(known, troubles, now);
        self.store.change_alerts(&changes).await?;
        let before = now.saturating_sub(RESOLVED_LIFE).unwrap_or(Timestamp::MIN);
        self.store.prune_alerts(before).await?;
        // A silence that has ended changes how an alert looks, though nothing happened to it.
        self.live.refresh_alerts(now).await
    }

    fn noticed(&self) -> MutexGuard<'_, find::Noticed> {
        self.noticed.lock().expect("nothing panics while holding it")
    }

    async fn repositories(&self) -> Result<BTreeMap<RepositoryId, Repository>, Error> {
        let views = self.store.repositories().await?;
        Ok(views.into_iter().map(|view| (view.id, Repository::of(view))).collect())
    }
}

#[cfg(test)]
mod tests;
