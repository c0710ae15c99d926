//! Peace for a while: somebody knows, and no one needs to be told until then.

use holdfast_protocol::HostId;
use jiff::Timestamp;
use uuid::Uuid;

use super::{lifecycle::Alert, rule::Rule};

/// A silence as it is stored. What it does not name it matches whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) id: Uuid,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) until: Timestamp,
    pub(crate) reason: String,
    pub(crate) host: Option<(HostId, String)>,
    pub(crate) group: Option<String>,
    pub(crate) rule: Option<Rule>,
    pub(crate) alert_id: Option<Uuid>,
}

impl Silence {
    /// Whether nobody needs to hear of `alert` at `now`.
    ///
    /// An alert about several hosts is silenced only when all of them are: a silence for one host
    /// must not hide that the repository server is down.
    pub(crate) fn covers(&self, alert: &Alert, now: Timestamp) -> bool {
        let host = |subject: &super::Subject| {
            self.host.as_ref().is_none_or(|(host, _)| *host == subject.host_id)
        };
        let group = |subject: &super::Subject| {
            self.group.is_none() || self.group.as_ref() == subject.group.as_ref()
        };
        // What is about no host is not silenced with one.
        let named = self.host.is_none() || !alert.subjects.is_empty();
        now < self.until
            && named
            && self.rule.is_none_or(|rule| rule == alert.rule)
            && self.alert_id.is_none_or(|id| id == alert.id)
            && alert.subjects.iter().all(|subject| host(subject) && group(subject))
    }
}

/// Until when `alert` is silenced, if it is.
pub(crate) fn silenced_until(
    silences: &[Silence],
    alert: &Alert,
    now: Timestamp,
) -> Option<Timestamp> {
    silences.iter().filter(|silence| silence.covers(alert, now)).map(|silence| silence.until).max()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::alert::{State, Subject, rule::Severity};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn host(number: u128) -> HostId {
        HostId::from_uuid(Uuid::from_u128(number))
    }

    fn subject(number: u128, group: &str) -> Subject {
        Subject {
            host_id: host(number),
            host_name: format!("web-{number}"),
            group: Some(group.to_owned()),
        }
    }

    fn alert(subjects: &[Subject]) -> Alert {
        let seen = at("2026-11-21T12:00:00Z");
        Alert {
            id: Uuid::from_u128(1),
            key: "failed:x".to_owned(),
            rule: Rule::Failed,
            severity: Severity::Critical,
            state: State::Open,
            title: String::new(),
            cause: String::new(),
            action: String::new(),
            subjects: subjects.iter().cloned().collect(),
            count: 1,
            occurrences: BTreeSet::new(),
            since: seen,
            first_seen_at: seen,
            last_seen_at: seen,
            acknowledged_at: None,
            acknowledged_by: None,
            resolved_at: None,
        }
    }

    fn silence() -> Silence {
        Silence {
            id: Uuid::from_u128(2),
            created_at: at("2026-11-21T12:00:00Z"),
            created_by: "ops".to_owned(),
            until: at("2026-11-21T20:00:00Z"),
            reason: "The disk is being replaced.".to_owned(),
            host: None,
            group: None,
            rule: None,
            alert_id: None,
        }
    }

    #[test]
    fn a_silence_covers_what_it_names_until_it_ends() {
        let now = at("2026-11-21T13:00:00Z");
        let one = alert(&[subject(1, "etc")]);
        let of_host = |number| Silence { host: Some((host(number), "x".into())), ..silence() };
        let of_group = |name: &str| Silence { group: Some(name.into()), ..of_host(1) };
        let of_rule = |rule| Silence { rule: Some(rule), ..silence() };
        let of_alert = |number| Silence { alert_id: Some(Uuid::from_u128(number)), ..silence() };
        for (covers, silence) in [
            (true, silence()),
            (true, of_host(1)),
            (false, of_host(2)),
            (true, of_group("etc")),
            (false, of_group("srv")),
            (true, of_rule(Rule::Failed)),
            (false, of_rule(Rule::Missed)),
            (true, of_alert(1)),
            (false, of_alert(3)),
        ] {
            assert_eq!(silence.covers(&one, now), covers, "{silence:?}");
            assert!(!silence.covers(&one, silence.until), "it has an end: {silence:?}");
        }
    }

    #[test]
    fn a_silence_for_one_host_does_not_hide_a_dead_repository() {
        let now = at("2026-11-21T13:00:00Z");
        let both = alert(&[subject(1, "etc"), subject(2, "etc")]);
        let one = Silence { host: Some((host(1), "web-1".into())), ..silence() };
        assert_eq!(silenced_until(std::slice::from_ref(&one), &both, now), None);
        // The server's own trouble is about no host.
        let own = alert(&[]);
        assert_eq!(silenced_until(std::slice::from_ref(&one), &own, now), None);
        let all = silence();
        assert!(silenced_until(std::slice::from_ref(&all), &own, now).is_some());
        let longer = Silence { until: at("2026-11-22T20:00:00Z"), ..silence() };
        let until = longer.until;
        assert_eq!(silenced_until(&[all, longer], &both, now), Some(until));
    }
}
