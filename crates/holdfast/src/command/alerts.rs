//! `holdfast alerts` and `holdfast alert …`.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Operator;
use crate::{
    cli,
    failure::Failure,
    model::{Alert, Alerts, Rule, Rules, Silence, Silences, Subject},
    output::{Cell, Facts, Look, Table, Tone, print, tone_of},
};

/// How much of an id is listed: all ids of one second differ in it.
const ID_SHOWN: usize = 13;

/// `holdfast alerts`.
pub(super) async fn list(operator: &Operator, filter: &cli::Alerts) -> Result<(), Failure> {
    let state = if filter.all { "all" } else { "active" };
    let limit = filter.limit.to_string();
    let query = [("state", state), ("limit", limit.as_str())];
    let answer = operator.client.fetch(&["alerts"], &query).await?;
    let alerts: Alerts = operator.read(&answer)?;
    operator.screen.show(&answer, |look| table(&alerts, look));
    Ok(())
}

/// `holdfast alert …`.
pub(super) async fn run(operator: &Operator, command: &cli::Alert) -> Result<(), Failure> {
    match command {
        cli::Alert::Ack(alert) => acknowledge(operator, &alert.id).await,
        cli::Alert::Rule { name, grace, on, off } => {
            let enabled = (*on || *off).then_some(*on);
            set_rule(operator, name, enabled, *grace).await
        }
        cli::Alert::Rules => rules(operator).await,
        cli::Alert::Show(alert) => show(operator, &alert.id).await,
        cli::Alert::Silence(silence) => add_silence(operator, silence).await,
        cli::Alert::Silences => silences(operator).await,
        cli::Alert::Unsilence { id } => end_silence(operator, id).await,
    }
}

async fn acknowledge(operator: &Operator, id: &str) -> Result<(), Failure> {
    let id = whole_alert(operator, id).await?;
    let answer = operator.client.post(&["alerts", &id, "acknowledge"], &json!({})).await?;
    let alert: Alert = operator.read(&answer)?;
    operator.screen.show(&answer, |look| {
        let by = alert.acknowledged_by.clone().unwrap_or_default();
        format!("`{by}` takes it on.\n\n{}", facts(&alert, look))
    });
    Ok(())
}

async fn show(operator: &Operator, id: &str) -> Result<(), Failure> {
    let id = whole_alert(operator, id).await?;
    let answer = operator.client.fetch(&["alerts", &id], &[]).await?;
    let alert: Alert = operator.read(&answer)?;
    operator.screen.show(&answer, |look| facts(&alert, look));
    Ok(())
}

async fn add_silence(operator: &Operator, silence: &cli::Silence) -> Result<(), Failure> {
    let length = i64::try_from(silence.length).unwrap_or(i64::MAX);
    let until = Timestamp::now().saturating_add(SignedDuration::from_secs(length));
    let mut body = json!({
        "until": until.unwrap_or(Timestamp::MAX),
        "reason": silence.reason,
        "host": silence.host,
        "group": silence.group,
        "rule": silence.rule,
    });
    if let Some(id) = &silence.id {
        body["alert_id"] = json!(whole_alert(operator, id).await?);
    }
    let answer = match operator.client.post(&["silences"], &body).await {
        Ok(answer) => answer,
        Err(error) => {
            return Err(operator.about_host(silence.host.as_deref().unwrap_or(""), error).await);
        }
    };
    let made: Silence = operator.read(&answer)?;
    operator.screen.show(&answer, |look| {
        format!("Nobody is told of it until {}.\n", look.when_some(made.until))
    });
    Ok(())
}

async fn silences(operator: &Operator) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["silences"], &[]).await?;
    let silences: Silences = operator.read(&answer)?;
    operator.screen.show(&answer, |look| silence_table(&silences.silences, look));
    Ok(())
}

