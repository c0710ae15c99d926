//! Bringing the news: what is to be told is written down first, then sent until it has arrived.
//!
//! What has to be told follows from the alerts and from what was told already, so nothing is told
//! twice after a crash and nothing is forgotten. (A receiver may get a message twice when the
//! server dies between sending it and writing that down; the delivery's id tells.)

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rand::Rng;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Alert, Event, Note, Severity, Silence, State,
    channel::Settings,
    digest::{self, Digest, DigestFacts, DigestSetting},
    silenced_until,
    wire::Wire,
};
use crate::{
    live::Live,
    store::{DigestReader, Due, Error, Store},
    view::{AlertView, Calendar, ChannelView},
};

/// Writes down what is to be told, and tells it.
pub struct Courier {
    store: Store,
    live: Live,
    wire: Wire,
}

/// How often the courier looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long an alert must be over before that is told: what flaps is not worth two messages.
pub(super) const SETTLED: SignedDuration = SignedDuration::from_mins(5);
/// An end that nobody was told of for this long is no news any more.
const NEWS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many messages one look sends, and to how many channels at once.
const PER_LOOK: u32 = 200;
const AT_ONCE: usize = 8;
/// The first wait after a failed try, the longest, and when it is given up.
const RETRY_FIRST: SignedDuration = SignedDuration::from_secs(30);
const RETRY_MAX: SignedDuration = SignedDuration::from_mins(30);
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);
/// How long the delivery log goes back.
const LOG_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A channel as far as deciding needs it.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) id: Uuid,
    pub(crate) created_at: Timestamp,
    pub(crate) severity_min: Severity,
    pub(crate) host: Option<holdfast_protocol::HostId>,
    pub(crate) group: Option<String>,
}

/// What a channel was told of an alert.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    /// Messages that it was opened, whatever became of them.
    pub(crate) opened: u64,
    /// Those that arrived.
    pub(crate) opened_sent: u64,
    /// Messages that it was over.
    pub(crate) resolved: u64,
}

/// What a channel was told, by channel and alert.
pub(crate) type Log = BTreeMap<(Uuid, Uuid), Told>;

/// What a channel is to be told of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) channel: Uuid,
    pub(crate) alert: Uuid,
    pub(crate) event: Event,
}

impl Courier {
    /// A courier who sends by `wire`.
    #[must_use]
    pub fn new(store: Store, live: Live, wire: Wire) -> Self {
        Self { store, live, wire }
    }

