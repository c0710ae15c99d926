//! The fleet's standing as numbers, put together when somebody asks.
//!
//! What is written here comes from the live view at that moment: a host that was removed leaves no
//! number behind. No label holds a path or a snapshot's id, which would make the numbers grow
//! without end.

use std::fmt::Write;

use crate::{
    alert::{Severity, State},
    verdict::Standing,
    view::{AlertView, HostState, HostView, RepositoryView},
};

/// One number's name, kind, meaning and values by labels.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    values: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Family {
    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "gauge", help, values: Vec::new() }
    }

    fn counter(name: &'static str, help: &'static str) -> Self {
        Self { kind: "counter", ..Self::gauge(name, help) }
    }

    fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.values.push((labels.collect(), value));
    }

    fn write(&self, text: &mut String) {
        let Self { name, kind, help, .. } = self;
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in &self.values {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[expect(clippy::cast_precision_loss, reason = "counts and seconds fit into 52 bits")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 52 bits")]
fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_second() as f64
}

/// All of them in Prometheus' text form.
pub(crate) fn render(
    hosts: &[HostView],
    repositories: &[RepositoryView],
    alerts: &[AlertView],
) -> String {
    let families =
        [of_hosts(hosts), of_groups(hosts), of_repositories(repositories), of_alerts(alerts)];
    let mut text = String::new();
    families.iter().flatten().for_each(|family| family.write(&mut text));
    text
}

fn of_hosts(hosts: &[HostView]) -> Vec<Family> {
    let mut up = Family::gauge("holdfast_host_up", "Whether the host's agent is connected.");
    let mut standing =
        Family::gauge("holdfast_host_standing", "How the host stands: 1 for its standing.");
    let mut depth = Family::gauge(
        "holdfast_agent_outbox_depth",
        "Records that the agent holds for the server.",
    );
    let mut skew = Family::gauge(
        "holdfast_agent_clock_skew_seconds",
        "How far the agent's clock is ahead of the server's.",
    );
    let mut reconnects = Family::counter(
        "holdfast_agent_reconnects_total",
        "Sessions of the agent after its first.",
    );
    for host in hosts {
        let label = [("host", host.name.as_str())];
        up.add(&label, f64::from(u8::from(host.state == HostState::Online)));
        for (kind, word) in STANDINGS {
            let holds = host.verdict.standing == kind;
            standing.add(&[label[0], ("standing", word)], f64::from(u8::from(holds)));
        }
        reconnects.add(&label, number(host.reconnects));
        if host.state == HostState::Online {
            depth.add(&label, number(host.queue_depth));
        }
        if let Some(offset) = host.clock_offset_ms {
            #[expect(clippy::cast_precision_loss, reason = "a clock is not off by 285 years")]
            skew.add(&label, offset as f64 / 1000.0);
        }
    }
    vec![up, standing, depth, skew, reconnects]
}

const STANDINGS: [(Standing, &str); 5] = [
    (Standing::Protected, "protected"),
    (Standing::Paused, "paused"),
    (Standing::AtRisk, "at_risk"),
    (Standing::Stale, "stale"),
    (Standing::Never, "never"),
];

fn of_groups(hosts: &[HostView]) -> Vec<Family> {
    let mut restorable = Family::gauge(
        "holdfast_host_restorable_timestamp_seconds",
        "When the group's newest snapshot was made that was seen in its repository.",
    );
    let mut objective = Family::gauge(
        "holdfast_host_objective_seconds",
        "How old the group's newest snapshot may be.",
    );
    // The name under which the widely used restic exporter's boards look for it.
    let mut exporter = Family::gauge(
        "restic_backup_timestamp",
        "When the group's newest snapshot was made that was seen in its repository.",
    );
    for host in hosts {
        for group in &host.groups {
            let labels = [("host", host.name.as_str()), ("group", group.name.as_str())];
            objective.add(&labels, number(group.objective_seconds));
            let Some(at) = group.verdict.restorable_at else { continue };
            restorable.add(&labels, seconds(at));
            let tag = group.name.as_str();
            exporter.add(
                &[("client_hostname", host.name.as_str()), ("snapshot_tag", tag)],
                seconds(at),
            );
        }
    }
    vec![restorable, objective, exporter]
}

fn of_repositories(repositories: &[RepositoryView]) -> Vec<Family> {
    let mut size = Family::gauge(
        "holdfast_repo_size_bytes",
        "Bytes that all snapshots in the repository would restore to.",
    );
    let mut snapshots = Family::gauge("holdfast_repo_snapshots", "Snapshots in the repository.");
    let mut exporter = Family::gauge("restic_snapshots_total", "Snapshots in the repository.");
    for repository in repositories {
        let label = [("repository", repository.name.as_str())];
        if let Some(bytes) = repository.total_size_bytes {
            size.add(&label, number(bytes));
        }
        if let Some(count) = repository.snapshot_count {
            snapshots.add(&label, number(count));
            exporter.add(&label, number(count));
        }
    }
    vec![size, snapshots, exporter]
}

fn of_alerts(alerts: &[AlertView]) -> Vec<Family> {
    let mut open = Family::gauge("holdfast_alerts_open", "Alerts that are not resolved.");
    for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
        let of = |alert: &&AlertView| alert.severity == severity && alert.state != State::Resolved;
        let count = alerts.iter().filter(of).count() as u64;
        open.add(&[("severity", severity.as_str())], number(count));
    }
    vec![open]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut family = Family::gauge("x", "y");
        family.add(&[("host", "a\"b\\c\nd")], 1.0);
        let mut text = String::new();
        family.write(&mut text);
        assert_eq!(text, "# HELP x y\n# TYPE x gauge\nx{host=\"a\\\"b\\\\c\\nd\"} 1\n");
    }

    #[test]
    fn times_are_whole_seconds_and_not_in_powers_of_ten() {
        let mut family = Family::gauge("x", "y");
        family.add(&[], seconds("2026-11-21T12:00:00.5Z".parse().unwrap()));
        let mut text = String::new();
        family.write(&mut text);
        assert!(text.ends_with("\nx 1795262400\n"), "{text}");
    }
}