async fn end_silence(operator: &Operator, id: &str) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["silences"], &[]).await?;
    let all: Silences = operator.read(&answer)?;
    let ids = all.silences.into_iter().map(|silence| silence.id);
    let id = whole(id, ids, "silence", "holdfast alert silences")?;
    operator.client.delete(&["silences", &id]).await?;
    print(if operator.screen.is_json() { "{}\n" } else { "The silence has ended.\n" });
    Ok(())
}

async fn rules(operator: &Operator) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["alert-rules"], &[]).await?;
    let rules: Rules = operator.read(&answer)?;
    operator.screen.show(&answer, |look| rule_table(&rules.rules, look));
    Ok(())
}

/// Sets what is named and leaves the rest as it is.
async fn set_rule(
    operator: &Operator,
    name: &str,
    enabled: Option<bool>,
    grace: Option<u64>,
) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["alert-rules"], &[]).await?;
    let rules: Rules = operator.read(&answer)?;
    let known = rules.rules.into_iter().find(|rule| rule.rule == name).unwrap_or_default();
    let body = json!({
        "enabled": enabled.unwrap_or(known.enabled),
        "grace_seconds": grace.unwrap_or(known.grace_seconds),
    });
    let answer = operator.client.put(&["alert-rules", name], &body).await?;
    let rule: Rule = operator.read(&answer)?;
    operator.screen.show(&answer, |look| rule_table(&[rule], look));
    Ok(())
}

/// The whole id of the alert whose id begins like `id`.
async fn whole_alert(operator: &Operator, id: &str) -> Result<String, Failure> {
    let query = [("state", "all"), ("limit", "500")];
    let answer = operator.client.fetch(&["alerts"], &query).await?;
    let all: Alerts = operator.read(&answer)?;
    whole(id, all.alerts.into_iter().map(|alert| alert.id), "alert", "holdfast alerts --all")
}

fn whole(
    start: &str,
    ids: impl Iterator<Item = String>,
    noun: &str,
    command: &str,
) -> Result<String, Failure> {
    let mut fitting = ids.filter(|id| !start.is_empty() && id.starts_with(start));
    let advice = format!("List them with `{command}` and copy the id.");
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => {
            Err(Failure::new(format!("Several ids begin with `{start}`."), advice))
        }
        (None, _) => Err(Failure::new(format!("There is no {noun} `{start}`."), advice)),
    }
}

fn shown(id: &str) -> &str {
    id.get(..ID_SHOWN).unwrap_or(id)
}

fn table(alerts: &Alerts, look: &Look) -> String {
    let heads = ["ID", "SEVERITY", "STATE", "SINCE", "COUNT", "WHAT"];
    let mut table = Table::new(&heads, "No alerts: nothing needs to be done.");
    for alert in &alerts.alerts {
        table.row([
            shown(&alert.id).into(),
            Cell::toned(&alert.severity, tone_of(&alert.severity)),
            state(alert),
            look.when_some(alert.since).into(),
            alert.count.to_string().into(),
            alert.title.as_str().into(),
        ]);
    }
    let mut text = table.render(look);
    if alerts.next.is_some() {
        text.push_str("There are more; raise --limit.\n");
    }
    text
}

fn state(alert: &Alert) -> Cell {
    if alert.silenced_until.is_some() {
        return Cell::toned(&format!("{}, silenced", alert.state), Tone::Quiet);
    }
    Cell::toned(&alert.state, tone_of(&alert.state))
}

fn facts(alert: &Alert, look: &Look) -> String {
    let taken = alert.acknowledged_by.as_ref().map(|by| {
        let when = alert.acknowledged_at.map(|at| look.when(at)).unwrap_or_default();
        format!("{by}, {when}")
    });
    let subjects: Vec<String> = alert.subjects.iter().map(subject).collect();
    Facts::new()
        .add("Alert", alert.id.as_str())
        .add("What", alert.title.as_str())
        .add("Why", alert.cause.as_str())
        .add("What to do", alert.action.as_str())
        .toned("Severity", &alert.severity, tone_of(&alert.severity))
        .toned("State", &alert.state, tone_of(&alert.state))
        .maybe("Taken on by", taken)
        .maybe("Silenced until", alert.silenced_until.map(|at| look.when(at)))
        .add("Rule", alert.rule.as_str())
        .add("Count", alert.count.to_string())
        .maybe("Since", alert.since.map(|at| look.when(at)))
        .maybe("First seen", alert.first_seen_at.map(|at| look.when(at)))
        .maybe("Last seen", alert.last_seen_at.map(|at| look.when(at)))
        .maybe("Resolved", alert.resolved_at.map(|at| look.when(at)))
        .add("About", subjects.join(", "))
        .render(look)
}

