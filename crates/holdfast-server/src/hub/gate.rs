//! Letting one host's agent in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use holdfast_link::{Admission, Ended, Gate, Mailbox};
use holdfast_protocol::{
    HostId, PROTOCOL_VERSION, SessionId,
    message::link::{Hello, Reject},
};
use uuid::Uuid;

use super::{Hub, state};
use crate::store::{Error, HostStore, Opened, Refusal};

/// The gate for a socket whose agent token has been checked.
pub(super) struct HostGate {
    hub: Hub,
    host: HostId,
    /// The configuration that went with the welcome.
    told: AtomicI64,
}

/// After a full restart the fleet comes back over this long: a second per 300 hosts.
const REDIAL_SPREAD_MIN: Duration = Duration::from_secs(2);
const REDIAL_SPREAD_MAX: Duration = Duration::from_secs(120);
const HOSTS_PER_SECOND: u32 = 300;
/// A server in trouble is left alone for this long.
const BUSY_RETRY: Duration = Duration::from_secs(5);

impl HostGate {
    pub(super) fn new(hub: Hub, host: HostId) -> Self {
        Self { hub, host, told: AtomicI64::new(i64::MIN) }
    }

    async fn try_admit(&self, hello: &Hello) -> Result<Admission<HostStore>, Reject> {
        if hello.protocol_version != PROTOCOL_VERSION {
            return Err(unsupported_version(hello.protocol_version));
        }
        let Some(_place) = self.hub.inner.entrance.enter().await else {
            tracing::debug!(host = %self.host, "an agent was asked to come back: too many at once");
            return Err(come_back());
        };
        let opened = self.hub.store().open_session(self.host, hello).await;
        let opened = match opened.map_err(|error| self.busy(&error))? {
            Ok(opened) => opened,
            Err(refusal) => return Err(self.refuse(refusal).await),
        };
        let (version, messages) =
            self.hub.store().config_messages(self.host).await.map_err(|error| self.busy(&error))?;
        self.told.store(version, Ordering::Relaxed);
        Ok(self.admission(&opened, messages.iter().map(state).collect()))
    }

    fn admission(
        &self,
        opened: &Opened,
        states: Vec<holdfast_link::Unsequenced>,
    ) -> Admission<HostStore> {
        let store = HostStore::new(self.hub.store().clone(), self.host, opened.epoch);
        Admission {
            session_id: SessionId::from_uuid(Uuid::now_v7()),
            epoch: opened.epoch,
            store: Arc::new(store),
            states,
            redial_spread: redial_spread(self.hub.live().host_count()),
        }
    }

    /// Turns an agent away. That it was here is written down: it may be a copy of the machine.
    async fn refuse(&self, refusal: Refusal) -> Reject {
        if let Err(error) = self.hub.store().note_refusal(self.host, refusal).await {
            tracing::warn!(host = %self.host, %error, "a refused agent was not noted");
        }
        refused(refusal)
    }

    fn busy(&self, error: &Error) -> Reject {
        tracing::error!(host = %self.host, %error, "an agent could not be let in");
        come_back()
    }
}

impl Gate for HostGate {
    type Store = HostStore;

    async fn admit(&self, hello: Hello) -> Result<Admission<HostStore>, Reject> {
        self.try_admit(&hello).await
    }

    async fn opened(&self, mailbox: Mailbox) {
        if self.hub.inner.registry.open(self.host, mailbox) {
            self.hub.live().connected(self.host, self.hub.store().now());
            // What changed between the admission and this line found no mailbox to be sent to.
            self.hub.push_changed_config(self.host, self.told.load(Ordering::Relaxed)).await;
            self.hub.inner.registry.wake(self.host);
        }
    }

    async fn closed(&self, session_id: SessionId, _ended: &Ended) {
        // A session that was fenced must not show its successor's host as gone.
        if self.hub.inner.registry.closed(self.host, session_id)
            && let Some(heard_at) = self.hub.live().disconnected(self.host)
        {
            self.hub.store().session_ended(self.host, heard_at).await;
        }
    }
}

fn come_back() -> Reject {
    Reject {
        code: "busy".to_owned(),
        message: "The server cannot open a session right now.".to_owned(),
        retry_after_ms: BUSY_RETRY.as_millis().try_into().ok(),
        fatal: false,
    }
}

fn redial_spread(hosts: usize) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    Duration::from_secs(u64::from(hosts / HOSTS_PER_SECOND))
        .clamp(REDIAL_SPREAD_MIN, REDIAL_SPREAD_MAX)
}

fn unsupported_version(found: u32) -> Reject {
    fatal(
        "unsupported_version",
        format!(
            "This server speaks version {PROTOCOL_VERSION} of the protocol and the agent version \
             {found}; bring both to the same release."
        ),
    )
}

fn refused(refusal: Refusal) -> Reject {
    match refusal {
        Refusal::NotEnrolled => fatal(
            "not_enrolled",
            "This host is not enrolled; enrol the agent with a new enrolment token.".to_owned(),
        ),
        Refusal::UnknownIncarnation => fatal(
            "unknown_incarnation",
            "This agent's data directory is not the one that was enrolled: the machine may be a \
             copy. Enrol it as a host of its own, or anew if the old one is gone."
                .to_owned(),
        ),
        Refusal::StaleBoot => fatal(
            "stale_boot",
            "A newer start of this agent has already connected: this data directory is an old \
             copy. If the other one still runs, enrol this one as a host of its own; if not, enrol \
             it again with --force."
                .to_owned(),
        ),
        Refusal::Cloned => fatal(
            "cloned_identity",
            "A copy of this machine has already connected under the same name, or this data \
             directory is an older state of its own. If the other one still runs, enrol this one \
             as a host of its own; if not, enrol it again with --force."
                .to_owned(),
        ),
    }
}

fn fatal(code: &str, message: String) -> Reject {
    Reject { code: code.to_owned(), message, retry_after_ms: None, fatal: true }
}
