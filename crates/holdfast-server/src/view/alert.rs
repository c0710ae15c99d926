//! Alerts, silences and rules, as people see them.

use holdfast_protocol::HostId;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::alert::{Alert, Rule, RuleSetting, Severity, Silence, State, Subject};

/// Something that somebody has to mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Alert)]
pub struct AlertView {
    /// Its id.
    pub id: Uuid,
    /// Which rule found it.
    pub rule: Rule,
    /// How grave it is.
    pub severity: Severity,
    /// Where it stands.
    pub state: State,
    /// What is wrong, in one sentence.
    pub title: String,
    /// Why, as far as is known.
    pub cause: String,
    /// What to do about it.
    pub action: String,
    /// The hosts and source groups it is about.
    pub subjects: Vec<Subject>,
    /// How often it happened.
    pub count: u64,
    /// Since when it is wrong.
    pub since: Timestamp,
    /// When it was found.
    pub first_seen_at: Timestamp,
    /// When it was still found, to ten minutes.
    pub last_seen_at: Timestamp,
    /// When somebody took it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    /// Who did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// Until when nobody is told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Timestamp>,
}

impl AlertView {
    pub(crate) fn new(alert: Alert, silenced_until: Option<Timestamp>) -> Self {
        Self {
            id: alert.id,
            rule: alert.rule,
            severity: alert.severity,
            state: alert.state,
            title: alert.title,
            cause: alert.cause,
            action: alert.action,
            subjects: alert.subjects.into_iter().collect(),
            count: alert.count,
            since: alert.since,
            first_seen_at: alert.first_seen_at,
            last_seen_at: alert.last_seen_at,
            acknowledged_at: alert.acknowledged_at,
            acknowledged_by: alert.acknowledged_by,
            resolved_at: alert.resolved_at,
            silenced_until,
        }
    }
}

/// A page of alerts, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertPage {
    /// The alerts.
    pub alerts: Vec<AlertView>,
    /// Pass it as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Peace for a while. What it does not name it covers whatever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Silence)]
pub struct SilenceView {
    /// Its id.
    pub id: Uuid,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Only alerts of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub host_id: Option<HostId>,
    /// That host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Only alerts of this source group of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only alerts of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Only this alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<Uuid>,
}

impl From<Silence> for SilenceView {
    fn from(silence: Silence) -> Self {
        let (host_id, host_name) = silence.host.unzip();
        Self {
            id: silence.id,
            created_at: silence.created_at,
            created_by: silence.created_by,
            until: silence.until,
            reason: silence.reason,
            host_id,
            host_name,
            group: silence.group,
            rule: silence.rule,
            alert_id: silence.alert_id,
        }
    }
}

/// A rule and how it is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AlertRuleSetting)]
pub struct RuleView {
    /// The rule.
    pub rule: Rule,
    /// How grave what it finds is.
    pub severity: Severity,
    /// Whether it is watched at all.
    pub enabled: bool,
    /// How long a trouble must last before there is an alert, in seconds.
    pub grace_seconds: u64,
}

impl From<RuleSetting> for RuleView {
    fn from(setting: RuleSetting) -> Self {
        Self {
            rule: setting.rule,
            severity: setting.rule.severity(),
            enabled: setting.enabled,
            grace_seconds: setting.grace.as_secs().unsigned_abs(),
        }
    }
}