fn subject(subject: &Subject) -> String {
    match &subject.group {
        Some(group) => format!("{}/{group}", subject.host_name),
        None => subject.host_name.clone(),
    }
}

fn silence_table(silences: &[Silence], look: &Look) -> String {
    let mut table = Table::new(&["ID", "UNTIL", "COVERS", "BY", "REASON"], "No silences.");
    for silence in silences {
        table.row([
            shown(&silence.id).into(),
            look.when_some(silence.until).into(),
            covered(silence).into(),
            silence.created_by.as_str().into(),
            silence.reason.as_str().into(),
        ]);
    }
    table.render(look)
}

fn covered(silence: &Silence) -> String {
    let alert = silence.alert_id.as_ref().map(|id| format!("alert {}", shown(id)));
    let named = [&silence.host_name, &silence.group, &silence.rule, &alert];
    let named: Vec<&str> = named.into_iter().flatten().map(String::as_str).collect();
    if named.is_empty() { "everything".to_owned() } else { named.join(", ") }
}

fn rule_table(rules: &[Rule], look: &Look) -> String {
    let mut table = Table::new(&["RULE", "WATCHED", "SEVERITY", "GRACE"], "No rules.");
    for rule in rules {
        let watched = if rule.enabled { "on" } else { "off" };
        table.row([
            rule.rule.as_str().into(),
            Cell::toned(watched, if rule.enabled { Tone::Good } else { Tone::Quiet }),
            Cell::toned(&rule.severity, tone_of(&rule.severity)),
            grace(rule.grace_seconds).into(),
        ]);
    }
    table.render(look)
}

fn grace(seconds: u64) -> String {
    if seconds == 0 { "at once".to_owned() } else { Look::span(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    fn alert() -> Alert {
        let value = json!({
            "id": "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b", "rule": "failed",
            "severity": "critical", "state": "acknowledged", "title": "It failed.",
            "cause": "The disk is full.", "action": "Make room.", "count": 3,
            "since": "2026-11-21T12:25:00Z", "acknowledged_by": "alice",
            "subjects": [{"host_name": "web-1", "group": "etc"}],
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_list_tells_what_is_wrong_and_since_when() {
        let alerts = Alerts { alerts: vec![alert()], next: None };
        let text = table(&alerts, &test_look());
        let wanted = "0190b5f2-7c3e  critical  acknowledged  2026-11-21 12:25 (1 h ago)  3      \
                      It failed.\n";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn the_facts_tell_why_what_to_do_and_who_does() {
        let text = facts(&alert(), &test_look());
        for wanted in ["The disk is full.", "Make room.", "alice", "web-1/etc"] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }

    #[test]
    fn an_id_may_be_given_by_its_beginning() {
        let find = |start: &str| {
            let ids = ["0190aa", "0190ab"].map(str::to_owned).into_iter();
            whole(start, ids, "alert", "list")
        };
        assert_eq!(find("0190aa").unwrap(), "0190aa");
        assert!(find("0190").unwrap_err().to_string().contains("Several ids"));
        assert!(find("").unwrap_err().to_string().contains("no alert"));
    }

    #[test]
    fn a_silence_says_what_it_covers() {
        assert_eq!(covered(&Silence::default()), "everything");
        let host = Some("web-1".to_owned());
        let silence =
            Silence { host_name: host, rule: Some("failed".into()), ..Silence::default() };
        assert_eq!(covered(&silence), "web-1, failed");
    }
}
