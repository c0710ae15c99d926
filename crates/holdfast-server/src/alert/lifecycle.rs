//! An alert's life: opened once, counted while it lasts, resolved when it is over. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    grouping::{Subject, Trouble},
    rule::{Rule, Severity},
};

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertState)]
pub enum State {
    /// Nobody has taken it on.
    Open,
    /// Somebody has.
    Acknowledged,
    /// It is over.
    Resolved,
}

/// An alert as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) id: Uuid,
    pub(crate) key: String,
    pub(crate) rule: Rule,
    pub(crate) severity: Severity,
    pub(crate) state: State,
    pub(crate) title: String,
    pub(crate) cause: String,
    pub(crate) action: String,
    pub(crate) subjects: BTreeSet<Subject>,
    pub(crate) count: u64,
    pub(crate) occurrences: BTreeSet<String>,
    pub(crate) since: Timestamp,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) acknowledged_at: Option<Timestamp>,
    pub(crate) acknowledged_by: Option<String>,
    pub(crate) resolved_at: Option<Timestamp>,
}

/// What has to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new alert.
    Opened(Alert),
    /// One that goes on, or came back so soon that it is the same.
    Changed(Alert),
    /// It is over.
    Resolved(Alert),
}

/// A trouble that comes back within this is the same alert: what flaps must not ring each time.
pub(super) const REOPENED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// How often it is noted that an alert that does not change still lasts.
const SEEN_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// Compares what is wrong with what is known: all alerts that are not resolved, and those that were
/// resolved not longer than [`REOPENED_WITHIN`] ago.
pub(super) fn reconcile(known: Vec<Alert>, troubles: Vec<Trouble>, now: Timestamp) -> Vec<Change> {
    let mut known: BTreeMap<String, Alert> = newest_by_key(known);
    let mut changes = Vec::new();
    for trouble in troubles {
        match known.remove(&trouble.key) {
            // Too young to ring, and enough to keep what rings from being called over.
            _ if !trouble.ripe => {}
            None => changes.push(Change::Opened(open(trouble, now))),
            Some(alert) => changes.extend(go_on(&alert, trouble, now).map(Change::Changed)),
        }
    }
    let over = known.into_values().filter(|alert| alert.state != State::Resolved);
    changes.extend(over.map(|alert| Change::Resolved(resolve(alert, now))));
    changes
}

/// Of several alerts of a key the one that is not resolved, else the one resolved last.
fn newest_by_key(known: Vec<Alert>) -> BTreeMap<String, Alert> {
    let rank = |alert: &Alert| (alert.state != State::Resolved, alert.resolved_at);
    let mut newest: BTreeMap<String, Alert> = BTreeMap::new();
    for alert in known {
        match newest.get(&alert.key) {
            Some(other) if rank(other) >= rank(&alert) => {}
            _ => drop(newest.insert(alert.key.clone(), alert)),
        }
    }
    newest
}

fn open(trouble: Trouble, now: Timestamp) -> Alert {
    Alert {
        id: Uuid::now_v7(),
        key: trouble.key,
        rule: trouble.rule,
        severity: trouble.severity,
        state: State::Open,
        title: trouble.title,
        cause: trouble.cause,
        action: trouble.action,
        subjects: trouble.subjects,
        count: trouble.occurrences.len() as u64,
        occurrences: trouble.occurrences,
        since: trouble.since,
        first_seen_at: now,
        last_seen_at: now,
        acknowledged_at: None,
        acknowledged_by: None,
        resolved_at: None,
    }
}

/// The alert as it is now; `None` when there is nothing to write.
fn go_on(old: &Alert, trouble: Trouble, now: Timestamp) -> Option<Alert> {
    let fresh = trouble.occurrences.difference(&old.occurrences).count() as u64;
    let state = match (old.state, old.acknowledged_at) {
        (State::Resolved, Some(_)) => State::Acknowledged,
        (State::Resolved, None) => State::Open,
        (state, _) => state,
    };
    let new = Alert {
        rule: trouble.rule,
        severity: old.severity.max(trouble.severity),
        state,
        title: trouble.title,
        cause: trouble.cause,
        action: trouble.action,
        subjects: trouble.subjects,
        count: old.count + fresh,
        occurrences: trouble.occurrences,
        resolved_at: None,
        ..old.clone()
    };
    let old_news = now.duration_since(old.last_seen_at) >= SEEN_INTERVAL;
    (new != *old || old_news).then_some(Alert { last_seen_at: now, ..new })
}

fn resolve(alert: Alert, now: Timestamp) -> Alert {
    Alert { state: State::Resolved, resolved_at: Some(now), ..alert }
}

impl State {
    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The state named by `word`, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Acknowledged, Self::Resolved].into_iter().find(|it| it.as_str() == word)
    }
}