    /// Looks again and again until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            // Sending takes its time; what was not sent when the server stops is sent by the next.
            let looked = stop.run_until_cancelled(self.look(self.store.now())).await;
            if let Some(Err(error)) = looked {
                tracing::error!(%error, "notifications could not be sent");
            }
        }
    }

    /// Writes down what is to be told at `now`, and sends what is due.
    ///
    /// # Errors
    /// [`Error::Database`]. That a message does not arrive is written down and is no error here.
    ///
    /// # Cancel safety
    /// Safe: a message that was sent and not written down is sent once more.
    pub async fn look(&self, now: Timestamp) -> Result<(), Error> {
        self.queue(now).await?;
        self.queue_digests(now).await?;
        let mut by_channel: BTreeMap<Uuid, Vec<Due>> = BTreeMap::new();
        for due in self.store.due_deliveries(now, PER_LOOK).await? {
            by_channel.entry(due.channel).or_default().push(due);
        }
        // In order within a channel: a beginning before its end.
        let rounds = by_channel.into_iter().map(|(channel, due)| self.round(channel, due, now));
        let done: Vec<_> = stream::iter(rounds).buffer_unordered(AT_ONCE).collect().await;
        done.into_iter().collect::<Result<(), Error>>()?;
        let before = now.saturating_sub(LOG_LIFE).unwrap_or(Timestamp::MIN);
        self.store.prune_deliveries(before).await
    }

    async fn queue(&self, now: Timestamp) -> Result<(), Error> {
        self.store.queue_jobs(now).await?;
        let listeners = self.store.listeners().await?;
        if listeners.is_empty() {
            return Ok(());
        }
        let since = now.saturating_sub(NEWS).unwrap_or(Timestamp::MIN);
        let alerts = self.store.alerts_to_compare(since).await?;
        let log = self.store.told().await?;
        let silences = self.store.silences_at(now).await?;
        let wanted = wanted(&listeners, &alerts, &log, &silences, now);
        self.store.queue_alerts(&wanted, now).await
    }

    async fn queue_digests(&self, now: Timestamp) -> Result<(), Error> {
        for reader in self.store.digest_readers().await? {
            if let Some(slot) = due(&reader, now) {
                self.store.queue_digest(&reader, slot, now).await?;
            }
        }
        Ok(())
    }

    async fn round(&self, channel: Uuid, due: Vec<Due>, now: Timestamp) -> Result<(), Error> {
        let Some((name, settings)) = self.store.channel_settings(channel).await? else {
            return Ok(());
        };
        for due in due {
            if !self.deliver(&name, &settings, due, now).await? {
                break;
            }
        }
        Ok(())
    }

    /// Tells one thing; whether it is worth going on with this channel.
    async fn deliver(
        &self,
        name: &str,
        settings: &Settings,
        due: Due,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let Some(note) = self.note(name, &due, now).await? else {
            self.store.drop_delivery(due.id).await?;
            return Ok(true);
        };
        let outcome = settings.send(&self.wire, &note).await;
        let Err(error) = &outcome else {
            self.store.delivered(due.id, self.store.now().max(now)).await?;
            return Ok(true);
        };
        let passing = error.is_passing() && now.duration_since(due.created_at) < GIVE_UP;
        let next = passing.then(|| now.saturating_add(wait(due.attempts)).unwrap_or(now));
        tracing::warn!(channel = name, %error, again = passing, "a notification was not delivered");
        self.store.not_delivered(due.id, &error.to_string(), next, now).await?;
        Ok(!passing)
    }

    /// What is told; `None` when it is no news any more.
    async fn note(&self, name: &str, due: &Due, now: Timestamp) -> Result<Option<Note>, Error> {
        match (due.event, due.alert, due.job) {
            (Event::Opened | Event::Resolved, Some(alert), _) => {
                let alert = match self.store.alert(alert, now).await {
                    Ok(alert) => alert,
                    Err(Error::AlertNotFound { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                };
                let news = is_news(due.event, &alert);
                Ok(news.then(|| Note::of_alert(due.id, due.event, alert, now)))
            }
            (Event::JobStarted | Event::JobEnded, _, Some(job)) => match self.live.job(job).await {
                Ok(job) => Ok(Some(Note::of_job(due.id, due.event, &job, now))),
                Err(Error::JobNotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            (Event::Digest, ..) => {
                let channel = self.store.channel(&due.channel.to_string()).await?;
                let digest = digest_for(&self.store, &self.live, &channel, due.created_at).await?;
                Ok(Some(Note::of_digest(due.id, digest, now)))
            }
            (Event::Test, ..) => Ok(Some(Note::test(due.id, name, now))),
            (Event::Opened | Event::Resolved | Event::JobStarted | Event::JobEnded, ..) => Ok(None),
        }
    }
}

/// The newest time a digest was due that nobody was told of. After a long pause of the server that
/// is one, and not one for each week.
fn due(reader: &DigestReader, now: Timestamp) -> Option<Timestamp> {
    let DigestSetting { cron, time_zone, .. } = &reader.setting;
    let calendar = Calendar::parse(cron, time_zone, now).ok()?;
    let slot = calendar.last_before(just_after(now))?;
    (slot > reader.told_through).then_some(slot)
}

/// A slot at this very moment is the previous one.
fn just_after(now: Timestamp) -> Timestamp {
    now.saturating_add(SignedDuration::from_millis(1)).unwrap_or(now)
}

/// The digest that a channel would get at `until`.
pub(crate) async fn digest_for(
    store: &Store,
    live: &Live,
    channel: &ChannelView,
    until: Timestamp,
) -> Result<Digest, Error> {
    let setting = store.digest(channel).await?;
    let calendar = Calendar::parse(&setting.cron, &setting.time_zone, until).ok();
    let slot = calendar.as_ref().and_then(|it| it.last_before(just_after(until)));
    let before = slot.and_then(|slot| calendar.as_ref().and_then(|it| it.last_before(slot)));
    let week_ago = until.saturating_sub(NEWS).unwrap_or(Timestamp::MIN);
    let from = before.unwrap_or(week_ago);
    let (host, group) = (channel.host_id, channel.group.as_deref());
    Ok(digest::write(&DigestFacts {
        from,
        until,
        zone: TimeZone::get(&setting.time_zone).unwrap_or(TimeZone::UTC),
        host,
        hosts: &live.hosts_now(),
        backups: &store.backup_outcomes(from, until, host, group).await?,
        alerts: &store.alerts_to_compare(from).await?,
        repositories: &store.repositories().await?,
        own_backup: &store.own_backup().await?,
    }))
}

/// A trouble that was over before it could be told of is none any more, and one that came back is
/// not over.
fn is_news(event: Event, alert: &AlertView) -> bool {
    (alert.state == State::Resolved) == (event == Event::Resolved)
}

/// How long to wait after so many tries: ever longer, and never the same for all.
fn wait(attempts: u64) -> SignedDuration {
    let factor = 1_i32 << attempts.min(10);
    let longest = RETRY_FIRST.saturating_mul(factor).min(RETRY_MAX);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// What each channel is to be told. Pure.
///
/// An alert is told of once it is open, grave enough and not silenced, and its end only to those
/// who heard of its beginning. An alert that came back after its end was told is told of again.
pub(super) fn wanted(
    listeners: &[Listener],
    alerts: &[Alert],
    log: &Log,
    silences: &[Silence],
    now: Timestamp,
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for listener in listeners {
        for alert in alerts.iter().filter(|alert| concerns(listener, alert)) {
            let told = log.get(&(listener.id, alert.id)).copied().unwrap_or_default();
            let event = match alert.state {
                State::Open => {
                    let heard = told.opened > told.resolved;
                    let quiet = silenced_until(silences, alert, now).is_some();
                    (!heard && !quiet).then_some(Event::Opened)
                }
                State::Acknowledged => None,
                State::Resolved => {
                    let settled =
                        alert.resolved_at.is_some_and(|at| now.duration_since(at) >= SETTLED);
                    (settled && told.opened_sent > told.resolved).then_some(Event::Resolved)
                }
            };
            let want = |event| Wanted { channel: listener.id, alert: alert.id, event };
            wanted.extend(event.map(want));
        }
    }
    wanted
}

/// Whether a channel is there for such an alert. What was wrong before the channel was there is not
/// told: nobody wants yesterday's troubles when setting one up.
fn concerns(listener: &Listener, alert: &Alert) -> bool {
    let hosts: BTreeSet<_> = alert.subjects.iter().map(|subject| subject.host_id).collect();
    let host = listener.host.is_none_or(|host| hosts.contains(&host));
    let group = listener.group.is_none()
        || alert.subjects.iter().any(|it| it.group.is_none() || it.group == listener.group);
    host && group
        && alert.severity >= listener.severity_min
        && alert.first_seen_at >= listener.created_at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_become_rarer_and_never_stop_being_spread() {
        for (attempts, low, high) in [(0, 15, 30), (1, 30, 60), (5, 480, 960), (60, 900, 1800)] {
            let seconds = wait(attempts).as_secs();
            assert!((low..=high).contains(&seconds), "{seconds} s after {attempts} tries");
        }
    }
}
