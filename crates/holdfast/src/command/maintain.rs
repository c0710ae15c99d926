//! `holdfast repo show` and `holdfast repo maintain`.

use serde_json::{Map, Value, json};

use super::{Operator, operate::amount_to_read};
use crate::{
    cli::operate::Maintain,
    failure::Failure,
    model::{Maintenance, RepositoryDetail},
    output::{Facts, Look, Table, bytes, count},
};

/// `holdfast repo show NAME`.
pub(super) async fn show(operator: &Operator, name: &str) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["repositories", name], &[]).await?;
    let detail: RepositoryDetail = operator.read(&answer)?;
    operator.screen.show(&answer, |look| text(&detail, look));
    Ok(())
}

/// `holdfast repo maintain NAME OPERATION`.
pub(super) async fn set(operator: &Operator, args: &Maintain) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["repositories", &args.name], &[]).await?;
    let detail: RepositoryDetail = operator.read(&answer)?;
    let operation = args.operation.as_str();
    let nothing = Maintenance::default();
    let body = body(args, detail.maintenance.get(operation).unwrap_or(&nothing))?;
    let path = ["repositories", &args.name, "maintenance", operation];
    let answer = operator.client.put(&path, &body).await?;
    let detail: RepositoryDetail = operator.read(&answer)?;
    operator.screen.show(&answer, |_| match detail.maintenance.get(operation) {
        Some(plan) => format!("{operation}: {}\n", cadence(plan)),
        None => String::new(),
    });
    Ok(())
}

/// What is not said stays as it is.
fn body(args: &Maintain, before: &Maintenance) -> Result<Value, Failure> {
    let mut body = json!({
        "cron": args.cron.as_ref().unwrap_or(&before.cron),
        "time_zone": args.zone.as_ref().unwrap_or(&before.time_zone),
        "enabled": !args.off,
    });
    let window = match args.window.as_deref() {
        None => before.window.clone(),
        Some("any") => None,
        Some(text) => Some(window(text)?),
    };
    body["window"] = json!(window);
    let mut parameters: Map<String, Value> =
        before.parameters.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(amount) = &args.read_data {
        parameters.insert("read_data".to_owned(), amount_to_read(amount)?);
    }
    if !parameters.is_empty() {
        body["parameters"] = parameters.into();
    }
    Ok(body)
}

fn window(text: &str) -> Result<Value, Failure> {
    let (from, until) = text.split_once('-').ok_or_else(|| {
        let advice = "Use two times, such as `22:00-06:00`, or `any`.";
        Failure::new(format!("`{text}` is no part of a day."), advice)
    })?;
    Ok(json!({ "from": from.trim(), "until": until.trim() }))
}

fn text(detail: &RepositoryDetail, look: &Look) -> String {
    let repository = &detail.repository;
    let admin = if detail.has_admin_credentials { "of their own" } else { "the everyday ones" };
    let runner = detail.runner.as_ref().map(|runner| {
        let why = if runner.named { "named for it" } else { "has used it longest" };
        format!("{} ({why})", runner.host_name)
    });
    let lease = detail.lease.as_ref().map(|lease| {
        format!("{} on {}, job {}", lease.operation, lease.host_name, lease.holder_job)
    });
    let facts = Facts::new()
        .add("Repository", repository.name.as_str())
        .add("Kind", repository.kind.as_str())
        .add("Location", repository.location.as_str())
        .add("Hosts", count(repository.host_count))
        .maybe("Snapshots", repository.snapshot_count.map(count))
        .maybe("To restore", repository.total_size_bytes.map(bytes))
        .maybe("Stored", detail.raw_size_bytes.map(bytes))
        .maybe("Kept in order by", runner)
        .add("Credentials for deleting", admin)
        .maybe("Busy with", lease);
    format!("{}\n{}", facts.render(look), plans(detail, look))
}

fn plans(detail: &RepositoryDetail, look: &Look) -> String {
    let mut table = Table::new(&["MAINTENANCE", "WHEN", "NEXT", "LAST GOOD"], "");
    for (operation, plan) in &detail.maintenance {
        table.row([
            operation.as_str().into(),
            cadence(plan).into(),
            look.when_some(plan.next_at).into(),
            look.when_some(plan.last_ok_at).into(),
        ]);
    }
    table.render(look)
}

fn cadence(plan: &Maintenance) -> String {
    let words = plan.in_words.trim_end_matches('.');
    let when = format!("{words} ({})", plan.time_zone);
    if plan.suggested {
        return format!("not set; suggested: {when}");
    }
    if !plan.enabled {
        return format!("switched off; was {when}");
    }
    let window = plan.window.as_ref().map(|window| {
        let time = |key: &str| window[key].as_str().unwrap_or_default().to_owned();
        format!(", from {} until {}", time("from"), time("until"))
    });
    let waits = plan.waiting.as_ref().map(|waiting| {
        format!("; waits: {}", waiting.message.as_deref().unwrap_or("it is about to begin"))
    });
    format!("{when}{}{}", window.unwrap_or_default(), waits.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command, Repo};

    fn body_of(line: &str, before: &Maintenance) -> Value {
        match Cli::read(line.split(' ')).unwrap().command {
            Command::Repo(Repo::Maintain(args)) => body(&args, before).unwrap(),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let before = Maintenance {
            cron: "7 12 1 * *".into(),
            time_zone: "UTC".into(),
            window: Some(json!({"from": "22:00", "until": "06:00"})),
            parameters: Some(json!({"read_data": "all"})),
            ..Maintenance::default()
        };
        let line = "holdfast repo maintain main check";
        let mut wanted = json!({"cron": "7 12 1 * *", "time_zone": "UTC", "enabled": true,
            "window": {"from": "22:00", "until": "06:00"}, "parameters": {"read_data": "all"}});
        assert_eq!(body_of(line, &before), wanted);
        wanted["parameters"] = json!({"read_data": {"percent": 5.0}});
        (wanted["window"], wanted["enabled"]) = (Value::Null, false.into());
        let line = format!("{line} --read-data 5% --window any --off");
        assert_eq!(body_of(&line, &before), wanted);
    }
}
